//! Blocks made by hand: some that a translator could make, and many that must be rejected.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, InstructionBlock, Register,
    code_asm::{
        CodeAssembler, CodeLabel, al, byte_ptr, cx, dword_ptr, eax, gs, mm0, mm1, mm2, mm3, ptr,
        qword_ptr, r11, r11w, rax, rbx, rcx, rdx, rsi, rsp, xmm0, xmmword_ptr,
    },
};

use super::{Rules, verify};
use crate::{context::Places, stubs::Stubs};

const AT: u64 = 0x7000_0000_1000;
const CONTEXT: u64 = 0x7000_0010_0000;
const EXIT: u64 = 0x7000_0000_0100;
const MISS: u64 = 0x7000_0000_0200;
const STRING: u64 = 0x7000_0000_0500;
const STUBS: Stubs =
    Stubs { enter: 0x7000_0000_0000, exit: EXIT, fault: 0, miss: MISS, string: STRING };
const OTHER: u64 = 0x7000_0000_8000;
/// What is added to displacements of states.
const ADJUST: i64 = -0x740;

const PLACES: Places = Places { context: CONTEXT };

/// Assembles a block and verifies it. The label is a way out that a check may take.
fn check(program: impl FnOnce(&mut CodeAssembler, CodeLabel)) -> Result<(), &'static str> {
    check_entered(0, program)
}

/// The same for a block that others enter at this offset.
fn check_entered(
    body: u32,
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
        is_block: &|host| host == OTHER,
    };
    verify(&result.code_buffer, AT, body, &rules).map_err(|rejected| rejected.reason)
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

