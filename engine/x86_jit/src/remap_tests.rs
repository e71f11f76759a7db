//! The translator against the interpreter while pages come, go and change under it.

use guest_memory::{Accessor, ByteState, GuestAddr, Perms, Snapshot};
use iced_x86::code_asm::{CodeAssembler, qword_ptr, rax, rbx, rcx, rdx, rsp};
use x86_interp::{Engine, Exit, Registers};

use super::{
    Translator,
    tests::{CODE, DATA, DATA_BYTES, Machine, STACK, STACK_BYTES, TRAP, Tier, alone},
};

const ROUNDS: u64 = 4_000;
/// Where stacks of two pages come and go.
const STACKS: [u64; 2] = [0xffff_f800_0030_0000, 0xffff_f800_0030_2000];
const BUFFER_BYTES: usize = 0x1000;

/// Loads, updates and stores at rbx, behind a new frame.
fn program(a: &mut CodeAssembler) {
    a.push(rbx).unwrap();
    a.sub(rsp, 0x80).unwrap();
    a.mov(qword_ptr(rsp + 0x20), rdx).unwrap();
    a.mov(qword_ptr(rbx + 16), rdx).unwrap();
    a.mov(rax, qword_ptr(rbx + 16)).unwrap();
    a.add(qword_ptr(rbx), 1).unwrap();
    a.mov(rcx, qword_ptr(rsp + 0x20)).unwrap();
    a.add(rsp, 0x80).unwrap();
    a.pop(rbx).unwrap();
    a.ret().unwrap();
}

/// The same deed for each machine.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Run { at: u64, stack: usize },
    Unmap { at: u64 },
    Map { at: u64, perms: Perms, state: ByteState },
    Protect { at: u64, perms: Perms },
    SetState { at: u64, state: ByteState },
    Alias { at: u64, of: u64 },
    AllowPageable(bool),
    Capture,
    Restore(usize),
}

impl Deed {
    fn draw(mut next: impl FnMut(u64) -> u64) -> Self {
        let data = Perms::READ | Perms::WRITE;
        let page = DATA + 0x1000 * next(DATA_BYTES / 0x1000);
        let any = [page, page, STACKS[0], STACKS[1], STACKS[1] + 0x1000];
        let at = any[usize::try_from(next(5)).unwrap()];
        let mostly = [data, data, data, data | Perms::PAGEABLE, data | Perms::WATCHED, Perms::READ];
        let perms = mostly[usize::try_from(next(6)).unwrap()];
        let states = [ByteState::DEFINED, ByteState::UNDEFINED, ByteState::FREED];
        let state = states[usize::try_from(next(3)).unwrap()];
        let stack = usize::try_from(next(2)).unwrap();
        match next(24) {
            0..10 => Self::Run { at: page + 8 * next(500), stack },
            10 | 11 => Self::Unmap { at },
            12..15 => Self::Map { at, perms, state },
            15 => Self::Protect { at, perms },
            16 | 17 => Self::SetState { at: at + 8 * next(500), state },
            18 => Self::Alias { at, of: DATA + 0x1000 * next(DATA_BYTES / 0x1000) },
            19 => Self::AllowPageable(next(2) == 0),
            20 => Self::Capture,
            _ => Self::Restore(usize::try_from(next(6)).unwrap()),
        }
    }

    fn apply(self, machine: &mut Machine, kept: &mut Vec<Snapshot>) -> Option<(Exit, Registers)> {
        let m = &mut machine.m;
        match self {
            Self::Run { at, stack } => return Some(run(machine, at, STACKS[stack])),
            Self::Unmap { at } => m.unmap(GuestAddr(at), 0x1000),
            Self::Map { at, perms, state } => _ = m.map(GuestAddr(at), 0x1000, perms, state, 0x11),
            Self::Protect { at, perms } => _ = m.protect(GuestAddr(at), 0x1000, perms),
            Self::SetState { at, state } => m.set_state(GuestAddr(at), 8, state, None),
            Self::Alias { at, of } => {
                if let Some(mapping) = m.mapping(GuestAddr(of)) {
                    m.unmap(GuestAddr(at), if at == of { 0 } else { 0x1000 });
                    let _ = m.map_frames(GuestAddr(at), &[mapping.frame], 0, 0x1000, mapping.perms);
                }
            }
            Self::AllowPageable(is_allowed) => m.set_pageable_allowed(is_allowed),
            Self::Capture if kept.len() < 6 => kept.push(m.capture()),
            Self::Capture => kept[0] = m.capture(),
            Self::Restore(index) => {
                if let Some(snapshot) = kept.get(index) {
                    m.restore(snapshot);
                }
            }
        }
        None
    }
}

