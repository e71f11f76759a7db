//! Ways out of a block that must be rejected.

use iced_x86::code_asm::{cx, dword_ptr, edx, qword_ptr, r11, r11w, rax, rbx, rcx};

use super::{AT, Bad, CACHE, EXIT, MISS, OTHER, PLACES, SERVE, check_rejected, look};

/// Where the block begins, from the start of the cache.
const BLOCK: u32 = 0x1000;

#[test]
fn control_stays_where_it_can_be_followed() {
    check_rejected(CONTROL);
}

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
    // What ends an instruction elsewhere on another processor.
    ("a branch with prefixes", |a, _| a.db(&[0x66, 0xe9, 0, 0, 0, 0]).unwrap()),
    ("a branch with prefixes", |a, _| a.db(&[0x66, 0x0f, 0x84, 0, 0, 0, 0]).unwrap()),
    ("a branch with prefixes", |a, _| a.db(&[0x66, 0x74, 0]).unwrap()),
    ("a branch with prefixes", |a, _| a.db(&[0x48, 0xeb, 0]).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| {
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.db(&[0x66, 0xff, 0x24, 0xcd, 0, 0, 0, 0]).unwrap();
    }),
    // 32 bits of rcx.
    ("control leaves in a way that cannot be followed", |a, _| a.db(&[0x67, 0xe3, 0]).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| {
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.db(&[0x67, 0xff, 0x24, 0xcd, 0, 0, 0, 0]).unwrap();
    }),
    ("a jump through something else than the table", |a, cold| {
        // Something in between.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        look(a, cold);
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // The bits before the constant.
        a.mov(cx, r11w).unwrap();
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a jump through something else than the table", |a, _| {
        // Twice.
        a.mov(rcx, PLACES.table_eighth()).unwrap();
        a.mov(cx, r11w).unwrap();
        a.mov(cx, r11w).unwrap();
        a.jmp(qword_ptr(rcx * 8)).unwrap();
    }),
    ("a call that is served without a way back", |a, _| a.jmp(SERVE).unwrap()),
    ("a call that is served without a way back", |a, _| {
        // Something in between, which may be anything.
        a.mov(dword_ptr(PLACES.back()), BLOCK).unwrap();
        a.add(rax, rbx).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("a call that is served without a way back", |a, _| {
        // Somebody else comes in at the jump.
        let mut jump = a.create_label();
        a.jb(jump).unwrap();
        a.mov(dword_ptr(PLACES.back()), BLOCK).unwrap();
        a.set_label(&mut jump).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("a branch leads to no known place", |a, _| {
        a.mov(dword_ptr(PLACES.back()), BLOCK).unwrap();
        a.je(SERVE).unwrap();
    }),
    ("the block is entered at no instruction", |a, _| {
        // A way back into the middle of an instruction.
        a.mov(dword_ptr(PLACES.back()), BLOCK + 1).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("the block is entered at no instruction", |a, _| {
        // And into another block.
        let other = u32::try_from(OTHER - CACHE).unwrap();
        a.mov(dword_ptr(PLACES.back()), other).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("the block is entered at no instruction", |a, _| {
        // Before the cache, if it had a sign.
        a.mov(dword_ptr(PLACES.back()), 0_u32.wrapping_sub(16)).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        // A way back that was not looked at.
        a.mov(dword_ptr(PLACES.back()), edx).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("a field that blocks do not use so", |a, _| {
        a.mov(qword_ptr(PLACES.back()), BLOCK.cast_signed()).unwrap();
        a.jmp(SERVE).unwrap();
    }),
    ("guest memory without a check", |a, cold| {
        // What was compared before the call is not proved behind it: the comparison has 9 bytes,
        // the branch 6, the store 10 and the jump 5.
        look(a, cold);
        a.mov(dword_ptr(PLACES.back()), BLOCK + 30).unwrap();
        a.jmp(SERVE).unwrap();
        a.mov(rax, qword_ptr(rbx + 16).gs()).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| a.db(&[0xe2, 0xfe]).unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.iretq().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.retf().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.sysenter().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| a.ud2().unwrap()),
    ("control leaves in a way that cannot be followed", |a, _| {
        // The start of a transaction is a branch.
        a.db(&[0xc7, 0xf8, 0, 0, 0, 0]).unwrap();
    }),
    ("control leaves in a way that cannot be followed", |a, _| {
        // Far, through memory.
        a.db(&[0x48, 0xff, 0x2b]).unwrap();
    }),
];
