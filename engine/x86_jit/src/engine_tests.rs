//! The translator against the interpreter.

use std::{
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
};

use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
use iced_x86::code_asm::{
    CodeAssembler, al, byte_ptr, cl, dword_ptr, eax, ebx, ecx, edx, qword_ptr, r8, r9, r10, r11,
    rax, rbx, rcx, rdi, rdx, rsi, rsp, word_ptr, xmm0, xmm1, xmmword_ptr,
};
use x86_interp::{Clock, Engine, Exit, Grant, Registers};

use super::{Counts, Translator};
use crate::host::has_wide_registers;

static ALONE: Mutex<()> = Mutex::new(());

/// One translator at a time in the process of the tests.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const CODE: u64 = 0xffff_f800_0001_0000;
pub(crate) const DATA: u64 = 0xffff_f800_0010_0000;
pub(crate) const DATA_BYTES: u64 = 0x4000;
pub(crate) const STACK: u64 = 0xffff_f800_0020_0000;
pub(crate) const STACK_BYTES: u64 = 0x1_0000;
pub(crate) const TRAP: u64 = 0xffff_f8ff_0000_0000;

/// Which engine runs a machine.
pub(crate) enum Tier {
    Interpreter(Box<Engine>),
    Translator(Box<Translator>),
}

pub(crate) struct Machine {
    pub(crate) tier: Tier,
    pub(crate) r: Registers,
    pub(crate) m: GuestMemory,
    pub(crate) clock: Clock,
}

impl Machine {
    pub(crate) fn new(tier: Tier, program: &impl Fn(&mut CodeAssembler)) -> Self {
        let mut assembler = CodeAssembler::new(64).unwrap();
        program(&mut assembler);
        let code = assembler.assemble(CODE).unwrap();
        let limits = Limits { frames: 256, blocks: 16, spaces: 2 };
        let mut m = GuestMemory::new_shared(limits).unwrap();
        let data = Perms::READ | Perms::WRITE;
        let all = data | Perms::EXECUTE;
        m.map(GuestAddr(CODE), 0x4000, all, ByteState::DEFINED, 0xcc).unwrap();
        m.map(GuestAddr(DATA), DATA_BYTES, data, ByteState::DEFINED, 0).unwrap();
        m.map(GuestAddr(STACK), STACK_BYTES, data, ByteState::UNDEFINED, 0xee).unwrap();
        m.write(Accessor::Machine, GuestAddr(CODE), &code).unwrap();
        let mut r = Registers::new();
        r.rip = CODE;
        r.gpr[4] = STACK + STACK_BYTES - 0x108;
        m.write(Accessor::Machine, GuestAddr(r.gpr[4]), &TRAP.to_le_bytes()).unwrap();
        let clock = Clock { events: 0, limit_events: 1_000_000 };
        let mut machine = Self { tier, r, m, clock };
        match &mut machine.tier {
            Tier::Interpreter(engine) => engine.set_stack_range(STACK..STACK + STACK_BYTES),
            Tier::Translator(engine) => engine.set_stack_range(STACK..STACK + STACK_BYTES),
        }
        machine
    }

    pub(crate) fn run(&mut self) -> Exit {
        let Self { tier, r, m, clock } = self;
        match tier {
            Tier::Interpreter(engine) => engine.run(r, m, clock),
            Tier::Translator(engine) => engine.run(r, m, clock),
        }
    }

    fn step(&mut self, grant: Grant) -> Exit {
        let Self { tier, r, m, clock } = self;
        match tier {
            Tier::Interpreter(engine) => engine.step(r, m, clock, grant),
            Tier::Translator(engine) => engine.step(r, m, clock, grant),
        }
    }

    pub(crate) fn trapped_from(&self) -> Option<u64> {
        match &self.tier {
            Tier::Interpreter(engine) => engine.trapped_from(),
            Tier::Translator(engine) => engine.trapped_from(),
        }
    }

