//! Calls served in place against the same calls served at traps.

use std::panic::{AssertUnwindSafe, catch_unwind};

use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Perms};
use iced_x86::code_asm::{
    CodeAssembler, dword_ptr, eax, ebx, ecx, edx, esi, qword_ptr, r8, r9, r10, r11, rax, rbx, rcx,
    rdi, rdx, rsi, rsp, xmm0, xmm5, xmmword_ptr,
};
use x86_interp::{Engine, Exit};

use super::{
    Translator,
    tests::{CODE, DATA, Machine, STACK, STACK_BYTES, TRAP, Tier, alone},
};
use crate::{Call, Reply, Services, host::has_wide_registers};

/// What the calls of the tests do, by the distance of their address from the start of the range.
const RETURN: u64 = 0;
const SUM: u64 = 0x10;
const UNMAP: u64 = 0x20;
const OVERWRITE: u64 = 0x30;
const COUNT: u64 = 0x40;
const LEFT: u64 = 0x50;
const PATCH: u64 = 0x60;
const PANIC: u64 = 0x70;
const FREE: u64 = 0x80;
/// A page that calls take away and give back.
const PAGE: u64 = DATA + 0x2000;

/// What a call sees and does, wherever it is served from.
struct Service {
    in_place: u64,
    at_traps: u64,
}

impl Service {
    /// The value that it returns; `None` for the last return.
    fn serve(
        at: u64,
        m: &mut GuestMemory,
        [a, b, c, d]: [u64; 4],
        stack: u64,
        mut count: impl FnMut(),
    ) -> Option<u64> {
        match at - TRAP {
            SUM => {
                let fifth = m.load::<u64>(false, stack + 0x28).unwrap();
                return Some(a + 3 * b + 5 * c + 7 * d + 11 * fifth);
            }
            UNMAP => {
                let data = Perms::READ | Perms::WRITE;
                m.unmap(GuestAddr(PAGE), 0x1000);
                m.map(GuestAddr(PAGE), 0x1000, data, ByteState::DEFINED, 0x77).unwrap();
            }
            OVERWRITE => {
                // The return address is what it was, whatever becomes of it.
                m.set_state(GuestAddr(stack), 8, ByteState::UNDEFINED, Some(0));
            }
            FREE => m.set_state(GuestAddr(PAGE), 8, ByteState::FREED, None),
            COUNT => count(),
            PATCH if b == 0 => {}
            PATCH => m.write(Accessor::Machine, GuestAddr(a), &[b.to_le_bytes()[0]]).unwrap(),
            _ => return None,
        }
        Some(at)
    }
}

impl Services for Service {
    fn call(&mut self, call: &mut Call<'_>) -> Reply {
        let (at, arguments, stack) = (call.at().0, call.arguments(), call.rsp());
        assert!(at != TRAP + PANIC, "a call that panics");
        if at == TRAP + LEFT {
            return Reply::Leave;
        }
        let mut counted = false;
        let result = Self::serve(at, call.memory(), arguments, stack, || counted = true);
        if counted {
            call.count_event();
        }
        let Some(value) = result else { return Reply::Leave };
        self.in_place += 1;
        Reply::Return(value)
    }
}

/// Runs to the end or to anything else than a call.
fn run(machine: &mut Machine, service: &mut Service) -> Exit {
    loop {
        let Machine { tier, r, m, clock } = machine;
        let exit = match tier {
            Tier::Interpreter(engine) => engine.run(r, m, clock),
            Tier::Translator(engine) => engine.run_with(r, m, clock, service),
        };
        let Exit::Trap(GuestAddr(at)) = exit else { return exit };
        let [_, a, b, _, stack, _, _, _, c, d, ..] = r.gpr;
        if at == TRAP + RETURN {
            return exit;
        }
        let return_to = m.load::<u64>(false, stack).unwrap();
        assert!(machine.trapped_from().is_some());
        let Machine { r, m, clock, .. } = machine;
        let result = if [TRAP + LEFT, TRAP + PANIC].contains(&at) {
            Some(0x55)
        } else {
            Service::serve(at, m, [a, b, c, d], stack, || clock.events += 1)
        };
        let Some(value) = result else { return exit };
        service.at_traps += 1;
        (r.gpr[0], r.gpr[4], r.rip) = (value, stack + 8, return_to);
    }
}

/// Runs a program both ways with the same limits, compares everything, and gives how many calls
/// were served in place and at traps.
fn both(program: impl Fn(&mut CodeAssembler), limit_events: u64) -> (u64, u64) {
    if has_wide_registers() {
        both_in(false, &program, limit_events);
    }
    both_in(has_wide_registers(), &program, limit_events)
}