type Bad = (&'static str, fn(&mut CodeAssembler, CodeLabel));

const ACCESSES: &[Bad] = &[
    ("guest memory without a check", |a, _| a.mov(rax, qword_ptr(rbx).gs()).unwrap()),
    ("guest memory without a check", |a, cold| {
        // The comparison decides nothing.
        a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
        a.nop().unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The wrong way round.
        a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
        a.je(cold).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // One byte too far.
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 17).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // One byte too early.
        look(a, cold);
        a.mov(al, byte_ptr(rbx + 15).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The second half of 16 bytes.
        look(a, cold);
        a.movups(xmmword_ptr(rbx + 16).gs(), xmm0).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Another register.
        look(a, cold);
        a.mov(rax, qword_ptr(rsi + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // An index more.
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + rsi + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Another scale.
        a.cmp(qword_ptr(rbx + rsi * 2 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx + rsi * 4).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The register changes in between.
        look(a, cold);
        a.add(rbx, 0x1000).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A part of the register changes in between.
        look(a, cold);
        a.mov(iced_x86::code_asm::bl, al).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The load itself changes the register.
        look(a, cold);
        a.mov(rbx, qword_ptr(rbx + 16).gs()).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A branch leads behind the check.
        let mut behind = a.create_label();
        a.jb(behind).unwrap();
        look(a, cold);
        a.set_label(&mut behind).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The stack moves past what was checked.
        a.cmp(qword_ptr(rsp - 8 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.lea(rsp, ptr(rsp - 0x1000)).unwrap();
        a.mov(qword_ptr(rsp - 8).gs(), rax).unwrap();
    }),
    ("guest memory without a check", |a, _| a.movq(mm2, qword_ptr(rsp - 8).gs()).unwrap()),
    ("guest memory without a check", |a, cold| {
        // The stack moved, and the distance from it with it.
        a.cmp(qword_ptr(rsp + 0x28 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.add(rsp, 0x20).unwrap();
        a.mov(rax, qword_ptr(rsp + 0x28).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The same by `lea`.
        a.cmp(qword_ptr(rsp + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.mov(rax, qword_ptr(rsp).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // One of two ways has not compared.
        let (mut next, mut behind) = (a.create_label(), a.create_label());
        a.jb(next).unwrap();
        look(a, cold);
        a.jmp(behind).unwrap();
        a.set_label(&mut next).unwrap();
        a.nop().unwrap();
        a.set_label(&mut behind).unwrap();
        a.mov(rsi, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A way upwards on which the register has changed.
        let mut back = a.create_label();
        look(a, cold);
        a.set_label(&mut back).unwrap();
        a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
        a.add(rbx, 8).unwrap();
        a.jb(back).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A way upwards that leads through another.
        let (mut first, mut second) = (a.create_label(), a.create_label());
        look(a, cold);
        a.set_label(&mut first).unwrap();
        a.nop().unwrap();
        a.set_label(&mut second).unwrap();
        a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
        a.jb(second).unwrap();
        a.mov(rbx, rdx).unwrap();
        a.jmp(first).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The jump of a test leads where rcx is not the guest's.
        let (mut fine, mut away) = (a.create_label(), a.create_label());
        a.cmp(qword_ptr(rcx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(away).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rcx, qword_ptr(PLACES.borrowed_rcx())).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut away).unwrap();
        a.mov(rax, qword_ptr(rcx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // States of other bytes: the displacement lacks what must be added.
        a.cmp(qword_ptr(rbx + 16).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("host memory", |a, _| a.mov(rax, qword_ptr(rbx)).unwrap()),
    ("host memory", |a, _| a.mov(qword_ptr(rsp - 8), rax).unwrap()),
    ("host memory", |a, cold| {
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).cs()).unwrap();
    }),
    ("an address that cannot be followed", |a, _| {
        // Absolute.
        a.mov(eax, dword_ptr(0x1000).gs()).unwrap();
    }),
    ("an address that cannot be followed", |a, cold| {
        // 32-bit addresses.
        look(a, cold);
        a.mov(rax, qword_ptr(iced_x86::code_asm::ebx + 16).gs()).unwrap();
    }),
];

const STATES: &[Bad] = &[
    ("states changed without a store", |a, cold| {
        a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), -1).unwrap();
        a.jne(cold).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // More than was stored.
        look(a, cold);
        a.mov(dword_ptr(rbx + 16).gs(), eax).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // A load is no store.
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // A store does not make bytes undefined.
        look(a, cold);
        a.mov(qword_ptr(rbx + 16).gs(), rax).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, _| {
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // Only one bound was looked at.
        a.cmp(rsp, qword_ptr(PLACES.stack_low())).unwrap();
        a.jb(cold).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // A frame longer than the room below.
        frame(a, cold);
        a.mov(qword_ptr(rsp - 0x208 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // Above rsp.
        frame(a, cold);
        a.mov(qword_ptr(rsp + ADJUST).fs(), -1).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.mov(rax, qword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states are loaded and not tested", |a, _| {
        // Into rcx, for the guest to keep.
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        // Two are added.
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.lea(rcx, ptr(rcx + 2)).unwrap();
        test_rcx(a, cold);
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        // The test leads elsewhere.
        let mut other = a.create_label();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jrcxz(other).unwrap();
        a.jmp(cold).unwrap();
        a.nop().unwrap();
        a.set_label(&mut other).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        // Somebody else comes in behind the test.
        let mut fine = a.create_label();
        a.jb(fine).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        // Or at the test.
        let mut test = a.create_label();
        let mut fine = a.create_label();
        a.jb(test).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.set_label(&mut test).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("states at an address that cannot be followed", |a, cold| {
        // The address is gone with its register.
        a.mov(rcx, qword_ptr(rcx + ADJUST).fs()).unwrap();
        test_rcx(a, cold);
        a.mov(rax, qword_ptr(rcx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // What was known with another rcx.
        a.cmp(qword_ptr(rcx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        test_rcx(a, cold);
        a.mov(rax, qword_ptr(rcx).gs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.add(qword_ptr(rbx + ADJUST).fs(), 1).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.mov(qword_ptr(rbx + ADJUST).fs(), rax).unwrap();
    }),
    ("states compared with something else", |a, cold| {
        a.cmp(qword_ptr(rbx + ADJUST).fs(), 1).unwrap();
        a.jne(cold).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.nop().unwrap();
        a.jmp(cold).unwrap();
        a.mov(rcx, qword_ptr(PLACES.borrowed_rcx())).unwrap();
    }),
    ("states are loaded and not tested", |a, cold| {
        // Somebody else comes in behind the test.
        let mut fine = a.create_label();
        a.jb(fine).unwrap();
        a.mov(qword_ptr(PLACES.borrowed_rcx()), rcx).unwrap();
        a.mov(rcx, qword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jrcxz(fine).unwrap();
        a.jmp(cold).unwrap();
        a.set_label(&mut fine).unwrap();
        a.mov(rcx, qword_ptr(PLACES.borrowed_rcx())).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
];

const CONTROL: &[Bad] = &[
    ("a branch leads to no known place", |a, _| a.jmp(0x7000_0002_0000_u64).unwrap()),
    ("a branch leads to no known place", |a, _| a.jmp(OTHER + 1).unwrap()),
    // Into the middle of an instruction of its own.
    ("a branch leads to no known place", |a, _| a.jmp(AT + 2).unwrap()),
    ("a branch leads to no known place", |a, _| a.je(EXIT).unwrap()),
    ("a branch leads to no known place", |a, _| a.jmp(0x7000_0000_0000_u64).unwrap()),
    ("a branch leads to no known place", |a, _| a.jmp(MISS + 1).unwrap()),
    ("a jump through something else than the table", |a, _| {
        // Wherever the guest likes.
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // All of the address is the guest's.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(rcx, r11).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // Another table.
        a.mov(rcx, PLACES.table_eighth() + 0x1_0000).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // 32 bits of the guest's.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(iced_x86::code_asm::ecx, iced_x86::code_asm::r11d).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // The place moves on.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.add(rcx, 1).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // The place is in another register than the jump takes it from.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(iced_x86::code_asm::dx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // Somebody else comes in at the jump.
        let mut jump = a.create_label();
        a.jb(jump).unwrap();
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.set_label(&mut jump).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // Or in front of the bits.
        let mut bits = a.create_label();
        a.jb(bits).unwrap();
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.set_label(&mut bits).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        // Another scale.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 4)).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        // Another place of the table's shape.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8 + 8)).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8).gs()).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        // A call would push a host address.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.call(qword_ptr(rcx * 8)).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| a.ret().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.call(EXIT).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.jmp(rax).unwrap()),
    ("control leaves in a way that cannot be followed", |a, cold| {
        look(a, cold);
        a.jmp(qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        a.jmp(qword_ptr(PLACES.target())).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| a.syscall().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.int(0x80).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.int3().unwrap()),
];

const INSTRUCTIONS: &[Bad] = &[
    ("an instruction that must not be copied", |a, _| a.wrgsbase(rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.wrfsbase(rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.mov(gs, eax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.cpuid().unwrap()),
    ("an instruction that must not be copied", |a, _| a.rdtsc().unwrap()),
    ("an instruction that must not be copied", |a, _| a.cld().unwrap()),
    ("an instruction that must not be copied", |a, _| a.mov(rsp, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.add(rsp, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.lea(rsp, ptr(rax + 8)).unwrap()),
    ("an instruction that must not be copied", |a, _| a.sub(rsp, 0x28).unwrap()),
    ("an instruction that must not be copied", |a, cold| {
        frame(a, cold);
        a.sub(rsp, 0x208).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.ldmxcsr(dword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, _| a.psubq(mm0, mm2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.psubq(mm1, mm1).unwrap()),
    ("an instruction that must not be copied", |a, _| a.movq(mm0, rax).unwrap()),
    ("an instruction that must not be copied", |a, _| a.movq(rax, mm2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.emms().unwrap()),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.movq(mm3, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.psubq(mm0, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.movq(qword_ptr(rbx + 16).gs(), mm0).unwrap();
    }),
    ("memory is used without being an operand", |a, _| a.push(rax).unwrap()),
    ("memory is used without being an operand", |a, _| a.pop(rax).unwrap()),
    ("memory is used without being an operand", |a, _| a.pushfq().unwrap()),
    ("memory is used without being an operand", |a, _| a.leave().unwrap()),
    ("memory is used without being an operand", |a, cold| {
        look(a, cold);
        a.push(qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("memory is used without being an operand", |a, _| a.movsb().unwrap()),
    ("memory is used without being an operand", |a, _| a.rep().movsq().unwrap()),
    ("an operand that cannot be redirected", |a, _| a.rep().stosq().unwrap()),
    ("an operand that cannot be redirected", |a, _| a.stosb().unwrap()),
    ("a host address in a register", |a, _| a.lea(rax, ptr(CONTEXT)).unwrap()),
];

const FIELDS: &[Bad] = &[
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.host_rsp()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.target()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.entry()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.stack_low()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.targets()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.service()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(PLACES.memory()), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.string_service()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(dword_ptr(PLACES.string()), iced_x86::code_asm::edx).unwrap()
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(rdx, qword_ptr(PLACES.return_to())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.own()), 1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(rdx, qword_ptr(PLACES.own())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.cmp(qword_ptr(PLACES.target()), r11).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(qword_ptr(PLACES.left()), mm1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(qword_ptr(PLACES.target()), mm0).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.movq(mm2, qword_ptr(PLACES.host_rsp())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.cmp(qword_ptr(PLACES.left()), 1).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.served_bytes()), rdx).unwrap();
    }),
    // The code itself.
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(AT), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rsp, qword_ptr(PLACES.borrowed())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rdx, qword_ptr(PLACES.host_rsp())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.sub(qword_ptr(PLACES.left()), 1).unwrap()),
    ("a field that blocks do not use so", |a, _| a.add(qword_ptr(PLACES.left()), 1).unwrap()),
];

#[test]
fn what_it_must_not_make_is_rejected() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, rows) in [
        ("ACCESSES", ACCESSES),
        ("STATES", STATES),
        ("CONTROL", CONTROL),
        ("INSTRUCTIONS", INSTRUCTIONS),
        ("FIELDS", FIELDS),
    ] {
        for (number, (reason, program)) in rows.iter().enumerate() {
            let result = check(program);
            if result != Err(*reason) {
                wrong.push(format!("{name}[{number}]: {result:?}, expected {reason}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 115, "{count}");
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
    let rules = Rules { places: PLACES, stubs: STUBS, state_adjust: ADJUST, is_block: &|_| false };
    let reason = |bytes: &[u8]| verify(bytes, AT, 0, &rules).map_err(|rejected| rejected.reason);
    assert_eq!(reason(&[]), Err("no code"));
    assert_eq!(reason(&[0x90]), Err("the block does not end in a jump"));
    assert_eq!(reason(&[0x48]), Err("not an instruction"));
    assert_eq!(reason(&[0x06]), Err("not an instruction"));
    // A conditional jump out of the block at its end.
    assert_eq!(reason(&[0x74, 0xfe]), Err("the block does not end in a jump"));
}
