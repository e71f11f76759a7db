//! Events of locks and of what hangs.

use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{Seq, ThreadId};

/// A kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// `KSPIN_LOCK` through the plain routines.
    SpinLock,
    /// `KSPIN_LOCK` through the in-stack queued routines.
    QueuedSpinLock,
    /// `EX_SPIN_LOCK`.
    ReaderWriterSpinLock,
    /// The spin lock of an interrupt object.
    InterruptSpinLock,
    /// The system-wide cancel spin lock.
    CancelSpinLock,
    /// `FAST_MUTEX`.
    FastMutex,
    /// `KGUARDED_MUTEX`.
    GuardedMutex,
    /// `KMUTEX`.
    Mutex,
    /// `ERESOURCE`.
    Resource,
    /// `EX_PUSH_LOCK`.
    PushLock,
    /// `EX_RUNDOWN_REF`. Whoever takes it need not be who gives it back, so only its misuse is
    /// reported.
    RundownProtection,
}

impl LockKind {
    /// Whether its owner is a processor at raised IRQL that others spin for.
    pub fn is_spin_lock(self) -> bool {
        matches!(
            self,
            Self::SpinLock
                | Self::QueuedSpinLock
                | Self::ReaderWriterSpinLock
                | Self::InterruptSpinLock
                | Self::CancelSpinLock
        )
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// By one owner.
    Exclusive,
    /// By any number.
    Shared,
}

/// A lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// What it is.
    pub kind: LockKind,
    /// Where it is.
    pub at: GuestAddr,
}

/// A driver asks for a lock; what follows is a [`LockAcquire`], at once or after a wait, or, for a
/// try, nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Which.
    pub lock: Lock,
    /// How.
    pub mode: LockMode,
    /// True if the routine gives up rather than wait.
    pub is_try: bool,
    /// Whether the APCs that must not interrupt its owner are disabled, by the routine itself or
    /// before.
    pub are_apcs_disabled: bool,
    /// Whether the thread runs in user mode too, so that it can be suspended from there.
    pub is_user_thread: bool,
    /// Whether the lock stands in memory that may be paged out.
    pub is_pageable: bool,
}

/// A lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockAcquire {
    /// Which.
    pub lock: Lock,
    /// How.
    pub mode: LockMode,
    /// True if the routine would have given up rather than wait.
    pub is_try: bool,
    /// IRQL before the routine raised it.
    pub irql_before: Irql,
}

/// A lock was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRelease {
    /// Which.
    pub lock: Lock,
    /// How it was held.
    pub mode: LockMode,
    /// IRQL after the routine.
    pub irql_after: Irql,
    /// The thread for which it is released, if it is not the current one.
    pub owner: Option<ThreadId>,
}

/// A stage in the life of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStage {
    /// It was initialised, by a routine that is no inline code.
    Initialized,
    /// It was deleted.
    Deleted,
    /// The current thread passed its ownership to an owner pointer: no thread owns it any more.
    Disowned,
    /// Exclusive ownership became shared.
    Shared,
    /// Shared ownership became exclusive.
    Exclusive,
}

/// A lock changed without being acquired or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLife {
    /// Which.
    pub lock: Lock,
    /// What became of it.
    pub stage: LockStage,
}

/// What is wrong with an operation on a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMisuse {
    /// Acquired by who holds it already, without recursion: nobody can ever release it.
    AlreadyHeld,
    /// Released although nobody holds it.
    NotHeld,
    /// Released by a thread that does not hold it.
    HeldByAnother,
    /// Released in another mode than acquired, or by the routine of another kind of lock.
    OtherForm,
    /// Recursion that was left more often than entered, or a conversion that is not allowed.
    BadNesting,
    /// Its memory is given back before it was deleted.
    NotDeleted,
    /// It was never initialised, or what stands there is no such lock.
    NotInitialized,
}

/// An operation on a lock that cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockFault {
    /// Which.
    pub lock: Lock,
    /// What is wrong.
    pub misuse: LockMisuse,
    /// When it was acquired, if somebody holds it.
    pub acquired: Option<Seq>,
}

/// Processors spin, and nothing that could end it can run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// What the reporting processor spins on.
    pub at: GuestAddr,
    /// Who holds it, and since when.
    pub holder: Option<(ThreadId, Seq)>,
}

/// A thread that waits without a time out, and that no APC can wake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SleepingThread {
    /// Which.
    pub thread: ThreadId,
    /// The objects that it waits for; all of them, if there are several.
    pub objects: Vec<GuestAddr>,
    /// Threads among them: it waits for their end.
    pub joins: Vec<ThreadId>,
}

/// Nothing can run, and no timer is due that could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// Who waits.
    pub sleeping: Vec<SleepingThread>,
}
