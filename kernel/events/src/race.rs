//! Events of memory that several threads and processors share.

use guest_memory::GuestAddr;

use crate::ThreadId;

/// Who accesses: what runs in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The DPCs of a processor.
    Dpcs(u8),
    /// The interrupts of a processor.
    Interrupts(u8),
    /// A thread.
    Thread(ThreadId),
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKind {
    /// A plain load.
    Load,
    /// A plain store.
    Store,
    /// Part of an interlocked operation.
    Interlocked,
}

/// One of two accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RacingAccess {
    /// Whose.
    pub who: Who,
    /// First address.
    pub address: GuestAddr,
    /// Length.
    pub size_bytes: u32,
    /// What it does.
    pub kind: SharedKind,
    /// The driver's instruction, or the one that called a copy routine.
    pub ip: GuestAddr,
}

/// Two conflicting accesses that nothing orders: each pair of instructions once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRace {
    /// The one that came first in this run.
    pub earlier: RacingAccess,
    /// The other one.
    pub later: RacingAccess,
}

/// An instruction is about to run at which the tape may let another processor go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchPoint {
    /// Who runs it.
    pub who: Who,
    /// How often it was reached, from 1.
    pub reached: u32,
    /// Another processor or thread goes on first.
    pub is_switch: bool,
}

/// Where in the driver's code a free moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FreeMoment {
    /// Just before a call of this routine.
    BeforeCall(&'static str),
    /// Just after one.
    AfterCall(&'static str),
    /// Just after it changed its IRQL inline.
    AfterIrqlChange,
    /// Just before an instruction that a tape set as such a moment.
    BeforeInstruction,
    /// Just before the first instruction of a routine; whoever stands still there goes on on
    /// another processor.
    AtEntry,
}

/// A free moment: what runs may be interrupted, and somebody else goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Number of the kind of question.
    pub kind: u16,
    /// How many questions of this kind came before in the run.
    pub ordinal: u32,
    /// Where.
    pub moment: FreeMoment,
    /// A digest of the driver's call stack.
    pub stack: u64,
    /// Who runs.
    pub who: Who,
    /// Who could go on instead: the answers from 1 on. None if time passes instead.
    pub others: Vec<Who>,
    /// A digest of where those stand.
    pub others_at: u64,
    /// The answer; 0: nothing happens.
    pub answer: u32,
}

impl Preemption {
    /// Who goes on instead.
    pub fn next(&self) -> Option<Who> {
        let place = usize::try_from(self.answer).ok()?.checked_sub(1)?;
        self.others.get(place).copied()
    }
}
