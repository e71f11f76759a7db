//! Blocks made by hand: some that a translator could make, and many that must be rejected.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, InstructionBlock, Register,
    code_asm::{
        CodeAssembler, CodeLabel, al, byte_ptr, dword_ptr, eax, gs, ptr, qword_ptr, rax, rbx, rcx,
        rdx, rsi, rsp, xmm0, xmmword_ptr,
    },
};

use super::{Rules, verify};
use crate::{context::Places, stubs::Stubs};

const AT: u64 = 0x7000_0000_1000;
const CONTEXT: u64 = 0x7000_0010_0000;
const EXIT: u64 = 0x7000_0000_0100;
const JUMP: u64 = 0x7000_0000_0200;
const CALL: u64 = 0x7000_0000_0300;
const GO_BACK: u64 = 0x7000_0000_0400;
const STRING: u64 = 0x7000_0000_0500;
const STUBS: Stubs = Stubs {
    enter: 0x7000_0000_0000,
    exit: EXIT,
    fault: 0,
    jump: JUMP,
    call: CALL,
    go_back: GO_BACK,
    string: STRING,
};
const OTHER: u64 = 0x7000_0000_8000;
/// What is added to displacements of states.
const ADJUST: i64 = -0x740;

const PLACES: Places = Places { context: CONTEXT };

/// Assembles a block and verifies it. The label is a way out that a check may take.
fn check(program: impl FnOnce(&mut CodeAssembler, CodeLabel)) -> Result<(), &'static str> {
    let mut a = CodeAssembler::new(64).unwrap();
    a.set_prefer_short_branch(false);
    let mut cold = a.create_label();
    program(&mut a, cold);
    a.set_label(&mut cold).unwrap();
    a.mov(dword_ptr(PLACES.exit()), 3).unwrap();
    a.jmp(EXIT).unwrap();
    let mut code = a.take_instructions();
    // Large absolute addresses stand for operands relative to RIP.
    for ins in code.iter_mut().filter(|ins| ins.memory_displacement64() >= CONTEXT & !0xfff_ffff) {
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
    verify(&result.code_buffer, AT, &rules).map_err(|rejected| rejected.reason)
}

/// Checks 8 bytes at `[rbx + 16]`.
fn look(a: &mut CodeAssembler, cold: CodeLabel) {
    a.cmp(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    a.jne(cold).unwrap();
}

#[test]
fn what_the_translator_makes_passes() {
    let good: &[fn(&mut CodeAssembler, CodeLabel)] = &[
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
            a.sub(qword_ptr(PLACES.left()), 1).unwrap();
            a.je(cold).unwrap();
            a.mov(rcx, 5_u64).unwrap();
            a.jmp(JUMP).unwrap();
        },
        |a, cold| {
            // A call whose target and return address are looked at in rcx.
            a.mov(rcx, qword_ptr(rbx + 16 + ADJUST).fs()).unwrap();
            test_rcx(a, cold);
            a.mov(rdx, qword_ptr(rbx + 16).gs()).unwrap();
            push(a, cold);
            a.lea(rsp, ptr(rsp - 8)).unwrap();
            a.jmp(CALL).unwrap();
        },
        |a, cold| {
            // The same over undefined bytes.
            a.mov(rcx, qword_ptr(rsp - 8 + ADJUST).fs()).unwrap();
            a.lea(rcx, ptr(rcx + 1)).unwrap();
            test_rcx(a, cold);
            a.mov(qword_ptr(rsp - 8).gs(), rax).unwrap();
            a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), 0).unwrap();
            a.lea(rsp, ptr(rsp - 8)).unwrap();
            a.jmp(CALL).unwrap();
        },
        |a, _| {
            a.lea(rsp, ptr(rsp + 8)).unwrap();
            a.jmp(GO_BACK).unwrap();
        },
        |a, _| {
            a.mov(dword_ptr(PLACES.string()), 0x21).unwrap();
            a.jmp(STRING).unwrap();
        },
    ];
    for (number, program) in good.iter().enumerate() {
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
    a.mov(rcx, qword_ptr(rsp - 8).gs()).unwrap();
    a.mov(qword_ptr(PLACES.overwritten()), rcx).unwrap();
    a.mov(rcx, 0x1234_u64).unwrap();
    a.mov(qword_ptr(rsp - 8).gs(), rcx).unwrap();
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
    ("a call that has not pushed where it returns to", |a, _| a.jmp(CALL).unwrap()),
    ("a call that has not pushed where it returns to", |a, cold| {
        // Stored, but rsp is not there.
        push(a, cold);
        a.jmp(CALL).unwrap();
    }),
    ("a call that has not pushed where it returns to", |a, cold| {
        // Lowered by something else.
        push(a, cold);
        a.lea(rsp, ptr(rsp - 16)).unwrap();
        a.jmp(CALL).unwrap();
    }),
    ("a call that has not pushed where it returns to", |a, cold| {
        // And moved once more.
        push(a, cold);
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.jmp(CALL).unwrap();
    }),
    ("a call that has not pushed where it returns to", |a, cold| {
        // A part of it.
        look(a, cold);
        a.cmp(qword_ptr(rsp - 8 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(dword_ptr(rsp - 8).gs(), eax).unwrap();
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.jmp(CALL).unwrap();
    }),
    ("a call that has not pushed where it returns to", |a, cold| {
        // Another way leads in.
        let mut inside = a.create_label();
        a.jb(inside).unwrap();
        push(a, cold);
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.set_label(&mut inside).unwrap();
        a.jmp(CALL).unwrap();
    }),
    ("a branch leads to no known place", |a, _| a.jmp(CALL + 1).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.ret().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.call(EXIT).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.jmp(rax).unwrap()),
    ("control leaves in a way that cannot be followed", |a, cold| {
        look(a, cold);
        a.jmp(qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        a.jmp(qword_ptr(PLACES.host_target())).unwrap();
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
        a.mov(qword_ptr(PLACES.host_target()), rdx).unwrap();
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
        a.mov(qword_ptr(PLACES.return_to()), rdx).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.served_bytes()), rdx).unwrap();
    }),
    // The code itself.
    ("a field that blocks do not use so", |a, _| a.mov(qword_ptr(AT), rdx).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rsp, qword_ptr(PLACES.borrowed())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.mov(rdx, qword_ptr(PLACES.host_rsp())).unwrap()),
    ("a field that blocks do not use so", |a, _| a.sub(qword_ptr(PLACES.left()), 2).unwrap()),
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
    assert!(count >= 90, "{count}");
}

#[test]
fn bytes_that_do_not_end_or_do_not_decode_are_rejected() {
    let rules = Rules { places: PLACES, stubs: STUBS, state_adjust: ADJUST, is_block: &|_| false };
    let reason = |bytes: &[u8]| verify(bytes, AT, &rules).map_err(|rejected| rejected.reason);
    assert_eq!(reason(&[]), Err("no code"));
    assert_eq!(reason(&[0x90]), Err("the block does not end in a jump"));
    assert_eq!(reason(&[0x48]), Err("not an instruction"));
    assert_eq!(reason(&[0x06]), Err("not an instruction"));
    // A conditional jump out of the block at its end.
    assert_eq!(reason(&[0x74, 0xfe]), Err("the block does not end in a jump"));
}
