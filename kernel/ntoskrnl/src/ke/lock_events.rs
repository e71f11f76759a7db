//! What the kernel reports about locks: requests, acquisitions, releases and misuse.

use events::{
    Event, Lock, LockAcquire, LockFault, LockLife, LockMisuse, LockMode, LockRelease, LockRequest,
    LockStage, Seq,
};
use guest_memory::{GuestAddr, Perms};
use nt_abi::Irql;

use crate::{CallResult, Kernel, Stop};

/// A request for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Which.
    pub(crate) lock: Lock,
    /// How.
    pub(crate) mode: LockMode,
    /// True if the routine gives up rather than wait.
    pub(crate) is_try: bool,
}

impl Kernel {
    /// Whether normal kernel APCs are disabled.
    pub(crate) fn are_normal_apcs_disabled(&mut self) -> bool {
        let irql = self.irql();
        let thread = self.current_thread();
        irql >= Irql::APC_LEVEL || thread.critical_regions > 0 || thread.guarded_regions > 0
    }

    /// Whether all APCs are disabled.
    pub(crate) fn are_all_apcs_disabled(&mut self) -> bool {
        self.irql() >= Irql::APC_LEVEL || self.current_thread().guarded_regions > 0
    }

    /// Whether an object stands in memory that may be paged out.
    fn is_pageable_at(&self, at: GuestAddr) -> bool {
        self.memory.mapping(at).is_some_and(|mapping| mapping.perms.contains(Perms::PAGEABLE))
    }

    /// A driver asks for a lock.
    pub(crate) fn lock_request(&mut self, wish: Wish, are_apcs_disabled: bool) -> CallResult<()> {
        let Wish { lock, mode, is_try } = wish;
        let is_pageable = self.is_pageable_at(lock.at);
        let thread = self.core().thread.map(|id| self.ke.thread(id));
        let is_user_thread = thread.is_some_and(|thread| !thread.is_system);
        self.emit(Event::LockRequest(LockRequest {
            lock,
            mode,
            is_try,
            are_apcs_disabled,
            is_user_thread,
            is_pageable,
        }))?;
        Ok(())
    }

    /// The current thread has the lock.
    pub(crate) fn lock_acquired(&mut self, wish: Wish, irql_before: Irql) -> CallResult<Seq> {
        let Wish { lock, mode, is_try } = wish;
        let acquired =
            self.emit(Event::LockAcquire(LockAcquire { lock, mode, is_try, irql_before }))?;
        self.order_acquire(lock.at);
        Ok(acquired)
    }

    /// The current thread gives the lock back; the level will be this one.
    pub(crate) fn lock_released(
        &mut self,
        lock: Lock,
        mode: LockMode,
        irql_after: Irql,
    ) -> CallResult<()> {
        self.emit(Event::LockRelease(LockRelease { lock, mode, irql_after, owner: None }))?;
        self.order_release(lock.at);
        Ok(())
    }

    /// A lock changes without being acquired or released.
    pub(crate) fn lock_life(&mut self, lock: Lock, stage: LockStage) -> CallResult<()> {
        self.emit(Event::LockLife(LockLife { lock, stage }))?;
        Ok(())
    }

    /// Reports an operation on a lock that cannot be carried out; what stops the run is the
    /// observer, or the bug check.
    pub(crate) fn lock_fault(
        &mut self,
        lock: Lock,
        misuse: LockMisuse,
        acquired: Option<Seq>,
        bug_check: u32,
    ) -> Stop {
        match self.lock_misuse(lock, misuse, acquired) {
            Err(stop) => stop,
            Ok(()) => Stop::bug_check(bug_check, [lock.at.0, 0, 0, 0]),
        }
    }

    /// Reports an operation on a lock that Windows carries out although it is wrong.
    pub(crate) fn lock_misuse(
        &mut self,
        lock: Lock,
        misuse: LockMisuse,
        acquired: Option<Seq>,
    ) -> CallResult<()> {
        self.emit(Event::LockFault(LockFault { lock, misuse, acquired }))?;
        Ok(())
    }
}
