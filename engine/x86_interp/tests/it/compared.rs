//! What an instruction is about to compare, seen before it runs.

use guest_memory::GuestAddr;
use iced_x86::code_asm::{
    CodeAssembler, IcedError, ah, al, byte_ptr, cl, cx, dword_ptr, eax, ecx, r8d, r9, rax, rcx,
    rdx, rsp, word_ptr, xmm0, xmm1,
};
use x86_interp::Operands;

use crate::machine::{DATA, Machine};

/// What the one instruction of a program compares, with these values in rax and rcx, and these
/// bytes where rdx points.
fn compared(
    program: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Option<(u64, u64, u8)> {
    let mut machine = Machine::of(|asm| program(asm).expect("there is such an instruction"));
    machine.r.gpr[0] = 0x8877_6655_4433_2211;
    machine.r.gpr[1] = 0xffff_ffff_ffff_fff0;
    machine.r.gpr[2] = DATA;
    machine.r.gpr[8] = 0x1_0000_0008;
    machine.r.gpr[9] = 0x1_0000_0009;
    machine.poke(DATA, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let before = machine.r.clone();
    let found = machine.engine.compared(&machine.r, &mut machine.m);
    assert_eq!(machine.r, before);
    found.map(|Operands { left, right, size_bytes }| (left, right, size_bytes))
}

#[test]
fn both_numbers_are_cut_to_the_width_that_is_compared() {
    assert_eq!(compared(|a| a.cmp(eax, ecx)), Some((0x4433_2211, 0xffff_fff0, 4)));
    assert_eq!(
        compared(|a| a.cmp(rax, rcx)),
        Some((0x8877_6655_4433_2211, 0xffff_ffff_ffff_fff0, 8))
    );
    assert_eq!(compared(|a| a.cmp(al, cl)), Some((0x11, 0xf0, 1)));
    assert_eq!(compared(|a| a.cmp(r8d, eax)), Some((8, 0x4433_2211, 4)));
    assert_eq!(compared(|a| a.cmp(r9, rax)), Some((0x1_0000_0009, 0x8877_6655_4433_2211, 8)));
}

#[test]
fn the_upper_byte_of_a_register_is_a_number_of_its_own() {
    assert_eq!(compared(|a| a.cmp(ah, 5)), Some((0x22, 5, 1)));
}

#[test]
fn constants_are_extended_to_the_width_and_cut_to_it() {
    assert_eq!(compared(|a| a.cmp(eax, -1)), Some((0x4433_2211, 0xffff_ffff, 4)));
    assert_eq!(compared(|a| a.cmp(rax, -2)), Some((0x8877_6655_4433_2211, u64::MAX - 1, 8)));
    assert_eq!(compared(|a| a.cmp(cx, -2)), Some((0xfff0, 0xfffe, 2)));
    assert_eq!(compared(|a| a.cmp(eax, 0x22_2003)), Some((0x4433_2211, 0x22_2003, 4)));
}

#[test]
fn operands_in_memory_are_read_as_wide_as_they_are() {
    assert_eq!(compared(|a| a.cmp(byte_ptr(rdx + 1), 7)), Some((2, 7, 1)));
    assert_eq!(compared(|a| a.cmp(word_ptr(rdx), 7)), Some((0x201, 7, 2)));
    assert_eq!(compared(|a| a.cmp(dword_ptr(rdx), ecx)), Some((0x403_0201, 0xffff_fff0, 4)));
    assert_eq!(compared(|a| a.cmp(ecx, dword_ptr(rdx + 4))), Some((0xffff_fff0, 0x807_0605, 4)));
}

#[test]
fn a_constant_that_is_subtracted_is_one_of_several_cases() {
    assert_eq!(compared(|a| a.sub(eax, 0x22_2000)), Some((0x4433_2211, 0x22_2000, 4)));
    // A difference.
    assert_eq!(compared(|a| a.sub(eax, ecx)), None);
    assert_eq!(compared(|a| a.sub(eax, dword_ptr(rdx))), None);
    // Room on the stack.
    assert_eq!(compared(|a| a.sub(rsp, 0x28)), None);
}

#[test]
fn other_instructions_compare_no_numbers() {
    assert_eq!(compared(|a| a.add(eax, 5)), None);
    assert_eq!(compared(|a| a.test(eax, eax)), None);
    assert_eq!(compared(|a| a.comisd(xmm0, xmm1)), None);
    assert_eq!(compared(CodeAssembler::cmpsb), None);
    assert_eq!(compared(CodeAssembler::nop), None);
}

#[test]
fn what_cannot_be_read_is_not_told() {
    let mut machine = Machine::of(|asm| asm.cmp(dword_ptr(rdx), 5).unwrap());
    machine.r.gpr[2] = 0xffff_f8aa_0000_0000;
    assert_eq!(machine.engine.compared(&machine.r, &mut machine.m), None);
    // No code there.
    machine.r.rip = GuestAddr(0xffff_f8aa_0000_0000).0;
    assert_eq!(machine.engine.compared(&machine.r, &mut machine.m), None);
}
