//! Events of memory that several threads and processors share.

use guest_memory::GuestAddr;

use crate::{Lock, Seq, ThreadId};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchPoint {
    /// Who runs it.
    pub who: Who,
    /// How often it was reached, from 1.
    pub reached: u32,
    /// Another processor or thread goes on first.
    pub is_switch: bool,
    /// Spin locks that its processor holds, and since when.
    pub holds: Vec<(Lock, Seq)>,
}
