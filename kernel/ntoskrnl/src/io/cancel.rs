//! Cancelling requests, and the cancel spin lock.

use events::{BlockKind, EntryPoint, Event, IrpId, IrpStuck, Lock, LockKind, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    structures::io::{IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::{csq, file, irp};
use crate::{
    CallResult, Flow, GuestCall, GuestPtr, Kernel, Stop, exports, frame, ke::SpinLockRequest, mm,
};

exports![IoCancelIrp, IoAcquireCancelSpinLock, IoReleaseCancelSpinLock];

/// "An IRP that had a cancel routine set was completed normally; after that a driver called the
/// cancel routine."
const CANCEL_STATE_IN_COMPLETED_IRP: u32 = 0x48;

/// The lock. Its word is the kernel's: no driver knows where it is.
fn lock(k: &mut Kernel) -> CallResult<Lock> {
    if k.io.cancel_lock.is_null() {
        k.io.cancel_lock = mm::allocate_kernel(k, BlockKind::KernelPool, 8, 8)?;
    }
    Ok(Lock { kind: LockKind::CancelSpinLock, at: k.io.cancel_lock })
}

/// Acquires the cancel spin lock. The value is the level before.
pub(crate) fn acquire(k: &mut Kernel) -> CallResult<Flow> {
    let lock = lock(k)?;
    let irql_before = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    k.acquire_spin_lock(SpinLockRequest { lock, irql_before, value: u64::from(irql_before.0) })
}

/// Releases the cancel spin lock and lowers to the level.
pub(crate) fn release(k: &mut Kernel, level: Irql) -> CallResult<()> {
    let lock = lock(k)?;
    k.release_spin_lock(lock, level)?;
    k.set_irql(level);
    Ok(())
}

/// The level that [`acquire`] came from.
pub(crate) fn level_before(value: u64) -> Irql {
    Irql(value.to_le_bytes()[0])
}

/// Acquires the cancel spin lock; the old level goes where `into` points.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioacquirecancelspinlock")]
fn IoAcquireCancelSpinLock(k: &mut Kernel, into: GuestPtr<u8>) -> CallResult<Flow> {
    acquire(k)?.then(k, Acquired { into: into.at })
}

/// The lock is the driver's.
#[derive(Clone, Debug)]
struct Acquired {
    into: GuestAddr,
}

frame!(Acquired, |this, k, value| {
    k.write_scalar(this.into, level_before(value).0)?;
    Ok(Flow::Return(0))
});

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
    irp::at_or_number(k, address)?;
    begin(k, address, None)
}

/// The same; with `of_caller`, only if that request is still there when the lock is held.
fn begin(k: &mut Kernel, address: GuestAddr, of_caller: Option<IrpId>) -> CallResult<Flow> {
    // Who cancels comes before the cancel routine, on whatever processor that finds its work.
    k.order_release(address);
    acquire(k)?.then(k, Canceling { address, of_caller })
}

/// The cancel spin lock is held.
#[derive(Clone, Debug)]
struct Canceling {
    address: GuestAddr,
    of_caller: Option<IrpId>,
}

frame!(Canceling, |this, k, value| {
    let old = level_before(value);
    if this.of_caller.is_some_and(|id| !is_open(k, id)) {
        // Completed while the lock was waited for: the I/O manager knows its own requests.
        release(k, old)?;
        return Ok(Flow::Return(0));
    }
    call_routine(k, this.address, old)
});

fn is_open(k: &Kernel, id: IrpId) -> bool {
    k.io.irps.get(&id).is_some_and(|irp| irp.is_live && irp.completed.is_none())
}

fn call_routine(k: &mut Kernel, address: GuestAddr, old: Irql) -> CallResult<Flow> {
    let id = irp::at_or_number(k, address)?;
    let routine = GuestAddr(k.get(address, IRP::CancelRoutine)?);
    let is_again = k.get(address, IRP::Cancel)? != 0;
    note_cancel(k, id, is_again && !routine.is_null())?;
    k.set(address, IRP::Cancel, 1)?;
    k.order_acquire(address);
    k.set(address, IRP::CancelRoutine, 0)?;
    if routine.is_null() {
        release(k, old)?;
        return Ok(Flow::Return(0));
    }
    if k.get(address, IRP::CurrentLocation)? > k.get(address, IRP::StackCount)?.saturating_add(1) {
        let parameters = [address.0, routine.0, 0, 0];
        return Err(Stop::bug_check(CANCEL_STATE_IN_COMPLETED_IRP, parameters));
    }
    k.set(address, IRP::CancelIrql, old.0)?;
    if routine == csq::cancel_routine_address(k) {
        return csq::cancel_routine(k, address)?.then(k, Cancelled { old });
    }
    let location = GuestAddr(k.get(address, IRP::CurrentStackLocation)?);
    let is_held = k.get(address, IRP::CurrentLocation)? <= k.get(address, IRP::StackCount)?;
    let device = match is_held {
        true => k.get(location, IO_STACK_LOCATION::DeviceObject)?,
        false => 0,
    };
    let entry = EntryPoint::CancelRoutine { irp: id };
    let call = GuestCall::entry(routine, vec![device, address.0], entry);
    Ok(Flow::call(call, Cancelled { old }))
}

/// How long after a cancel everything is at rest that it led to: 100 ms.
const REST_100NS: u64 = 1_000_000;

/// Takes note of a cancel. A request that was cancelled before and has a cancel routine all the
/// same got it after that, and nobody looked at `Irp->Cancel` then: "the cancel routine is not
/// called" for the first one (`wdm/nf-wdm-iosetcancelroutine`, `kernel/canceling-irps`).
pub(super) fn note_cancel(k: &mut Kernel, id: IrpId, is_too_late: bool) -> CallResult<()> {
    let now = k.interrupt_time_100ns();
    let irp = irp::entry(k, id);
    let first = *irp.cancelled_100ns.get_or_insert(now);
    let is_of_user = irp.kind == irp::IrpKind::Request && irp.is_live && irp.completed.is_none();
    if !is_too_late || !is_of_user || now.saturating_sub(first) < REST_100NS {
        return Ok(());
    }
    let event = IrpStuck {
        irp: id,
        major: irp.major,
        control_code: irp.control_code,
        returned: irp.returned,
        is_cancel_missed: true,
    };
    k.emit(Event::IrpStuck(event)).map(drop)
}

/// The cancel routine returned.
#[derive(Clone, Debug)]
struct Cancelled {
    old: Irql,
}

frame!(Cancelled, |this, k, _| {
    let at = lock(k)?.at;
    let is_kept = k.irql() >= Irql::DISPATCH_LEVEL
        && k.ke.spin_lock_holder(at).is_some_and(|holder| holder.processor == k.core().index);
    if is_kept {
        // Judged when the routine returned; what follows is no consequence.
        release(k, this.old)?;
    }
    Ok(Flow::Return(1))
});

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
            let id = irp::at(k, address).map(|irp| irp.id);
            let Some(id) = id.filter(|&id| is_open(k, id)) else { continue };
            match begin(k, address, Some(id))? {
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
    let requests = requests_of(k, thread);
    let requests = requests.iter().map(|&id| irp::entry(k, id).address).collect();
    cancel_all(k, requests)
}

/// Requests in the list of a thread: those it made, and those that its driver built for it to wait
/// for.
pub(crate) fn requests_of(k: &Kernel, thread: ThreadId) -> Vec<IrpId> {
    let is_listed = |irp: &&irp::Irp| {
        matches!(irp.kind, irp::IrpKind::Request | irp::IrpKind::Threaded)
            && irp.thread == Some(thread)
            && irp.is_live
            && irp.completed.is_none()
    };
    k.io.irps.values().filter(is_listed).map(|irp| irp.id).collect()
}

#[cfg(test)]
mod tests {
    use events::Event;
    use guest_memory::GuestAddr;
    use nt_abi::{Irql, structures::io::IRP};

    use super::REST_100NS;
    use crate::{
        GuestCall, Kernel,
        io::{
            irp::IrpKind,
            request::Draft,
            test_driver::{self, DISPATCH},
        },
        ob::PreviousMode,
        testing::{block, bug_check_code, call_by_name, drive, take_events},
    };

    const CANCEL: u64 = 0xffff_f802_0000_2000;

    #[test]
    fn without_a_cancel_routine_the_irp_is_only_marked() {
        let (mut k, _) = test_driver::device();
        let irp = test_driver::irp(&mut k, 1);
        assert_eq!(call_by_name(&mut k, "IoCancelIrp", &[irp]), Ok(0));
        assert_eq!(k.get(GuestAddr(irp), IRP::Cancel), Ok(1));
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
        let level = block(&mut k, &[0xee]);
        call_by_name(&mut k, "IoAcquireCancelSpinLock", &[level]).expect("the lock is free");
    }

    #[test]
    fn a_cancel_before_the_routine_is_set_is_missed_if_nobody_looks() {
        let cases = [(REST_100NS, CANCEL, true), (0, CANCEL, false), (REST_100NS, 0, false)];
        for (rest_100ns, routine, is_missed) in cases {
            let (mut k, device) = test_driver::device();
            let (kind, mode) = (IrpKind::Request, PreviousMode::User);
            let draft = Draft::new(&mut k, device, 3, kind, mode).unwrap();
            let irp = draft.irp.0;
            assert_eq!(call_by_name(&mut k, "IoCancelIrp", &[irp]), Ok(0));
            k.set(draft.irp, IRP::CancelRoutine, routine).unwrap();
            k.idle_100ns += rest_100ns;
            take_events(&mut k);
            let mut guest = |k: &mut Kernel, _: &GuestCall| {
                call_by_name(k, "IoReleaseCancelSpinLock", &[0]).unwrap();
                0
            };
            drive(&mut k, "IoCancelIrp", &[irp], &mut guest).unwrap();
            let is_told = |event: &Event| {
                matches!(event, Event::IrpStuck(stuck) if stuck.irp == draft.id
                    && stuck.is_cancel_missed)
            };
            assert_eq!(take_events(&mut k).iter().any(is_told), is_missed, "{rest_100ns}");
        }
    }

    #[test]
    fn the_cancel_routine_has_the_lock_and_the_device_that_holds_the_irp() {
        let (mut k, device) = test_driver::device();
        let irp = test_driver::irp(&mut k, 1);
        k.set_irql(Irql::APC_LEVEL);
        let mut seen = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            if call.target.0 == DISPATCH {
                k.set(GuestAddr(irp), IRP::CancelRoutine, CANCEL).unwrap();
                return 0x103;
            }
            let routine = k.get(GuestAddr(irp), IRP::CancelRoutine).unwrap();
            let level = k.get(GuestAddr(irp), IRP::CancelIrql).unwrap();
            seen.push((call.target.0, call.arguments.clone(), k.irql(), routine, level));
            // The lock is the routine's to release.
            call_by_name(k, "IoReleaseCancelSpinLock", &[u64::from(level)]).unwrap();
            0
        };
        drive(&mut k, "IofCallDriver", &[device.0, irp], &mut guest).unwrap();
        assert_eq!(drive(&mut k, "IoCancelIrp", &[irp], &mut guest), Ok(1));
        let dispatch = Irql::DISPATCH_LEVEL;
        assert_eq!(seen, [(CANCEL, vec![device.0, irp], dispatch, 0, Irql::APC_LEVEL.0)]);
        assert_eq!(k.irql(), Irql::APC_LEVEL);
    }

    #[test]
    fn the_lock_is_owned_once_and_released_by_its_owner() {
        let (mut k, _) = test_driver::device();
        let level = block(&mut k, &[0xee]);
        call_by_name(&mut k, "IoAcquireCancelSpinLock", &[level]).unwrap();
        assert_eq!(k.read_scalar::<u8>(GuestAddr(level)), Ok(0));
        assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
        let again = call_by_name(&mut k, "IoAcquireCancelSpinLock", &[level]);
        assert_eq!(bug_check_code(again), 0x0f);
        call_by_name(&mut k, "IoReleaseCancelSpinLock", &[1]).unwrap();
        assert_eq!(k.irql(), Irql::APC_LEVEL);
        let again = call_by_name(&mut k, "IoReleaseCancelSpinLock", &[0]);
        assert_eq!(bug_check_code(again), 0x10);
    }

    #[test]
    fn a_cancel_routine_on_an_irp_above_its_last_location_is_bug_check_48() {
        let (mut k, _) = test_driver::device();
        let irp = test_driver::irp(&mut k, 1);
        k.set(GuestAddr(irp), IRP::CancelRoutine, CANCEL).unwrap();
        k.set(GuestAddr(irp), IRP::CurrentLocation, 3).unwrap();
        assert_eq!(bug_check_code(call_by_name(&mut k, "IoCancelIrp", &[irp])), 0x48);
    }
}
