//! Unloading, deferred as long as a device is in use.

use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::DRVO_UNLOAD_INVOKED,
    structures::io::{DEVICE_OBJECT, DRIVER_OBJECT},
};

use super::{
    SystemWork, device,
    driver::{DriverState, set_state},
    left_behind,
};
use crate::{CallResult, Flow, GuestCall, Kernel, frame, ob};

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
        k.io.system_work.push_back(SystemWork::Unload { driver });
    }
    Ok(())
}

/// Calls the unload routine.
pub(crate) fn run(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let is_waiting =
        k.io.drivers.get(&object).is_some_and(|driver| driver.state == DriverState::UnloadPending);
    if !is_waiting {
        return Ok(Flow::Return(0));
    }
    set_state(k, object, DriverState::Unloading);
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
    left_behind::report(k, this.object, left_behind::Occasion::Unloaded)?;
    set_state(k, this.object, DriverState::Gone);
    ob::make_temporary(k, this.object);
    ob::dereference(k, this.object)?.then(k, ob::Answer(NtStatus::STATUS_SUCCESS))
});
