//! Faults are precise, exits name their instruction, code that changes is seen.

use std::collections::BTreeSet;

use guest_memory::{AccessKind, ByteState, GuestAddr, Objection, Perms, Reason};
use iced_x86::{
    IcedError,
    code_asm::{
        CodeAssembler, al, byte_ptr, dword_ptr, dx, eax, ebx, ecx, edx, qword_ptr, rax, rbx, rcx,
        rdi, rdx, rsi, rsp, xmm0, xmmword_ptr,
    },
};
use x86_interp::{Exit, Fault, Grant, PrivilegedOp, Undefined, Vector};

use crate::{
    DATA, Machine, STACK_TOP,
    machine::{CODE, TRAP},
};

fn memory_fault(exit: &Exit) -> &Objection {
    match exit {
        Exit::Fault(Fault::Memory(objection)) => objection,
        other => panic!("{other:?}"),
    }
}

/// Runs up to a fault and checks that stepping over the same instruction again changes nothing.
fn faults(program: impl Fn(&mut CodeAssembler)) -> (Machine, Exit) {
    let mut m = Machine::of(program);
    let exit = m.run();
    let before = m.r.clone();
    assert_eq!(m.step(Grant::None), exit);
    assert_eq!(m.r, before);
    (m, exit)
}

#[test]
fn unmapped_store_changes_nothing() {
    let (m, exit) = faults(|a| {
        a.mov(rbx, 0x1234i64).unwrap();
        a.cmp(rbx, 0x1234).unwrap();
        a.add(dword_ptr(rbx), 7).unwrap();
        a.ret().unwrap();
    });
    let objection = memory_fault(&exit);
    assert_eq!(objection.kind, AccessKind::Write);
    assert_eq!(objection.reason, Reason::NotMapped { arena: None });
    assert_eq!(m.r.rflags & 0x40, 0x40, "flags of the comparison, not of the addition");
}

#[test]
fn read_modify_write_of_read_only_memory() {
    let mut m = Machine::of(|a| {
        a.mov(rbx, DATA).unwrap();
        a.inc(dword_ptr(rbx)).unwrap();
    });
    m.m.protect(GuestAddr(DATA), 0x1000, Perms::READ);
    let exit = m.run();
    assert_eq!(memory_fault(&exit).kind, AccessKind::Write);
    assert_eq!(memory_fault(&exit).reason, Reason::NotPermitted { perms: Perms::READ });
}

#[test]
fn divide_error_and_misaligned_vector() {
    let (m, exit) = faults(|a| {
        a.mov(eax, 7).unwrap();
        a.xor(ecx, ecx).unwrap();
        a.div(ecx).unwrap();
    });
    assert_eq!(exit, Exit::Fault(Fault::Vector(Vector::DivideError)));
    assert_eq!(m.r.gpr[0], 7);
    let (_, exit) = faults(|a| {
        a.mov(rbx, DATA + 4).unwrap();
        a.movaps(xmm0, xmmword_ptr(rbx)).unwrap();
    });
    assert_eq!(exit, Exit::Fault(Fault::Vector(Vector::GeneralProtection)));
}

#[test]
fn push_fault_keeps_rsp() {
    let (m, _) = faults(|a| {
        a.mov(rsp, DATA).unwrap();
        a.push(rax).unwrap();
    });
    assert_eq!(m.r.gpr[4], DATA);
}

#[test]
fn rep_stops_at_the_iteration_that_faults() {
    let (m, exit) = faults(|a| {
        a.mov(rdi, DATA + 0x4000 - 20).unwrap();
        a.mov(rsi, DATA).unwrap();
        a.mov(ecx, 8).unwrap();
        a.rep().movsq().unwrap();
    });
    assert_eq!(m.r.gpr[1], 6);
    assert_eq!(m.r.gpr[7], DATA + 0x4000 - 4);
    assert_eq!(m.r.gpr[6], DATA + 16);
    assert_eq!(memory_fault(&exit).at, GuestAddr(DATA + 0x4000));
}

