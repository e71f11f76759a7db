//! The event type, its origin, and its kinds.

use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{
    ArgumentOutOfRange, BugCheckRaised, CanaryTouch, Comparison, DataRace, EntryPoint, EntryReturn,
    ExceptionEscape, Hang, IrpComplete, IrpCreate, IrpDispatch, IrpReturn, IrpStuck, IrqlChange,
    IrqlMisuse, KeptObject, LeftBehind, LimitBroken, LockAcquire, LockFault, LockLife, LockRelease,
    LockRequest, MemoryFault, MutexAbandon, PendingLost, PoolAllocate, PoolFree, Preemption,
    Privileged, Question, ReadLockWrite, Region, RegionFault, ResourceTaken, Standstill,
    SwitchPoint, TransferOut, UndefinedDecision, UserFetch, WorkItemFault,
};

/// Ordinal of an event within its run, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// A guest thread, numbered from 1 in order of creation. Not the thread id a driver sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThreadId(pub u32);

/// Who was running where when something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Ordinal of the event.
    pub seq: Seq,
    /// The processor.
    pub processor: u8,
    /// Its current thread.
    pub thread: ThreadId,
    /// Its IRQL.
    pub irql: Irql,
    /// The driver's instruction: the one that faulted, or the call into the kernel. For
    /// [`Event::EntryReturn`] and [`Event::IrpReturn`] the instruction that returned, or the first
    /// one of a routine that ended by jumping into the kernel. Null when no driver code is on the
    /// stack.
    pub ip: GuestAddr,
    /// True if `ip` is a return address, so that the instruction ends just before it.
    pub ip_is_return: bool,
    /// The kernel routine the driver called, if any.
    pub export: Option<&'static str>,
    /// The event clock.
    pub clock_events: u64,
}

macro_rules! events {
    ($($(#[$meta:meta])* $name:ident($payload:ty),)*) => {
        /// One fact.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $($(#[$meta])* $name($payload),)* }

        /// The kinds of [`Event`], for subscriptions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$meta])* $name,)* }

        impl Event {
            /// Returns the kind.
            pub fn kind(&self) -> EventKind {
                match self { $(Self::$name(_) => EventKind::$name,)* }
            }
        }

        impl EventKind {
            /// Every kind, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

events! {
    /// Guest code, or a kernel routine called with its pointer, touches what it must not.
    MemoryFault(MemoryFault),
    /// A kernel-half address that the caller passed in was read or written.
    CanaryTouch(CanaryTouch),
    /// A mapping of pages that were locked for reading, and are read-only for the caller, was
    /// written.
    ReadLockWrite(ReadLockWrite),
    /// Driver code reads or writes user memory.
    UserFetch(UserFetch),
    /// An exception left a driver's entry point, or could not be dispatched.
    ExceptionEscape(ExceptionEscape),
    /// An undefined value decided a branch or an address.
    UndefinedDecision(UndefinedDecision),
    /// A routine was called with an argument that its page does not allow.
    ArgumentOutOfRange(ArgumentOutOfRange),
    /// A free choice that an explorer may make otherwise was made.
    Question(Question),
    /// Pool was asked for.
    PoolAllocate(PoolAllocate),
    /// Pool was given back.
    PoolFree(PoolFree),
    /// A processor's IRQL changed.
    IrqlChange(IrqlChange),
    /// A kernel routine was called above or below its documented IRQL.
    LimitBroken(LimitBroken),
    /// The kernel calls a driver's entry point.
    EntryCall(EntryPoint),
    /// A driver's entry point returned.
    EntryReturn(EntryReturn),
    /// An IRP was created.
    IrpCreate(IrpCreate),
    /// An IRP goes to a driver's dispatch routine.
    IrpDispatch(IrpDispatch),
    /// A dispatch routine returned.
    IrpReturn(IrpReturn),
    /// A driver calls `IoCompleteRequest`.
    IrpComplete(IrpComplete),
    /// An IRP survived cancel, cleanup and a fair run to rest.
    IrpStuck(IrpStuck),
    /// The results of a request go to its caller.
    TransferOut(TransferOut),
    /// A driver took something that it must give back.
    ResourceTaken(ResourceTaken),
    /// Something is left behind at unload.
    LeftBehind(LeftBehind),
    /// A privileged operation is carried out for a driver.
    Privileged(Privileged),
    /// A driver asks for a lock.
    LockRequest(LockRequest),
    /// A lock was acquired.
    LockAcquire(LockAcquire),
    /// A lock was released.
    LockRelease(LockRelease),
    /// A lock changed without being acquired or released.
    LockLife(LockLife),
    /// An operation on a lock that cannot be carried out.
    LockFault(LockFault),
    /// Processors spin, and nothing can end it.
    Hang(Hang),
    /// Nothing can run, and threads wait that nothing but each other can wake.
    Standstill(Standstill),
    /// A work item is given back by the routine of the other pair.
    WorkItemFault(WorkItemFault),
    /// A timer, DPC, APC or dispatcher object is not what the kernel needs it to be.
    KeptObject(KeptObject),
    /// A thread enters a critical or guarded region.
    RegionEnter(Region),
    /// Critical or guarded regions do not nest as they must.
    RegionFault(RegionFault),
    /// A raise that lowers, or the other way round.
    IrqlMisuse(IrqlMisuse),
    /// A thread ended that owns a mutex.
    MutexAbandon(MutexAbandon),
    /// Two conflicting accesses that nothing orders.
    DataRace(DataRace),
    /// An instruction is reached at which the tape may let another processor go on.
    SwitchPoint(SwitchPoint),
    /// Somebody else goes on, or could.
    Preemption(Preemption),
    /// The pending mark of an IRP is lost on its way up.
    PendingLost(PendingLost),
    /// The driver compares two numbers where the tape asks for it.
    Comparison(Comparison),
    /// The system stops with a bug check.
    BugCheckRaised(BugCheckRaised),
}
