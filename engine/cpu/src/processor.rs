//! The processor itself.

use std::{collections::BTreeSet, ops::Range};

use guest_memory::{GuestAddr, GuestMemory, Limits};
use x86_interp::Engine;

use crate::{Clock, Exit, Grant, MemoryOperand, Operands, Registers, Unavailable, tier};

/// Which engine runs guest code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// The reference, on every host.
    #[default]
    Interpreter,
    /// The translator where this thread has one (see [`prepare_translator`]), with the same
    /// results.
    Translator,
}

impl Tier {
    /// An empty memory that this tier can work in.
    pub fn memory(self, limits: Limits) -> GuestMemory {
        let shared = match self {
            Self::Interpreter => None,
            Self::Translator => GuestMemory::new_shared(limits),
        };
        // In a memory that cannot be mapped a second time the translator leaves all to the
        // interpreter.
        shared.unwrap_or_else(|| GuestMemory::new(limits))
    }
}

/// Makes the translator for processors with this trap range that run on this thread; at most one
/// thread of a process has one. Containment is that of `docs/engine.md`; a process that runs code
/// of strangers should hold nothing else.
pub fn prepare_translator(trap_range: Range<u64>) -> Result<(), Unavailable> {
    tier::prepare(trap_range)
}

/// Runs guest code.
#[derive(Debug)]
pub struct Processor {
    tier: Tier,
    trap: Range<u64>,
    stack: Range<u64>,
    breakpoints: BTreeSet<u64>,
    trapped_from: Option<u64>,
    engine: Engine,
}

impl Processor {
    /// One that interprets. `trap_range`: executing inside it is an exit. It need not be mapped.
    pub fn new(trap_range: Range<u64>) -> Self {
        Self::with_tier(Tier::Interpreter, trap_range)
    }

    /// One with this engine.
    pub fn with_tier(tier: Tier, trap_range: Range<u64>) -> Self {
        Self {
            tier,
            engine: Engine::new(trap_range.clone()),
            trap: trap_range,
            stack: 0..0,
            breakpoints: BTreeSet::new(),
            trapped_from: None,
        }
    }

    /// Declares the stack of the running thread: lowering rsp inside it makes the bytes of the new
    /// frame undefined. An empty range (the default) declares none.
    pub fn set_stack_range(&mut self, stack: Range<u64>) {
        self.engine.set_stack_range(stack.clone());
        self.stack = stack;
    }

    /// Runs until something needs the owner.
    pub fn run(&mut self, regs: &mut Registers, mem: &mut GuestMemory, clock: &mut Clock) -> Exit {
        // Breakpoints come and go with the runs; translations would go with them.
        let is_translated = self.tier == Tier::Translator && self.breakpoints.is_empty();
        if is_translated
            && let ranges = (&self.trap, &self.stack)
            && let Some((exit, from)) = tier::run(&mut self.engine, ranges, regs, mem, clock)
        {
            self.trapped_from = from;
            return exit;
        }
        let exit = self.engine.run(regs, mem, clock);
        self.trapped_from = self.engine.trapped_from();
        exit
    }

    /// Runs one instruction; a `rep` instruction counts as one.
    pub fn step(
        &mut self,
        regs: &mut Registers,
        mem: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        let exit = self.engine.step(regs, mem, clock, grant);
        self.trapped_from = self.engine.trapped_from();
        exit
    }

    /// The operand of the instruction at `rip` if it reads memory, changes the value and writes it
    /// back, without a lock.
    pub fn plain_update(&self, regs: &Registers, mem: &mut GuestMemory) -> Option<MemoryOperand> {
        self.engine.plain_update(regs, mem)
    }

    /// What the instruction at `rip` compares, if it does.
    pub fn compared(&self, regs: &Registers, mem: &mut GuestMemory) -> Option<Operands> {
        self.engine.compared(regs, mem)
    }

    /// The instruction that led into the trap range; `None` if the last run or step met no trap, or
    /// began there.
    pub fn trapped_from(&self) -> Option<GuestAddr> {
        self.trapped_from.map(GuestAddr)
    }

    /// Where undefined bytes were loaded from last.
    pub fn undefined_load(&self) -> Option<GuestAddr> {
        self.engine.undefined_load().map(GuestAddr)
    }

    /// First address of every block executed so far: coverage.
    pub fn blocks_reached(&self) -> Vec<GuestAddr> {
        self.engine.blocks_reached().map(GuestAddr).collect()
    }

    /// `run` exits before executing this address.
    pub fn set_breakpoint(&mut self, at: GuestAddr) {
        self.breakpoints.insert(at.0);
        self.engine.set_breakpoint(at.0);
    }

    /// Takes a breakpoint back.
    pub fn clear_breakpoint(&mut self, at: GuestAddr) {
        self.breakpoints.remove(&at.0);
        self.engine.clear_breakpoint(at.0);
    }
}
