//! The interpreter: what it keeps between runs, and its loops.

mod cache;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use cache::{NEAR_ENTRIES, SINGLE_ENTRIES};
use guest_memory::{GuestAddr, GuestMemory};
use x86_ops::Lazy;

use crate::{
    Clock, Done, Env, Exit, Go, Grant, Op, Registers, Stop,
    block::{Block, NO_BLOCK, Single},
    careful::{Bits, Label, Rules},
    decode,
    touched::Touched,
};

/// The interpreter with its cache of decoded code. What is cached never changes what is computed.
#[derive(Debug)]
pub struct Engine {
    trap: Range<u64>,
    stack: Range<u64>,
    breakpoints: BTreeSet<u64>,
    reached: BTreeSet<u64>,
    blocks: Vec<Block>,
    index: BTreeMap<(u64, bool), u32>,
    near: Vec<(u64, u32)>,
    singles: Vec<Option<Box<Single>>>,
    /// An instruction whose undefined decision was granted and which then met a watch.
    decided_at: Option<u64>,
    /// How `rip` was reached.
    entry: Entry,
    /// Addresses at which the next run goes on in the middle of a block.
    resumes: [u64; 2],
    /// The instruction that led into the trap range, if the last run ended with one.
    trapped_from: Option<u64>,
    /// Where labelled bytes were loaded from last.
    labelled_load: Option<u64>,
    /// What is labelled while the fast loop runs.
    labelled: Touched,
    /// How often the cache was started anew.
    caches: u64,
}

/// How an address was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// In the middle of a block.
    Within,
    /// Behind a branch that was not taken.
    Behind,
    /// By a branch that was taken, or from elsewhere.
    Arrived,
}

impl Entry {
    /// Takes it; only an arrival is one.
    fn take_arrival(&mut self) -> bool {
        std::mem::replace(self, Self::Within) == Self::Arrived
    }
}

/// What the fast loop met.
enum Met {
    /// Leave with this.
    Exit(Exit),
    /// The instruction at `rip` must run alone.
    Careful,
}

/// Configuration.
impl Engine {
    /// `trap`: executing inside it is an exit. It need not be mapped.
    pub fn new(trap: Range<u64>) -> Self {
        Self {
            trap,
            stack: 0..0,
            breakpoints: BTreeSet::new(),
            reached: BTreeSet::new(),
            blocks: Vec::new(),
            index: BTreeMap::new(),
            near: vec![(0, NO_BLOCK); NEAR_ENTRIES],
            singles: (0..SINGLE_ENTRIES).map(|_| None).collect(),
            decided_at: None,
            entry: Entry::Arrived,
            resumes: [0; 2],
            trapped_from: None,
            labelled_load: None,
            labelled: Touched::default(),
            caches: 0,
        }
    }

    /// Lowering rsp inside this range makes the bytes of the new frame undefined.
    pub fn set_stack_range(&mut self, stack: Range<u64>) {
        self.stack = stack;
    }

    /// Execution of this address by `run` becomes an exit.
    pub fn set_breakpoint(&mut self, at: u64) {
        if self.breakpoints.insert(at) {
            self.cut(at);
        }
    }

    /// Takes a breakpoint back.
    pub fn clear_breakpoint(&mut self, at: u64) {
        if self.breakpoints.remove(&at) {
            self.cut(at);
        }
    }

    /// Every address executed so far to which a branch led, or at which a run began, in ascending
    /// order.
    pub fn blocks_reached(&self) -> impl Iterator<Item = u64> {
        self.reached.iter().copied()
    }

    /// The instruction that led into the trap range; `None` if the last run or step met no trap, or
    /// began there.
    pub fn trapped_from(&self) -> Option<u64> {
        self.trapped_from
    }

    /// Where undefined bytes were loaded from last.
    pub fn undefined_load(&self) -> Option<u64> {
        self.labelled_load
    }

    /// Says how `at` was reached by somebody else who runs the same code: by a branch, or by going
    /// on behind an instruction. Coverage goes on from there.
    pub fn arrive(&mut self, at: u64, is_branch: bool) {
        self.entry = if is_branch { Entry::Arrived } else { Entry::Within };
        self.resumes = [at; 2];
    }