#[test]
fn privileged_instructions_are_the_owners() {
    let mut m = Machine::of(|a| {
        a.mov(rax, iced_x86::code_asm::cr8).unwrap();
        a.mov(dx, 0x3f8).unwrap();
        a.in_(al, dx).unwrap();
        a.ret().unwrap();
    });
    let exit = m.run();
    let Exit::Privileged { op, next } = exit else { panic!("{exit:?}") };
    assert_eq!(op, PrivilegedOp::ReadControl { register: 0, control: 8 });
    m.r.rip = next.0;
    let exit = m.run();
    let Exit::Privileged { op, .. } = exit else { panic!("{exit:?}") };
    assert_eq!(op, PrivilegedOp::In { port: 0x3f8, size_bytes: 1 });
    m.r.is_user = true;
    m.m.protect(GuestAddr(CODE), 0x4000, Perms::READ | Perms::EXECUTE | Perms::USER);
    assert_eq!(m.run(), Exit::Fault(Fault::Vector(Vector::GeneralProtection)));
}

#[test]
fn newly_written_code_is_seen() {
    // Writes `mov eax, 2` over `mov eax, 1` ahead of itself, in the same block.
    let mut m = Machine::of(|a| {
        let mut patch = a.create_label();
        a.lea(rbx, qword_ptr(patch)).unwrap();
        a.mov(byte_ptr(rbx + 1), 2).unwrap();
        a.set_label(&mut patch).unwrap();
        a.mov(eax, 1).unwrap();
        a.ret().unwrap();
    });
    m.finish();
    assert_eq!(m.r.gpr[0], 2);
    // And again from outside: the cached block is stale.
    m.r.rip = CODE;
    m.r.gpr[4] -= 8;
    let patched = m.peek::<1>(CODE + 7);
    assert_eq!(patched, [0xc6], "the store follows the lea");
    m.poke(CODE + 7 + 3, &[3]);
    m.finish();
    assert_eq!(m.r.gpr[0], 3);
}

#[test]
fn code_copied_over_the_running_block_is_seen() {
    // Copies `mov al, 2` from the data over `mov al, 1` behind the copy, from one page before.
    let mut m = Machine::of(|a| {
        a.mov(rsi, DATA).unwrap();
        a.mov(rdi, CODE - 0x1000 + 30).unwrap();
        a.mov(ecx, 0x1000).unwrap();
        a.rep().movsb().unwrap();
        a.nop().unwrap();
        a.mov(al, 1).unwrap();
        a.ret().unwrap();
    });
    let data = Perms::READ | Perms::WRITE;
    m.m.map(GuestAddr(CODE - 0x1000), 0x1000, data, ByteState::DEFINED, 0).unwrap();
    // The copy runs over the code from its first byte on: the same bytes, but for the last.
    let mut code = m.peek::<30>(CODE);
    assert_eq!(code[28..], [0xb0, 1], "the last copied bytes are the move");
    code[29] = 2;
    m.poke(DATA + 0x1000 - 30, &code);
    m.finish();
    assert_eq!(m.r.gpr[0], 2);
}

#[test]
fn clock_stops_between_instructions() {
    let mut m = Machine::of(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.inc(rax).unwrap();
        a.jmp(top).unwrap();
    });
    m.clock.limit_events = 5;
    assert_eq!(m.run(), Exit::ClockLimit);
    assert_eq!((m.r.gpr[0], m.r.rip, m.clock.events), (5, CODE, 5));
    assert_eq!(m.run(), Exit::ClockLimit);
    m.clock.limit_events = 7;
    assert_eq!(m.run(), Exit::ClockLimit);
    assert_eq!(m.r.gpr[0], 7);
    assert_eq!(m.step(Grant::None), Exit::Stepped);
    assert_eq!(m.r.rip, CODE + 3);
}

#[test]
fn a_loop_of_returns_ends_at_the_limit() {
    let mut m = Machine::of(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again).unwrap();
        a.inc(ecx).unwrap();
        a.lea(rax, qword_ptr(again)).unwrap();
        a.push(rax).unwrap();
        a.ret().unwrap();
    });
    let stack = m.r.gpr[4];
    m.clock.limit_events = 5;
    assert_eq!(m.run(), Exit::ClockLimit);
    assert_eq!((m.r.gpr[1], m.r.gpr[4], m.r.rip, m.clock.events), (5, stack, CODE, 5));
}

