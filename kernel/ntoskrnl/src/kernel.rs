//! The kernel of one machine: configuration, wiring, and the state of every component.

use std::sync::Arc;

use choice_tape::{ChoiceKind, Tape};
use cpu::{Clock, Processor, Registers, Tier};
use events::{Event, IrqlChange, Observer, Origin, Question, Seq, ThreadId, Verdict};
use guest_memory::{GuestAddr, GuestMemory, Limits};
use happens_before::Lane;
use nt_abi::{Irql, NtStatus};
use pe_image::Image;
use saved::Saved;

use crate::{
    Activation, CallResult, ExportTable, Module, Stop, ex, io, ke, map, mm, ob, points::Points, ps,
    rtl, run_loop::MOST_EFFORT, turn::Turn,
};

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Config {
    /// Byte that undefined memory holds.
    pub fill: u8,
    /// Bound on the event clock.
    pub limit_events: u64,
    /// Event ordinals whose stacks are recorded, ascending.
    pub record: Vec<Seq>,
    /// Whether a trace is kept.
    pub trace: bool,
    /// How many processors there are: 1 to [`MAX_PROCESSORS`].
    pub processors: u8,
    /// The engine.
    pub tier: Tier,
}

/// Processors at most; NT's own bound is 64 in a group.
pub const MAX_PROCESSORS: u8 = 8;

/// One virtual processor as the kernel sees it.
#[derive(Debug)]
pub struct Core {
    /// Its number.
    pub index: u8,
    /// The engine.
    pub cpu: Processor,
    /// Its registers; those of the current thread.
    pub regs: Registers,
    /// Its interrupt request level; what CR8 reads.
    pub irql: Irql,
    /// The event after which it was changed last.
    pub irql_changed: Option<Seq>,
    /// Its KPCR; the base of gs.
    pub control: GuestAddr,
    /// The thread it runs.
    pub thread: Option<ThreadId>,
    /// Where the driver's routine returned to the kernel last; what the kernel does next is about
    /// it.
    pub returned: GuestAddr,
    /// The export being carried out.
    pub call: Option<Call>,
    /// The DPC that runs on it.
    pub dpc: Option<GuestAddr>,
    /// What runs here on top of the thread, innermost last: DPCs and interrupts.
    pub lanes: Vec<Lane>,
    /// The event clock at which another thread of equal priority gets its turn.
    pub quantum_end_events: u64,
}

impl Core {
    /// An idle processor.
    fn new(index: u8, tier: Tier) -> Self {
        Self {
            index,
            cpu: Processor::with_tier(tier, map::trap_range()),
            regs: Registers::new(),
            irql: Irql::PASSIVE_LEVEL,
            irql_changed: None,
            control: GuestAddr::NULL,
            thread: None,
            returned: GuestAddr::NULL,
            call: None,
            dpc: None,
            lanes: Vec::new(),
            quantum_end_events: 0,
        }
    }
}

/// A call of an export that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What the author of the driver wrote.
    pub name: &'static str,
    /// The address to which it returns.
    pub from: GuestAddr,
    /// The instruction of the driver that led to it, if that was a jump.
    pub jump: Option<GuestAddr>,
}

/// A driver's image in memory.
#[derive(Clone, Debug)]
pub struct LoadedImage {
    /// File name.
    pub name: String,
    /// Where it is mapped.
    pub base: GuestAddr,
    /// `SizeOfImage`.
    pub size_bytes: u64,
    /// What the file states.
    pub image: Arc<Image>,
}

impl LoadedImage {
    /// Whether the address lies inside.
    pub fn contains(&self, at: GuestAddr) -> bool {
        at.0.wrapping_sub(self.base.0) < self.size_bytes
    }
}

/// A call of an export that returned a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// What it returned.
    pub status: NtStatus,
    /// The routine, as its author wrote it.
    pub name: &'static str,
    /// Where the caller goes on.
    pub from: GuestAddr,
}

/// A line of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// The event clock.
    pub clock_events: u64,
    /// What happened.
    pub text: String,
}

/// Recorded stacks: origin, and instruction addresses, innermost first; a flag marks return
/// addresses.
pub(crate) type Recorded = Vec<(Origin, Vec<(GuestAddr, bool)>)>;

/// The kernel of one machine.
#[derive(Debug)]
pub struct Kernel {
    // Configuration
    /// What the run was given.
    pub config: Config,

    // Wiring
    /// Trap addresses of exports.
    pub exports: Saved<ExportTable>,
    /// Who hears the events.
    pub observer: Box<dyn Observer>,

