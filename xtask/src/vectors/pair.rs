//! The translator beside the interpreter, on cases moved to the kernel half.
//!
//! Code is only translated in the kernel half, so the code, the window, and every register that
//! points to them move there. Both engines start from the same state, and must come to the same:
//! registers, memory, states of bytes, and events.

use std::ops::Range;

use anyhow::Context;
use cpu::{Clock, Exit, Fault, Grant, Processor, Registers, Undefined, Vector};
use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
use x86_jit::Translator;

use super::case::{
    CODE, CODE_BYTES, Case, GUARD_BYTES, PAD, READ_ONLY_BYTES, WINDOW, WINDOW_BYTES,
};
use super::generator::END;
use super::kernel_calls::{Kernel, Made};

/// Code that was moved may lie in two pages.
const CODE_PAGES_BYTES: u64 = 2 * CODE_BYTES;
/// What addresses move by.
pub(crate) const MOVED: u64 = 0xffff_fa00_0000_0000;
/// Status flags: at a fault those that a check may have changed are dead.
pub(crate) const STATUS: u64 = 0x8d5;
/// Times that the owner lets an undefined value decide, per run.
const GRANTS_MAX: u32 = 100;
/// What is undefined is compared in pieces of so many bytes: the first byte, and how many.
const GRANULE_BYTES: u64 = 8;
/// Cases that run with the same registers of the host.
const ROW: u64 = 500;
/// Times that the clock is wound up, per run.
const SLICES_MAX: u32 = 200;

/// Both engines, each with a memory.
pub(crate) struct Pair {
    pub(crate) fast: Machine<Translator>,
    slow: Machine<Processor>,
    /// Whether the row of cases runs without the registers of AVX-512.
    is_narrow: bool,
}

/// One engine.
pub(crate) struct Machine<E> {
    pub(crate) engine: E,
    memory: GuestMemory,
    /// What the code moves by within the kernel half.
    shift: u64,
}

/// How a case runs.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// Bytes of the window that are undefined.
    pub(crate) undefined: Vec<Range<u64>>,
    /// Bytes of the window that may not be touched.
    pub(crate) closed: Vec<Range<u64>>,
    /// The declared stack.
    pub(crate) stack: Range<u64>,
    /// Events between two stops of the clock.
    pub(crate) slice_events: u64,
    /// Single steps behind each of them.
    pub(crate) steps: u32,
    /// Whether calls into the trap range are served.
    pub(crate) serves: bool,
    /// Events and stops in all.
    pub(crate) limit_events: u64,
    /// Whether undefined decisions are passed.
    pub(crate) passes_undefined: bool,
    /// Whether what earlier cases left in the page of the code is taken away.
    pub(crate) is_page_fresh: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            undefined: Vec::new(),
            closed: Vec::new(),
            stack: 0..0,
            slice_events: 1000,
            steps: 0,
            serves: false,
            limit_events: 1000,
            passes_undefined: false,
            is_page_fresh: false,
        }
    }
}

/// State where a run stopped.
#[derive(Debug)]
struct Stop {
    exit: Exit,
    registers: Registers,
    clock: Clock,
    trapped_from: Option<u64>,
}

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Outcome {
    stops: Vec<Stop>,
    code: Vec<u8>,
    memory: Vec<u8>,
    undefined: Vec<(GuestAddr, u64)>,
    made: Vec<Made>,
}

/// An engine that both kinds of machine have.
pub(crate) trait Runs {
    /// Runs; calls may be served in place.
    fn run(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        kernel: Option<&mut Kernel>,
    ) -> Exit;
    fn step(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit;
    fn set_stack_range(&mut self, stack: Range<u64>);
    fn trapped_from(&self) -> Option<u64>;
}

impl Runs for Translator {
    fn run(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        kernel: Option<&mut Kernel>,
    ) -> Exit {
        match kernel {
            Some(kernel) => self.run_with(r, m, clock, kernel),
            None => Translator::run(self, r, m, clock),
        }
    }

    fn step(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        Translator::step(self, r, m, clock, grant)
    }

    fn set_stack_range(&mut self, stack: Range<u64>) {
        Translator::set_stack_range(self, stack);
    }

    fn trapped_from(&self) -> Option<u64> {
        Translator::trapped_from(self)
    }
}

impl Runs for Processor {
    fn run(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        _: Option<&mut Kernel>,
    ) -> Exit {
        Processor::run(self, r, m, clock)
    }

