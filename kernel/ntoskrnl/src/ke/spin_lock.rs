//! Spin locks. The lock word is in guest memory: 0 is free.

use guest_memory::GuestAddr;
use nt_abi::{Irql, Scalar};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    KeInitializeSpinLock,
    KeAcquireSpinLockRaiseToDpc,
    KeReleaseSpinLock,
    KeAcquireSpinLockAtDpcLevel,
    KeReleaseSpinLockFromDpcLevel,
    KeTryToAcquireSpinLockAtDpcLevel,
    KeAcquireInStackQueuedSpinLock,
    KeReleaseInStackQueuedSpinLock,
    KeTestSpinLock,
];

/// Initialises a spin lock as free.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializespinlock")]
fn KeInitializeSpinLock(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    k.write_scalar(lock, 0u64)
}

/// Raises to `DISPATCH_LEVEL` and acquires; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquirespinlock",
    written_as = "KeAcquireSpinLock")]
fn KeAcquireSpinLockRaiseToDpc(k: &mut Kernel, lock: GuestAddr) -> CallResult<u8> {
    let old = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    acquire(k, lock)?;
    Ok(old.0)
}

/// Releases and lowers to the given level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-kereleasespinlock",
    irql_note = "above DISPATCH_LEVEL when the lock was acquired there, see Remarks")]
fn KeReleaseSpinLock(k: &mut Kernel, lock: GuestAddr, level: u8) -> CallResult<()> {
    release(k, lock)?;
    k.set_irql(Irql(level));
    Ok(())
}

/// Acquires without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-keacquirespinlockatdpclevel",
    irql_note = "the page says IRQL >= DISPATCH_LEVEL in Remarks")]
fn KeAcquireSpinLockAtDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    acquire(k, lock)
}

/// Releases without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-kereleasespinlockfromdpclevel",
    irql_note = "above DISPATCH_LEVEL when the lock was acquired there")]
fn KeReleaseSpinLockFromDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    release(k, lock)
}

/// Acquires if the lock is free; says whether it did.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ketrytoacquirespinlockatdpclevel")]
fn KeTryToAcquireSpinLockAtDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<bool> {
    if k.read_scalar::<u64>(lock)? != 0 {
        return Ok(false);
    }
    acquire(k, lock)?;
    Ok(true)
}

/// Raises to `DISPATCH_LEVEL` and acquires. The handle keeps lock and old level:
/// `KLOCK_QUEUE_HANDLE`, with the lock at 8 and the level at 10h.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquireinstackqueuedspinlock")]
fn KeAcquireInStackQueuedSpinLock(
    k: &mut Kernel,
    lock: GuestAddr,
    handle: GuestAddr,
) -> CallResult<()> {
    let old = k.irql();
    k.write_scalar(handle, 0u64)?;
    k.write_scalar(handle.add(8), lock.0)?;
    k.write_scalar(handle.add(0x10), old.0)?;
    k.set_irql(Irql::DISPATCH_LEVEL);
    acquire(k, lock)
}

/// Releases and lowers to the level kept in the handle.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleaseinstackqueuedspinlock")]
fn KeReleaseInStackQueuedSpinLock(k: &mut Kernel, handle: GuestAddr) -> CallResult<()> {
    let lock = GuestAddr(k.read_scalar(handle.add(8))?);
    let level: u8 = k.read_scalar(handle.add(0x10))?;
    release(k, lock)?;
    k.set_irql(Irql(level));
    Ok(())
}

/// Says whether the lock is free.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ketestspinlock",
    irql_note = "the page: callers must be at IRQL = DISPATCH_LEVEL")]
fn KeTestSpinLock(k: &mut Kernel, lock: GuestAddr) -> CallResult<bool> {
    Ok(k.read_scalar::<u64>(lock)? == 0)
}

fn acquire(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    if k.read_scalar::<u64>(lock)? != 0 {
        // One processor: whoever owns the lock cannot run until this one stops spinning.
        return Err(Stop::bug_check(0x0f, [lock.0, 0, 0, 0]));
    }
    k.write_scalar(lock, 1u64.to_u64())
}

fn release(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    if k.read_scalar::<u64>(lock)? == 0 {
        // SPIN_LOCK_NOT_OWNED.
        return Err(Stop::bug_check(0x10, [lock.0, 0, 0, 0]));
    }
    k.write_scalar(lock, 0u64)
}
