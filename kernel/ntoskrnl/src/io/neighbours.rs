//! Drivers that may stand beside the driver under test, although today they do not: a filter
//! above its device, and a driver between it and the device that it passes requests to.
//!
//! They are devices of a driver object of their own, really attached, whose dispatch routines are
//! kernel code. Whether they are there is asked from the tape ([`FILTER_ABOVE`], [`LOWER_DRIVER`]);
//! the friendly answer is no.

use std::collections::{BTreeMap, BTreeSet};

use events::{FILTER_ABOVE, LOWER_DRIVER, LOWER_DRIVERS};
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE,
        io::{DO_BUFFERED_IO, DO_DIRECT_IO, SL_PENDING_RETURNED},
    },
    structures::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP},
};

use super::{
    attach, device, dispatch,
    driver::{self, DriverState},
    lower_driver, service, unload,
};
use crate::{
    CallResult, Flow, Kernel,
    ex::{self, WorkQueue},
    frame,
    ob::{Name, PreviousMode},
};

/// The neighbours that there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    /// Their driver object; null until one is needed.
    driver: GuestAddr,
    /// Their devices.
    devices: BTreeMap<GuestAddr, Neighbour>,
    /// Requests that a lower driver passed down and whose dispatch routine has not returned yet.
    pub(super) going_down: BTreeSet<GuestAddr>,
    /// Requests that came back to a lower driver, in order.
    pub(super) held: Vec<GuestAddr>,
    /// The timer by which a lower driver completes them, with its DPC object behind it; null until
    /// it is needed.
    pub(super) timer: GuestAddr,
}

impl Neighbours {
    /// Whether this is their driver object.
    pub(super) fn is_driver(&self, driver: GuestAddr) -> bool {
        !driver.is_null() && driver == self.driver
    }

    /// The neighbour that owns a device.
    pub(super) fn at(&self, device: GuestAddr) -> Option<Neighbour> {
        self.devices.get(&device).copied()
    }

    /// Whether there ever was one.
    pub(super) fn were_there(&self) -> bool {
        !self.driver.is_null()
    }
}

/// A device of a neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour {
    role: Role,
    /// The device that it stands on.
    pub(super) below: GuestAddr,
}

/// What a neighbour does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Passes them on in another thread.
    Filter,
    /// Passes them on at once, and completes them when.
    Lower(lower_driver::When),
}

/// User mode opens a device: a filter may have been attached above it.
pub(super) fn before_open(k: &mut Kernel, target: GuestAddr, mode: PreviousMode) -> CallResult<()> {
    if mode == PreviousMode::Kernel {
        return Ok(());
    }
    let top = attach::top_of(k, target)?;
    if k.io.neighbours.at(top).is_none() && k.ask(FILTER_ABOVE, 2) != 0 {
        stand_on(k, top, Role::Filter)?;
    }
    Ok(())
}

/// A driver is about to attach to a device, or asks for it by name: another driver may have been
/// attached before.
pub(super) fn before_attach(k: &mut Kernel, target: GuestAddr) -> CallResult<()> {
    let top = attach::top_of(k, target)?;
    if k.io.neighbours.at(top).is_some() {
        return Ok(());
    }
    match lower_driver::When::from_answer(k.ask(LOWER_DRIVER, LOWER_DRIVERS)) {
        Some(when) => stand_on(k, top, Role::Lower(when)),
        None => Ok(()),
    }
}

/// Attaches a device of the neighbours, of the kind of the one below.
fn stand_on(k: &mut Kernel, below: GuestAddr, role: Role) -> CallResult<()> {
    if k.io.neighbours.driver.is_null() {
        let nowhere = (GuestAddr::NULL, 0);
        let driver = driver::create(k, &Name::new("neighbour"), nowhere, GuestAddr::NULL)?;
        driver::set_state(k, driver, DriverState::Started);
        k.io.neighbours.driver = driver;
    }
    // A higher-level driver sets the buffering flags of its device like those of the next-lower
    // one. Source: "Initializing a Device Object".
    let flags = k.get(below, DEVICE_OBJECT::Flags)? & (DO_BUFFERED_IO | DO_DIRECT_IO);
    let device_type = k.get(below, DEVICE_OBJECT::DeviceType)?;
    let characteristics = k.get(below, DEVICE_OBJECT::Characteristics)?;
    let kind = device::Kind { device_type, characteristics, flags };
    let ours = device::make(k, k.io.neighbours.driver, 0, kind)?;
    if attach::attach(k, ours, below)?.is_none() {
        // The device below is on its way out.
        return retire(k, ours);
    }
    k.io.neighbours.devices.insert(ours, Neighbour { role, below });
    k.trace(|_| format!("a neighbour is attached above {below}: {role:?}"));
    Ok(())
}

fn retire(k: &mut Kernel, ours: GuestAddr) -> CallResult<()> {
    let gone = device::retire(k, ours)?;
    debug_assert!(matches!(gone, Flow::Return(_)), "no driver code runs when a device goes");
    Ok(())
}