/// Runs the program on this stack, which is made if it is not there.
fn run(machine: &mut Machine, at: u64, stack: u64) -> (Exit, Registers) {
    let data = Perms::READ | Perms::WRITE;
    for page in [stack, stack + 0x1000] {
        let _ = machine.m.map(GuestAddr(page), 0x1000, data, ByteState::UNDEFINED, 0xee);
    }
    let range = stack..stack + 0x2000;
    match &mut machine.tier {
        Tier::Interpreter(engine) => engine.set_stack_range(range),
        Tier::Translator(engine) => engine.set_stack_range(range),
    }
    machine.r = Registers::new();
    machine.r.rip = CODE;
    // The frame lies across the two pages.
    machine.r.gpr[4] = stack + 0x1040;
    (machine.r.gpr[3], machine.r.gpr[2]) = (at, machine.clock.events + at);
    machine.m.write(Accessor::Machine, GuestAddr(stack + 0x1040), &TRAP.to_le_bytes()).unwrap();
    (machine.run(), machine.r.clone())
}

/// A page: its address, its bytes, and the first of them that are undefined.
type Page = (u64, Vec<u8>, Option<(GuestAddr, u64)>);

/// Every page there is.
fn content(machine: &Machine) -> Vec<Page> {
    let data = (DATA..DATA + DATA_BYTES).step_by(0x1000);
    let stacks = (STACKS[0]..STACKS[1] + 0x2000).step_by(0x1000);
    let all = data.chain(stacks).chain((STACK..STACK + STACK_BYTES).step_by(0x1000));
    let mapped = all.filter(|page| machine.m.mapping(GuestAddr(*page)).is_some());
    let page = |page| {
        let mut bytes = vec![0; BUFFER_BYTES];
        machine.m.read(Accessor::Machine, GuestAddr(page), &mut bytes).unwrap();
        (page, bytes, machine.m.undefined(GuestAddr(page), 0x1000))
    };
    mapped.map(page).collect()
}

#[test]
fn pages_that_come_and_go_mean_the_same_to_both() {
    let _alone = alone();
    let engine = Tier::Interpreter(Box::new(Engine::new(TRAP..TRAP + 0x1000)));
    let mut slow = Machine::new(engine, &program);
    let translator = Translator::new(TRAP..TRAP + 0x1000).unwrap();
    let mut fast = Machine::new(Tier::Translator(Box::new(translator)), &program);
    let mut kept = [vec![slow.m.capture()], vec![fast.m.capture()]];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) % below
    };
    let (mut ends, mut others) = (0, 0);
    for round in 0..ROUNDS {
        let deed = Deed::draw(&mut next);
        let [slow_kept, fast_kept] = &mut kept;
        let expected = deed.apply(&mut slow, slow_kept);
        let found = deed.apply(&mut fast, fast_kept);
        let (Some((exit, mut r)), Some((other, mut other_r))) = (expected, found) else { continue };
        assert_eq!(other, exit, "{round}: {deed:x?}");
        (r.rflags, other_r.rflags) = (0, 0);
        assert_eq!(other_r, r, "{round}: {deed:x?}");
        assert!(content(&fast) == content(&slow), "{round}: {deed:x?}");
        if exit == Exit::Trap(GuestAddr(TRAP)) { ends += 1 } else { others += 1 }
    }
    assert!(ends > 200 && others > 200, "{ends} ends, {others} others");
    assert!(fast.counts().pages > 100 && fast.counts().entries > ends);
}
