//! Executive resources: shared and exclusive access, recursion, conversion, owner pointers.
//!
//! An `ERESOURCE` is opaque: who owns it is the kernel's own note, of which the structure shows
//! counts.

use events::{Lock, LockKind, LockMisuse, LockMode, LockRelease, LockStage, Seq};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ex::ERESOURCE};
use nt_macros::export;

use super::shared_lock::{Fairness, SharedLock, own, serve, wait};
use crate::{CallResult, Flow, Kernel, Stop, exports, ke::Wish};

exports![
    ExInitializeResourceLite,
    ExReinitializeResourceLite,
    ExDeleteResourceLite,
    ExAcquireResourceExclusiveLite,
    ExAcquireResourceSharedLite,
    ExAcquireSharedStarveExclusive,
    ExAcquireSharedWaitForExclusive,
    ExEnterCriticalRegionAndAcquireResourceExclusive,
    ExEnterCriticalRegionAndAcquireResourceShared,
    ExEnterCriticalRegionAndAcquireSharedWaitForExclusive,
    ExConvertExclusiveToSharedLite,
    ExReleaseResourceLite,
    ExReleaseResourceForThreadLite,
    ExReleaseResourceAndLeaveCriticalRegion,
    ExSetResourceOwnerPointer,
    ExSetResourceOwnerPointerEx,
    ExIsResourceAcquiredExclusiveLite,
    ExIsResourceAcquiredSharedLite,
    ExGetExclusiveWaiterCount,
    ExGetSharedWaiterCount,
    ExDisableResourceBoostLite,
];

/// `RESOURCE_NOT_OWNED`: "a thread tried to release a resource it did not own".
const RESOURCE_NOT_OWNED: u32 = 0xe3;
/// `DRIVER_VERIFIER_DETECTED_VIOLATION`; a free build waits for ever or corrupts its list.
const DETECTED_VIOLATION: u32 = 0xc4;
/// `ERESOURCE.Flag`: owned exclusively.
const OWNED_EXCLUSIVE: u16 = 0x80;
/// `FLAG_OWNER_POINTER_IS_THREAD` of `ExSetResourceOwnerPointerEx`.
const OWNER_POINTER_IS_THREAD: u32 = 1;

fn lock_at(at: GuestAddr) -> Lock {
    Lock { kind: LockKind::Resource, at }
}

/// Shows counts in the structure, as debuggers read them.
fn show(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let Some(lock) = k.ex.shared_locks.get(&at) else { return Ok(()) };
    let (owners, is_exclusive) = (lock.owner_count(), lock.is_exclusive());
    let first = lock.first_owner().map_or(0, |owner| owner.id);
    let shared = lock.waiters(LockMode::Shared);
    let exclusive = lock.waiters(LockMode::Exclusive);
    k.set(at, ERESOURCE::ActiveCount, i16::try_from(owners).unwrap_or(i16::MAX))?;
    k.set(at, ERESOURCE::ActiveEntries, u32::try_from(owners).unwrap_or(u32::MAX))?;
    k.set(at, ERESOURCE::Flag, if is_exclusive { OWNED_EXCLUSIVE } else { 0 })?;
    k.set(at, ERESOURCE::OwnerThread, if is_exclusive { first } else { 0 })?;
    k.set(at, ERESOURCE::NumberOfSharedWaiters, shared)?;
    k.set(at, ERESOURCE::NumberOfExclusiveWaiters, exclusive)
}

/// The resource, which must be initialised.
fn resource(k: &mut Kernel, at: GuestAddr) -> CallResult<&mut SharedLock> {
    if !k.ex.resources.contains(&at) {
        let misuse = LockMisuse::NotInitialized;
        return Err(k.lock_fault(lock_at(at), misuse, None, DETECTED_VIOLATION));
    }
    Ok(k.ex.shared_locks.entry(at).or_default())
}