    /// Somebody else runs the instruction at `rip` next. Returns whether a block begins there,
    /// which is his to note.
    pub fn pass(&mut self, rip: u64) -> bool {
        self.begin_at(rip);
        self.entry.take_arrival()
    }

    /// Notes a block that somebody else runs.
    pub fn note_reached(&mut self, rip: u64) {
        self.reached.insert(rip);
    }
}

/// Running.
impl Engine {
    /// Runs until something needs the owner.
    pub fn run(&mut self, r: &mut Registers, m: &mut GuestMemory, clock: &mut Clock) -> Exit {
        self.trapped_from = None;
        let Some(left) = clock.limit_events.checked_sub(clock.events).filter(|&left| left > 0)
        else {
            return Exit::ClockLimit;
        };
        let mut env = self.env(r, m, left, Grant::None);
        self.begin_at(env.r.rip);
        let exit = self.run_mixed(&mut env);
        env.settle();
        clock.events = clock.limit_events - env.left;
        self.labelled_load = env.labelled_load;
        self.note_exit(env.r.rip, &exit);
        exit
    }

    /// Runs one instruction; a `rep` instruction counts as one.
    pub fn step(
        &mut self,
        r: &mut Registers,
        m: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        let mut env = self.env(r, m, u64::MAX, grant);
        self.trapped_from = None;
        self.begin_at(env.r.rip);
        // An instruction that needs both grants gets them one after the other.
        let rip = env.r.rip;
        env.may_decide |= grant == Grant::Watch && self.decided_at == Some(rip);
        let rules = Rules::undefined();
        let mut labels = Bits::read(env.r);
        let exit = match self.step_careful(&mut env, rules, &mut labels) {
            Ok(()) => Exit::Stepped,
            Err(exit) => exit,
        };
        let is_held = env.may_decide && matches!(exit, Exit::Watched(_));
        self.decided_at = is_held.then_some(rip);
        Bits::write(&labels, env.r);
        env.settle();
        clock.events += u64::MAX - env.left;
        self.labelled_load = env.labelled_load;
        self.note_exit(env.r.rip, &exit);
        exit
    }

    /// Remembers where going on is no arrival at a block.
    fn note_exit(&mut self, rip: u64, exit: &Exit) {
        let next = match exit {
            Exit::Privileged { next, .. } => next.0,
            _ => rip,
        };
        self.resumes = [rip, next];
    }

    /// A run begins here: if it does not just go on, it arrives.
    fn begin_at(&mut self, rip: u64) {
        if !self.resumes.contains(&rip) {
            self.entry = Entry::Arrived;
        }
    }

