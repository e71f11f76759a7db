//! Dispatch: an IRP goes to a device's driver.

use events::{EntryPoint, Event, IrpDispatch, IrpId, IrpReturn, Seq};
use guest_memory::{Accessor, GuestAddr};
use nt_abi::{
    NtStatus,
    constants::{IRP_MJ_DEVICE_CONTROL, IRP_MJ_INTERNAL_DEVICE_CONTROL, io::SL_PENDING_RETURNED},
    structures::io::{DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::{complete, irp, neighbours, unload};
use crate::{CallResult, Export, Flow, GuestCall, Kernel, Stop, exports, frame};

exports![IofCallDriver, InvalidDeviceRequest];

/// A dispatch routine that is running.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    /// Tells it from others of the same IRP.
    pub(crate) serial: u64,
    pub(crate) irp: IrpId,
    pub(crate) device: GuestAddr,
    pub(crate) major: u8,
    /// Number of its stack location.
    pub(crate) location: i8,
    /// It passed the IRP on.
    pub(crate) is_forwarded: bool,
    /// Its location was left on the way up: with which status, when, and whether it was marked
    /// pending.
    pub(crate) completed: Option<(NtStatus, Seq)>,
    pub(crate) is_marked_pending: bool,
}

/// Sends an IRP to a device.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iofcalldriver", written_as = "IoCallDriver")]
fn IofCallDriver(k: &mut Kernel, device: GuestAddr, irp: GuestAddr) -> CallResult<Flow> {
    call_driver(k, device, irp)
}

/// "No more I/O request packet stack locations": a driver passed on more often than there are
/// locations.
const NO_MORE_IRP_STACK_LOCATIONS: u32 = 0x35;

/// Moves an IRP to its next stack location and calls the driver's dispatch routine. The value is
/// its status.
pub(crate) fn call_driver(
    k: &mut Kernel,
    device: GuestAddr,
    address: GuestAddr,
) -> CallResult<Flow> {
    let id = irp::at_or_number(k, address)?;
    let location = k.get(address, IRP::CurrentLocation)?.wrapping_sub(1);
    if location <= 0 {
        return Err(Stop::bug_check(NO_MORE_IRP_STACK_LOCATIONS, [address.0, 0, 0, 0]));
    }
    let next = GuestAddr(k.get(address, IRP::CurrentStackLocation)?)
        .add(IO_STACK_LOCATION::SIZE_BYTES.wrapping_neg());
    k.set(address, IRP::CurrentLocation, location)?;
    k.set(address, IRP::CurrentStackLocation, next.0)?;
    k.set(next, IO_STACK_LOCATION::DeviceObject, device.0)?;
    let major = k.get(next, IO_STACK_LOCATION::MajorFunction)?;
    let driver = GuestAddr(k.get(device, DEVICE_OBJECT::DriverObject)?);
    let slot = driver.add(DRIVER_OBJECT::MajorFunction.offset_bytes + 8 * u64::from(major));
    let routine = GuestAddr(k.read_scalar(slot)?);
    // Whoever sends it comes before whoever serves it, wherever that happens.
    k.order_release(address);
    unload::order_after_start(k, driver);
    let control_code = match major {
        IRP_MJ_DEVICE_CONTROL | IRP_MJ_INTERNAL_DEVICE_CONTROL => {
            k.get(next, IO_STACK_LOCATION::DeviceIoControl_IoControlCode)?
        }
        _ => 0,
    };
    let entry = irp::entry(k, id);
    entry.pended.retain(|(of, _)| *of != location);
    if entry.major == irp::NO_MAJOR {
        (entry.major, entry.control_code) = (major, control_code);
    }
    if let Some(upper) = k.io.dispatches.iter_mut().rev().find(|d| d.irp == id) {
        upper.is_forwarded = true;
    }
    if k.io.neighbours.at(device).is_some() {
        return neighbours::dispatch(k, device, address);
    }
    if routine == invalid_device_request_address(k) {
        return invalid_device_request(k, address);
    }
    let serial = k.io.next_dispatch;
    k.io.next_dispatch += 1;
    k.io.dispatches.push(Dispatch {
        serial,
        irp: id,
        device,
        major,
        location,
        is_forwarded: false,
        completed: None,
        is_marked_pending: false,
    });
    let tail = irp::entry(k, id).request.as_ref().and_then(|request| request.tail);
    k.emit(Event::IrpDispatch(IrpDispatch { irp: id, major, control_code, device, tail }))?;
    k.trace(|_| format!("irp {} {} to {device}", id.0, name_of(major)));
    let call = GuestCall::entry(
        routine,
        vec![device.0, address.0],
        EntryPoint::Dispatch { major, irp: id },
    );
    Ok(Flow::call(call, Dispatched { serial }))
}

/// Name of a major function for the trace.
pub(crate) fn name_of(major: u8) -> &'static str {
    nt_abi::constants::IRP_MJ_NAMES.get(usize::from(major)).copied().unwrap_or("unknown major")
}

