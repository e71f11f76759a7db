//! Events of what the kernel keeps hold of in a driver's memory, and of regions without APCs.

use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{EntryPoint, Seq};

/// A structure in a driver's memory that the kernel works with between calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptKind {
    /// An event, mutex, semaphore or queue.
    Dispatcher,
    /// `KTIMER`.
    Timer,
    /// `KDPC`.
    Dpc,
    /// `KAPC`.
    Apc,
}

/// What went wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptFault {
    /// Its memory is given back while the kernel still has it in a list.
    Freed,
    /// It is initialised again while the kernel still has it in a list.
    Initialized,
    /// It stands on a stack, in a frame that is gone, while the kernel still has it in a list.
    OnReturnedStack,
    /// It stands in memory that can be paged out.
    Pageable,
    /// It was never initialised, or its header was overwritten since.
    NotInitialized,
}

/// A structure is not what the kernel needs it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptObject {
    /// What it is.
    pub kind: KeptKind,
    /// Where it is.
    pub at: GuestAddr,
    /// What is wrong.
    pub fault: KeptFault,
    /// When the kernel got hold of it: it was set, queued or waited for.
    pub since: Option<Seq>,
}

/// A region in which a thread gets no APCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// No normal kernel APCs.
    Critical,
    /// No APCs.
    Guarded,
}

/// What is wrong with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionMisuse {
    /// Left by a thread that is in none.
    NotEntered,
    /// A routine of the driver returned in more of them than it was called in.
    NotLeft(EntryPoint),
    /// A routine of the driver returned in fewer of them than it was called in.
    LeftForCaller(EntryPoint),
    /// A thread ended in one.
    ThreadEnded,
}

/// Regions do not nest as they must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionFault {
    /// Which.
    pub region: Region,
    /// What is wrong.
    pub misuse: RegionMisuse,
    /// When the thread entered one last.
    pub entered: Option<Seq>,
}

/// A routine that raises the IRQL was to lower it, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqlMisuse {
    /// What the level is.
    pub from: Irql,
    /// What the driver asks for.
    pub to: Irql,
    /// Where it was changed last.
    pub changed: Option<Seq>,
}

/// A thread ended although it owns a mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutexAbandon {
    /// The `KMUTEX`.
    pub mutex: GuestAddr,
    /// When the thread acquired it.
    pub acquired: Seq,
}
