//! Blocks made by hand that use the registers of AVX-512: tests of many states at once, frames, and
//! the count in a mask register.

use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, k1, k2, k3, k4, ptr, qword_ptr, rax, rbx, rcx, rdx, rsi, rsp, xmm0,
    xmm1, xmm16, xmm17, xmmword_ptr, ymm16, ymm17, ymmword_ptr, zmm16, zmm17, zmmword_ptr,
};

use super::{ADJUST, Bad, PLACES, check, frame};

/// Looks at 64 bytes at `[rbx + 16]`.
fn look(a: &mut CodeAssembler, cold: CodeLabel) {
    a.vptestmq(k1, zmm16, zmmword_ptr(rbx + 16 + ADJUST).fs()).unwrap();
    a.kortestb(k1, k1).unwrap();
    a.jne(cold).unwrap();
}

const GOOD: &[fn(&mut CodeAssembler, CodeLabel)] = &[
    |a, cold| {
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
        a.movups(xmm0, xmmword_ptr(rbx + 64).gs()).unwrap();
        a.movups(xmmword_ptr(rbx + 63).gs(), xmm0).unwrap();
    },
    |a, cold| {
        a.vptestmq(k1, xmm16, xmmword_ptr(rbx + rsi * 2 + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.jne(cold).unwrap();
        a.movups(xmm1, xmmword_ptr(rbx + rsi * 2).gs()).unwrap();
        a.vptestmq(k1, ymm16, ymmword_ptr(rdx + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rdx + 24).gs()).unwrap();
    },
    |a, cold| {
        frame(a, cold);
        a.vmovdqu64(zmmword_ptr(rsp - 0x78 + ADJUST).fs(), zmm16).unwrap();
        a.vmovdqu64(ymmword_ptr(rsp - 0x38 + ADJUST).fs(), ymm16).unwrap();
        a.vmovdqu64(xmmword_ptr(rsp - 0x18 + ADJUST).fs(), xmm16).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
        a.sub(rsp, 0x78).unwrap();
    },
    |a, cold| {
        a.kaddq(k2, k2, k3).unwrap();
        a.kortestq(k2, k2).unwrap();
        a.je(cold).unwrap();
        a.kmovq(rcx, k2).unwrap();
    },
];

#[test]
fn what_the_translator_makes_passes() {
    for (number, program) in GOOD.iter().enumerate() {
        assert_eq!(check(program), Ok(()), "block {number}");
    }
}

const BAD: &[Bad] = &[
    ("guest memory without a check", |a, cold| {
        // One byte too far.
        look(a, cold);
        a.mov(rax, qword_ptr(rbx + 73).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A shorter test than what is used.
        a.vptestmq(k1, xmm16, xmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The mask is not tested.
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Another mask is tested.
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.kortestq(k2, k2).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The wrong way round.
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.je(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Somebody else comes in before the branch.
        let mut branch = a.create_label();
        a.kortestb(k1, k1).unwrap();
        a.jb(branch).unwrap();
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.set_label(&mut branch).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Or before the mask is tested.
        let mut test = a.create_label();
        a.jb(test).unwrap();
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.set_label(&mut test).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The register changes between the test and the branch.
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.mov(rbx, rax).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        // Against something else than ones.
        a.vptestmq(k1, zmm17, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.vptestmq(k4, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        // Only some of them.
        a.vptestmq(k1.k4(), zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        // 8 of them, again and again.
        a.vptestmq(k1, zmm16, iced_x86::code_asm::qword_bcst(rbx + ADJUST).fs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        // The opposite.
        a.vptestnmq(k1, zmm16, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, cold| {
        frame(a, cold);
        a.vmovdqu64(zmmword_ptr(rsp - 0x78 + ADJUST).fs(), zmm17).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, cold| {
        frame(a, cold);
        a.vmovdqu64(zmmword_ptr(rsp - 0x78 + ADJUST).fs().k4(), zmm16).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.vmovdqu64(zmm17, zmmword_ptr(rbx + ADJUST).fs()).unwrap();
    }),
    ("states changed without a store", |a, _| {
        a.vmovdqu64(zmmword_ptr(rsp - 0x78 + ADJUST).fs(), zmm16).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // The last byte is above the frame.
        frame(a, cold);
        a.vmovdqu64(zmmword_ptr(rsp - 0x3f + ADJUST).fs(), zmm16).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // A frame longer than the room below.
        frame(a, cold);
        a.vmovdqu64(xmmword_ptr(rsp - 0x208 + ADJUST).fs(), xmm16).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        frame(a, cold);
        a.vmovdqu64(ymmword_ptr(rbx - 0x38 + ADJUST).fs(), ymm16).unwrap();
    }),
    ("states at an address that cannot be followed", |a, _| {
        a.vptestmq(k1, zmm16, zmmword_ptr(iced_x86::code_asm::ebx + 16).fs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        // Guest bytes instead of their states.
        look(a, cold);
        a.vptestmq(k1, zmm16, zmmword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("an instruction that must not be copied", |a, cold| {
        look(a, cold);
        a.vmovdqu64(zmmword_ptr(rbx + 16).gs(), zmm16).unwrap();
    }),
    ("host memory", |a, _| a.vmovdqu64(zmmword_ptr(rsp - 64), zmm16).unwrap()),
    ("an instruction that must not be copied", |a, _| {
        // The ones would be others.
        a.vpxorq(zmm16, zmm16, zmm16).unwrap();
    }),
    ("an instruction that must not be copied", |a, _| a.vmovdqu64(ymm17, ymm16).unwrap()),
    ("an instruction that must not be copied", |a, _| a.vmovdqu64(xmm16, xmm17).unwrap()),
    ("an instruction that must not be copied", |a, _| a.kaddq(k2, k2, k2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.kaddq(k3, k2, k3).unwrap()),
    ("an instruction that must not be copied", |a, _| a.kmovq(k2, rcx).unwrap()),
    ("an instruction that must not be copied", |a, _| a.kmovq(rax, k2).unwrap()),
    ("an instruction that must not be copied", |a, _| a.kxnorq(k2, k2, k2).unwrap()),
    ("a field that blocks do not use so", |a, _| {
        a.kmovq(k2, qword_ptr(PLACES.left())).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.kmovq(qword_ptr(PLACES.left()), k2).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The stack moves past what was looked at.
        a.vptestmq(k1, xmm16, xmmword_ptr(rsp + ADJUST).fs()).unwrap();
        a.kortestb(k1, k1).unwrap();
        a.jne(cold).unwrap();
        a.lea(rsp, ptr(rsp + 16)).unwrap();
        a.mov(rax, qword_ptr(rsp).gs()).unwrap();
    }),
];

#[test]
fn what_it_must_not_make_is_rejected() {
    let mut wrong = Vec::new();
    for (number, (reason, program)) in BAD.iter().enumerate() {
        let result = check(program);
        if result != Err(*reason) {
            wrong.push(format!("{number}: {result:?}, expected {reason}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
