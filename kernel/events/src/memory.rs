//! Events of memory, pool, IRQL and exceptions.

use guest_memory::{AccessKind, Block, GuestAddr, Near, Objection};
use nt_abi::{Irql, NtStatus};

use crate::Seq;

/// What a block is, as `Provenance::kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum BlockKind {
    /// Allocated by a driver from pool.
    Pool = 1,
    /// Allocated by the kernel for itself or for a driver; the driver may free it where documented.
    KernelPool = 2,
    /// An IRP with its stack locations.
    Irp = 3,
    /// The system buffer of a buffered request.
    SystemBuffer = 4,
    /// An MDL.
    Mdl = 5,
    /// A kernel object: device, driver, file, thread ... with header.
    Object = 6,
    /// A thread's kernel stack.
    Stack = 7,
    /// Kernel-half memory that the workload passes as a hostile pointer.
    Canary = 8,
}

impl BlockKind {
    /// Reads back a `Provenance::kind`.
    pub fn from_u16(kind: u16) -> Option<Self> {
        [
            Self::Pool,
            Self::KernelPool,
            Self::Irp,
            Self::SystemBuffer,
            Self::Mdl,
            Self::Object,
            Self::Stack,
            Self::Canary,
        ]
        .into_iter()
        .find(|k| *k as u16 == kind)
    }
}

/// An access that must not happen; it was stopped before it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryFault {
    /// The access and the first byte objected to.
    pub objection: Objection,
    /// The block at or beside that byte.
    pub near: Option<Near>,
    /// True if it is the stack's guard page, or below it.
    pub is_stack_guard: bool,
    /// True if the address lies in the user range that the current request's caller passed.
    pub is_callers_buffer: bool,
    /// For a kernel address that stands in the caller's input as a mark: the offset there.
    pub mark: Option<u32>,
    /// What Windows would do: a bug check, or an exception that a handler may take.
    pub outcome: FaultOutcome,
}

pub use self::outcome::FaultOutcome;

mod outcome {
    //! What Windows makes of a fault.

    /// What Windows makes of a fault.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum FaultOutcome {
        /// A bug check with this code.
        BugCheck(u32),
        /// An exception that a handler may take.
        Exception,
        /// Nothing at once: corruption or a stale value that shows later.
        Silent,
    }
}

/// The driver touched a kernel-half address that user mode passed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CanaryTouch {
    /// First address touched.
    pub address: GuestAddr,
    /// Length.
    pub size_bytes: u64,
    /// Read or write.
    pub kind: AccessKind,
}

/// The driver changes memory that its MDL locked for reading, and that the caller itself may only
/// read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadLockWrite {
    /// First address written, in the mapping of the MDL.
    pub address: GuestAddr,
    /// Length.
    pub size_bytes: u64,
}

/// The driver touches user memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UserFetch {
    /// First address.
    pub address: GuestAddr,
    /// Length.
    pub size_bytes: u64,
    /// Read or write.
    pub kind: AccessKind,
    /// How many came before in this run: the ordinal of its choice point.
    pub ordinal: u32,
}

/// An exception that no handler of the driver took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExceptionEscape {
    /// The exception code.
    pub code: NtStatus,
    /// The instruction that raised it.
    pub raised_at: GuestAddr,
    /// For an access violation: address and kind.
    pub access: Option<(GuestAddr, AccessKind)>,
    /// True if that address lies in the user range that the current request's caller passed.
    pub is_callers_buffer: bool,
    /// True if the page went away by a choice of the run.
    pub is_provoked: bool,
    /// The kernel routine that raised it, as the driver's author writes it; `None` if it was an
    /// instruction.
    pub raised_by: Option<&'static str>,
}

/// What an undefined value decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Which way a branch went.
    Branch,
    /// What was touched, or where execution went on.
    Address,
    /// The status that the driver gave: it returned it, or completed a request with it.
    Status,
}

/// An undefined value decided something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UndefinedDecision {
    /// What.
    pub decided: Decided,
    /// Where undefined bytes were loaded from last: the block there, if it is known.
    pub from: Option<Near>,
    /// A digest of the kernel routines that the driver called before, in order: tells runs with
    /// other undefined bytes that went alike so far from those that did not.
    pub calls: u64,
}

/// A routine was called with an argument that its page does not allow, and that Windows does not
/// check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArgumentOutOfRange {
    /// The routine, as the driver's author writes it.
    pub export: &'static str,
    /// The parameter, as its page names it.
    pub argument: &'static str,
    /// What was passed.
    pub value: i64,
    /// The smallest value allowed.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Path of the documentation page.
    pub ddi: &'static str,
}

/// A free choice that an explorer may make otherwise: its question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Number of the kind of question.
    pub kind: u16,
    /// How many questions of this kind came before in the run.
    pub ordinal: u32,
    /// How many answers there are.
    pub options: u32,
    /// A digest of the driver's call stack, and of what else makes two questions of one instruction
    /// different.
    pub stack: u64,
    /// The answer; 0 is the friendly one.
    pub answer: u32,
}

/// A pool request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolAllocate {
    /// True for paged pool.
    pub is_paged: bool,
    /// The tag, first character in the low byte.
    pub tag: u32,
    /// Length asked for.
    pub size_bytes: u64,
    /// The block; null if the request failed.
    pub block: GuestAddr,
}

/// A pool block given back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolFree {
    /// The address passed.
    pub address: GuestAddr,
    /// The tag passed; 0 stands for any.
    pub tag: u32,
    /// What it met.
    pub outcome: PoolFreeOutcome,
}

/// What a free met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolFreeOutcome {
    /// A live block, with this tag or a tag of 0 given.
    Freed(Block),
    /// A live block of another tag. Not freed.
    WrongTag(Block),
    /// A block freed before, with its history.
    AlreadyFreed(Block),
    /// No block starts there.
    NotABlock(Option<Near>),
    /// Paged pool freed at `DISPATCH_LEVEL` or above.
    PagedTooHigh(Block),
}

/// The IRQL of the current processor changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqlChange {
    /// What it was.
    pub from: Irql,
    /// What it is.
    pub to: Irql,
}

/// A documented IRQL limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqlLimit {
    /// Lowest level allowed.
    pub min: Irql,
    /// Highest level allowed.
    pub max: Irql,
}

/// A routine called outside its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitBroken {
    /// The routine, as the driver's author writes it.
    pub export: &'static str,
    /// Its limit.
    pub limit: IrqlLimit,
    /// Path of its documentation page.
    pub ddi: &'static str,
    /// Where the IRQL was raised last.
    pub raised: Option<Seq>,
}

/// The driver compares two numbers, at an instruction that the tape names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Where.
    pub at: GuestAddr,
    /// What stands on the left of the comparison.
    pub left: u64,
    /// What it is compared with.
    pub right: u64,
    /// The width of both: 1, 2, 4 or 8.
    pub size_bytes: u8,
}
