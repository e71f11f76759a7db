//! Control codes and lengths are found in the shapes that compilers give to a `switch`.

#![expect(clippy::unwrap_used, reason = "a broken expectation stops a test")]

use iced_x86::{
    Code, Instruction, MemoryOperand, Register,
    code_asm::{
        CodeAssembler, CodeLabel, byte_ptr, dword_ptr, eax, ecx, edx, r8, r8d, r9, r10, rax, rcx,
        rdx, rsp,
    },
};
use pe_image::{
    Image,
    builder::{CODE, CONSTANTS, ImageBuilder},
    scan::{LengthOf, Scan},
};

/// Where the code under test stands. Before it are four bodies of one byte, at 0x1000 to 0x1003.
const START: u64 = 0x1010;
/// Where constants stand.
const TABLE: u32 = 0x2000;
/// Where the body of cases that are no cases stands.
const DEFAULT: u64 = 0x1003;

fn scan_with(write: impl FnOnce(&mut CodeAssembler), constants: &[u8]) -> Scan {
    let mut assembler = CodeAssembler::new(64).unwrap();
    write(&mut assembler);
    let mut code = vec![0xC3; 4];
    code.resize(0x10, 0xCC);
    code.extend(assembler.assemble(START).unwrap());
    let mut builder = ImageBuilder::new();
    builder.section(".text", CODE, &code);
    builder.section(".rdata", CONSTANTS, constants);
    builder.fields.entry_point_rva = u32::try_from(START).unwrap();
    Scan::new(&Image::parse(&builder.build()).unwrap())
}

/// The codes found in this code.
fn check(write: impl FnOnce(&mut CodeAssembler), expected: &[u32]) {
    check_with(write, &[0], expected);
}

fn check_with(write: impl FnOnce(&mut CodeAssembler), constants: &[u8], expected: &[u32]) {
    let scan = scan_with(write, constants);
    assert_eq!(scan.control_code_values(), expected);
    assert!(scan.is_complete);
}

/// A table of distances from the table to these places.
fn distances(targets: &[u32]) -> Vec<u8> {
    targets.iter().flat_map(|target| target.wrapping_sub(TABLE).to_le_bytes()).collect()
}

/// Loads the address of a place in the image, relative to the instruction.
fn place(assembler: &mut CodeAssembler, register: Register, rva: u32) {
    let operand = MemoryOperand::with_base_displ(Register::RIP, i64::from(rva));
    let lea = Instruction::with2(Code::Lea_r64_m, register, operand).unwrap();
    assembler.add_instruction(lea).unwrap();
}

