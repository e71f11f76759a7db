//! Ways out of a block that must be rejected.

use iced_x86::code_asm::{cx, qword_ptr, r11, r11w, rax, rbx, rcx};

use super::{AT, Bad, EXIT, MISS, OTHER, PLACES, check_rejected, look};

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
