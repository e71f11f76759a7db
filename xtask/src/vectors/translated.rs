//! The translator against the interpreter, on the random cases moved to the kernel half.
//!
//! The interpreter agrees with the host CPU on the same kinds of cases; here the translator agrees
//! with the interpreter, on registers, memory, definedness and events. Code is only translated in
//! the kernel half, so the code, the window, and every register that points to them move there.

use anyhow::Context;
use cpu::{Clock, Exit, Processor, Registers};
use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
use x86_jit::Translator;

use super::case::{
    CODE, CODE_BYTES, Case, GUARD_BYTES, PAD, READ_ONLY_BYTES, WINDOW, WINDOW_BYTES,
};
use super::generator::{END, Generator};
use super::random::Random;
use super::templates::Templates;

/// What addresses move by.
pub(super) const MOVED: u64 = 0xffff_fa00_0000_0000;
/// Status flags: at a fault those that a check may have changed are dead.
pub(super) const STATUS: u64 = 0x8d5;
/// Of 100 cases so many are programs.
const PROGRAMS_PERCENT: u64 = 60;
/// Differences shown.
const SHOWN: u64 = 5;

pub(super) struct Machine<E> {
    pub(super) engine: E,
    pub(super) memory: GuestMemory,
}

/// What came of a case.
pub(super) struct Outcome {
    pub(super) exit: Exit,
    registers: Registers,
    clock: Clock,
    memory: Vec<u8>,
    undefined: Option<(GuestAddr, u64)>,
}

/// Runs `count` cases; returns how many agree, how many differ, and how many times translated code
/// was entered. `None` where there is no translator.
pub(super) fn check(seed: u64, first: u64, count: u64) -> anyhow::Result<Option<(u64, u64, u64)>> {
    let trap = MOVED + END..MOVED + CODE + CODE_BYTES;
    let Ok(translator) = Translator::new(trap.clone()) else { return Ok(None) };
    let mut fast = Machine { engine: translator, memory: memory()? };
    let mut slow = Machine { engine: Processor::new(trap), memory: memory()? };
    let mut generator = Generator::new(Templates::find(cpu::is_modelled), cpu::is_modelled);
    let (mut agree, mut differ) = (0, 0);
    for number in first..first + count {
        let mut random = Random::new(seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ number);
        let mut case = if random.chance(PROGRAMS_PERCENT) {
            generator.program(&mut random)
        } else {
            generator.single(&mut random)
        };
        move_registers(&mut case.before);
        let expected = slow.run(&case, Processor::run)?;
        let outcome = fast.run(&case, Translator::run)?;
        if let Some(rejected) = fast.engine.rejected() {
            anyhow::bail!("case {number}: {rejected}: {:02x?}", case.code);
        }
        let found = differences(&case, &expected, &outcome);
        if found.is_empty() {
            agree += 1;
            continue;
        }
        differ += 1;
        if differ <= SHOWN {
            println!("translated case {number}: {:02x?}\n  {}", case.code, found.join("\n  "));
        }
    }
    Ok(Some((agree, differ, fast.engine.counts().entries)))
}

pub(super) fn memory() -> anyhow::Result<GuestMemory> {
    let limits = Limits { frames: 64, blocks: 16, spaces: 2 };
    let mut memory = GuestMemory::new_shared(limits).context("no shared memory")?;
    let at = |low: u64| GuestAddr(MOVED + low);
    let (read, defined) = (Perms::READ, ByteState::DEFINED);
    let window = WINDOW_BYTES as u64;
    memory.map(at(CODE), CODE_BYTES, read | Perms::EXECUTE, defined, PAD)?;
    memory.map(at(WINDOW), window, read | Perms::WRITE, defined, 0)?;
    memory.map(at(WINDOW + window), READ_ONLY_BYTES, read, defined, 0)?;
    Ok(memory)
}

/// Moves what points into the window or beside it.
pub(super) fn move_registers(registers: &mut Registers) {
    let end = WINDOW + WINDOW_BYTES as u64 + READ_ONLY_BYTES + GUARD_BYTES;
    for value in &mut registers.gpr {
        if (WINDOW - GUARD_BYTES..end).contains(value) {
            *value += MOVED;
        }
    }
    registers.rip += MOVED;
    registers.is_user = false;
}

impl<E> Machine<E> {
    pub(super) fn run(
        &mut self,
        case: &Case,
        run: impl Fn(&mut E, &mut Registers, &mut GuestMemory, &mut Clock) -> Exit,
    ) -> anyhow::Result<Outcome> {
        let objection = |objection| anyhow::anyhow!("not accessible: {objection:?}");
        for (at, bytes) in [(case.address, case.code.as_slice()), (WINDOW, case.memory.as_slice())]
        {
            let at = GuestAddr(MOVED + at);
            self.memory.write(Accessor::Machine, at, bytes).map_err(objection)?;
        }
        let mut registers = case.before.clone();
        let mut clock = Clock { events: 0, limit_events: 1000 };
        let exit = run(&mut self.engine, &mut registers, &mut self.memory, &mut clock);
        let mut memory = vec![0; WINDOW_BYTES];
        let window = GuestAddr(MOVED + WINDOW);
        self.memory.read(Accessor::Machine, window, &mut memory).map_err(objection)?;
        let undefined = self.memory.undefined(window, WINDOW_BYTES as u64);
        Ok(Outcome { exit, registers, clock, memory, undefined })
    }
}

pub(super) fn differences(case: &Case, expected: &Outcome, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{what}: {a} interpreted, {b} translated"));
        }
    };
    let ignored = match expected.exit {
        Exit::Trap(_) => case.ignored_flags,
        _ => STATUS,
    };
    let text = |outcome: &Outcome| format!("{:x?}", outcome.exit);
    differ("exit", text(expected), text(outcome));
    let (a, b) = (&expected.registers, &outcome.registers);
    for (number, (a, b)) in a.gpr.iter().zip(b.gpr).enumerate() {
        differ(&format!("register {number}"), format!("{a:x}"), format!("{b:x}"));
    }
    for (number, (a, b)) in a.xmm.iter().zip(b.xmm).enumerate() {
        differ(&format!("xmm{number}"), format!("{a:x}"), format!("{b:x}"));
    }
    let flags = |r: &Registers| format!("{:x}", r.rflags & !ignored);
    differ("rflags", flags(a), flags(b));
    // What is left: rip, MXCSR, the x87 unit, undefined bits.
    let rest = |r: &Registers| {
        format!("{:x?}", Registers { gpr: [0; 16], xmm: [0; 16], rflags: 0, ..r.clone() })
    };
    differ("other registers", rest(a), rest(b));
    differ("clock", format!("{:?}", expected.clock), format!("{:?}", outcome.clock));
    differ("undefined", format!("{:?}", expected.undefined), format!("{:?}", outcome.undefined));
    let pairs = expected.memory.iter().zip(&outcome.memory).enumerate();
    for (at, (a, b)) in pairs.filter(|(_, (a, b))| a != b) {
        differ(&format!("[{:x}]", WINDOW + at as u64), format!("{a:x}"), format!("{b:x}"));
    }
    found
}
