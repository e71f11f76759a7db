//! Push locks: a pointer-sized lock, free when zero.
//!
//! Source: "ExAcquirePushLockExclusive", "ExAcquirePushLockShared": no recursion but of shared
//! access; the caller disables normal kernel APCs.

use events::{Lock, LockKind, LockMisuse, LockMode, LockStage, Seq};
use guest_memory::GuestAddr;
use nt_macros::export;

use super::shared_lock::{Fairness, SharedLock, own, serve, wait};
use crate::{CallResult, Flow, Kernel, Stop, exports, ke::Wish};

exports![
    ExInitializePushLock,
    ExAcquirePushLockExclusiveEx,
    ExAcquirePushLockSharedEx,
    ExTryAcquirePushLockExclusiveEx,
    ExTryAcquirePushLockSharedEx,
    ExReleasePushLockExclusiveEx,
    ExReleasePushLockSharedEx,
];

/// `DRIVER_VERIFIER_DETECTED_VIOLATION`; a free build hangs.
const DETECTED_VIOLATION: u32 = 0xc4;

fn lock_at(at: GuestAddr) -> Lock {
    Lock { kind: LockKind::PushLock, at }
}

/// What is known of the lock at an address. A driver may have initialised it anew by writing zero.
fn known(k: &mut Kernel, at: GuestAddr) -> CallResult<&mut SharedLock> {
    let value: u64 = k.read_scalar(at)?;
    let lock = k.ex.shared_locks.entry(at).or_default();
    if value == 0 && lock.is_owned() {
        *lock = SharedLock::default();
    }
    Ok(lock)
}

/// Shows whether the lock is free; the rest of its value is the kernel's business.
fn show(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let is_owned = k.ex.shared_locks.get(&at).is_some_and(SharedLock::is_owned);
    if !is_owned {
        k.ex.shared_locks.remove(&at);
    }
    k.write_scalar(at, u64::from(is_owned))
}

/// Initialises a push lock as free.
#[export(irql = .., ddi = "wdm/nf-wdm-exinitializepushlock")]
fn ExInitializePushLock(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    k.write_scalar(at, 0_u64)?;
    k.ex.shared_locks.remove(&at);
    k.lock_life(lock_at(at), LockStage::Initialized)
}

fn acquire(k: &mut Kernel, at: GuestAddr, mode: LockMode, is_try: bool) -> CallResult<Flow> {
    let wish = Wish { lock: lock_at(at), mode, is_try };
    let are_apcs_disabled = k.are_normal_apcs_disabled();
    k.lock_request(wish, are_apcs_disabled)?;
    if k.memory.undefined(at, 8).is_some() {
        let misuse = LockMisuse::NotInitialized;
        return Err(k.lock_fault(wish.lock, misuse, None, DETECTED_VIOLATION));
    }
    let id = k.current_thread_object().0;
    let lock = known(k, at)?;
    let held = lock.owner(id).map(|owner| owner.acquired);
    let is_recursive = held.is_some() && (mode == LockMode::Exclusive || lock.is_exclusive());
    if !is_recursive && lock.may_grant(id, mode, Fairness::Waits) {
        let flow = own(k, wish, id)?;
        show(k, at)?;
        return Ok(flow);
    }
    if is_try {
        return Ok(Flow::Return(0));
    }
    if is_recursive {
        // "If the caller already has acquired the push lock ..., the thread hangs."
        return Err(k.lock_fault(wish.lock, LockMisuse::AlreadyHeld, held, DETECTED_VIOLATION));
    }
    wait(k, wish, id)
}

fn check_flags(flags: u32) -> CallResult<()> {
    /// `EX_DEFAULT_PUSH_LOCK_FLAGS`, `EX_PUSH_LOCK_FLAG_DISABLE_AUTOBOOST` and its like.
    const KNOWN: u32 = 3;
    if flags & !KNOWN == 0 {
        return Ok(());
    }
    Err(Stop::unsupported(format!("push lock flags {flags:#x}")))
}

/// Acquires for exclusive access.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquirepushlockexclusive",
    written_as = "ExAcquirePushLockExclusive",
    irql_note = "no limit on the page; the caller may have to wait")]
fn ExAcquirePushLockExclusiveEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<Flow> {
    check_flags(flags)?;
    acquire(k, at, LockMode::Exclusive, false)
}

/// Acquires for shared access.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquirepushlockshared",
    written_as = "ExAcquirePushLockShared",
    irql_note = "no limit on the page; the caller may have to wait")]
fn ExAcquirePushLockSharedEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<Flow> {
    check_flags(flags)?;
    acquire(k, at, LockMode::Shared, false)
}

/// Acquires for exclusive access if that is possible at once; says whether it did.
#[export(irql = .., ddi = "wdm/nf-wdm-extryacquirepushlockexclusive",
    written_as = "ExTryAcquirePushLockExclusive")]
fn ExTryAcquirePushLockExclusiveEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<Flow> {
    check_flags(flags)?;
    acquire(k, at, LockMode::Exclusive, true)
}

/// Acquires for shared access if that is possible at once; says whether it did.
#[export(irql = .., ddi = "wdm/nf-wdm-extryacquirepushlockshared",
    written_as = "ExTryAcquirePushLockShared")]
fn ExTryAcquirePushLockSharedEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<Flow> {
    check_flags(flags)?;
    acquire(k, at, LockMode::Shared, true)
}

fn release(k: &mut Kernel, at: GuestAddr, mode: LockMode) -> CallResult<()> {
    let id = k.current_thread_object().0;
    let lock = known(k, at)?;
    let first = lock.first_owner().map(|owner| owner.acquired);
    let own: Option<Seq> = lock.owner(id).map(|owner| owner.acquired);
    let misuse = match (first, own) {
        (None, _) => Some(LockMisuse::NotHeld),
        (Some(_), None) => Some(LockMisuse::HeldByAnother),
        (Some(_), Some(_)) if lock.mode() != mode => Some(LockMisuse::OtherForm),
        (Some(_), Some(_)) => None,
    };
    if let Some(misuse) = misuse {
        return Err(k.lock_fault(lock_at(at), misuse, own.or(first), DETECTED_VIOLATION));
    }
    let irql = k.irql();
    k.lock_released(lock_at(at), mode, irql)?;
    if known(k, at)?.release(id) {
        serve(k, lock_at(at), mode)?;
    }
    show(k, at)
}

/// Releases exclusive access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleasepushlockexclusive",
    written_as = "ExReleasePushLockExclusive", irql_note = "no limit on the page")]
fn ExReleasePushLockExclusiveEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<()> {
    check_flags(flags)?;
    release(k, at, LockMode::Exclusive)
}

/// Releases shared access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleasepushlockshared",
    written_as = "ExReleasePushLockShared", irql_note = "no limit on the page")]
fn ExReleasePushLockSharedEx(k: &mut Kernel, at: GuestAddr, flags: u32) -> CallResult<()> {
    check_flags(flags)?;
    release(k, at, LockMode::Shared)
}

#[cfg(test)]
mod tests;