/// A dispatch routine returned.
#[derive(Clone, Debug)]
struct Dispatched {
    serial: u64,
}

impl crate::Frame for Dispatched {
    fn resume(self: Box<Self>, k: &mut Kernel, value: u64) -> CallResult<Flow> {
        let found = k.io.dispatches.iter().position(|d| d.serial == self.serial);
        let dispatch = k.io.dispatches.remove(found.expect("a dispatch routine returns once"));
        if let Some(driver) = k.io.devices.get(&dispatch.device).map(|device| device.driver) {
            unload::note_use(k, driver);
        }
        let entry = irp::entry(k, dispatch.irp);
        let is_live = entry.is_live;
        let control = irp::location_at(entry.address, dispatch.location)
            .add(IO_STACK_LOCATION::Control.offset_bytes);
        let mut byte = [0];
        if is_live && dispatch.completed.is_none() {
            // The location is still the driver's; its bytes are ours to look at, not an access of
            // the driver.
            let _ = k.memory.read(Accessor::Machine, control, &mut byte);
        }
        let [control] = byte;
        #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of rax")]
        let returned = NtStatus(value as u32);
        let seq = k.emit(Event::IrpReturn(IrpReturn {
            irp: dispatch.irp,
            major: dispatch.major,
            returned,
            is_marked_pending: dispatch.is_marked_pending || control & SL_PENDING_RETURNED != 0,
            completed_with: dispatch.completed.map(|(status, _)| status),
            completed: dispatch.completed.map(|(_, seq)| seq),
            was_forwarded: dispatch.is_forwarded,
        }))?;
        let entry = irp::entry(k, dispatch.irp);
        if entry.completed.is_none() {
            entry.returned = Some(seq);
        }
        let is_on_its_way = dispatch.is_forwarded && dispatch.completed.is_none();
        if returned == NtStatus::STATUS_PENDING && is_on_its_way {
            entry.pended.push((dispatch.location, seq));
        }
        k.trace(|_| format!("irp {} returned {returned}", dispatch.irp.0));
        Ok(Flow::Return(u64::from(returned.0)))
    }

    fn boxed_clone(&self) -> Box<dyn crate::Frame> {
        Box::new(self.clone())
    }

    fn unwound(self: Box<Self>, k: &mut Kernel) {
        k.io.dispatches.retain(|d| d.serial != self.serial);
    }
}

/// What stands in `MajorFunction` where the driver set nothing.
///
/// No image can import it: the name is none that a linker writes.
#[derive(Debug)]
pub(crate) struct InvalidDeviceRequest {}

impl InvalidDeviceRequest {
    /// The declaration, so that the routine has an address that drivers can compare, copy and call.
    pub(crate) const EXPORT: Export = Export {
        name: "(invalid device request)",
        written_as: None,
        irql: events::IrqlLimit {
            min: nt_abi::Irql::PASSIVE_LEVEL,
            max: nt_abi::Irql::DISPATCH_LEVEL,
        },
        irql_note: None,
        irql_when: None,
        limits: None,
        ddi: "wdm/ns-wdm-_driver_object",
        call: |k| {
            let irp = GuestAddr(k.argument(1)?);
            invalid_device_request(k, irp)
        },
    };
}

/// Address of the routine that fails what a driver does not serve.
pub(crate) fn invalid_device_request_address(k: &Kernel) -> GuestAddr {
    let found = k.exports.find("ntoskrnl.exe", InvalidDeviceRequest::EXPORT.name);
    found.unwrap_or(GuestAddr::NULL)
}

/// Completes an IRP with `STATUS_INVALID_DEVICE_REQUEST`.
fn invalid_device_request(k: &mut Kernel, address: GuestAddr) -> CallResult<Flow> {
    let status = NtStatus::STATUS_INVALID_DEVICE_REQUEST;
    k.set(address, IRP::Status, status.0)?;
    k.set(address, IRP::Information, 0)?;
    complete::complete(k, address)?.then(k, Failed { status })
}

/// The IRP is completed; the routine returns its status.
#[derive(Clone, Debug)]
struct Failed {
    status: NtStatus,
}

frame!(Failed, |this, _, _| Ok(Flow::Return(u64::from(this.status.0))));