    fn step(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        Processor::step(self, r, m, clock, grant)
    }

    fn set_stack_range(&mut self, stack: Range<u64>) {
        Processor::set_stack_range(self, stack);
    }

    fn trapped_from(&self) -> Option<u64> {
        Processor::trapped_from(self).map(|at| at.0)
    }
}

impl Pair {
    /// Whether this computer and this process have a translator.
    pub(crate) fn is_possible() -> bool {
        Translator::new(0..0).is_ok()
    }

    /// `None` where there is no translator.
    pub(crate) fn new() -> anyhow::Result<Option<Self>> {
        Self::shifted(0)
    }

    /// The same for cases whose code lies behind where it does otherwise. The trap range begins at
    /// the end of the code all the same.
    pub(crate) fn shifted(shift: u64) -> anyhow::Result<Option<Self>> {
        let trap = MOVED + END + shift..MOVED + CODE + CODE_BYTES + shift;
        let Ok(translator) = Translator::new(trap.clone()) else { return Ok(None) };
        let fast = Machine { engine: translator, memory: memory()?, shift };
        let slow = Machine { engine: Processor::new(trap), memory: memory()?, shift };
        Ok(Some(Self { fast, slow, is_narrow: false }))
    }

    /// Gets ready for a case: every other row of them runs without the registers of AVX-512, as on
    /// a host that has none.
    pub(crate) fn prepare(&mut self, number: u64) -> anyhow::Result<()> {
        self.allow_wide_registers((number / ROW).is_multiple_of(2))
    }

    pub(crate) fn allow_wide_registers(&mut self, is_allowed: bool) -> anyhow::Result<()> {
        let is_narrow = !is_allowed;
        if is_narrow != self.is_narrow {
            self.fast.engine.allow_wide_registers(is_allowed)?;
            self.is_narrow = is_narrow;
        }
        Ok(())
    }

    /// Runs a case, which is moved already, in both engines, and describes each difference.
    pub(crate) fn compare(&mut self, case: &Case, manner: &Manner) -> anyhow::Result<Vec<String>> {
        let expected = self.slow.run(case, manner)?;
        let outcome = self.fast.run(case, manner)?;
        if let Some(rejected) = self.fast.engine.rejected() {
            anyhow::bail!("the verifier rejects a block: {rejected}: {:02x?}", case.code);
        }
        Ok(differences(case, &expected, &outcome))
    }
}

/// The same memory for both.
fn memory() -> anyhow::Result<GuestMemory> {
    let limits = Limits { frames: 64, blocks: 16, spaces: 2 };
    let mut memory = GuestMemory::new_shared(limits).context("no shared memory")?;
    let at = |low: u64| GuestAddr(MOVED + low);
    let (read, defined) = (Perms::READ, ByteState::DEFINED);
    let window = WINDOW_BYTES as u64;
    let code = read | Perms::WRITE | Perms::EXECUTE;
    memory.map(at(CODE), CODE_PAGES_BYTES, code, defined, PAD)?;
    memory.map(at(WINDOW), window, read | Perms::WRITE, defined, 0)?;
    memory.map(at(WINDOW + window), READ_ONLY_BYTES, read, defined, 0)?;
    Ok(memory)
}

/// Moves what points into the window or beside it.
pub(crate) fn move_registers(registers: &mut Registers) {
    let end = WINDOW + WINDOW_BYTES as u64 + READ_ONLY_BYTES + GUARD_BYTES;
    for value in &mut registers.gpr {
        if (WINDOW - GUARD_BYTES..end).contains(value) {
            *value += MOVED;
        }
    }
    registers.rip += MOVED;
    registers.is_user = false;
}

/// Moves what points to the code: the target of a branch in a register or in the window.
pub(crate) fn move_targets(case: &mut Case) {
    let code = CODE..CODE + CODE_BYTES;
    for value in &mut case.before.gpr {
        if code.contains(value) {
            *value += MOVED;
        }
    }
    for at in 0..WINDOW_BYTES - 7 {
        let Some(slot) = case.memory.get_mut(at..at + 8) else { break };
        let value = u64::from_le_bytes(slot.try_into().expect("eight bytes"));
        if code.contains(&value) {
            slot.copy_from_slice(&(value + MOVED).to_le_bytes());
        }
    }
}

impl<E: Runs> Machine<E> {
    fn run(&mut self, case: &Case, manner: &Manner) -> anyhow::Result<Outcome> {
        self.prepare(case, manner)?;
        let mut registers = case.before.clone();
        registers.rip += self.shift;
        let mut kernel = Kernel { start: MOVED + END + self.shift, made: Vec::new() };
        let mut clock = Clock { events: 0, limit_events: manner.slice_events };
        let mut stops: Vec<Stop> = Vec::new();
        let (mut grants, mut slices) = (0, 0);
        loop {
            let serving = manner.serves.then_some(&mut kernel);
            let mut exit = self.engine.run(&mut registers, &mut self.memory, &mut clock, serving);
            if let Exit::Trap(at) = exit
                && manner.serves
                && self.serve(&mut kernel, at.0, &mut registers, &mut clock)
            {
                continue;
            }
            if matches!(exit, Exit::UndefinedDecides { .. })
                && manner.passes_undefined
                && grants < GRANTS_MAX
            {
                grants += 1;
                let (registers, memory) = (&mut registers, &mut self.memory);
                stops.push(Stop { exit, registers: registers.clone(), clock, trapped_from: None });
                exit = self.engine.step(registers, memory, &mut clock, Grant::Undefined);
                if exit == Exit::Stepped {
                    continue;
                }
            }
            let is_limit = exit == Exit::ClockLimit;
            let is_last = !is_limit || clock.events >= manner.limit_events || slices == SLICES_MAX;
            let trapped_from = self.engine.trapped_from();
            stops.push(Stop { exit, registers: registers.clone(), clock, trapped_from });
            if is_last {
                return self.outcome(stops, kernel);
            }
            slices += 1;
            clock.limit_events = (clock.events + manner.slice_events).min(manner.limit_events);
            for _ in 0..manner.steps {
                let (registers, memory) = (&mut registers, &mut self.memory);
                let exit = self.engine.step(registers, memory, &mut clock, Grant::None);
                let trapped_from = self.engine.trapped_from();
                let is_last = exit != Exit::Stepped;
                stops.push(Stop { exit, registers: registers.clone(), clock, trapped_from });
                if is_last {
                    return self.outcome(stops, kernel);
                }
            }
        }
    }

