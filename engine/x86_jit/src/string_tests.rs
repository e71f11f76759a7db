//! String instructions against the interpreter: every form, overlaps, faults in the middle.

use guest_memory::{ByteState, GuestAddr};
use iced_x86::code_asm::{
    CodeAssembler, dword_ptr, ecx, qword_ptr, rax, rbx, rcx, rdi, rdx, rsi, rsp, xmm0, xmm1,
    xmmword_ptr,
};
use x86_interp::Exit;

use super::tests::{DATA, DATA_BYTES, Machine, STACK, TRAP, alone, both_with};

/// A form, as bytes: prefixes and opcode.
const FORMS: [&[u8]; 18] = [
    &[0xf3, 0xa4],
    &[0xf3, 0x66, 0xa5],
    &[0xf3, 0xa5],
    &[0xf3, 0x48, 0xa5],
    &[0xf2, 0xa4],
    &[0xf3, 0xaa],
    &[0xf3, 0x66, 0xab],
    &[0xf3, 0xab],
    &[0xf3, 0x48, 0xab],
    &[0xf2, 0x48, 0xab],
    &[0xa4],
    &[0x66, 0xa5],
    &[0xa5],
    &[0x48, 0xa5],
    &[0xaa],
    &[0x66, 0xab],
    &[0xab],
    &[0x48, 0xab],
];

/// Fills some bytes that differ, runs the instruction, and looks at all registers behind it.
fn program(a: &mut CodeAssembler, form: &[u8], [to, from, count]: [u64; 3]) {
    let mut fill = a.create_label();
    a.mov(rbx, DATA).unwrap();
    a.mov(rax, 0x0807_0605_0403_0201_u64).unwrap();
    a.mov(rdx, 0x0101_0101_0101_0101_u64).unwrap();
    a.mov(ecx, 0x180).unwrap();
    a.set_label(&mut fill).unwrap();
    a.mov(qword_ptr(rbx + rcx * 8), rax).unwrap();
    a.add(rax, rdx).unwrap();
    a.dec(ecx).unwrap();
    a.jne(fill).unwrap();
    a.movq(xmm0, rax).unwrap();
    a.mov(rdi, to).unwrap();
    a.mov(rsi, from).unwrap();
    a.mov(rcx, count).unwrap();
    a.stc().unwrap();
    a.db(form).unwrap();
    // The carry, and registers that a call into Rust may change.
    a.adc(rcx, rcx).unwrap();
    a.mov(qword_ptr(rsp - 0x20), rcx).unwrap();
    a.movups(xmmword_ptr(rsp - 0x40), xmm0).unwrap();
    a.movups(xmm1, xmmword_ptr(rsp - 0x40)).unwrap();
    a.ret().unwrap();
}

fn check(form: &[u8], at: [u64; 3], prepare: impl Fn(&mut Machine)) -> (Exit, Machine) {
    both_with(|a| program(a, form, at), prepare, 0)
}

#[test]
fn every_form_moves_as_in_the_interpreter() {
    let _alone = alone();
    for form in FORMS {
        for count in [0, 5, 200] {
            let (exit, _) = check(form, [DATA + 0x905, DATA + 0x103, count], |_| {});
            assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
        }
    }
}

#[test]
fn overlapping_copies_repeat_the_pattern() {
    let _alone = alone();
    for form in FORMS.iter().take(5) {
        for gap in [0_i64, 1, 2, 3, 5, 8, 9, 31, -1, -3, -8] {
            let to = (DATA + 0x400).wrapping_add_signed(gap);
            check(form, [to, DATA + 0x400, 60], |_| {});
        }
    }
}

#[test]
fn lengths_and_distances_of_every_kind_move_alike() {
    let _alone = alone();
    for (form, unit) in [(FORMS[0], 1), (FORMS[2], 4), (FORMS[5], 1), (FORMS[8], 8)] {
        for len in [8, 56, 64, 72, 128, 136, 2048, 4096, 4104] {
            for distance in [0, 40, 0x80, 0xf80, 0x1000] {
                check(form, [DATA + 0x410 + distance, DATA + 0x410, len / unit], |_| {});
                check(form, [DATA + 0x410, DATA + 0x410 + distance, len / unit], |_| {});
            }
        }
    }
    for len in [1, 2, 3, 7, 31, 63, 65, 127, 2047, 4095, 4097] {
        check(FORMS[0], [DATA + 0x1e13, DATA + 0x105, len], |_| {});
        check(FORMS[5], [DATA + 0x1e13, DATA + 0x105, len], |_| {});
    }
}

