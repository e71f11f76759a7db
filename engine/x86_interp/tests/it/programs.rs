//! Integer programs, by blocks and by single steps.

use iced_x86::code_asm::{
    CodeAssembler, al, byte_ptr, cl, dword_ptr, eax, ebx, ecx, edx, qword_ptr, r8, r9, rax, rbx,
    rcx, rdi, rdx, rsi, rsp, xmm0, xmm1, xmmword_ptr,
};

use crate::{DATA, Machine, STACK_TOP, machine::CODE};

/// Runs a program both ways and compares; returns the machine.
fn both(program: impl Fn(&mut CodeAssembler)) -> Machine {
    let mut fast = Machine::of(&program);
    let mut slow = Machine::of(&program);
    fast.finish();
    slow.finish_by_steps();
    assert_eq!(fast.r, slow.r);
    assert_eq!(fast.clock.events, slow.clock.events);
    assert_eq!(fast.r.gpr[4], STACK_TOP - 0x100);
    fast
}

#[test]
fn sums_a_loop() {
    let m = both(|a| {
        let mut top = a.create_label();
        a.xor(eax, eax).unwrap();
        a.mov(ecx, 10).unwrap();
        a.set_label(&mut top).unwrap();
        a.add(rax, rcx).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.r.gpr[0], 55);
    assert_eq!(m.clock.events, 9);
}

#[test]
fn calls_and_returns() {
    let m = both(|a| {
        let mut f = a.create_label();
        a.mov(ecx, 5).unwrap();
        a.call(f).unwrap();
        a.add(rax, 1).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rcx).unwrap();
        a.mov(rax, qword_ptr(rsp + 0x20)).unwrap();
        a.imul_3(rax, rax, 7).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.r.gpr[0], 36);
    assert_eq!(m.clock.events, 1, "a call upwards is no event, its return is");
}

#[test]
fn divides_and_widens() {
    let m = both(|a| {
        a.mov(rax, -100i64).unwrap();
        a.cqo().unwrap();
        a.mov(ecx, 7).unwrap();
        a.idiv(rcx).unwrap();
        a.mov(r8, rdx).unwrap();
        a.movzx(ebx, al).unwrap();
        a.movsx(r9, al).unwrap();
        a.bswap(rax).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.r.gpr[8].cast_signed(), -2);
    assert_eq!(m.r.gpr[3], 0xf2);
    assert_eq!(m.r.gpr[9].cast_signed(), -14);
    assert_eq!(m.r.gpr[0], 0xf2ff_ffff_ffff_ffff);
}

#[test]
fn high_bytes_and_partial_registers() {
    use iced_x86::code_asm::{ah, ax, bl, ch, spl};
    let m = both(|a| {
        a.mov(rax, 0x1122_3344_5566_7788u64).unwrap();
        a.mov(ah, 0xab).unwrap();
        a.mov(ch, ah).unwrap();
        a.mov(bl, ah).unwrap();
        a.add(ax, 1).unwrap();
        a.mov(rdx, rsp).unwrap();
        a.mov(byte_ptr(rsp - 0x40), spl).unwrap();
        a.movzx(edx, byte_ptr(rsp - 0x40)).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.r.gpr[0], 0x1122_3344_5566_ab89);
    assert_eq!(m.r.gpr[1] & 0xff00, 0xab00);
    assert_eq!(m.r.gpr[3], 0xab);
    assert_eq!(m.r.gpr[2], (STACK_TOP - 0x108) & 0xff);
}

#[test]
fn copies_with_rep() {
    let m = both(|a| {
        a.mov(rdi, DATA).unwrap();
        a.mov(eax, 0x41).unwrap();
        a.mov(ecx, 100).unwrap();
        a.rep().stosb().unwrap();
        a.mov(rsi, DATA).unwrap();
        a.mov(rdi, DATA + 0x800).unwrap();
        a.mov(ecx, 12).unwrap();
        a.rep().movsq().unwrap();
        a.mov(rsi, DATA).unwrap();
        a.mov(rdi, DATA + 0x800).unwrap();
        a.mov(ecx, 200).unwrap();
        a.repe().cmpsb().unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.peek64(DATA + 0x800 + 88), 0x4141_4141_4141_4141);
    assert_eq!(m.r.gpr[1], 200 - 97, "96 bytes are equal, the 97th differs");
    assert_eq!(m.r.gpr[6], DATA + 97);
}

#[test]
fn atomics_and_vectors() {
    let m = both(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(dword_ptr(rbx), 5).unwrap();
        a.mov(eax, 5).unwrap();
        a.mov(ecx, 9).unwrap();
        a.lock().cmpxchg(dword_ptr(rbx), ecx).unwrap();
        a.mov(edx, 3).unwrap();
        a.lock().xadd(dword_ptr(rbx), edx).unwrap();
        a.movups(xmm0, xmmword_ptr(rbx)).unwrap();
        a.movaps(xmmword_ptr(rbx + 0x10), xmm0).unwrap();
        a.movd(eax, xmm0).unwrap();
        a.movq(xmm1, qword_ptr(rbx)).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.peek64(DATA + 0x10), 12);
    assert_eq!(m.r.gpr[2], 9);
    assert_eq!(m.r.gpr[0], 12);
    assert_eq!(m.r.xmm[1], 12);
}

#[test]
fn shifts_by_register() {
    let m = both(|a| {
        a.mov(eax, 1).unwrap();
        a.mov(ecx, 4).unwrap();
        a.shl(eax, cl).unwrap();
        a.mov(edx, 0x8000_0001u32).unwrap();
        a.rol(edx, 1).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(m.r.gpr[0], 16);
    assert_eq!(m.r.gpr[2], 3);
}

#[test]
fn rip_relative_and_absolute() {
    let m = both(|a| {
        let mut constant = a.create_label();
        a.mov(rax, qword_ptr(constant)).unwrap();
        a.lea(rcx, qword_ptr(constant)).unwrap();
        a.ret().unwrap();
        a.set_label(&mut constant).unwrap();
        a.dq(&[0x1234_5678_9abc_def0]).unwrap();
    });
    assert_eq!(m.r.gpr[0], 0x1234_5678_9abc_def0);
    assert!(m.r.gpr[1] > CODE);
}
