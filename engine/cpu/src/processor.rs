//! The processor itself.

use std::ops::Range;

use guest_memory::{GuestAddr, GuestMemory};
use x86_interp::Engine;

use crate::{Clock, Exit, Grant, MemoryOperand, Registers};

/// Runs guest code.
#[derive(Debug)]
pub struct Processor {
    engine: Engine,
}

impl Processor {
    /// `trap_range`: executing inside it is an exit. It need not be mapped.
    pub fn new(trap_range: Range<u64>) -> Self {
        Self { engine: Engine::new(trap_range) }
    }

    /// Declares the stack of the running thread: lowering rsp inside it makes the bytes of the new
    /// frame undefined. An empty range (the default) declares none.
    pub fn set_stack_range(&mut self, stack: Range<u64>) {
        self.engine.set_stack_range(stack);
    }

    /// Runs until something needs the owner.
    pub fn run(&mut self, regs: &mut Registers, mem: &mut GuestMemory, clock: &mut Clock) -> Exit {
        self.engine.run(regs, mem, clock)
    }

    /// Runs one instruction; a `rep` instruction counts as one.
    pub fn step(
        &mut self,
        regs: &mut Registers,
        mem: &mut GuestMemory,
        clock: &mut Clock,
        grant: Grant,
    ) -> Exit {
        self.engine.step(regs, mem, clock, grant)
    }

    /// The operand of the instruction at `rip` if it reads memory, changes the value and writes it
    /// back, without a lock.
    pub fn plain_update(&self, regs: &Registers, mem: &mut GuestMemory) -> Option<MemoryOperand> {
        self.engine.plain_update(regs, mem)
    }

    /// The instruction that led into the trap range; `None` if the last run or step met no trap, or
    /// began there.
    pub fn trapped_from(&self) -> Option<GuestAddr> {
        self.engine.trapped_from().map(GuestAddr)
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
        self.engine.set_breakpoint(at.0);
    }

    /// Takes a breakpoint back.
    pub fn clear_breakpoint(&mut self, at: GuestAddr) {
        self.engine.clear_breakpoint(at.0);
    }
}