#[test]
fn comparisons_with_numbers() {
    check(
        |a| {
            let mut end = a.create_label();
            a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
            a.cmp(eax, 0x22_2004).unwrap();
            a.je(DEFAULT).unwrap();
            // A pivot of the search tree is no case.
            a.cmp(eax, 0x22_2007).unwrap();
            a.jg(end).unwrap();
            a.cmp(eax, 0x22_2000).unwrap();
            a.jne(DEFAULT).unwrap();
            a.set_label(&mut end).unwrap();
            a.cmp(dword_ptr(rdx + 0x18), 0x22_2010).unwrap();
            a.je(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x22_2000, 0x22_2004, 0x22_2010],
    );
}

#[test]
fn comparisons_with_numbers_in_registers() {
    check(
        |a| {
            a.mov(ecx, dword_ptr(rdx + 0x18)).unwrap();
            a.mov(eax, 0x9C40_2000_u32).unwrap();
            a.cmp(ecx, eax).unwrap();
            a.je(DEFAULT).unwrap();
            a.mov(r8d, 0x9C40_2004_u32).unwrap();
            a.cmp(r8d, ecx).unwrap();
            a.je(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x9C40_2000, 0x9C40_2004],
    );
}

#[test]
fn chains_of_subtractions() {
    check(
        |a| {
            a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
            a.sub(eax, 0x22_2000).unwrap();
            a.je(DEFAULT).unwrap();
            a.sub(eax, 4).unwrap();
            a.je(DEFAULT).unwrap();
            a.add(eax, -8).unwrap();
            a.je(DEFAULT).unwrap();
            a.dec(eax).unwrap();
            a.je(DEFAULT).unwrap();
            a.lea(ecx, dword_ptr(rax - 7)).unwrap();
            a.test(ecx, ecx).unwrap();
            a.je(DEFAULT).unwrap();
            a.cmp(ecx, 4).unwrap();
            a.je(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x22_2000, 0x22_2004, 0x22_200C, 0x22_200D, 0x22_2014, 0x22_2018],
    );
}

/// What clang emits: distances from the table, holes among the cases.
fn clang_table(a: &mut CodeAssembler) {
    a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
    a.lea(ecx, dword_ptr(rax - 0x22_2000)).unwrap();
    a.cmp(ecx, 8).unwrap();
    a.ja(DEFAULT).unwrap();
    place(a, Register::R8, TABLE);
    a.movsxd(rcx, dword_ptr(r8 + rcx * 4)).unwrap();
    a.add(rcx, r8).unwrap();
    a.jmp(rcx).unwrap();
}

#[test]
fn jump_tables_of_distances() {
    let table = [0x1000, 0x1003, 0x1003, 0x1003, 0x1001, 0x1003, 0x1003, 0x1003, 0x1002];
    check_with(clang_table, &distances(&table), &[0x22_2000, 0x22_2004, 0x22_2008]);
}

#[test]
fn holes_may_lead_elsewhere_than_values_beyond_the_table() {
    let table = [0x1000, 0x1002, 0x1002, 0x1002, 0x1001, 0x1002, 0x1002, 0x1002, 0x1001];
    check_with(clang_table, &distances(&table), &[0x22_2000, 0x22_2004, 0x22_2008]);
}

/// A jump table for codes of one function number each: `eax`, rotated, is its index.
fn rotated_table(a: &mut CodeAssembler) {
    a.ror(eax, 2).unwrap();
    a.cmp(eax, 3).unwrap();
    a.ja(DEFAULT).unwrap();
    place(a, Register::R8, TABLE);
    a.movsxd(rax, dword_ptr(r8 + rax * 4)).unwrap();
    a.add(rax, r8).unwrap();
    a.jmp(rax).unwrap();
}

#[test]
fn jump_tables_behind_a_rotation() {
    let write = |a: &mut CodeAssembler| {
        a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
        a.sub(eax, 0x22_2000).unwrap();
        rotated_table(a);
    };
    let table = distances(&[0x1000, 0x1001, 0x1003, 0x1002]);
    check_with(write, &table, &[0x22_2000, 0x22_2004, 0x22_200C]);
}

#[test]
fn a_code_added_from_memory_to_a_number() {
    let write = |a: &mut CodeAssembler| {
        a.mov(eax, 0_u32.wrapping_sub(0x22_2200)).unwrap();
        a.add(eax, dword_ptr(rcx + 0x18)).unwrap();
        rotated_table(a);
    };
    let table = distances(&[0x1000, 0x1001, 0x1003, 0x1002]);
    check_with(write, &table, &[0x22_2200, 0x22_2204, 0x22_220C]);
}

#[test]
fn jump_tables_in_two_steps_from_the_image_base() {
    // What MSVC emits: bytes choose an entry, entries are RVAs.
    let write = |a: &mut CodeAssembler| {
        a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
        a.sub(eax, 0x22_2000).unwrap();
        a.cmp(eax, 8).unwrap();
        a.ja(DEFAULT).unwrap();
        place(a, Register::R9, 0);
        a.movzx(eax, byte_ptr(r9 + rax + (TABLE + 0x10))).unwrap();
        a.mov(ecx, dword_ptr(r9 + rax * 4 + TABLE)).unwrap();
        a.add(rcx, r9).unwrap();
        a.jmp(rcx).unwrap();
    };
    let mut constants: Vec<u8> =
        [0x1000_u32, 0x1001, 0x1003, 0].iter().flat_map(|rva| rva.to_le_bytes()).collect();
    constants.extend([0, 2, 2, 2, 1, 2, 2, 2, 1]);
    check_with(write, &constants, &[0x22_2000, 0x22_2004, 0x22_2008]);
}

#[test]
fn bit_masks() {
    check(
        |a| {
            a.mov(eax, dword_ptr(rdx + 0x18)).unwrap();
            a.sub(eax, 0x22_2000).unwrap();
            a.cmp(eax, 0xC).unwrap();
            a.ja(DEFAULT).unwrap();
            a.mov(ecx, 0x1101).unwrap();
            a.bt(ecx, eax).unwrap();
            a.jb(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x22_2000, 0x22_2008, 0x22_200C],
    );
}

#[test]
fn a_code_is_followed_through_the_stack_and_into_calls() {
    check(
        |a| {
            let mut callee: CodeLabel = a.create_label();
            a.mov(ecx, dword_ptr(rdx + 0x18)).unwrap();
            a.mov(dword_ptr(rsp + 0x20), ecx).unwrap();
            a.cmp(dword_ptr(rsp + 0x20), 0x22_2000).unwrap();
            a.je(DEFAULT).unwrap();
            a.call(callee).unwrap();
            a.ret().unwrap();
            a.set_label(&mut callee).unwrap();
            // A number that would not be taken for a code if its origin were unknown.
            a.cmp(ecx, 0x12_0000).unwrap();
            a.je(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x12_0000, 0x22_2000],
    );
}

#[test]
fn accessors_that_were_not_inlined_are_known() {
    let scan = scan_with(
        |a| {
            let (mut code, mut length) = (a.create_label(), a.create_label());
            a.call(code).unwrap();
            a.cmp(eax, 0x12_0000).unwrap();
            a.jne(DEFAULT).unwrap();
            a.call(length).unwrap();
            a.cmp(eax, 8).unwrap();
            a.jb(DEFAULT).unwrap();
            a.ret().unwrap();
            a.set_label(&mut code).unwrap();
            a.mov(eax, dword_ptr(rcx + 0x18)).unwrap();
            a.ret().unwrap();
            a.set_label(&mut length).unwrap();
            a.mov(eax, dword_ptr(rcx + 0x10)).unwrap();
            a.ret().unwrap();
        },
        &[0],
    );
    assert_eq!(scan.control_code_values(), [0x12_0000]);
    let lengths: Vec<_> = scan.lengths.iter().map(|l| (l.value_bytes, l.of)).collect();
    assert_eq!(lengths, [(8, LengthOf::Input)]);
}

#[test]
fn other_numbers_are_no_codes() {
    check(
        |a| {
            for number in [0_i32, 7, 0xFFFF, -1, -0x3FFF_FFF3, 0x10_0000, 0x0010_FF00] {
                a.mov(eax, dword_ptr(rcx + 0x30)).unwrap();
                a.cmp(eax, number).unwrap();
                a.je(DEFAULT).unwrap();
            }
            a.mov(r10, 0x2B99_2DDF_A232_u64).unwrap();
            a.cmp(rax, r10).unwrap();
            a.je(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0x0010_FF00],
    );
}

#[test]
fn lengths_know_their_buffer_and_code() {
    let scan = scan_with(
        |a| {
            a.cmp(dword_ptr(rdx + 0x18), 0x22_2000).unwrap();
            a.jne(DEFAULT).unwrap();
            a.cmp(dword_ptr(rdx + 0x10), 24).unwrap();
            a.jb(DEFAULT).unwrap();
            a.mov(eax, dword_ptr(rdx + 8)).unwrap();
            a.cmp(rax, 0x1000).unwrap();
            a.jb(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0],
    );
    let lengths: Vec<_> =
        scan.lengths.iter().map(|l| (l.value_bytes, l.of, l.control_code)).collect();
    let code = Some(0x22_2000);
    assert_eq!(lengths, [(24, LengthOf::Input, code), (0x1000, LengthOf::Output, code)]);
    assert_eq!(scan.length_values(), [24, 0x1000]);
}

/// `length == 0 || length > 32`, as clang compiles it.
#[test]
fn both_ends_of_a_range_are_lengths() {
    let scan = scan_with(
        |a| {
            a.mov(r8d, dword_ptr(rdx + 0x10)).unwrap();
            a.lea(eax, dword_ptr(r8 - 33)).unwrap();
            a.cmp(eax, -32).unwrap();
            a.jb(DEFAULT).unwrap();
            a.ret().unwrap();
        },
        &[0],
    );
    assert_eq!(scan.length_values(), [1, 33]);
}

#[test]
fn device_names_are_found() {
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut constants = vec![0];
    constants.extend(wide("\\Device\\Zero\\??\\Zero\0\\DosDevices\\One\0\\Device\\\0no\\Device"));
    let scan = scan_with(|a| a.ret().unwrap(), &constants);
    let names: Vec<_> = scan.device_names.iter().map(|n| (n.name.as_str(), n.rva)).collect();
    assert_eq!(
        names,
        [("\\Device\\Zero", 0x2001), ("\\??\\Zero", 0x2019), ("\\DosDevices\\One", 0x202B)]
    );
}

#[test]
fn an_endless_loop_ends() {
    check(
        |a| {
            let mut top = a.create_label();
            a.set_label(&mut top).unwrap();
            a.add(edx, 1).unwrap();
            a.cmp(edx, 5).unwrap();
            a.jne(top).unwrap();
            a.jmp(top).unwrap();
        },
        &[],
    );
}
