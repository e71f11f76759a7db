//! Remove locks of the free build. The tag and the limits serve the checked build only.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    structures::{io::IO_REMOVE_LOCK, ke::KEVENT},
};
use nt_macros::export;

use crate::{CallResult, Flow, Kernel, Wait, exports, frame, ke::DispatcherType};

exports![
    IoInitializeRemoveLockEx,
    IoAcquireRemoveLockEx,
    IoReleaseRemoveLockEx,
    IoReleaseRemoveLockAndWaitEx,
];

fn event_of(lock: GuestAddr) -> GuestAddr {
    lock.add(IO_REMOVE_LOCK::RemoveEvent.offset_bytes)
}

/// Initialises a lock with the count that stands for the device itself.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-ioinitializeremovelock",
    written_as = "IoInitializeRemoveLock"
)]
fn IoInitializeRemoveLockEx(
    k: &mut Kernel,
    lock: GuestAddr,
    _tag: u32,
    _most_minutes: u32,
    _high_water: u32,
    _size_bytes: u32,
) -> CallResult<()> {
    k.set(lock, IO_REMOVE_LOCK::Removed, 0)?;
    k.set(lock, IO_REMOVE_LOCK::IoCount, 1)?;
    let kind = DispatcherType::SynchronizationEvent;
    k.init_dispatcher(event_of(lock), kind, KEVENT::SIZE_BYTES, 0)
}

/// Takes the lock, unless the device is being removed.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-ioacquireremovelock",
    written_as = "IoAcquireRemoveLock"
)]
fn IoAcquireRemoveLockEx(
    k: &mut Kernel,
    lock: GuestAddr,
    _tag: GuestAddr,
    _file: GuestAddr,
    _line: u32,
    _size_bytes: u32,
) -> CallResult<NtStatus> {
    let count = k.get(lock, IO_REMOVE_LOCK::IoCount)?;
    k.set(lock, IO_REMOVE_LOCK::IoCount, count.wrapping_add(1))?;
    if k.get(lock, IO_REMOVE_LOCK::Removed)? == 0 {
        return Ok(NtStatus::STATUS_SUCCESS);
    }
    drop_one(k, lock)?;
    Ok(NtStatus::STATUS_DELETE_PENDING)
}

fn drop_one(k: &mut Kernel, lock: GuestAddr) -> CallResult<i32> {
    let count = k.get(lock, IO_REMOVE_LOCK::IoCount)?.wrapping_sub(1);
    k.set(lock, IO_REMOVE_LOCK::IoCount, count)?;
    if count == 0 {
        k.signal(event_of(lock), 1)?;
    }
    Ok(count)
}

/// Gives the lock back.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-ioreleaseremovelock",
    written_as = "IoReleaseRemoveLock"
)]
fn IoReleaseRemoveLockEx(
    k: &mut Kernel,
    lock: GuestAddr,
    _tag: GuestAddr,
    _size_bytes: u32,
) -> CallResult<()> {
    drop_one(k, lock)?;
    Ok(())
}

/// Gives the lock back for good and waits until nobody holds it.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-ioreleaseremovelockandwait",
    written_as = "IoReleaseRemoveLockAndWait"
)]
fn IoReleaseRemoveLockAndWaitEx(
    k: &mut Kernel,
    lock: GuestAddr,
    _tag: GuestAddr,
    _size_bytes: u32,
) -> CallResult<Flow> {
    k.set(lock, IO_REMOVE_LOCK::Removed, 1)?;
    drop_one(k, lock)?;
    // The caller's own count and that of the device.
    if drop_one(k, lock)? <= 0 {
        return Ok(Flow::Return(0));
    }
    let wait =
        Wait { objects: vec![event_of(lock)], is_all: false, due_100ns: None, is_alertable: false };
    Ok(Flow::wait(wait, Released))
}

/// Nobody holds the lock any more.
#[derive(Clone, Debug)]
struct Released;

frame!(Released, |_, _, _| Ok(Flow::Return(0)));