#[test]
fn what_is_read_may_be_written_under_another_address() {
    let _alone = alone();
    let alias = |machine: &mut Machine| {
        let m = &mut machine.m;
        let of = m.mapping(GuestAddr(DATA + 0x1000)).unwrap();
        m.unmap(GuestAddr(DATA + 0x3000), 0x1000);
        m.map_frames(GuestAddr(DATA + 0x3000), &[of.frame], 0, 0x1000, of.perms).unwrap();
    };
    for form in [FORMS[0], FORMS[3]] {
        for gap in [0, 1, 63, 64, 200] {
            for len in [40, 64, 136] {
                check(form, [DATA + 0x3100 + gap, DATA + 0x1100, len], alias);
                check(form, [DATA + 0x3100, DATA + 0x1100 + gap, len], alias);
            }
        }
    }
}

#[test]
fn every_byte_is_looked_at_before_any_moves() {
    let _alone = alone();
    // Only the first 16 bytes of the source are filled before.
    let (to, from) = (DATA + 0x2100, DATA + 0xbf8);
    for form in [FORMS[0], FORMS[5]] {
        for len in [20, 64, 150] {
            for byte in [16, 17, 63, 64, 86, len - 1].into_iter().filter(|byte| *byte < len) {
                for state in [ByteState::FREED, ByteState::UNDEFINED] {
                    for at in [to, from] {
                        check(form, [to, from, len], |machine| {
                            machine.m.set_state(GuestAddr(at + byte), 1, state, None);
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn what_stops_in_the_middle_stops_where_the_interpreter_does() {
    let _alone = alone();
    let end = DATA + DATA_BYTES;
    for form in FORMS {
        // One unit stops as the first of several does.
        let backs: &[u64] = if matches!(form, [0xf2 | 0xf3, ..]) { &[0, 3, 40] } else { &[1] };
        for &back in backs {
            // The end of the target, of the source, and of both at once.
            check(form, [end - back, DATA + 0x100, 30], |_| {});
            check(form, [DATA + 0x100, end - back, 30], |_| {});
            check(form, [end - back, end - back - 1, 30], |_| {});
            check(form, [DATA + 0xff0, end - back, u64::MAX], |_| {});
        }
        // Bytes that nobody may touch, and bytes that nobody has written.
        let freed = |machine: &mut Machine| {
            machine.m.set_state(GuestAddr(DATA + 0x1203), 5, ByteState::FREED, None);
        };
        check(form, [DATA + 0x11f0, DATA + 0x100, 30], freed);
        check(form, [DATA + 0x2000, DATA + 0x11f0, 30], freed);
        check(form, [DATA + 0x2000, STACK + 0x100, 30], |_| {});
        check(form, [STACK + 0x100, DATA + 0x100, 30], |_| {});
        check(form, [DATA + 0x1010, DATA + 0xff0, 30], |_| {});
        // Nowhere.
        check(form, [0x10, DATA, 3], |_| {});
        check(form, [DATA, 0x8000_0000_0000_0000, 3], |_| {});
    }
}

#[test]
fn copies_between_pages_stay_translated() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        let mut top = a.create_label();
        a.mov(rbx, DATA).unwrap();
        a.mov(dword_ptr(rbx), 100).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rdi, qword_ptr(rbx + 0x1f08)).unwrap();
        a.lea(rsi, qword_ptr(rbx + 0xff0)).unwrap();
        a.mov(ecx, 0x200).unwrap();
        a.rep().movsb().unwrap();
        a.mov(ecx, 0x100).unwrap();
        a.rep().stosd().unwrap();
        a.dec(dword_ptr(rbx)).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
    };
    let (_, machine) = both_with(program, |_| {}, 0);
    assert!(machine.counts().steps < 12, "{:?}", machine.counts());
    assert!(machine.counts().entries < 30, "{:?}", machine.counts());
}

#[test]
fn code_that_a_copy_changes_runs_changed() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        let (mut top, mut patched) = (a.create_label(), a.create_label());
        a.mov(rbx, DATA).unwrap();
        a.mov(dword_ptr(rbx + 0x10), 9).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rdi, qword_ptr(patched)).unwrap();
        a.add(rdi, 3).unwrap();
        a.lea(rsi, qword_ptr(rbx + 0x10)).unwrap();
        a.mov(ecx, 1).unwrap();
        a.rep().movsb().unwrap();
        a.set_label(&mut patched).unwrap();
        // The immediate.
        a.add(rdx, 1).unwrap();
        a.dec(dword_ptr(rbx + 0x10)).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
    };
    let (_, machine) = both_with(program, |_| {}, 0);
    assert_eq!(machine.r.gpr[2], 45);
    assert_eq!(machine.r.rip, TRAP);
}