/// Initialises a resource that nobody owns.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exinitializeresourcelite")]
fn ExInitializeResourceLite(k: &mut Kernel, at: GuestAddr) -> CallResult<NtStatus> {
    k.fill(at, 0, ERESOURCE::SIZE_BYTES)?;
    k.set(at, ERESOURCE::SystemResourcesFlink, at.0)?;
    k.set(at, ERESOURCE::SystemResourcesBlink, at.0)?;
    k.ex.resources.insert(at);
    k.ex.shared_locks.remove(&at);
    k.lock_life(lock_at(at), LockStage::Initialized)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Makes a used resource as good as new.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreinitializeresourcelite")]
fn ExReinitializeResourceLite(k: &mut Kernel, at: GuestAddr) -> CallResult<NtStatus> {
    *resource(k, at)? = SharedLock::default();
    k.lock_life(lock_at(at), LockStage::Initialized)?;
    show(k, at)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Takes a resource off the system's list.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exdeleteresourcelite")]
fn ExDeleteResourceLite(k: &mut Kernel, at: GuestAddr) -> CallResult<NtStatus> {
    resource(k, at)?;
    k.lock_life(lock_at(at), LockStage::Deleted)?;
    k.ex.resources.remove(&at);
    k.ex.shared_locks.remove(&at);
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Asks for a resource; the value is 1 if it was granted.
fn acquire(
    k: &mut Kernel,
    at: GuestAddr,
    mode: LockMode,
    is_waiting: bool,
    fairness: Fairness,
) -> CallResult<Flow> {
    let wish = Wish { lock: lock_at(at), mode, is_try: !is_waiting };
    let are_apcs_disabled = k.are_normal_apcs_disabled();
    k.lock_request(wish, are_apcs_disabled)?;
    let id = k.current_thread_object().0;
    let resource = resource(k, at)?;
    if resource.may_grant(id, mode, fairness) {
        let flow = own(k, wish, id)?;
        show(k, at)?;
        return Ok(flow);
    }
    if !is_waiting {
        return Ok(Flow::Return(0));
    }
    // "If the caller has shared access to the resource, the caller must release the lock before it
    // attempts to reacquire it exclusively." `ExAcquireSharedWaitForExclusive` may deadlock alike.
    if let Some(acquired) = resource.owner(id).map(|owner| owner.acquired) {
        let misuse = LockMisuse::AlreadyHeld;
        return Err(k.lock_fault(wish.lock, misuse, Some(acquired), DETECTED_VIOLATION));
    }
    let flow = wait(k, wish, id)?;
    show(k, at)?;
    Ok(flow)
}

/// Acquires for exclusive access; says whether it did.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquireresourceexclusivelite")]
fn ExAcquireResourceExclusiveLite(k: &mut Kernel, at: GuestAddr, waits: bool) -> CallResult<Flow> {
    acquire(k, at, LockMode::Exclusive, waits, Fairness::Waits)
}

/// Acquires for shared access, behind those who wait for exclusive access.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquireresourcesharedlite")]
fn ExAcquireResourceSharedLite(k: &mut Kernel, at: GuestAddr, waits: bool) -> CallResult<Flow> {
    acquire(k, at, LockMode::Shared, waits, Fairness::Waits)
}

/// Acquires for shared access, before those who wait for exclusive access.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquiresharedstarveexclusive")]
fn ExAcquireSharedStarveExclusive(k: &mut Kernel, at: GuestAddr, waits: bool) -> CallResult<Flow> {
    acquire(k, at, LockMode::Shared, waits, Fairness::Starves)
}

/// Acquires for shared access, behind those who wait for exclusive access even if the caller has
/// shared access already.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquiresharedwaitforexclusive")]
fn ExAcquireSharedWaitForExclusive(k: &mut Kernel, at: GuestAddr, waits: bool) -> CallResult<Flow> {
    acquire(k, at, LockMode::Shared, waits, Fairness::WaitsAlways)
}

/// Enters a critical region and acquires for exclusive access. What is returned is for
/// `ExReleaseResourceAndLeaveCriticalRegion` alone.
#[export(irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-exentercriticalregionandacquireresourceexclusive")]
fn ExEnterCriticalRegionAndAcquireResourceExclusive(
    k: &mut Kernel,
    at: GuestAddr,
) -> CallResult<Flow> {
    k.current_thread().critical_regions += 1;
    acquire(k, at, LockMode::Exclusive, true, Fairness::Waits)
}

/// Enters a critical region and acquires for shared access.
#[export(irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-exentercriticalregionandacquireresourceexclusive",
    irql_note = "no page of its own; the limit of the exclusive form is taken")]
fn ExEnterCriticalRegionAndAcquireResourceShared(
    k: &mut Kernel,
    at: GuestAddr,
) -> CallResult<Flow> {
    k.current_thread().critical_regions += 1;
    acquire(k, at, LockMode::Shared, true, Fairness::Waits)
}

/// Enters a critical region and acquires for shared access, behind exclusive waiters.
#[export(irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-exentercriticalregionandacquireresourceexclusive",
    irql_note = "no page of its own; the limit of the exclusive form is taken")]
fn ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(
    k: &mut Kernel,
    at: GuestAddr,
) -> CallResult<Flow> {
    k.current_thread().critical_regions += 1;
    acquire(k, at, LockMode::Shared, true, Fairness::WaitsAlways)
}

/// Why an owner cannot do what only an owner can.
fn not_owned(k: &mut Kernel, at: GuestAddr) -> Stop {
    let first = k.ex.shared_locks.get(&at).and_then(|lock| lock.first_owner().copied());
    let misuse = match first {
        Some(_) => LockMisuse::HeldByAnother,
        None => LockMisuse::NotHeld,
    };
    k.lock_fault(lock_at(at), misuse, first.map(|owner| owner.acquired), RESOURCE_NOT_OWNED)
}

/// Makes shared access of exclusive access; those who wait for shared access get it too.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exconvertexclusivetosharedlite")]
fn ExConvertExclusiveToSharedLite(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let id = k.current_thread_object().0;
    let resource = resource(k, at)?;
    let Some(acquired) = resource.owner(id).map(|owner| owner.acquired) else {
        return Err(not_owned(k, at));
    };
    if !resource.is_exclusive() {
        let misuse = LockMisuse::BadNesting;
        return Err(k.lock_fault(lock_at(at), misuse, Some(acquired), RESOURCE_NOT_OWNED));
    }
    resource.convert(LockMode::Shared);
    k.lock_life(lock_at(at), LockStage::Shared)?;
    k.order_release(at);
    serve(k, lock_at(at), LockMode::Exclusive)?;
    show(k, at)
}