#[test]
fn breakpoints_stop_runs_not_steps() {
    let mut m = Machine::of(|a| {
        a.mov(eax, 1).unwrap();
        a.mov(ecx, 2).unwrap();
        a.ret().unwrap();
    });
    m.engine.set_breakpoint(CODE + 5);
    assert_eq!(m.run(), Exit::Breakpoint);
    assert_eq!((m.r.rip, m.r.gpr[0]), (CODE + 5, 1));
    assert_eq!(m.run(), Exit::Breakpoint);
    assert_eq!(m.step(Grant::None), Exit::Stepped);
    assert_eq!(m.engine.trapped_from(), None, "nothing was trapped yet");
    assert_eq!(m.run(), Exit::Trap(GuestAddr(TRAP)));
    assert_eq!(m.engine.trapped_from(), Some(CODE + 10), "the return led there");
    let limit_events = std::mem::replace(&mut m.clock.limit_events, m.clock.events);
    assert_eq!(m.run(), Exit::ClockLimit);
    assert_eq!(m.engine.trapped_from(), None, "that run met no trap");
    m.clock.limit_events = limit_events;
    assert_eq!(m.run(), Exit::Trap(GuestAddr(TRAP)));
    assert_eq!(m.engine.trapped_from(), None, "no instruction led there");
    let reached: Vec<u64> = m.engine.blocks_reached().collect();
    assert_eq!(reached, [CODE], "a breakpoint makes no block");
}

/// A loop with a call in it.
fn loop_with_call(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut top, mut routine) = (a.create_label(), a.create_label());
    a.mov(ecx, 3)?;
    a.set_label(&mut top)?;
    a.inc(eax)?;
    a.add(ebx, eax)?;
    a.call(routine)?;
    a.dec(ecx)?;
    a.jne(top)?;
    a.ret()?;
    a.set_label(&mut routine)?;
    a.add(edx, 5)?;
    a.ret()
}

/// Runs to the end, and returns where it stopped on the way.
fn stops(m: &mut Machine) -> Vec<(u64, u64, u64)> {
    let mut stops = Vec::new();
    while m.run() == Exit::Breakpoint {
        stops.push((m.r.rip, m.r.gpr[3], m.clock.events));
        assert_eq!(m.step(Grant::None), Exit::Stepped);
    }
    stops.push((m.r.rip, m.r.gpr[3], m.clock.events));
    stops
}

#[test]
fn breakpoints_that_come_and_go_are_like_those_of_a_new_engine() {
    let mut m = Machine::of(|a| loop_with_call(a).unwrap());
    let (start, mut set) = (m.r.clone(), BTreeSet::new());
    let mut reached = BTreeSet::new();
    let mut random = 1_u64;
    for _ in 0..300 {
        for at in set {
            m.engine.clear_breakpoint(at);
        }
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // Every other time few, and each address may be the middle of an instruction.
        let bits = (random >> 20) & if random >> 63 == 0 { u64::MAX } else { random >> 30 };
        set = (0..32).filter(|bit| bits >> bit & 1 != 0).map(|at| CODE + at).collect();
        let mut new = Machine::of(|a| loop_with_call(a).unwrap());
        for at in &set {
            m.engine.set_breakpoint(*at);
            new.engine.set_breakpoint(*at);
        }
        m.r.clone_from(&start);
        m.clock.events = 0;
        assert_eq!(stops(&mut m), stops(&mut new), "{set:x?}");
        reached.extend(new.engine.blocks_reached());
        assert_eq!(m.engine.blocks_reached().collect::<BTreeSet<_>>(), reached, "{set:x?}");
    }
}