    // State
    /// Answers to free choices.
    pub tape: Tape,
    /// Guest memory.
    pub memory: GuestMemory,
    /// Virtual processors.
    pub cores: Vec<Core>,
    /// The processor that runs now.
    pub current: usize,
    /// How long it goes on.
    pub turn: Turn,
    /// Points that the tape sets.
    pub points: Points,
    /// The event clock of the machine.
    pub clock: Clock,
    /// Virtual time spent waiting, on top of the event clock.
    pub idle_100ns: u64,
    /// Ordinal of the last event.
    pub last_seq: Seq,
    /// A digest of the exports called so far, in order.
    pub call_digest: u64,
    /// The last call of an export that returned a failure.
    pub failed_call: Option<FailedCall>,
    /// Loaded drivers.
    pub images: Saved<Vec<LoadedImage>>,
    /// Lines printed by `DbgPrint` and kin.
    pub debug_output: Saved<Vec<String>>,
    /// The trace.
    pub trace: Saved<Vec<TraceEntry>>,
    /// Recorded stacks.
    pub recorded: Saved<Recorded>,
    pub rtl: rtl::State,
    pub ke: ke::State,
    pub ex: ex::State,
    pub mm: mm::State,
    pub ob: ob::State,
    pub ps: ps::State,
    pub io: io::State,
}

/// `KUSER_SHARED_DATA` time when a machine starts: 2024-01-01 00:00 UTC, in units of 100 ns since
/// 1601.
const BOOT_SYSTEM_TIME_100NS: u64 = 133_485_408_000_000_000;

/// FNV-1a by words: fixed for all times and hosts, which a standard hasher is not.
pub(crate) const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Questions of one kind whose place is told, per run: a driver that loops asks the same ones.
const MOST_PLACED: u32 = 1024;

pub(crate) fn digest_of(digest: u64, word: u64) -> u64 {
    (digest ^ word).wrapping_mul(0x0000_0100_0000_01b3)
}

impl Kernel {
    /// A kernel whose components have not started.
    pub fn new(
        config: Config,
        modules: &[Module],
        observer: Box<dyn Observer>,
        tape: Tape,
        limits: Limits,
    ) -> Self {
        let (processors, tier) = (config.processors.clamp(1, MAX_PROCESSORS), config.tier);
        let mut memory = tier.memory(limits);
        memory.bound_effort(MOST_EFFORT);
        Self {
            config,
            exports: Saved::new(ExportTable::new(modules)),
            observer,
            tape,
            memory,
            cores: (0..processors).map(|index| Core::new(index, tier)).collect(),
            current: 0,
            turn: Turn::default(),
            points: Points::default(),
            clock: Clock { events: 0, limit_events: u64::MAX },
            idle_100ns: 0,
            last_seq: Seq(0),
            call_digest: 0,
            failed_call: None,
            images: Saved::default(),
            debug_output: Saved::default(),
            trace: Saved::default(),
            recorded: Saved::default(),
            rtl: rtl::State::default(),
            ke: ke::State::default(),
            ex: ex::State::default(),
            mm: mm::State::default(),
            ob: ob::State::default(),
            ps: ps::State::default(),
            io: io::State::default(),
        }
    }

    /// The processor that runs now.
    pub fn core(&self) -> &Core {
        #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
        &self.cores[self.current]
    }

    /// The processor that runs now.
    pub fn core_mut(&mut self) -> &mut Core {
        #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
        &mut self.cores[self.current]
    }

    /// Registers of the current processor.
    pub fn regs(&mut self) -> &mut Registers {
        &mut self.core_mut().regs
    }

    /// IRQL of the current processor.
    pub fn irql(&self) -> Irql {
        self.core().irql
    }

    /// Sets the IRQL of the current processor; pageable memory is off limits from `DISPATCH_LEVEL`
    /// up.
    ///
    /// Pending DPCs are delivered by the run loop before the guest's next instruction.
    pub fn set_irql(&mut self, irql: Irql) {
        let from = self.irql();
        if from == irql {
            return;
        }
        self.core_mut().irql = irql;
        // A change of IRQL alone breaks no rule, so nobody stops the run here.
        let seq = self.emit(Event::IrqlChange(IrqlChange { from, to: irql })).ok();
        self.core_mut().irql_changed = seq;
        self.memory.set_pageable_allowed(irql < Irql::DISPATCH_LEVEL);
        self.order_dispatch_level(from, irql);
        self.trace(|_| format!("irql {irql}"));
    }

    /// Interrupt time: virtual time since the machine started, in units of 100 ns. One event counts
    /// 100 ns.
    pub fn interrupt_time_100ns(&self) -> u64 {
        self.clock.events + self.idle_100ns
    }

    /// System time, in units of 100 ns since 1601.
    pub fn system_time_100ns(&self) -> u64 {
        BOOT_SYSTEM_TIME_100NS + self.interrupt_time_100ns()
    }

    /// Asks the tape; 0 is the friendly answer.
    pub fn ask(&mut self, kind: ChoiceKind, options: u32) -> u32 {
        self.tape.ask(kind, options)
    }

    /// Asks the tape whether a request of the driver fails that may fail, and says so.
    pub fn is_to_fail(&mut self, kind: ChoiceKind) -> CallResult<bool> {
        Ok(self.ask_here(kind, 2, 0)? != 0)
    }