/// The same with or without the registers of AVX-512.
fn both_in(is_wide: bool, program: &impl Fn(&mut CodeAssembler), limit_events: u64) -> (u64, u64) {
    let engine = Tier::Interpreter(Box::new(Engine::new(TRAP..TRAP + 0x1000)));
    let mut slow = Machine::new(engine, program);
    let translator = Translator::with_registers(TRAP..TRAP + 0x1000, is_wide).unwrap();
    let mut fast = Machine::new(Tier::Translator(Box::new(translator)), program);
    let mut outcomes = Vec::new();
    let mut service = Service { in_place: 0, at_traps: 0 };
    for machine in [&mut slow, &mut fast] {
        machine.clock.limit_events = limit_events;
        service = Service { in_place: 0, at_traps: 0 };
        let exit = run(machine, &mut service);
        let is_trap = matches!(exit, Exit::Trap(_));
        outcomes.push((exit, machine.trapped_from().filter(|_| is_trap)));
    }
    assert_eq!(outcomes.first(), outcomes.last(), "limit {limit_events}");
    if limit_events < 1000 {
        // Flags are dead where an event counts in these programs.
        (slow.r.rflags, fast.r.rflags) = (2, 2);
    }
    assert_eq!(fast.r, slow.r, "limit {limit_events}");
    assert_eq!(fast.clock, slow.clock);
    assert!(fast.memory() == slow.memory(), "memory differs");
    assert!(fast.counts().entries > 0);
    (service.in_place, service.at_traps)
}

/// Calls one after the other, so many times, with something in every register.
fn calls(a: &mut CodeAssembler, times: u32, which: &[u64]) {
    let mut top = a.create_label();
    a.mov(rbx, DATA).unwrap();
    a.mov(rsi, 0x1111_2222_3333_4444_u64).unwrap();
    a.movq(xmm5, rsi).unwrap();
    a.mov(rdi, TRAP).unwrap();
    a.mov(qword_ptr(rbx + 0x40), rdi).unwrap();
    a.mov(dword_ptr(rbx + 0x48), times).unwrap();
    a.sub(rsp, 0x38).unwrap();
    a.set_label(&mut top).unwrap();
    for (number, call) in which.iter().enumerate() {
        a.lea(rax, qword_ptr(rdi + *call)).unwrap();
        a.mov(ecx, 100).unwrap();
        a.lea(rdx, qword_ptr(rcx + 5)).unwrap();
        a.lea(r8, qword_ptr(rcx + 6)).unwrap();
        a.lea(r9, qword_ptr(rdx + 7)).unwrap();
        a.mov(r10, r9).unwrap();
        a.mov(r11, rsi).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rdx).unwrap();
        a.movq(xmm0, rdx).unwrap();
        a.stc().unwrap();
        if number % 2 == 0 {
            a.call(rax).unwrap();
        } else {
            a.mov(qword_ptr(rbx + 0x40), rax).unwrap();
            a.call(qword_ptr(rbx + 0x40)).unwrap();
        }
        // The carry is still there, and so is all else.
        a.adc(qword_ptr(rbx), rax).unwrap();
        for (place, register) in (1..).zip([rcx, rdx, r8, r9, r10, r11, rsp]) {
            a.add(qword_ptr(rbx + 8 * place), register).unwrap();
        }
        a.movups(xmmword_ptr(rbx + 0x50), xmm0).unwrap();
        a.movups(xmmword_ptr(rbx + 0x60), xmm5).unwrap();
        a.mov(rax, PAGE + 16).unwrap();
        a.add(qword_ptr(rax), 1).unwrap();
    }
    a.dec(dword_ptr(rbx + 0x48)).unwrap();
    a.jne(top).unwrap();
    a.add(rsp, 0x38).unwrap();
    a.xor(eax, eax).unwrap();
    a.ret().unwrap();
}

#[test]
fn calls_in_place_are_those_at_traps() {
    let _alone = alone();
    for which in [
        &[SUM][..],
        &[SUM, SUM, SUM],
        &[COUNT, SUM],
        &[UNMAP, SUM],
        &[OVERWRITE, SUM],
        &[LEFT, SUM],
        &[FREE, SUM],
    ] {
        let (in_place, at_traps) = both(|a| calls(a, 30, which), 100_000);
        assert!(in_place + at_traps == 30 * which.len() as u64);
        // The first call from each place in each block, of which the first is in two, and all that
        // are left.
        let left = 30 * which.iter().filter(|call| **call == LEFT).count() as u64;
        let first = which.len() as u64 + 1;
        assert!(at_traps <= left + first, "{which:?}: {in_place} in place, {at_traps} at traps");
    }
}