#[test]
fn watched_access_is_shown_first() {
    let mut m = Machine::of(|a| {
        a.mov(rbx, DATA).unwrap();
        a.add(dword_ptr(rbx), 5).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
        a.ret().unwrap();
    });
    m.m.protect(GuestAddr(DATA), 0x1000, Perms::READ | Perms::WRITE | Perms::WATCHED);
    for _ in 0..2 {
        let exit = m.run();
        let Exit::Watched(objection) = exit else { panic!("{exit:?}") };
        assert_eq!(objection.at, GuestAddr(DATA));
        assert_eq!(m.step(Grant::None), Exit::Watched(objection));
        assert_eq!(m.step(Grant::Watch), Exit::Stepped);
    }
    m.finish();
    assert_eq!(m.r.gpr[0], 5);
}

#[test]
fn unknown_and_illegal_instructions() {
    let mut m = Machine::of(|a| a.vaddps(xmm0, xmm0, xmm0).unwrap());
    let exit = m.run();
    let Exit::Unsupported { bytes, text } = exit else { panic!("{exit:?}") };
    assert_eq!(bytes.len(), 4);
    assert!(text.contains("vaddps"), "{text}");
    // lock nop
    let mut m = Machine::new(&[0xf0, 0x90]);
    assert_eq!(m.run(), Exit::Fault(Fault::Vector(Vector::InvalidOpcode)));
    let mut m = Machine::new(&[0x0f, 0x0b]);
    assert_eq!(m.run(), Exit::Fault(Fault::Vector(Vector::InvalidOpcode)));
    let mut m = Machine::new(&[0xcd, 0x29]);
    assert_eq!(m.run(), Exit::Fault(Fault::Vector(Vector::Interrupt(0x29))));
}

#[test]
fn fetch_faults() {
    let mut m = Machine::of(|a| {
        a.mov(rax, DATA).unwrap();
        a.jmp(rax).unwrap();
    });
    let exit = m.run();
    assert_eq!(memory_fault(&exit).kind, AccessKind::Execute);
    assert_eq!(m.r.rip, DATA);
    // An instruction that runs off the end of executable memory.
    let mut m = Machine::new(&[]);
    m.poke(CODE + 0x3fff, &[0x48]);
    m.r.rip = CODE + 0x3fff;
    let exit = m.run();
    assert_eq!(memory_fault(&exit).at, GuestAddr(CODE + 0x4000));
    assert_eq!(m.r.rip, CODE + 0x3fff);
}

#[test]
fn segment_bases_are_added() {
    let mut m = Machine::of(|a| {
        a.mov(rax, qword_ptr(0x188).gs()).unwrap();
        a.mov(rcx, qword_ptr(0x10).fs()).unwrap();
        a.mov(edx, eax).unwrap();
        a.ret().unwrap();
    });
    m.r.gs_base = DATA;
    m.r.fs_base = DATA + 0x1000;
    m.poke(DATA + 0x188, &7u64.to_le_bytes());
    m.poke(DATA + 0x1010, &8u64.to_le_bytes());
    m.finish();
    assert_eq!((m.r.gpr[0], m.r.gpr[1], m.r.gpr[2]), (7, 8, 7));
}

#[test]
fn guard_states_object() {
    let mut m = Machine::of(|a| {
        a.mov(rdx, DATA + 8).unwrap();
        a.mov(rax, qword_ptr(rdx - 4)).unwrap();
    });
    m.m.set_state(GuestAddr(DATA + 8), 8, ByteState::FREED, None);
    let exit = m.run();
    let objection = memory_fault(&exit);
    assert_eq!(objection.at, GuestAddr(DATA + 8));
    assert_eq!(objection.reason, Reason::Untouchable { state: ByteState::FREED });
}

#[test]
fn encodings_that_makers_execute_differently_are_not_modelled() {
    // jmp with an operand-size prefix, first and behind another instruction.
    for code in [&[0x66, 0xeb, 0x00, 0xc3][..], &[0x90, 0x66, 0xeb, 0x00, 0xc3]] {
        let at = CODE + code.len() as u64 - 4;
        let mut m = Machine::new(code);
        let by_blocks = m.run();
        assert_eq!(m.r.rip, at);
        assert_eq!(m.step(Grant::None), by_blocks);
        let Exit::Unsupported { bytes, text } = by_blocks else { panic!("{by_blocks:?}") };
        assert_eq!(bytes, [0x66, 0xeb, 0x00]);
        assert!(text.contains("operand-size prefix"), "{text}");
    }
    // rep ret, and a call padded with prefixes that REX.W outweighs.
    let mut m = Machine::new(&[0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0, 0x58, 0xf3, 0xc3]);
    m.finish();
}