fn release(k: &mut Kernel, at: GuestAddr, id: u64) -> CallResult<()> {
    let resource = resource(k, at)?;
    let mode = resource.mode();
    if resource.owner(id).is_none() {
        return Err(not_owned(k, at));
    }
    let irql_after = k.irql();
    let owner = k.ke.thread_at(GuestAddr(id)).map(|thread| thread.id);
    let owner = owner.filter(|_| id != k.current_thread_object().0);
    let lock = lock_at(at);
    k.emit(events::Event::LockRelease(LockRelease { lock, mode, irql_after, owner }))?;
    k.order_release(at);
    if self::resource(k, at)?.release(id) {
        serve(k, lock, mode)?;
    }
    show(k, at)
}

/// Releases for the current thread.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaseresourcelite")]
fn ExReleaseResourceLite(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let id = k.current_thread_object().0;
    release(k, at, id)
}

/// Releases for a thread, or for an owner pointer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exreleaseresourceforthreadlite")]
fn ExReleaseResourceForThreadLite(k: &mut Kernel, at: GuestAddr, id: u64) -> CallResult<()> {
    release(k, at, id)
}

/// Releases for the current thread and leaves its critical region.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exreleaseresourceandleavecriticalregion")]
fn ExReleaseResourceAndLeaveCriticalRegion(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let id = k.current_thread_object().0;
    release(k, at, id)?;
    let thread = k.current_thread();
    thread.critical_regions = thread.critical_regions.saturating_sub(1);
    Ok(())
}

fn set_owner(k: &mut Kernel, at: GuestAddr, pointer: u64) -> CallResult<()> {
    let id = k.current_thread_object().0;
    if resource(k, at)?.owner(id).is_none() {
        return Err(not_owned(k, at));
    }
    k.lock_life(lock_at(at), LockStage::Disowned)?;
    resource(k, at)?.hand_over(id, pointer);
    show(k, at)
}

/// Passes the ownership of the current thread to an owner pointer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exsetresourceownerpointer")]
fn ExSetResourceOwnerPointer(k: &mut Kernel, at: GuestAddr, pointer: u64) -> CallResult<()> {
    set_owner(k, at, pointer)
}

/// Passes the ownership of the current thread to an owner pointer, or to another thread.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exsetresourceownerpointerex")]
fn ExSetResourceOwnerPointerEx(
    k: &mut Kernel,
    at: GuestAddr,
    pointer: u64,
    flags: u32,
) -> CallResult<()> {
    if flags & !OWNER_POINTER_IS_THREAD != 0 {
        let text = format!("ExSetResourceOwnerPointerEx with flags {flags:#x}");
        return Err(Stop::unsupported(text));
    }
    set_owner(k, at, pointer)
}

/// Says whether the current thread has exclusive access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exisresourceacquiredexclusivelite")]
fn ExIsResourceAcquiredExclusiveLite(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    let id = k.current_thread_object().0;
    let resource = resource(k, at)?;
    Ok(resource.is_exclusive() && resource.owner(id).is_some())
}

/// How often the current thread has acquired the resource, for whatever access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exisresourceacquiredsharedlite")]
fn ExIsResourceAcquiredSharedLite(k: &mut Kernel, at: GuestAddr) -> CallResult<u32> {
    let id = k.current_thread_object().0;
    Ok(resource(k, at)?.owner(id).map_or(0, |owner| owner.count))
}

/// How many threads wait for exclusive access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exgetexclusivewaitercount")]
fn ExGetExclusiveWaiterCount(k: &mut Kernel, at: GuestAddr) -> CallResult<u32> {
    Ok(resource(k, at)?.waiters(LockMode::Exclusive))
}

/// How many threads wait for shared access.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exgetsharedwaitercount")]
fn ExGetSharedWaiterCount(k: &mut Kernel, at: GuestAddr) -> CallResult<u32> {
    Ok(resource(k, at)?.waiters(LockMode::Shared))
}

/// Switches priority boosts of owners off; there are none.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-exdisableresourceboostlite",
    irql_note = "no limit on the page; it takes a spin lock")]
fn ExDisableResourceBoostLite(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    resource(k, at)?;
    Ok(())
}

/// A block of memory is given back: a resource in it must have been deleted.
pub(super) fn check_freed(k: &mut Kernel, base: GuestAddr, size_bytes: u64) -> CallResult<()> {
    let end = base.add(size_bytes);
    let inside: Vec<GuestAddr> = k.ex.resources.range(base..end).copied().collect();
    for at in inside {
        k.lock_misuse(lock_at(at), LockMisuse::NotDeleted, None::<Seq>)?;
        k.ex.resources.remove(&at);
        k.ex.shared_locks.remove(&at);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
