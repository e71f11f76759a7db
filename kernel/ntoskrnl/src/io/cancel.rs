//! Cancelling requests, and the cancel spin lock.

use events::{EntryPoint, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    structures::io::{IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::{file, irp};
use crate::{CallResult, Flow, GuestCall, GuestPtr, Kernel, Stop, exports, frame};

exports![IoCancelIrp, IoAcquireCancelSpinLock, IoReleaseCancelSpinLock];

/// A spin lock is acquired that its owner holds, and so never gets free.
const SPIN_LOCK_ALREADY_OWNED: u32 = 0x0f;
/// A spin lock is released that nobody holds.
const SPIN_LOCK_NOT_OWNED: u32 = 0x10;

fn acquire(k: &mut Kernel) -> CallResult<Irql> {
    if k.io.is_cancel_lock_held {
        // One processor: whoever holds the lock cannot run until this one stops spinning.
        return Err(Stop::bug_check(SPIN_LOCK_ALREADY_OWNED, [0; 4]));
    }
    let old = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    k.io.is_cancel_lock_held = true;
    Ok(old)
}

fn release(k: &mut Kernel, level: Irql) -> CallResult<()> {
    if !k.io.is_cancel_lock_held {
        return Err(Stop::bug_check(SPIN_LOCK_NOT_OWNED, [0; 4]));
    }
    k.io.is_cancel_lock_held = false;
    k.set_irql(level);
    Ok(())
}

/// Acquires the cancel spin lock; the old level goes where `into` points.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioacquirecancelspinlock")]
fn IoAcquireCancelSpinLock(k: &mut Kernel, into: GuestPtr<u8>) -> CallResult<()> {
    let old = acquire(k)?;
    k.write_scalar(into.at, old.0)
}

/// Releases the cancel spin lock.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioreleasecancelspinlock")]
fn IoReleaseCancelSpinLock(k: &mut Kernel, level: u8) -> CallResult<()> {
    release(k, Irql(level))
}

/// Cancels an IRP; says whether it had a cancel routine.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iocancelirp")]
fn IoCancelIrp(k: &mut Kernel, irp: GuestAddr) -> CallResult<Flow> {
    cancel(k, irp)
}

/// Marks an IRP cancelled and calls its cancel routine, which gets the cancel spin lock and
/// releases it.
pub(crate) fn cancel(k: &mut Kernel, address: GuestAddr) -> CallResult<Flow> {
    let id = irp::at_or_number(k, address)?;
    let old = acquire(k)?;
    k.set(address, IRP::Cancel, 1)?;
    let routine = GuestAddr(k.get(address, IRP::CancelRoutine)?);
    k.set(address, IRP::CancelRoutine, 0)?;
    if routine.is_null() {
        release(k, old)?;
        return Ok(Flow::Return(0));
    }
    k.set(address, IRP::CancelIrql, old.0)?;
    let location = GuestAddr(k.get(address, IRP::CurrentStackLocation)?);
    let is_held = k.get(address, IRP::CurrentLocation)? <= k.get(address, IRP::StackCount)?;
    let device = match is_held {
        true => k.get(location, IO_STACK_LOCATION::DeviceObject)?,
        false => 0,
    };
    let entry = EntryPoint::CancelRoutine { irp: id };
    let call = GuestCall::entry(routine, vec![device, address.0], entry);
    Ok(Flow::call(call, Cancelled))
}

/// The cancel routine returned.
#[derive(Clone, Debug)]
struct Cancelled;

frame!(Cancelled, |_, _, _| Ok(Flow::Return(1)));

/// Cancels requests one after the other. The value is `STATUS_SUCCESS`, or `STATUS_NOT_FOUND` if
/// there are none.
pub(crate) fn cancel_all(k: &mut Kernel, requests: Vec<GuestAddr>) -> CallResult<Flow> {
    let status = match requests.is_empty() {
        true => NtStatus::STATUS_NOT_FOUND,
        false => NtStatus::STATUS_SUCCESS,
    };
    CancelEach { requests: requests.into_iter().rev().collect(), status }.run(k)
}

/// Requests still to be cancelled, the next one last.
#[derive(Clone, Debug)]
struct CancelEach {
    requests: Vec<GuestAddr>,
    status: NtStatus,
}

frame!(CancelEach, |this, k, _| this.run(k));

impl CancelEach {
    fn run(mut self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(address) = self.requests.pop() {
            // One cancel routine may complete other requests too.
            if irp::at(k, address).is_none_or(|irp| !irp.is_live || irp.completed.is_some()) {
                continue;
            }
            match cancel(k, address)? {
                Flow::Return(_) => {}
                flow => return flow.then(k, self),
            }
        }
        Ok(Flow::Return(u64::from(self.status.0)))
    }
}

/// Cancels the requests of a file.
pub(crate) fn cancel_file(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let requests = file::requests(k, object);
    cancel_all(k, requests)
}

/// Cancels the requests of a thread, as its end does.
pub(crate) fn cancel_thread(k: &mut Kernel, thread: ThreadId) -> CallResult<Flow> {
    let open = |irp: &&irp::Irp| {
        irp.is_live
            && irp.thread == thread
            && irp.completed.is_none()
            && irp.kind == irp::IrpKind::Request
    };
    let requests = k.io.irps.values().filter(open).map(|irp| irp.address).collect();
    cancel_all(k, requests)
}
