//! Run-down protection: counts who uses an object, and lets its owner wait until nobody does.
//!
//! Source: "Run-Down Protection". An `EX_RUNDOWN_REF` is a number: bit 0 says that run-down has
//! begun, above it stands the count. The cache-aware form is the same behind a pointer.

use events::{Lock, LockKind, LockMisuse};
use guest_memory::GuestAddr;
use nt_macros::export;

use super::{
    gate::Gate,
    pool::{Pool, Request},
};
use crate::{CallResult, Flow, Kernel, exports, frame};

exports![
    ExInitializeRundownProtection,
    ExReInitializeRundownProtection,
    ExAcquireRundownProtection,
    ExAcquireRundownProtectionEx,
    ExReleaseRundownProtection,
    ExReleaseRundownProtectionEx,
    ExWaitForRundownProtectionRelease,
    ExRundownCompleted,
    ExAllocateCacheAwareRundownProtection,
    ExFreeCacheAwareRundownProtection,
    ExSizeOfRundownProtectionCacheAware,
    ExInitializeRundownProtectionCacheAware,
    ExReInitializeRundownProtectionCacheAware,
    ExAcquireRundownProtectionCacheAware,
    ExAcquireRundownProtectionCacheAwareEx,
    ExReleaseRundownProtectionCacheAware,
    ExReleaseRundownProtectionCacheAwareEx,
    ExWaitForRundownProtectionReleaseCacheAware,
    ExRundownCompletedCacheAware,
];

/// Run-down has begun.
const ACTIVE: u64 = 1;
/// One user.
const ONE: u64 = 2;
/// What a cache-aware reference needs; NT has one line per processor.
const CACHE_AWARE_BYTES: u64 = 0x40;
/// `REFERENCE_BY_POINTER`: a count that its users must not take below zero.
const REFERENCE_BY_POINTER: u32 = 0x18;
/// `PagedPool`, in the bit of `POOL_TYPE` that says so.
const PAGED: u32 = 1;

fn initialize(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    k.ex.rundowns.remove(&at);
    k.write_scalar(at, 0_u64)
}

/// Takes protection so many times, unless run-down has begun.
fn acquire(k: &mut Kernel, at: GuestAddr, count: u32) -> CallResult<bool> {
    let value: u64 = k.read_scalar(at)?;
    // Somebody who saw the end of run-down knows what came before it.
    k.order_acquire(at);
    if value & ACTIVE != 0 {
        return Ok(false);
    }
    k.write_scalar(at, value.wrapping_add(ONE * u64::from(count)))?;
    Ok(true)
}

/// Gives protection back so many times; the last one ends the wait of the owner.
fn release(k: &mut Kernel, at: GuestAddr, count: u32) -> CallResult<()> {
    let value: u64 = k.read_scalar(at)?;
    let given = ONE * u64::from(count);
    if value & !ACTIVE < given {
        let lock = Lock { kind: LockKind::RundownProtection, at };
        return Err(k.lock_fault(lock, LockMisuse::NotHeld, None, REFERENCE_BY_POINTER));
    }
    let left = value - given;
    k.order_release(at);
    k.write_scalar(at, left)?;
    if left == ACTIVE
        && let Some(gate) = k.ex.rundowns.remove(&at)
    {
        gate.open(k)?;
    }
    Ok(())
}

/// Begins run-down and waits until nobody has protection.
fn wait(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    let value: u64 = k.read_scalar(at)?;
    k.write_scalar(at, value | ACTIVE)?;
    if value & !ACTIVE == 0 {
        k.order_acquire(at);
        return Ok(Flow::Return(0));
    }
    let gate = Gate::take(k)?;
    k.ex.rundowns.insert(at, gate);
    Ok(Flow::wait(gate.wait(), RanDown { at, gate }))
}

/// Nobody has protection any more.
#[derive(Clone, Debug)]
struct RanDown {
    at: GuestAddr,
    gate: Gate,
}
frame!(RanDown, |this, k, _| {
    this.gate.give_back(k);
    k.order_acquire(this.at);
    Ok(Flow::Return(0))
});

/// Initialises a reference that nobody has taken.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exinitializerundownprotection")]
fn ExInitializeRundownProtection(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    initialize(k, at)
}

