//! Blocks made by hand: some that a translator could make, and many that must be rejected, by
//! subject.

#[path = "verify_claims_tests.rs"]
mod claims;
#[path = "verify_control_tests.rs"]
mod control;
#[path = "verify_instruction_tests.rs"]
mod instruction;
#[path = "verify_memory_tests.rs"]
mod memory;
#[path = "verify_wide_tests.rs"]
mod wide;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, MemoryOperand,
    Register,
    code_asm::{
        CodeAssembler, CodeLabel, al, byte_ptr, cx, dword_ptr, mm0, mm1, mm2, ptr, qword_ptr, r11,
        r11w, rax, rbx, rcx, rdx, rsi, rsp, xmm0, xmmword_ptr,
    },
};

use super::{Claims, Rules, verify};
use crate::{context::Places, emit::Owner, faults::Faults, stubs::Stubs};

const AT: u64 = 0x7000_0000_1000;
const CONTEXT: u64 = 0x7000_0010_0000;
const EXIT: u64 = 0x7000_0000_0100;
const SERVE: u64 = 0x7000_0000_0180;
const MISS: u64 = 0x7000_0000_0200;
const CACHE: u64 = 0x7000_0000_0000;
const STRING: u64 = 0x7000_0000_0500;
const STUBS: Stubs =
    Stubs { enter: CACHE, exit: EXIT, fault: 0, serve: SERVE, miss: MISS, string: STRING };
const OTHER: u64 = 0x7000_0000_8000;
/// What is added to displacements of states.
const ADJUST: i64 = -0x740;

const PLACES: Places = Places { context: CONTEXT, is_wide: true };

/// Assembles a block and verifies it. The label is a way out that a check may take.
fn check(program: impl FnOnce(&mut CodeAssembler, CodeLabel)) -> Result<(), &'static str> {
    check_entered(0, program)
}

/// Faults that lead to the start, where nothing is proved.
fn to_the_start() -> Faults {
    Faults::new(vec![(0, 0)], vec![(0, Owner::of(0))])
}

/// The same for a block that others enter at this offset.
fn check_entered(
    body: u32,
    program: impl FnOnce(&mut CodeAssembler, CodeLabel),
) -> Result<(), &'static str> {
    let faults = to_the_start();
    check_claims(&Claims { entries: &[body], links: &[], guesses: &[], faults: &faults }, program)
}

/// The same for a block of which this is said.
fn check_claims(
    claims: &Claims<'_>,
    program: impl FnOnce(&mut CodeAssembler, CodeLabel),
) -> Result<(), &'static str> {
    let mut a = CodeAssembler::new(64).unwrap();
    a.set_prefer_short_branch(false);
    let mut cold = a.create_label();
    program(&mut a, cold);
    a.set_label(&mut cold).unwrap();
    a.mov(dword_ptr(PLACES.exit()), 3).unwrap();
    a.jmp(EXIT).unwrap();
    let mut code = a.take_instructions();
    // Large absolute addresses stand for operands relative to RIP.
    for ins in
        code.iter_mut().filter(|ins| ins.memory_displacement64() >= PLACES.targets() & !0xfff_ffff)
    {
        if ins.memory_base() == Register::None && ins.memory_index() == Register::None {
            ins.set_memory_base(Register::RIP);
        }
    }
    let block = InstructionBlock::new(&code, AT);
    let result = BlockEncoder::encode(64, block, BlockEncoderOptions::DONT_FIX_BRANCHES).unwrap();
    let rules = Rules {
        places: PLACES,
        stubs: STUBS,
        state_adjust: ADJUST,
        cache: CACHE,
        is_block: &|host| host == OTHER,
    };
    verify(&result.code_buffer, AT, claims, &rules).map_err(|rejected| rejected.reason)
}