    /// Asks the tape a question that belongs to the place where the driver is, and says so. What
    /// has another `detail` is another question at the same place.
    pub fn ask_here(&mut self, kind: ChoiceKind, options: u32, detail: u64) -> CallResult<u32> {
        let ordinal = self.tape.asked(kind);
        let answer = self.ask(kind, options);
        if ordinal >= MOST_PLACED && answer == 0 {
            return Ok(answer);
        }
        let stack = self.stack_digest(detail);
        let event = Question { kind: kind.number, ordinal, options, stack, answer };
        self.emit(Event::Question(event))?;
        Ok(answer)
    }

    /// A digest of the driver's call stack, and of a number.
    pub(crate) fn stack_digest(&self, detail: u64) -> u64 {
        let of_driver = |(at, _): &(GuestAddr, bool)| self.image_at(*at).is_some();
        let frames = self.frames().filter(of_driver);
        frames.fold(digest_of(DIGEST_START, detail), |digest, (at, _)| digest_of(digest, at.0))
    }

    /// Adds a routine to the digest of calls.
    pub(crate) fn digest_call(&mut self, name: &str) {
        let start = self.call_digest;
        let digest = name.bytes().fold(start, |digest, byte| digest_of(digest, u64::from(byte)));
        // The end of the name, so that two names are not one longer.
        self.call_digest = digest_of(digest, 0x100);
    }

    /// Reports a fact before its consequence. `Err(Stop::Violation)` when the observer stops the
    /// run.
    pub fn emit(&mut self, event: Event) -> CallResult<Seq> {
        match self.observe(&event) {
            (seq, Verdict::Continue) => Ok(seq),
            (_, Verdict::Stop) => Err(Stop::Violation),
        }
    }

    fn observe(&mut self, event: &Event) -> (Seq, Verdict) {
        self.last_seq = Seq(self.last_seq.0 + 1);
        let origin = self.origin();
        if self.config.record.binary_search(&origin.seq).is_ok() {
            let mut stack = self.backtrace();
            // A routine that has just returned is on the stack no more.
            let place = (origin.ip, origin.ip_is_return);
            if !stack.contains(&place) && self.image_at(origin.ip).is_some() {
                stack.insert(0, place);
            }
            self.recorded.push((origin, stack));
        }
        (origin.seq, self.observer.observe(&origin, event))
    }

    /// Who is running where.
    pub fn origin(&self) -> Origin {
        let core = self.core();
        let (ip, ip_is_return, export) = match core.call {
            Some(Call { name, jump: Some(jump), .. }) => (jump, false, Some(name)),
            Some(Call { name, from, jump: None }) => (from, true, Some(name)),
            None => (GuestAddr(core.regs.rip), false, None),
        };
        let has_returned = core.call.is_none() && ip == ExportTable::return_address();
        let (ip, ip_is_return) = if self.image_at(ip).is_some() {
            (ip, ip_is_return)
        } else if has_returned && !core.returned.is_null() {
            // Not what is on the stack: a DPC borrows that of any thread.
            (core.returned, false)
        } else if let Some(routine) = self.tail_caller(ip).filter(|_| core.call.is_some()) {
            (routine, false)
        } else {
            // The innermost driver code on the stack, if there is any.
            let of_driver = |(at, _): &(GuestAddr, bool)| self.image_at(*at).is_some();
            let innermost = self.frames().find(of_driver);
            let routine = || self.tail_caller(ip).unwrap_or(core.returned);
            innermost.unwrap_or_else(|| (routine(), false))
        };
        Origin {
            seq: self.last_seq,
            processor: core.index,
            thread: core.thread.unwrap_or_default(),
            irql: core.irql,
            ip,
            ip_is_return,
            export,
            clock_events: self.clock.events,
        }
    }

    /// The driver's routine whose last act was to jump into an export, so that its own caller, the
    /// kernel, is what the export returns to.
    fn tail_caller(&self, returns_to: GuestAddr) -> Option<GuestAddr> {
        if returns_to != ExportTable::return_address() {
            return None;
        }
        let activations = &self.ke.threads.get(&self.core().thread?)?.activations;
        activations.iter().rev().find_map(|activation| match activation {
            Activation::Entry { routine, .. } => Some(*routine),
            _ => None,
        })
    }

    /// The driver image around an address.
    pub fn image_at(&self, at: GuestAddr) -> Option<&LoadedImage> {
        self.images.iter().find(|image| image.contains(at))
    }

    /// Adds a line to the trace, if one is kept.
    pub fn trace(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.config.trace {
            let text = text(self);
            self.trace.push(TraceEntry { clock_events: self.clock.events, text });
        }
    }

    /// The continuations of the current thread.
    pub fn activations(&mut self) -> &mut Vec<Activation> {
        let id = self.core().thread.expect("a thread is current while activations are used");
        &mut self.ke.thread_mut(id).activations
    }

    /// Whether the address may be used by user mode: below `MmUserProbeAddress`.
    pub fn is_user_address(at: GuestAddr) -> bool {
        at < map::USER_PROBE_ADDRESS
    }
}