#[test]
fn the_clock_stops_before_and_behind_calls() {
    let _alone = alone();
    for limit_events in 1..30 {
        both(|a| calls(a, 4, &[SUM, COUNT, LEFT, COUNT]), limit_events);
    }
}

#[test]
fn a_call_to_a_lower_address_is_an_event() {
    let _alone = alone();
    // The range lies above the code; calls down into code are counted elsewhere. A jump is none of
    // the calls that are served in place.
    let program = |a: &mut CodeAssembler| {
        let (mut top, mut f) = (a.create_label(), a.create_label());
        a.mov(rdi, TRAP + SUM).unwrap();
        a.mov(ebx, 10).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rbx).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(ecx, 1).unwrap();
        a.mov(rdx, rcx).unwrap();
        a.call(f).unwrap();
        a.dec(ebx).unwrap();
        a.jne(top).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.jmp(rdi).unwrap();
    };
    let (in_place, at_traps) = both(program, 100_000);
    assert_eq!((in_place, at_traps), (0, 10));
}

#[test]
fn code_that_a_call_changes_runs_changed() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        let (mut top, mut patched) = (a.create_label(), a.create_label());
        a.mov(rdi, TRAP + PATCH).unwrap();
        a.mov(rbx, 20_u64).unwrap();
        a.xor(esi, esi).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rcx, qword_ptr(patched)).unwrap();
        a.add(rcx, 2).unwrap();
        // Every other time nothing changes, so that the code behind learns where the call leads.
        a.mov(edx, ebx).unwrap();
        a.and(edx, 1).unwrap();
        a.imul_2(edx, ebx).unwrap();
        a.call(rdi).unwrap();
        a.set_label(&mut patched).unwrap();
        // The immediate.
        a.add(esi, 1).unwrap();
        a.dec(rbx).unwrap();
        a.jne(top).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.ret().unwrap();
    };
    let (in_place, _) = both(program, 100_000);
    assert!(in_place >= 9, "{in_place}");
}

#[test]
fn a_panic_goes_on_in_the_caller() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| calls(a, 3, &[SUM, SUM, PANIC]);
    let translator = Translator::new(TRAP..TRAP + 0x1000).unwrap();
    let mut machine = Machine::new(Tier::Translator(Box::new(translator)), &program);
    let mut service = Service { in_place: 0, at_traps: 0 };
    // Twice: the translator is as good as before.
    for _ in 0..2 {
        machine.r.rip = CODE;
        machine.r.gpr[4] = STACK + STACK_BYTES - 0x108;
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut machine, &mut service)));
        let panic = result.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a call that panics"));
    }
    assert!(service.in_place >= 2);
}

#[test]
fn nothing_is_served_in_place_while_the_guest_calculates_otherwise() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| calls(a, 5, &[SUM]);
    let translator = Translator::new(TRAP..TRAP + 0x1000).unwrap();
    let mut machine = Machine::new(Tier::Translator(Box::new(translator)), &program);
    // Rounding down.
    machine.r.mxcsr = 0x3f80;
    let mut service = Service { in_place: 0, at_traps: 0 };
    assert_eq!(run(&mut machine, &mut service), Exit::Trap(GuestAddr(TRAP)));
    assert_eq!((service.in_place, service.at_traps), (0, 5));
}

#[test]
fn a_call_goes_where_it_leads_now() {
    let _alone = alone();
    // One place calls several services in turn, some of them twice in a row.
    let which = [SUM, SUM, COUNT, SUM, LEFT, LEFT, SUM, SUM, OVERWRITE, FREE, SUM];
    let program = |a: &mut CodeAssembler| {
        let (mut top, mut f) = (a.create_label(), a.create_label());
        a.mov(rdi, TRAP).unwrap();
        a.mov(rbx, DATA).unwrap();
        a.mov(dword_ptr(rbx + 0x48), 5).unwrap();
        a.sub(rsp, 0x38).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rbx).unwrap();
        a.set_label(&mut top).unwrap();
        for call in which {
            a.lea(rax, qword_ptr(rdi + call)).unwrap();
            a.call(f).unwrap();
            a.add(qword_ptr(rbx), rax).unwrap();
        }
        a.dec(dword_ptr(rbx + 0x48)).unwrap();
        a.jne(top).unwrap();
        a.add(rsp, 0x38).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.mov(rdx, rdi).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rdx).unwrap();
        a.stc().unwrap();
        a.call(rax).unwrap();
        // Here nobody reads the flags.
        a.add(rsp, 0x28).unwrap();
        a.ret().unwrap();
    };
    let (in_place, at_traps) = both(program, 100_000);
    assert_eq!(in_place + at_traps, 5 * which.len() as u64);
    assert!(in_place >= 10, "{in_place} in place");
    for limit_events in 1..60 {
        both(program, limit_events);
    }
}