    fn blocks_reached(&self) -> Vec<u64> {
        match &self.tier {
            Tier::Interpreter(engine) => engine.blocks_reached().collect(),
            Tier::Translator(engine) => engine.blocks_reached().collect(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        match &self.tier {
            Tier::Interpreter(_) => Counts::default(),
            Tier::Translator(engine) => {
                assert_eq!(engine.rejected(), None);
                engine.counts()
            }
        }
    }

    /// Data and stack with their undefined bits.
    pub(crate) fn memory(&mut self) -> Vec<(u8, u8)> {
        let mut all = Vec::new();
        for (at, len) in [(DATA, DATA_BYTES), (STACK, STACK_BYTES)] {
            for part in (at..at + len).step_by(64) {
                let mut bytes = [0; 64];
                self.m.read(Accessor::Machine, GuestAddr(part), &mut bytes).unwrap();
                let has_undefined = self.m.undefined(GuestAddr(part), 64).is_some();
                for (byte, value) in (part..).zip(bytes) {
                    let is_undefined =
                        has_undefined && self.m.undefined(GuestAddr(byte), 1).is_some();
                    all.push((value, u8::from(is_undefined)));
                }
            }
        }
        all
    }
}

/// Runs a program both ways, with something between making the machines and running them, compares
/// all there is, and gives the exit with the translator's machine.
pub(crate) fn both_with(
    program: impl Fn(&mut CodeAssembler),
    prepare: impl Fn(&mut Machine),
    ignored_flags: u64,
) -> (Exit, Machine) {
    if has_wide_registers() {
        both_in(false, &program, &prepare, ignored_flags);
    }
    both_in(has_wide_registers(), &program, &prepare, ignored_flags)
}

/// The same with or without the registers of AVX-512.
fn both_in(
    is_wide: bool,
    program: &impl Fn(&mut CodeAssembler),
    prepare: &impl Fn(&mut Machine),
    ignored_flags: u64,
) -> (Exit, Machine) {
    let engine = Tier::Interpreter(Box::new(Engine::new(TRAP..TRAP + 0x1000)));
    let mut slow = Machine::new(engine, program);
    let translator = Translator::with_registers(TRAP..TRAP + 0x1000, is_wide).unwrap();
    let mut fast = Machine::new(Tier::Translator(Box::new(translator)), program);
    prepare(&mut slow);
    prepare(&mut fast);
    let expected = slow.run();
    let exit = fast.run();
    assert_eq!(exit, expected, "rip {:x}, {:?}", fast.r.rip, fast.counts());
    slow.r.rflags &= !ignored_flags;
    fast.r.rflags &= !ignored_flags;
    assert_eq!(fast.r, slow.r);
    assert_eq!(fast.clock, slow.clock);
    assert_eq!(fast.m.effort(), slow.m.effort());
    assert_eq!(fast.trapped_from(), slow.trapped_from());
    assert_eq!(fast.blocks_reached(), slow.blocks_reached());
    assert!(fast.memory() == slow.memory(), "memory differs");
    assert!(fast.counts().entries > 0 || fast.counts().blocks == 0);
    (exit, fast)
}

/// A machine, and what keeps other tests away while it lives. The machine goes first.
struct Held {
    machine: Machine,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Held {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// The same for a program that ends.
fn both(program: impl Fn(&mut CodeAssembler)) -> Held {
    let alone = alone();
    let (exit, machine) = both_with(program, |_| {}, 0);
    assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
    Held { machine, _alone: alone }
}

#[test]
fn sums_a_loop() {
    let machine = both(|a| {
        let mut top = a.create_label();
        a.xor(eax, eax).unwrap();
        a.mov(ecx, 1000).unwrap();
        a.set_label(&mut top).unwrap();
        a.add(rax, rcx).unwrap();
        a.dec(rcx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(machine.r.gpr[0], 500_500);
    assert_eq!(machine.clock.events, 999);
    assert!(machine.counts().entries < 16, "{:?}", machine.counts());
}

#[test]
fn loads_stores_and_updates_of_every_width() {
    let machine = both(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(rax, 0x1122_3344_5566_7788_u64).unwrap();
        a.mov(qword_ptr(rbx), rax).unwrap();
        a.mov(dword_ptr(rbx + 8), eax).unwrap();
        a.mov(word_ptr(rbx + 12), 0x1234).unwrap();
        a.mov(byte_ptr(rbx + 14), al).unwrap();
        a.add(qword_ptr(rbx), 5).unwrap();
        a.adc(dword_ptr(rbx + 8), 7).unwrap();
        a.sbb(byte_ptr(rbx + 14), 1).unwrap();
        a.movzx(ecx, byte_ptr(rbx + 1)).unwrap();
        a.movsx(rdx, word_ptr(rbx + 2)).unwrap();
        a.movsxd(rsi, dword_ptr(rbx + 4)).unwrap();
        a.cmp(ecx, dword_ptr(rbx)).unwrap();
        a.mov(r8, qword_ptr(rbx)).unwrap();
        a.sete(byte_ptr(rbx + 0x30)).unwrap();
        a.lock().xadd(qword_ptr(rbx + 0x18), rcx).unwrap();
        a.xchg(qword_ptr(rbx + 0x18), rdx).unwrap();
        a.cmpxchg(qword_ptr(rbx + 0x20), rsi).unwrap();
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 6, "{:?}", machine.counts());
}

#[test]
fn calls_frames_and_returns() {
    let machine = both(|a| {
        let (mut f, mut top) = (a.create_label(), a.create_label());
        a.mov(ecx, 200).unwrap();
        a.xor(eax, eax).unwrap();
        a.set_label(&mut top).unwrap();
        a.push(rcx).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.call(f).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.pop(rcx).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.push(rbx).unwrap();
        a.push(7).unwrap();
        a.sub(rsp, 0x40).unwrap();
        a.mov(qword_ptr(rsp + 0x20), rcx).unwrap();
        a.movups(xmmword_ptr(rsp), xmm0).unwrap();
        a.add(rax, qword_ptr(rsp + 0x20)).unwrap();
        a.lea(rbx, qword_ptr(rsp + 0x40)).unwrap();
        a.add(rax, qword_ptr(rbx)).unwrap();
        a.add(rsp, 0x48).unwrap();
        a.pop(rbx).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(machine.r.gpr[0], 200 * 201 / 2 + 200 * 7);
    assert!(machine.counts().steps < 60, "{:?}", machine.counts());
}

#[test]
fn indirect_jumps_and_calls_find_their_targets() {
    let machine = both(|a| {
        let (mut f, mut g) = (a.create_label(), a.create_label());
        let (mut top, mut next) = (a.create_label(), a.create_label());
        a.mov(r10, DATA).unwrap();
        a.lea(rax, qword_ptr(f)).unwrap();
        a.mov(qword_ptr(r10), rax).unwrap();
        a.lea(rax, qword_ptr(g)).unwrap();
        a.mov(qword_ptr(r10 + 8), rax).unwrap();
        a.mov(ecx, 300).unwrap();
        a.xor(eax, eax).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(edx, ecx).unwrap();
        a.and(edx, 1).unwrap();
        a.sub(rsp, 0x28).unwrap();
        a.call(qword_ptr(r10 + rdx * 8)).unwrap();
        a.mov(r9, qword_ptr(r10)).unwrap();
        a.call(r9).unwrap();
        a.add(rsp, 0x28).unwrap();
        a.lea(rdx, qword_ptr(next)).unwrap();
        a.jmp(rdx).unwrap();
        a.int3().unwrap();
        a.set_label(&mut next).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.add(rax, 3).unwrap();
        a.ret().unwrap();
        a.set_label(&mut g).unwrap();
        a.add(rax, 5).unwrap();
        a.ret().unwrap();
    });
    assert_eq!(machine.r.gpr[0], 300 * 3 + 150 * 8);
    assert!(machine.counts().steps < 40, "{:?}", machine.counts());
}

#[test]
fn indirect_branches_keep_registers_and_flags() {
    let machine = both(|a| {
        let (mut f, mut top) = (a.create_label(), a.create_label());
        a.mov(rbx, DATA).unwrap();
        a.lea(rax, qword_ptr(f)).unwrap();
        a.mov(qword_ptr(rbx), rax).unwrap();
        a.mov(qword_ptr(rbx + 0x30), 40).unwrap();
        a.set_label(&mut top).unwrap();
        // The operand is in rcx, in r11, and in a register of its own; so is the target.
        a.mov(rcx, rbx).unwrap();
        a.mov(r10, 0x10_u64).unwrap();
        a.stc().unwrap();
        a.call(qword_ptr(rcx)).unwrap();
        a.mov(r11, rbx).unwrap();
        a.call(qword_ptr(r11 + r10 - 0x10)).unwrap();
        a.mov(rcx, qword_ptr(rbx)).unwrap();
        a.call(rcx).unwrap();
        a.mov(r11, rcx).unwrap();
        a.call(r11).unwrap();
        a.dec(qword_ptr(rbx + 0x30)).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.adc(qword_ptr(rbx + 8), 0).unwrap();
        a.xor(qword_ptr(rbx + 0x10), rcx).unwrap();
        a.add(qword_ptr(rbx + 0x18), r10).unwrap();
        a.add(qword_ptr(rbx + 0x20), r11).unwrap();
        a.stc().unwrap();
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 20, "{:?}", machine.counts());
}

#[test]
fn calls_over_undefined_bytes_stay_translated() {
    let machine = both(|a| {
        let (mut f, mut g, mut top) = (a.create_label(), a.create_label(), a.create_label());
        a.mov(ebx, 50).unwrap();
        a.lea(rsi, qword_ptr(f)).unwrap();
        a.set_label(&mut top).unwrap();
        a.call(g).unwrap();
        a.dec(ebx).unwrap();
        a.jne(top).unwrap();
        a.ret().unwrap();
        a.set_label(&mut g).unwrap();
        // A frame that covers where the call stores.
        a.sub(rsp, 0x40).unwrap();
        a.add(rsp, 0x40).unwrap();
        a.stc().unwrap();
        a.call(rsi).unwrap();
        a.ret().unwrap();
        a.set_label(&mut f).unwrap();
        a.adc(eax, 1).unwrap();
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 20, "{:?}", machine.counts());
}

#[test]
fn flags_survive_checks_and_events() {
    let machine = both(|a| {
        let (mut top, mut add) = (a.create_label(), a.create_label());
        a.mov(rbx, DATA).unwrap();
        a.mov(qword_ptr(rbx), 3).unwrap();
        a.mov(ecx, 50).unwrap();
        a.stc().unwrap();
        // The carry lives across a load, a store, a backward jump and rcx itself.
        a.set_label(&mut top).unwrap();
        a.mov(rdx, qword_ptr(rbx)).unwrap();
        a.mov(qword_ptr(rbx + 8), rdx).unwrap();
        a.adc(rdx, 0).unwrap();
        a.mov(qword_ptr(rbx), rdx).unwrap();
        a.dec(ecx).unwrap();
        a.jne(top).unwrap();
        a.mov(rcx, rbx).unwrap();
        a.add(eax, -1).unwrap();
        a.mov(rcx, qword_ptr(rcx)).unwrap();
        a.jb(add).unwrap();
        a.add(rcx, 100).unwrap();
        a.set_label(&mut add).unwrap();
        a.movups(xmm1, xmmword_ptr(rbx)).unwrap();
        a.setb(al).unwrap();
        a.pushfq().unwrap();
        a.pop(r8).unwrap();
        a.ret().unwrap();
    });
    assert!(machine.counts().steps < 10, "{:?}", machine.counts());
}

#[test]
fn undefined_bytes_go_to_the_interpreter_and_come_back() {
    both(|a| {
        a.mov(rbx, DATA).unwrap();
        a.sub(rsp, 0x40).unwrap();
        // A copy of bytes that nobody wrote, then a defined part of them.
        a.mov(rax, qword_ptr(rsp + 8)).unwrap();
        a.mov(qword_ptr(rbx), rax).unwrap();
        a.mov(byte_ptr(rbx), 1).unwrap();
        a.movups(xmm0, xmmword_ptr(rsp + 0x10)).unwrap();
        a.movups(xmmword_ptr(rbx + 0x20), xmm0).unwrap();
        a.xor(eax, eax).unwrap();
        a.pxor(xmm0, xmm0).unwrap();
        a.mov(word_ptr(rsp + 3), 0x55).unwrap();
        a.mov(dword_ptr(rsp + 2), ecx).unwrap();
        a.add(rsp, 0x40).unwrap();
        a.ret().unwrap();
    });
}

#[test]
fn relative_operands_and_strings() {
    both(|a| {
        let mut constant = a.create_label();
        a.mov(rax, qword_ptr(constant)).unwrap();
        a.add(ecx, dword_ptr(constant)).unwrap();
        a.adc(rdx, qword_ptr(constant)).unwrap();
        a.mov(byte_ptr(constant), 7).unwrap();
        a.mov(rdi, DATA + 0x100).unwrap();
        a.mov(ecx, 100).unwrap();
        a.rep().stosb().unwrap();
        a.mov(rsi, DATA + 0x100).unwrap();
        a.mov(ecx, 30).unwrap();
        a.rep().movsb().unwrap();
        a.lea(rcx, qword_ptr(constant)).unwrap();
        a.shl(rax, cl).unwrap();
        a.shl(rax, 3).unwrap();
        a.imul_2(rax, rdx).unwrap();
        a.test(rax, rax).unwrap();
        a.ret().unwrap();
        a.set_label(&mut constant).unwrap();
        a.dq(&[0x1234_5678_9abc_def0]).unwrap();
    });
}

#[test]
fn bytes_of_repeated_instructions_are_counted_however_they_are_moved() {
    let machine = both(|a| {
        // By the stub, by Rust, over itself, downwards, and by the interpreter.
        for (from, to, count) in [(0, 0x100, 30), (0, 0x1000, 0x1800), (0x100, 0x101, 500)] {
            a.mov(rsi, DATA + from).unwrap();
            a.mov(rdi, DATA + to).unwrap();
            a.mov(ecx, count).unwrap();
            a.rep().movsb().unwrap();
        }
        a.mov(rdi, DATA).unwrap();
        a.mov(ecx, 0x700).unwrap();
        a.rep().stosq().unwrap();
        a.std().unwrap();
        a.mov(ecx, 10).unwrap();
        a.rep().stosd().unwrap();
        a.cld().unwrap();
        a.mov(ecx, 7).unwrap();
        a.rep().lodsw().unwrap();
        // Of one that is not repeated nothing is counted, nor of one that does nothing.
        a.movsb().unwrap();
        a.xor(ecx, ecx).unwrap();
        a.rep().stosb().unwrap();
        a.ret().unwrap();
    });
    assert_eq!(machine.m.effort(), 30 + 0x1800 + 500 + 8 * 0x700 + 4 * 10 + 2 * 7);
}

/// The six status flags: what an instruction that does not complete was about to overwrite.
const STATUS: u64 = 0x8d5;

#[test]
fn faults_are_precise() {
    let _alone = alone();
    let programs: [fn(&mut CodeAssembler); 11] = [
        |a| a.call(rbx).unwrap(),
        |a| a.jmp(rbx).unwrap(),
        |a| a.call(qword_ptr(rbx)).unwrap(),
        |a| {
            a.push(rbx).unwrap();
            a.ret().unwrap();
        },
        |a| a.mov(rax, qword_ptr(rbx)).unwrap(),
        |a| a.mov(qword_ptr(rbx), rax).unwrap(),
        |a| a.add(dword_ptr(rbx), 1).unwrap(),
        |a| {
            a.mov(rbx, DATA + DATA_BYTES - 4).unwrap();
            a.mov(qword_ptr(rbx), rax).unwrap();
        },
        |a| {
            a.mov(rsp, rbx).unwrap();
            a.push(rax).unwrap();
        },
        |a| a.div(ebx).unwrap(),
        |a| {
            a.mov(rdx, DATA + 8).unwrap();
            a.movaps(xmm0, xmmword_ptr(rdx)).unwrap();
        },
    ];
    // Null, small, not canonical, not mapped, at the top.
    for address in
        [0_u64, 0x10, 0x8000_0000_0000_0000, 0xffff_f900_0000_0000, 0xffff_ffff_ffff_fff0]
    {
        for (number, program) in programs.iter().enumerate() {
            let whole = |a: &mut CodeAssembler| {
                a.mov(rbx, address).unwrap();
                a.mov(rax, 5_u64).unwrap();
                program(a);
                a.ret().unwrap();
            };
            let (exit, _) = both_with(whole, |_| {}, STATUS);
            let is_fault = matches!(exit, Exit::Fault(_));
            assert!(is_fault || number == 9, "{exit:?}");
        }
    }
}

#[test]
fn the_clock_stops_where_the_interpreter_stops() {
    let _alone = alone();
    for limit_events in 1..40 {
        let program = |a: &mut CodeAssembler| {
            let (mut top, mut f, mut inner) =
                (a.create_label(), a.create_label(), a.create_label());
            a.mov(ecx, 10).unwrap();
            a.set_label(&mut f).unwrap();
            a.mov(edx, 3).unwrap();
            a.set_label(&mut inner).unwrap();
            a.dec(edx).unwrap();
            a.jne(inner).unwrap();
            a.lea(rax, qword_ptr(f)).unwrap();
            a.set_label(&mut top).unwrap();
            a.dec(ecx).unwrap();
            let mut out = a.create_label();
            a.je(out).unwrap();
            a.jmp(rax).unwrap();
            a.set_label(&mut out).unwrap();
            a.ret().unwrap();
        };
        let prepare = |machine: &mut Machine| machine.clock.limit_events = limit_events;
        let (exit, machine) = both_with(program, prepare, STATUS);
        assert_eq!(exit == Exit::ClockLimit, machine.clock.events == limit_events);
    }
}

#[test]
fn returns_count_unless_they_lead_up() {
    let _alone = alone();
    for limit_events in 1..20 {
        let program = |a: &mut CodeAssembler| {
            let (mut again, mut up, mut out) =
                (a.create_label(), a.create_label(), a.create_label());
            a.mov(ecx, 8).unwrap();
            a.set_label(&mut again).unwrap();
            a.lea(rax, qword_ptr(up)).unwrap();
            a.push(rax).unwrap();
            a.ret().unwrap();
            a.set_label(&mut up).unwrap();
            a.dec(ecx).unwrap();
            a.je(out).unwrap();
            a.lea(rax, qword_ptr(again)).unwrap();
            a.push(rax).unwrap();
            a.ret_1(0).unwrap();
            a.set_label(&mut out).unwrap();
            a.ret().unwrap();
        };
        let prepare = |machine: &mut Machine| machine.clock.limit_events = limit_events;
        let (exit, machine) = both_with(program, prepare, STATUS);
        assert_eq!(exit == Exit::ClockLimit, limit_events <= 7, "limit {limit_events}");
        assert_eq!(machine.clock.events, limit_events.min(7));
    }
}

#[test]
fn code_that_changes_is_translated_again() {
    both(|a| {
        let (mut patch, mut again, mut done) =
            (a.create_label(), a.create_label(), a.create_label());
        a.xor(eax, eax).unwrap();
        a.lea(rbx, qword_ptr(patch)).unwrap();
        a.mov(ecx, 3).unwrap();
        a.set_label(&mut again).unwrap();
        a.nop().unwrap();
        a.set_label(&mut patch).unwrap();
        a.add(eax, 1).unwrap();
        // The immediate of the addition.
        a.add(byte_ptr(rbx + 2), 1).unwrap();
        a.dec(ecx).unwrap();
        a.je(done).unwrap();
        a.jmp(again).unwrap();
        a.set_label(&mut done).unwrap();
        a.ret().unwrap();
    });
}

#[test]
fn breakpoints_and_steps() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        a.mov(eax, 1).unwrap();
        a.add(eax, 2).unwrap();
        a.add(eax, 3).unwrap();
        a.ret().unwrap();
    };
    let prepare = |machine: &mut Machine| match &mut machine.tier {
        Tier::Interpreter(engine) => engine.set_breakpoint(CODE + 5),
        Tier::Translator(engine) => engine.set_breakpoint(CODE + 5),
    };
    let (exit, mut machine) = both_with(program, prepare, 0);
    assert_eq!((exit, machine.r.rip), (Exit::Breakpoint, CODE + 5));
    assert_eq!(machine.step(Grant::None), Exit::Stepped);
    assert_eq!(machine.run(), Exit::Trap(GuestAddr(TRAP)));
    assert_eq!(machine.r.gpr[0], 6);
}

#[test]
fn a_snapshot_keeps_what_translated_code_wrote() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        a.mov(rbx, DATA).unwrap();
        a.add(qword_ptr(rbx), 1).unwrap();
        a.mov(rax, qword_ptr(rbx)).unwrap();
        a.ret().unwrap();
    };
    let (_, mut machine) = both_with(program, |_| {}, 0);
    let start = |machine: &mut Machine| {
        machine.r.rip = CODE;
        machine.r.gpr[4] = STACK + STACK_BYTES - 0x108;
        assert_eq!(machine.run(), Exit::Trap(GuestAddr(TRAP)));
        machine.r.gpr[0]
    };
    let one = machine.m.capture();
    assert_eq!(start(&mut machine), 2);
    let two = machine.m.capture();
    assert_eq!(start(&mut machine), 3);
    machine.m.restore(&one);
    assert_eq!(start(&mut machine), 2);
    machine.m.restore(&two);
    assert_eq!(start(&mut machine), 3);
}

#[test]
fn one_translator_serves_several_memories() {
    let _alone = alone();
    let program = |a: &mut CodeAssembler| {
        a.mov(rbx, DATA).unwrap();
        a.add(qword_ptr(rbx), 1).unwrap();
        a.mov(rax, qword_ptr(rbx)).unwrap();
        a.ret().unwrap();
    };
    let engine = || Tier::Interpreter(Box::new(Engine::new(TRAP..TRAP + 0x1000)));
    let mut first = Machine::new(engine(), &program);
    let other = |a: &mut CodeAssembler| {
        a.mov(rbx, DATA).unwrap();
        a.add(qword_ptr(rbx), 5).unwrap();
        a.mov(rax, qword_ptr(rbx)).unwrap();
        a.ret().unwrap();
    };
    let mut second = Machine::new(engine(), &other);
    let mut translator = Translator::new(TRAP..TRAP + 0x1000).unwrap();
    let mut run = |machine: &mut Machine| {
        machine.r.rip = CODE;
        machine.r.gpr[4] = STACK + STACK_BYTES - 0x108;
        let exit = translator.run(&mut machine.r, &mut machine.m, &mut machine.clock);
        assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
        machine.r.gpr[0]
    };
    let results = [1, 2, 1, 2, 2, 1].map(|n| run(if n == 1 { &mut first } else { &mut second }));
    assert_eq!(results, [1, 5, 2, 10, 15, 3]);
    drop(first);
    let mut third = Machine::new(engine(), &program);
    assert_eq!(run(&mut third), 1);
}
