//! Accesses to guest memory and to states that must be rejected.

use iced_x86::code_asm::{
    al, bh, bl, bx, byte_ptr, cl, dword_ptr, eax, ebx, mm2, ptr, qword_ptr, rax, rbp, rbx, rcx,
    rdx, rsi, rsp, sil, xmm0, xmmword_ptr,
};

use super::{ADJUST, Bad, PLACES, check_rejected, frame, look, test_rcx};

#[test]
fn accesses_without_proof_are_rejected() {
    check_rejected(ACCESSES);
}

#[test]
fn states_are_used_in_their_own_forms_only() {
    check_rejected(STATES);
}

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
        a.mov(bl, al).unwrap();
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
        a.mov(rax, qword_ptr(ebx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The register is exchanged with another.
        look(a, cold);
        a.xchg(rbx, rax).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The other one of the two.
        look(a, cold);
        a.xchg(rax, rbx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.xadd(rax, rbx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // What only may change it.
        look(a, cold);
        a.cmpxchg(rbx, rdx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.cmove(rbx, rdx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A shift by a count that may be 0.
        look(a, cold);
        a.shl(rbx, cl).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Bits 8 to 15.
        look(a, cold);
        a.mov(bh, al).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.inc(bx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // 32 bits clear the others.
        look(a, cold);
        a.mov(ebx, ebx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.sete(bl).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.pmovmskb(ebx, xmm0).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The index changes in 8 bits.
        a.cmp(qword_ptr(rbx + rdx * 8 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.cwd().unwrap();
        a.mov(rsi, qword_ptr(rbx + rdx * 8).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Registers that no operand names: rdx of a product, rax of a comparison, ah of the flags.
        a.cmp(qword_ptr(rdx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mul(rsi).unwrap();
        a.mov(rsi, qword_ptr(rdx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        a.cmp(qword_ptr(rax + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.cmpxchg(rsi, rbx).unwrap();
        a.mov(rsi, qword_ptr(rax).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        a.cmp(qword_ptr(rax + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.lahf().unwrap();
        a.mov(rsi, qword_ptr(rax).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The access to memory itself exchanges the address.
        look(a, cold);
        a.xchg(qword_ptr(rbx + 16).gs(), rbx).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A field brings another value.
        look(a, cold);
        a.mov(rbx, qword_ptr(PLACES.borrowed())).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // Two ways have compared, each another half.
        let (mut next, mut behind) = (a.create_label(), a.create_label());
        a.jb(next).unwrap();
        a.cmp(dword_ptr(rbx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.jmp(behind).unwrap();
        a.set_label(&mut next).unwrap();
        a.cmp(dword_ptr(rbx + 4 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.set_label(&mut behind).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // A gap of one byte.
        a.cmp(dword_ptr(rbx + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.cmp(dword_ptr(rbx + 5 + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, _| {
        // Both ways of the branch lead to the same place.
        let mut next = a.create_label();
        a.cmp(qword_ptr(rbx + ADJUST).fs(), 0).unwrap();
        a.jne(next).unwrap();
        a.set_label(&mut next).unwrap();
        a.mov(rax, qword_ptr(rbx).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The index changes on the way upwards, by a part of it.
        let mut back = a.create_label();
        a.cmp(byte_ptr(rbx + rsi + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.set_label(&mut back).unwrap();
        a.mov(al, byte_ptr(rbx + rsi).gs()).unwrap();
        a.inc(sil).unwrap();
        a.jb(back).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // The stack is far away: the distance does not come round.
        a.cmp(qword_ptr(rsp + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.lea(rsp, ptr(rsp - 0x7fff_fff8)).unwrap();
        a.lea(rsp, ptr(rsp - 0x7fff_fff8)).unwrap();
        a.lea(rsp, ptr(rsp - 0x10)).unwrap();
        a.mov(rax, qword_ptr(rsp).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // 16 bytes by an instruction of 8.
        look(a, cold);
        a.cmpxchg16b(xmmword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        look(a, cold);
        a.fxsave(ptr(rbx + 16).gs()).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // 10 bytes.
        look(a, cold);
        a.sidt(ptr(rbx + 16).gs()).unwrap();
    }),
    ("host memory", |a, cold| {
        // The stack segment.
        a.cmp(qword_ptr(rbp + ADJUST).fs(), 0).unwrap();
        a.jne(cold).unwrap();
        a.mov(rax, qword_ptr(rbp)).unwrap();
    }),
    ("host memory", |a, _| {
        // A host address that was cut off.
        a.db(&[0x67, 0x48, 0x8b, 0x05, 0, 0, 0, 0]).unwrap();
    }),
    ("an address that cannot be followed", |a, _| {
        // Data beside the code.
        a.db(&[0x65, 0x48, 0x8b, 0x05, 0, 0, 0, 0]).unwrap();
    }),
    ("an address that cannot be followed", |a, _| {
        // 64 bits of an address in the instruction.
        a.db(&[0x65, 0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    }),
    ("host memory", |a, _| a.db(&[0x48, 0xa3, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap()),
    ("states in an instruction that is none of theirs", |a, cold| {
        // The last of two segments counts.
        look(a, cold);
        a.db(&[0x65, 0x64, 0x48, 0x8b, 0x43, 0x10]).unwrap();
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
    ("states changed without a store", |a, cold| {
        // The store changed the address.
        look(a, cold);
        a.xchg(qword_ptr(rbx + 16).gs(), rbx).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // One that stores only if it finds what it expects.
        look(a, cold);
        a.cmpxchg(qword_ptr(rbx + 16).gs(), rdx).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // One of two ways has stored.
        let mut behind = a.create_label();
        look(a, cold);
        a.jb(behind).unwrap();
        a.mov(qword_ptr(rbx + 16).gs(), rax).unwrap();
        a.set_label(&mut behind).unwrap();
        a.mov(qword_ptr(rbx + 16 + ADJUST).fs(), 0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // The stack has moved since it was looked at.
        frame(a, cold);
        a.lea(rsp, ptr(rsp - 8)).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // Upwards, too.
        frame(a, cold);
        a.add(rsp, 0x100).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // The bounds the wrong way round.
        a.cmp(rsp, qword_ptr(PLACES.stack_low())).unwrap();
        a.ja(cold).unwrap();
        a.cmp(rsp, qword_ptr(PLACES.stack_end())).unwrap();
        a.jb(cold).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // Signed.
        a.cmp(rsp, qword_ptr(PLACES.stack_low())).unwrap();
        a.jl(cold).unwrap();
        a.cmp(rsp, qword_ptr(PLACES.stack_end())).unwrap();
        a.ja(cold).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // One of two ways has looked at the bounds.
        let mut behind = a.create_label();
        a.jb(behind).unwrap();
        frame(a, cold);
        a.set_label(&mut behind).unwrap();
        a.mov(qword_ptr(rsp - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // A frame at another register.
        frame(a, cold);
        a.mov(qword_ptr(rsp + rbx - 8 + ADJUST).fs(), -1).unwrap();
    }),
    ("a field that blocks do not use so", |a, cold| {
        a.cmp(rax, qword_ptr(PLACES.stack_low())).unwrap();
        a.jb(cold).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.cmp(qword_ptr(rbx + ADJUST).fs(), rax).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.cmp(dword_ptr(rbx + ADJUST).fs(), 0x5555_5555).unwrap();
    }),
    ("states compared with something else", |a, cold| {
        // Guarded pages.
        a.cmp(byte_ptr(rbx + ADJUST).fs(), 0x55).unwrap();
        a.jne(cold).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.xchg(qword_ptr(rbx + ADJUST).fs(), rax).unwrap();
    }),
    ("states in an instruction that is none of theirs", |a, _| {
        a.movups(xmmword_ptr(rbx + ADJUST).fs(), xmm0).unwrap();
    }),
    ("states changed without a store", |a, cold| {
        // Other values than those of states.
        look(a, cold);
        a.mov(qword_ptr(rbx + 16).gs(), rax).unwrap();
        a.mov(byte_ptr(rbx + 16 + ADJUST).fs(), 1).unwrap();
    }),
];