type Bad = (&'static str, fn(&mut CodeAssembler, CodeLabel));

/// Each row is rejected for its reason.
fn check_rejected(rows: &[Bad]) {
    let wrong = rows.iter().enumerate().filter_map(|(number, (reason, program))| {
        let result = check(program);
        (result != Err(*reason)).then(|| format!("block {number}: {result:?}, expected {reason}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks 8 bytes at `[rbx + 16]`.
fn look(a: &mut CodeAssembler, cold: CodeLabel) {
    a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    a.jne(cold).unwrap();
}

const GOOD: &[fn(&mut CodeAssembler, CodeLabel)] = &[
    |a, _| a.add(rax, rbx).unwrap(),
    |a, cold| {
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
        a.mov(byte_ptr(rbx + 23).gs(), al).unwrap();
    },
    |a, cold| {
        look(a, cold);
        a.add(dword_ptr(rbx + 20).gs(), 1).unwrap();
        a.jmp(OTHER).unwrap();
    },
    |a, cold| {
        // A store into undefined bytes.
        a.cmp(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
        a.jne(cold).unwrap();
        a.mov(qword_ptr(rsp - 8).gs(), rax).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), 0).unwrap();
        a.lea(rsp, ptr(rsp - 8)).unwrap();
    },
    |a, cold| {
        // Keeping flags.
        let mut fine = a.create_label();
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
        a.mov(rcx, qword_ptr(rcx + rbx * 4 + ADJUST).fs()).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rcx, qword_ptr(PLACES.borrowed_rcx())).unwrap();
        a.mov(rdx, qword_ptr(rcx + rbx * 4).gs()).unwrap();
    },
    |a, cold| {
        a.cmp(qword_ptr(rbx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.cmp(qword_ptr(rbx + 8 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.movups(xmm0, xmmword_ptr(rbx).gs()).unwrap();
    },
    |a, cold| {
        frame(a, cold);
        a.mov(qword_ptr(rsp - 0x28 + ADJUST).fs(), -1).unwrap();
        a.sub(rsp, 0x28).unwrap();
    },
    |a, cold| {
        // Counting, and a jump through the table.
        a.psubq(mm0, mm1).unwrap();
        a.movq(qword_ptr(PLACES.left()), mm0).unwrap();
        a.cmp(qword_ptr(PLACES.left()), 0).unwrap();
        a.je(cold).unwrap();
        a.mov(rcx, 5_u64).unwrap();
        a.mov(qword_ptr(PLACES.own()), rcx).unwrap();
        jump_by_table(a);
    },
    |a, cold| {
        // A call whose target and return address are looked at in rcx.
        a.mov(rcx, qword_ptr(rbx + 16 + ADJUST).fs()).unwrap();
        test_rcx(a, cold);
        a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
        push(a, cold);
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        jump_by_table(a);
    },
    |a, cold| {
        // A call that is served in place, and what comes behind it: flags that were put away, and
        // checks of its own. The store has 10 bytes, the jump 5.
        a.mov(dword_ptr(PLACES.back()), u32::try_from(AT - CACHE).unwrap() + 15).unwrap();
        a.jmp(SERVE).unwrap();
        a.mov(r11, rax).unwrap();
        let flags =
            MemoryOperand::with_base_displ(Register::RIP, PLACES.saved_flags().cast_signed());
        let load = Instruction::with2(Code::Mov_r64_rm64, Register::RAX, flags).unwrap();
        a.add_instruction(load).unwrap();
        a.add(al, 0x7f).unwrap();
        a.sahf().unwrap();
        a.mov(rax, r11).unwrap();
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    },
    |a, cold| {
        // The same over undefined bytes.
        a.mov(rcx, qword_ptr(rsp - 8 + ADJUST).fs()).unwrap();
        a.lea(rcx, ptr(rcx + 1)).unwrap();
        test_rcx(a, cold);
        a.mov(qword_ptr(rsp - 8).gs(), rax).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), 0).unwrap();
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        jump_by_table(a);
    },
    |a, _| {
        // A landing.
        let (mut hit, mut go) = (a.create_label(), a.create_label());
        a.mov(rcx, 0x1234_u64).unwrap();
        a.lea(rcx, ptr(rcx + r11)).unwrap();
        a.jrcxz(hit).unwrap();
        a.jmp(MISS).unwrap();
        a.set_label(&mut hit).unwrap();
        a.cmp(qword_ptr(PLACES.own()), r11).unwrap();
        a.jb(go).unwrap();
        a.mov(rcx, qword_ptr(PLACES.own())).unwrap();
        a.set_label(&mut go).unwrap();
        a.mov(r11, qword_ptr(PLACES.borrowed())).unwrap();
    },
    |a, _| {
        a.mov(dword_ptr(PLACES.string()), 0x21).unwrap();
        a.jmp(STRING).unwrap();
    },
    |a, cold| {
        // What was compared is known behind a branch, and where ways meet that compared it.
        let (mut next, mut behind) = (a.create_label(), a.create_label());
        look(a, cold);
        a.jb(next).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
        a.jmp(behind).unwrap();
        a.set_label(&mut next).unwrap();
        a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
        a.set_label(&mut behind).unwrap();
        a.mov(rsi, qword_ptr(rbx + 16).gs()).unwrap();
    },
    |a, cold| {
        // A way upwards that has compared it as well.
        let (mut back, mut define) = (a.create_label(), a.create_label());
        a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
        a.jne(define).unwrap();
        a.mov(qword_ptr(rbx + 16).gs(), rax).unwrap();
        a.set_label(&mut back).unwrap();
        a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
        a.jmp(OTHER).unwrap();
        a.set_label(&mut define).unwrap();
        a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), -1).unwrap();
        a.jne(cold).unwrap();
        a.mov(qword_ptr(rbx + 16).gs(), rax).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
        a.jmp(back).unwrap();
    },
    |a, cold| {
        // The stack goes up by constants.
        a.cmp(qword_ptr(rsp + 0x28 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.add(rsp, 0x20).unwrap();
        a.lea(rsp, ptr(rsp + 8)).unwrap();
        a.mov(rax, qword_ptr(rsp).gs()).unwrap();
    },
];

#[test]
fn what_the_translator_makes_passes() {
    for (number, program) in GOOD.iter().enumerate() {
        assert_eq!(check(program), Ok(()), "block {number}");
    }
}

/// Goes on if rcx is 0.
fn test_rcx(a: &mut CodeAssembler, cold: CodeLabel) {
    let mut fine = a.create_label();
    a.jrcxz(fine).unwrap();
    a.jmp(cold).unwrap();
    a.set_label(&mut fine).unwrap();
}

/// Stores where a call returns to.
fn push(a: &mut CodeAssembler, cold: CodeLabel) {
    a.mov(rcx, qword_ptr(rsp - 8 + ADJUST).fs()).unwrap();
    test_rcx(a, cold);
    a.movq(mm2, qword_ptr(rsp - 8).gs()).unwrap();
    a.mov(rcx, 0x1234_u64).unwrap();
    a.mov(qword_ptr(rsp - 8).gs(), rcx).unwrap();
    a.mov(qword_ptr(PLACES.return_to()), rcx).unwrap();
}

/// Goes on at the guest address in r11.
fn jump_by_table(a: &mut CodeAssembler) {
    a.mov(rcx, PLACES.table_eighth()).unwrap();
    a.mov(cx, r11w).unwrap();
    a.jmp(qword_ptr(rcx * 8)).unwrap();
}

/// Proves that rsp is inside the declared stack.
fn frame(a: &mut CodeAssembler, cold: CodeLabel) {
    a.cmp(rsp, qword_ptr(PLACES.stack_low())).unwrap();
    a.jb(cold).unwrap();
    a.cmp(rsp, qword_ptr(PLACES.stack_end())).unwrap();
    a.ja(cold).unwrap();
}

#[test]
fn others_enter_with_nothing_proved() {
    let program = |a: &mut CodeAssembler, cold: CodeLabel| {
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    };
    // The comparison has 9 bytes, the branch 6, and the load 5.
    assert_eq!(check_entered(0, program), Ok(()));
    assert_eq!(check_entered(20, program), Ok(()));
    assert_eq!(check_entered(9, program), Err("guest memory without a check"));
    assert_eq!(check_entered(15, program), Err("guest memory without a check"));
    assert_eq!(check_entered(10, program), Err("the block is entered at no instruction"));
}

#[test]
fn bytes_that_do_not_end_or_do_not_decode_are_rejected() {
    let rules = Rules {
        places: PLACES,
        stubs: STUBS,
        state_adjust: ADJUST,
        cache: CACHE,
        is_block: &|_| false,
    };
    let claims = Claims { entries: &[0], links: &[], guesses: &[], faults: &to_the_start() };
    let reason =
        |bytes: &[u8]| verify(bytes, AT, &claims, &rules).map_err(|rejected| rejected.reason);
    assert_eq!(reason(&[]), Err("no code"));
    assert_eq!(reason(&[0x90]), Err("the block does not end in a jump"));
    assert_eq!(reason(&[0x48]), Err("not an instruction"));
    assert_eq!(reason(&[0x06]), Err("not an instruction"));
    // A conditional jump out of the block at its end.
    assert_eq!(reason(&[0x74, 0xfe]), Err("the block does not end in a jump"));
}