    /// Serves a call at a trap; false if it is none.
    fn serve(
        &mut self,
        kernel: &mut Kernel,
        at: u64,
        registers: &mut Registers,
        clock: &mut Clock,
    ) -> bool {
        let mut slot = [0; 8];
        let [_, rcx, rdx, _, rsp, _, _, _, r8, r9, ..] = registers.gpr;
        if self.memory.read(Accessor::Machine, GuestAddr(rsp), &mut slot).is_err() {
            return false;
        }
        let stack = (rsp, u64::from_le_bytes(slot));
        let arguments = [rcx, rdx, r8, r9];
        let Some(done) = kernel.serve(at, arguments, stack, clock.events, &mut self.memory) else {
            return false;
        };
        clock.events += u64::from(done.is_event);
        (registers.gpr[0], registers.gpr[4], registers.rip) = (done.value, rsp + 8, stack.1);
        if let Some(undefined) = &mut registers.undefined {
            undefined.gpr[0] = 0;
        }
        registers.undefined.take_if(|undefined| **undefined == Undefined::default());
        true
    }

    fn prepare(&mut self, case: &Case, manner: &Manner) -> anyhow::Result<()> {
        let stack = if manner.stack.is_empty() {
            0..0
        } else {
            manner.stack.start + MOVED..manner.stack.end + MOVED
        };
        self.engine.set_stack_range(stack);
        let window = GuestAddr(MOVED + WINDOW);
        self.memory.set_state(window, WINDOW_BYTES as u64, ByteState::DEFINED, None);
        if manner.is_page_fresh {
            self.write(CODE, &[PAD; CODE_PAGES_BYTES as usize])?;
        }
        // Code that is there already keeps its translations.
        let mut code = vec![0; case.code.len()];
        self.read(case.address + self.shift, &mut code)?;
        if code != case.code {
            self.write(case.address + self.shift, &case.code)?;
        }
        self.write(WINDOW, case.memory.as_slice())?;
        let undefined = manner.undefined.iter().map(|range| (range, ByteState::UNDEFINED));
        let closed = manner.closed.iter().map(|range| (range, ByteState::FREED));
        for (range, state) in undefined.chain(closed) {
            let at = GuestAddr(MOVED + WINDOW + range.start);
            self.memory.set_state(at, range.end - range.start, state, None);
        }
        Ok(())
    }