/// Runs a program whose data pages are all watched, granting what it shows: address from the start
/// of the data, length, kind.
fn shown(careful: bool, program: impl Fn(&mut CodeAssembler)) -> Vec<(u64, u64, AccessKind)> {
    let mut m = Machine::of(|a| {
        program(a);
        a.ret().expect("it assembles");
    });
    m.m.protect(GuestAddr(DATA), 0x4000, Perms::READ | Perms::WRITE | Perms::WATCHED);
    if careful {
        m.r.undefined = Some(Box::new(Undefined { xmm: [u128::MAX; 16], ..Undefined::default() }));
    }
    let mut shown = Vec::new();
    let mut exit = m.run();
    while let Exit::Watched(objection) = exit {
        let Objection { address, size_bytes, kind, .. } = objection;
        shown.push((address.0 - DATA, size_bytes, kind));
        exit = m.step(Grant::Watch);
        if exit == Exit::Stepped {
            exit = m.run();
        }
    }
    assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
    shown
}

#[test]
fn repeated_string_instructions_show_what_they_touch_in_a_page() {
    use AccessKind::{Read, Write};
    for careful in [false, true] {
        let set = |a: &mut CodeAssembler, from: u64, to: u64, count: u64| {
            a.mov(rsi, from).unwrap();
            a.mov(rdi, to).unwrap();
            a.mov(rcx, count).unwrap();
        };
        let out = STACK_TOP - 0x4000;
        let copied = shown(careful, |a| {
            set(a, DATA + 0xff8, out, 0x20);
            a.rep().movsb().unwrap();
            set(a, DATA + 0x1004, out, 4);
            a.rep().movsq().unwrap();
        });
        assert_eq!(copied, [(0xff8, 8, Read), (0x1000, 0x18, Read), (0x1004, 0x20, Read)]);
        // A unit across the end of a page belongs to the page it begins in.
        let across = shown(careful, |a| {
            set(a, DATA + 0xff4, out, 3);
            a.rep().movsq().unwrap();
        });
        assert_eq!(across, [(0xff4, 0x10, Read), (0x1004, 8, Read)]);
        let downwards = shown(careful, |a| {
            a.std().unwrap();
            set(a, DATA + 0x1004, out + 0x100, 4);
            a.rep().movsd().unwrap();
            a.cld().unwrap();
        });
        assert_eq!(downwards, [(0x1000, 8, Read), (0xff8, 8, Read)]);
        let filled = shown(careful, |a| {
            set(a, out, DATA + 0xffe, 4);
            a.rep().stosb().unwrap();
        });
        assert_eq!(filled, [(0xffe, 2, Write), (0x1000, 2, Write)]);
        // A comparison touches what it compares, one after the other. All bytes are zeros.
        let compared = shown(careful, |a| {
            a.xor(eax, eax).unwrap();
            set(a, out, DATA + 0xffe, 3);
            a.repe().scasb().unwrap();
        });
        assert_eq!(compared, [(0xffe, 1, Read), (0xfff, 1, Read), (0x1000, 1, Read)]);
    }
}

#[test]
fn a_repeated_move_over_its_own_source_stops_before_the_unit_with_an_undefined_byte() {
    let mut m = Machine::of(|a| {
        a.mov(rsi, DATA + 3).unwrap();
        a.mov(rdi, DATA).unwrap();
        a.mov(ecx, 3).unwrap();
        a.rep().movsq().unwrap();
        a.ret().unwrap();
    });
    let bytes: Vec<u8> = (0..40).collect();
    m.poke(DATA, &bytes);
    m.m.set_state(GuestAddr(DATA + 15), 1, ByteState::UNDEFINED, None);
    m.finish();
    assert_eq!(m.peek::<24>(DATA).as_slice(), &bytes[3..27]);
}