/// Makes a reference usable again after its run-down.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exreinitializerundownprotection")]
fn ExReInitializeRundownProtection(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    initialize(k, at)
}

/// Takes protection; says whether it did.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirerundownprotection")]
fn ExAcquireRundownProtection(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    acquire(k, at, 1)
}

/// Takes protection several times; says whether it did.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirerundownprotectionex")]
fn ExAcquireRundownProtectionEx(k: &mut Kernel, at: GuestAddr, count: u32) -> CallResult<bool> {
    acquire(k, at, count)
}

/// Gives protection back.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaserundownprotection")]
fn ExReleaseRundownProtection(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    release(k, at, 1)
}

/// Gives protection back several times.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaserundownprotectionex")]
fn ExReleaseRundownProtectionEx(k: &mut Kernel, at: GuestAddr, count: u32) -> CallResult<()> {
    release(k, at, count)
}

/// Begins run-down and waits for its end.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exwaitforrundownprotectionrelease")]
fn ExWaitForRundownProtectionRelease(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    wait(k, at)
}

/// Notes that run-down is complete, so that protection is refused until it is initialised again.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exrundowncompleted")]
fn ExRundownCompleted(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    k.write_scalar(at, ACTIVE)
}

/// Allocates and initialises a cache-aware reference; null if there is no pool.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exallocatecacheawarerundownprotection")]
fn ExAllocateCacheAwareRundownProtection(
    k: &mut Kernel,
    pool_type: u32,
    tag: u32,
) -> CallResult<GuestAddr> {
    let pool = if pool_type & PAGED != 0 { Pool::Paged } else { Pool::NonPaged };
    let request = Request {
        pool,
        size_bytes: CACHE_AWARE_BYTES,
        tag,
        is_zeroed: true,
        is_cache_aligned: true,
        raises: false,
    };
    let at = k.allocate_pool(request)?;
    if !at.is_null() {
        initialize(k, at)?;
    }
    Ok(at)
}

/// Frees what `ExAllocateCacheAwareRundownProtection` allocated.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exfreecacheawarerundownprotection")]
fn ExFreeCacheAwareRundownProtection(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    k.ex.rundowns.remove(&at);
    k.free_pool(at, 0)
}

/// Length of a cache-aware reference in memory of the driver's own.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exsizeofrundownprotectioncacheaware")]
fn ExSizeOfRundownProtectionCacheAware(_: &mut Kernel) -> u64 {
    CACHE_AWARE_BYTES
}

/// Initialises a cache-aware reference in memory of the driver's own.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exinitializerundownprotectioncacheaware")]
fn ExInitializeRundownProtectionCacheAware(
    k: &mut Kernel,
    at: GuestAddr,
    _size_bytes: u64,
) -> CallResult<()> {
    initialize(k, at)
}

/// Makes a cache-aware reference usable again after its run-down.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exreinitializerundownprotectioncacheaware")]
fn ExReInitializeRundownProtectionCacheAware(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    initialize(k, at)
}

/// Takes protection; says whether it did.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirerundownprotectioncacheaware")]
fn ExAcquireRundownProtectionCacheAware(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    acquire(k, at, 1)
}

/// Takes protection several times; says whether it did.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirerundownprotectioncacheawareex")]
fn ExAcquireRundownProtectionCacheAwareEx(
    k: &mut Kernel,
    at: GuestAddr,
    count: u32,
) -> CallResult<bool> {
    acquire(k, at, count)
}

/// Gives protection back.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaserundownprotectioncacheaware")]
fn ExReleaseRundownProtectionCacheAware(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    release(k, at, 1)
}

/// Gives protection back several times.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaserundownprotectioncacheawareex")]
fn ExReleaseRundownProtectionCacheAwareEx(
    k: &mut Kernel,
    at: GuestAddr,
    count: u32,
) -> CallResult<()> {
    release(k, at, count)
}

/// Begins run-down and waits for its end.
#[export(irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-exwaitforrundownprotectionreleasecacheaware")]
fn ExWaitForRundownProtectionReleaseCacheAware(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    wait(k, at)
}

/// Notes that run-down is complete.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exrundowncompletedcacheaware")]
fn ExRundownCompletedCacheAware(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    k.write_scalar(at, ACTIVE)
}

#[cfg(test)]
mod tests;