    fn outcome(&mut self, stops: Vec<Stop>, kernel: Kernel) -> anyhow::Result<Outcome> {
        let window = GuestAddr(MOVED + WINDOW);
        let mut undefined = Vec::new();
        if self.memory.undefined(window, WINDOW_BYTES as u64).is_some() {
            let granules = (0..WINDOW_BYTES as u64).step_by(GRANULE_BYTES as usize);
            let of = |at| self.memory.undefined(GuestAddr(window.0 + at), GRANULE_BYTES);
            undefined.extend(granules.filter_map(of));
        }
        // Where nobody may touch, the machine still reads what was there.
        self.memory.set_state(window, WINDOW_BYTES as u64, ByteState::DEFINED, None);
        let (mut memory, mut code) = (vec![0; WINDOW_BYTES], vec![0; CODE_PAGES_BYTES as usize]);
        self.read(WINDOW, &mut memory)?;
        self.read(CODE, &mut code)?;
        Ok(Outcome { stops, code, memory, undefined, made: kernel.made })
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.memory.write(Accessor::Machine, GuestAddr(MOVED + at), bytes);
        written.map_err(|objection| anyhow::anyhow!("not writable: {objection:?}"))
    }

    fn read(&self, at: u64, into: &mut [u8]) -> anyhow::Result<()> {
        let read = self.memory.read(Accessor::Machine, GuestAddr(MOVED + at), into);
        read.map_err(|objection| anyhow::anyhow!("not readable: {objection:?}"))
    }
}

/// Describes each difference.
fn differences(case: &Case, expected: &Outcome, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    if expected.stops.len() != outcome.stops.len() {
        let (a, b) = (expected.stops.len(), outcome.stops.len());
        found.push(format!("stops: {a} interpreted, {b} translated"));
    }
    for (number, (a, b)) in expected.stops.iter().zip(&outcome.stops).enumerate() {
        differences_at(case, a, b, &mut found);
        if !found.is_empty() {
            found.push(format!("at stop {number} of {}", expected.stops.len()));
            break;
        }
    }
    if expected.made != outcome.made {
        let apart = expected.made.iter().zip(&outcome.made).find(|(a, b)| a != b);
        let counts = (expected.made.len(), outcome.made.len());
        found.push(format!("calls: {counts:?} interpreted and translated, first {apart:x?}"));
    }
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{what}: {a} interpreted, {b} translated"));
        }
    };
    if expected.undefined != outcome.undefined {
        let text = |outcome: &Outcome| format!("{:x?}", outcome.undefined);
        differ("undefined", text(expected), text(outcome));
    }
    if (&expected.memory, &expected.code) == (&outcome.memory, &outcome.code) {
        return found;
    }
    let windows = expected.memory.iter().zip(&outcome.memory).zip(WINDOW..);
    let codes = expected.code.iter().zip(&outcome.code).zip(CODE..);
    for ((a, b), at) in windows.chain(codes).filter(|((a, b), _)| a != b) {
        differ(&format!("[{at:x}]"), format!("{a:x}"), format!("{b:x}"));
    }
    found
}

fn differences_at(case: &Case, expected: &Stop, stop: &Stop, found: &mut Vec<String>) {
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{what}: {a} interpreted, {b} translated"));
        }
    };
    let ignored = match expected.exit {
        Exit::Trap(_) | Exit::Fault(Fault::Vector(Vector::Breakpoint)) => case.ignored_flags,
        _ => STATUS,
    };
    if is_same(expected, stop, ignored) {
        return;
    }
    let text = |stop: &Stop| format!("{:x?} from {:x?}", stop.exit, stop.trapped_from);
    differ("exit", text(expected), text(stop));
    let (a, b) = (&expected.registers, &stop.registers);
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
    differ("clock", format!("{:?}", expected.clock), format!("{:?}", stop.clock));
}

/// Whether two stops agree; cheaper than to put it into words.
fn is_same(a: &Stop, b: &Stop, ignored: u64) -> bool {
    let rflags = a.registers.rflags & ignored | b.registers.rflags & !ignored;
    a.exit == b.exit
        && a.trapped_from == b.trapped_from
        && a.clock == b.clock
        && a.registers == Registers { rflags, ..b.registers.clone() }
}
