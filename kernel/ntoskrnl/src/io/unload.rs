//! Unloading, deferred as long as a device is in use.

use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::DRVO_UNLOAD_INVOKED,
    structures::io::{DEVICE_OBJECT, DRIVER_OBJECT},
};

use super::{
    device,
    driver::{DriverState, set_state},
    left_behind,
};
use crate::{
    CallResult, Flow, GuestCall, Kernel,
    ex::{self, WorkQueue},
    frame, ob,
};

/// Asks for a driver to be unloaded, as the service control manager does. On a system thread.
///
/// The value is an `NTSTATUS`: success also if the unload has to wait for open files.
pub(crate) fn request(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let is_started =
        k.io.drivers.get(&object).is_some_and(|driver| driver.state == DriverState::Started);
    if !is_started || k.get(object, DRIVER_OBJECT::DriverUnload)? == 0 {
        return Ok(Flow::Return(u64::from(NtStatus::STATUS_INVALID_DEVICE_REQUEST.0)));
    }
    set_state(k, object, DriverState::UnloadPending);
    if is_in_use(k, object)? {
        return Ok(Flow::Return(u64::from(NtStatus::STATUS_SUCCESS.0)));
    }
    run(k, object)
}

/// Where DriverEntry publishes what it did, for all that runs in the driver afterwards.
fn started(driver: GuestAddr) -> GuestAddr {
    driver.add(DRIVER_OBJECT::DriverInit.offset_bytes)
}

/// Where the driver's routines publish what they did, for its unload routine.
fn used(driver: GuestAddr) -> GuestAddr {
    driver.add(DRIVER_OBJECT::DriverUnload.offset_bytes)
}

/// DriverEntry is through: it comes before every request and before the unload routine.
pub(crate) fn note_start(k: &mut Kernel, driver: GuestAddr) {
    k.order_release(started(driver));
}

/// A routine of the driver is about to run.
pub(crate) fn order_after_start(k: &mut Kernel, driver: GuestAddr) {
    k.order_acquire(started(driver));
}

/// A routine of the driver returned: it comes before the unload routine.
pub(crate) fn note_use(k: &mut Kernel, driver: GuestAddr) {
    k.order_release(used(driver));
}

/// Whether a device of the driver is open or attached to.
fn is_in_use(k: &mut Kernel, driver: GuestAddr) -> CallResult<bool> {
    for device in device::of_driver(k, driver) {
        if k.get(device, DEVICE_OBJECT::ReferenceCount)? > 0
            || k.get(device, DEVICE_OBJECT::AttachedDevice)? != 0
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Something stopped using a device of this driver: a waiting unload is given to a system thread.
pub(crate) fn resume_if_unused(k: &mut Kernel, driver: GuestAddr) -> CallResult<()> {
    let is_waiting =
        k.io.drivers.get(&driver).is_some_and(|driver| driver.state == DriverState::UnloadPending);
    if is_waiting && !is_in_use(k, driver)? {
        ex::queue_work(k, WorkQueue::Delayed, Resume { driver })?;
    }
    Ok(())
}

/// An unload that waited goes on, on a system thread.
#[derive(Clone, Debug)]
struct Resume {
    driver: GuestAddr,
}

frame!(Resume, |this, k, _| run(k, this.driver));

/// Calls the unload routine.
pub(crate) fn run(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let is_waiting =
        k.io.drivers.get(&object).is_some_and(|driver| driver.state == DriverState::UnloadPending);
    if !is_waiting {
        return Ok(Flow::Return(0));
    }
    set_state(k, object, DriverState::Unloading);
    order_after_start(k, object);
    k.order_acquire(used(object));
    let flags = k.get(object, DRIVER_OBJECT::Flags)?;
    k.set(object, DRIVER_OBJECT::Flags, flags | DRVO_UNLOAD_INVOKED)?;
    let routine = GuestAddr(k.get(object, DRIVER_OBJECT::DriverUnload)?);
    let call = GuestCall::entry(routine, vec![object.0], EntryPoint::Unload);
    Ok(Flow::call(call, Unloaded { object }))
}

/// The unload routine returned.
#[derive(Clone, Debug)]
struct Unloaded {
    object: GuestAddr,
}

frame!(Unloaded, |this, k, _| {
    let occasion = left_behind::Occasion::Unloaded;
    left_behind::report(k, this.object, occasion)?.then(k, Reported { object: this.object })
});

/// What is left behind was reported.
#[derive(Clone, Debug)]
struct Reported {
    object: GuestAddr,
}

frame!(Reported, |this, k, _| {
    set_state(k, this.object, DriverState::Gone);
    ob::make_temporary(k, this.object);
    ob::dereference(k, this.object)?.then(k, ob::Answer(NtStatus::STATUS_SUCCESS))
});