    fn env<'a>(
        &self,
        r: &'a mut Registers,
        m: &'a mut GuestMemory,
        left: u64,
        grant: Grant,
    ) -> Env<'a> {
        Env {
            r,
            m,
            lazy: Lazy::SETTLED,
            left,
            alone: false,
            grant,
            may_decide: grant == Grant::Undefined,
            exit: None,
            stack: self.stack.clone(),
            labelled_load: self.labelled_load,
        }
    }

    /// The fast loop where no label is in the way, else the careful one.
    fn run_mixed(&mut self, e: &mut Env<'_>) -> Exit {
        loop {
            self.labelled = Touched::labelled(e.r);
            if let Met::Exit(exit) = self.run_fast(e) {
                return exit;
            }
            if self.is_breakpoint(e.r.rip) {
                return Exit::Breakpoint;
            }
            let rules = Rules::undefined();
            if let Err(exit) = self.run_careful(e, rules) {
                return exit;
            }
            if e.left == 0 {
                return Exit::ClockLimit;
            }
        }
    }

    fn run_fast(&mut self, e: &mut Env<'_>) -> Met {
        let mut current = match self.resolve(e) {
            Ok(block) => block,
            Err(exit) => return Met::Exit(*exit),
        };
        loop {
            let Some(block) = self.blocks.get(current as usize) else {
                return Met::Careful;
            };
            if block.epoch != e.m.code_epoch() {
                match self.refresh(current, e) {
                    Ok(()) => continue,
                    Err(exit) => return Met::Exit(*exit),
                }
            }
            if !self.labelled.is_empty() && block.touches(e.m).meets(self.labelled) {
                e.r.rip = block.start;
                return Met::Careful;
            }
            let (done, at) = if e.m.is_tracking() {
                run_ops::<true>(e, block)
            } else {
                run_ops::<false>(e, block)
            };
            let link = match done {
                Ok(Go::Taken) => {
                    e.left -= u64::from(block.is_back);
                    if e.left == 0 {
                        e.r.rip = block.target;
                        self.entry = Entry::Arrived;
                        return Met::Exit(Exit::ClockLimit);
                    }
                    if block.taken != NO_BLOCK {
                        current = block.taken;
                        continue;
                    }
                    e.r.rip = block.target;
                    Some(true)
                }
                Ok(Go::Next) => {
                    if block.fall != NO_BLOCK {
                        current = block.fall;
                        continue;
                    }
                    e.r.rip = block.end;
                    Some(false)
                }
                Ok(Go::Indirect) => {
                    if e.left == 0 {
                        self.entry = Entry::Arrived;
                        return Met::Exit(Exit::ClockLimit);
                    }
                    if self.trap.contains(&e.r.rip) {
                        self.trapped_from = Some(at);
                        return Met::Exit(Exit::Trap(GuestAddr(e.r.rip)));
                    }
                    None
                }
                Err(stop) => {
                    e.r.rip = at;
                    return match stop {
                        Stop::Careful => Met::Careful,
                        stop => Met::Exit(self.exit_of(e, stop)),
                    };
                }
            };
            self.entry = match (link, block.ends_in_branch) {
                (Some(false), false) => Entry::Within,
                (Some(false), true) => Entry::Behind,
                _ => Entry::Arrived,
            };
            let caches = self.caches;
            let next = match self.resolve(e) {
                Ok(block) => block,
                Err(exit) => return Met::Exit(*exit),
            };
            if let (Some(is_taken), Some(block)) = (link, self.blocks.get_mut(current as usize))
                && caches == self.caches
            {
                *(if is_taken { &mut block.taken } else { &mut block.fall }) = next;
            }
            current = next;
        }
    }

    /// The exit of an instruction that did not complete.
    pub(crate) fn exit_of(&self, e: &mut Env<'_>, stop: Stop) -> Exit {
        match (stop, e.exit.take()) {
            (Stop::Exit, Some(exit)) => exit,
            _ => not_modelled(e),
        }
    }

    /// Moves `rip` behind an instruction that ran alone.
    pub(crate) fn advance(&mut self, e: &mut Env<'_>, op: &Op, go: Go, is_branch: bool) {
        self.entry = match (is_branch, go) {
            (false, _) => Entry::Within,
            (true, Go::Next) => Entry::Behind,
            (true, _) => Entry::Arrived,
        };
        match go {
            Go::Next => e.r.rip = op.next(),
            Go::Indirect => {
                let is_trap = self.trap.contains(&e.r.rip);
                self.trapped_from = is_trap.then_some(op.rip);
            }
            Go::Taken => {
                e.left -= u64::from(op.imm <= op.rip);
                e.r.rip = op.imm;
            }
        }
    }

    /// Whether `rip` follows a branch, so that a block begins there.
    pub(crate) fn is_at_entry(&self) -> bool {
        self.entry != Entry::Within
    }

    /// Notes that the instruction at `rip` runs alone.
    pub(crate) fn reach(&mut self, rip: u64) {
        if self.entry.take_arrival() {
            self.reached.insert(rip);
        }
    }

    pub(crate) fn is_breakpoint(&self, at: u64) -> bool {
        self.breakpoints.contains(&at)
    }
}

#[inline(always)]
fn run_ops<const IS_TRACKING: bool>(e: &mut Env<'_>, block: &Block) -> (Done, u64) {
    for op in &block.ops {
        if IS_TRACKING {
            e.m.set_instruction(op.rip, op.extra.lock);
        }
        let done = (op.run)(e, op);
        if done != Ok(Go::Next) {
            return (done, op.rip);
        }
    }
    (Ok(Go::Next), 0)
}

fn not_modelled(e: &mut Env<'_>) -> Exit {
    match decode::fetch(e.m, e.r.is_user, e.r.rip) {
        Ok(ins) => decode::not_modelled(e.m, e.r.is_user, &ins),
        Err(exit) => *exit,
    }
}