/// Takes the neighbours away that stand on top of a driver's devices: the driver is to be unloaded,
/// and as long as anything is attached that waits.
pub(super) fn leave_driver(k: &mut Kernel, driver: GuestAddr) -> CallResult<()> {
    let ours: Vec<GuestAddr> = k.io.neighbours.devices.keys().copied().collect();
    // The highest of several is not always the last.
    for _ in 0..ours.len() {
        for &device in &ours {
            let Some(Neighbour { below, .. }) = k.io.neighbours.at(device) else { continue };
            let of_driver = k.io.devices.get(&below).is_some_and(|d| d.driver == driver);
            if of_driver {
                leave_if_top(k, device)?;
            }
        }
    }
    Ok(())
}

/// Takes the neighbour away that stands on a device that is deleted. Source: `FastIoDetachDevice`
/// of "FAST_IO_DISPATCH": called when the device below is being deleted.
pub(super) fn leave_device(k: &mut Kernel, target: GuestAddr) -> CallResult<()> {
    let above = GuestAddr(k.get(target, DEVICE_OBJECT::AttachedDevice)?);
    leave_if_top(k, above)
}

/// Takes a neighbour away unless something stands on it.
pub(super) fn leave_if_top(k: &mut Kernel, ours: GuestAddr) -> CallResult<()> {
    let Some(Neighbour { below, .. }) = k.io.neighbours.at(ours) else { return Ok(()) };
    if k.get(ours, DEVICE_OBJECT::AttachedDevice)? != 0 {
        return Ok(());
    }
    k.set(below, DEVICE_OBJECT::AttachedDevice, 0)?;
    if let Some(entry) = k.io.devices.get_mut(&ours) {
        entry.attached_to = None;
    }
    k.io.neighbours.devices.remove(&ours);
    retire(k, ours)?;
    if let Some(driver) = k.io.devices.get(&below).map(|entry| entry.driver) {
        unload::resume_if_unused(k, driver)?;
    }
    let gone = device::delete_if_unused(k, below)?;
    debug_assert!(matches!(gone, Flow::Return(_)), "no driver code runs when a device goes");
    Ok(())
}

/// A request arrived at a neighbour's device. The value is its status.
pub(super) fn dispatch(k: &mut Kernel, ours: GuestAddr, irp: GuestAddr) -> CallResult<Flow> {
    let neighbour = k.io.neighbours.at(ours).expect("the caller looked whether it is one");
    let below = neighbour.below;
    match neighbour.role {
        Role::Lower(when) => lower_driver::pass_down(k, (ours, below), irp, when),
        Role::Filter if is_of_any_thread(k, below, irp)? => {
            mark_pending(k, irp)?;
            // What the caller did comes before what the worker does.
            k.order_release(irp);
            ex::queue_work(k, WorkQueue::Delayed, PassOn { below, irp })?;
            Ok(Flow::Return(u64::from(NtStatus::STATUS_PENDING.0)))
        }
        Role::Filter => {
            copy_to_next(k, irp)?;
            dispatch::call_driver(k, below, irp)
        }
    }
}

/// Whether a request may be passed on in any thread: nothing in it is an address of its caller.
fn is_of_any_thread(k: &mut Kernel, below: GuestAddr, irp: GuestAddr) -> CallResult<bool> {
    let location = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    match k.get(location, IO_STACK_LOCATION::MajorFunction)? {
        IRP_MJ_READ | IRP_MJ_WRITE => {
            let flags = k.get(below, DEVICE_OBJECT::Flags)?;
            Ok(flags & (DO_BUFFERED_IO | DO_DIRECT_IO) != 0)
        }
        IRP_MJ_DEVICE_CONTROL => {
            let code = k.get(location, IO_STACK_LOCATION::DeviceIoControl_IoControlCode)?;
            Ok(service::transfer_method(code) != events::TransferMethod::Neither)
        }
        _ => Ok(false),
    }
}

/// A request that a worker thread passes on.
#[derive(Clone, Debug)]
struct PassOn {
    below: GuestAddr,
    irp: GuestAddr,
}

frame!(PassOn, |this, k, _| {
    k.order_acquire(this.irp);
    copy_to_next(k, this.irp)?;
    dispatch::call_driver(k, this.below, this.irp)
});

/// `IoMarkIrpPending`.
pub(super) fn mark_pending(k: &mut Kernel, irp: GuestAddr) -> CallResult<()> {
    let location = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    let control = k.get(location, IO_STACK_LOCATION::Control)?;
    k.set(location, IO_STACK_LOCATION::Control, control | SL_PENDING_RETURNED)
}

/// `IoCopyCurrentIrpStackLocationToNext`: all but the completion routine. The next location, if
/// there is one; passing on without is what `call_driver` looks at.
pub(super) fn copy_to_next(k: &mut Kernel, irp: GuestAddr) -> CallResult<Option<GuestAddr>> {
    if k.get(irp, IRP::CurrentLocation)? <= 1 {
        return Ok(None);
    }
    let current = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    let next = current.add(IO_STACK_LOCATION::SIZE_BYTES.wrapping_neg());
    k.copy(next, current, IO_STACK_LOCATION::CompletionRoutine.offset_bytes)?;
    k.set(next, IO_STACK_LOCATION::Control, 0)?;
    Ok(Some(next))
}

#[cfg(test)]
mod tests;
