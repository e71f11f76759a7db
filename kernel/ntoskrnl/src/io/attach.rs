//! Device stacks: attaching, detaching, finding the top.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::{DO_DEVICE_INITIALIZING, FILE_READ_ATTRIBUTES},
    structures::{
        UNICODE_STRING,
        io::{DEVICE_OBJECT, FILE_OBJECT},
    },
};
use nt_macros::export;

use super::{
    DriverState, device, neighbours,
    object_pointer::{self, Purpose},
    unload,
};
use crate::{CallResult, Flow, GuestPtr, Kernel, Stop, exports, ob};

exports![
    IoAttachDevice,
    IoAttachDeviceToDeviceStack,
    IoAttachDeviceToDeviceStackSafe,
    IoDetachDevice,
    IoGetAttachedDevice,
    IoGetAttachedDeviceReference,
    IoGetRelatedDeviceObject,
    IoGetLowerDeviceObject,
    IoGetDeviceAttachmentBaseRef,
];

/// Devices in a stack at most: `StackSize` is a signed byte.
const TALLEST_STACK: u32 = 127;

/// The top of the stack that a device is in.
pub(crate) fn top_of(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    let mut top = device;
    for _ in 0..TALLEST_STACK {
        let above = GuestAddr(k.get(top, DEVICE_OBJECT::AttachedDevice)?);
        if above.is_null() {
            return Ok(top);
        }
        top = above;
    }
    Err(Stop::unsupported("a device stack that leads back into itself"))
}

/// The device that requests for a file go to.
pub(crate) fn related_device(k: &mut Kernel, file: GuestAddr) -> CallResult<GuestAddr> {
    let device = GuestAddr(k.get(file, FILE_OBJECT::DeviceObject)?);
    top_of(k, device)
}

/// Whether a device was deleted, or its driver is to be unloaded.
fn is_going(k: &Kernel, device: GuestAddr) -> bool {
    let Some(entry) = k.io.devices.get(&device) else { return false };
    let driver = k.io.drivers.get(&entry.driver);
    entry.is_delete_pending
        || driver.is_some_and(|driver| {
            !matches!(driver.state, DriverState::Starting | DriverState::Started)
        })
}

/// Attaches a device of a driver; returns the device it now stands on, which may be that of another
/// driver who came first.
fn attach_for_driver(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
) -> CallResult<Option<GuestAddr>> {
    neighbours::before_attach(k, target)?;
    attach(k, source, target)
}

/// Puts a device on top of the stack of another; returns the device it now stands on.
pub(super) fn attach(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
) -> CallResult<Option<GuestAddr>> {
    let below = top_of(k, target)?;
    let flags = k.get(below, DEVICE_OBJECT::Flags)?;
    let is_going = is_going(k, below);
    if flags & DO_DEVICE_INITIALIZING != 0 || is_going {
        return Ok(None);
    }
    let stack_size = k.get(below, DEVICE_OBJECT::StackSize)?;
    let alignment = k.get(below, DEVICE_OBJECT::AlignmentRequirement)?;
    let sector_size = k.get(below, DEVICE_OBJECT::SectorSize)?;
    k.set(below, DEVICE_OBJECT::AttachedDevice, source.0)?;
    k.set(source, DEVICE_OBJECT::StackSize, stack_size.saturating_add(1))?;
    k.set(source, DEVICE_OBJECT::AlignmentRequirement, alignment)?;
    k.set(source, DEVICE_OBJECT::SectorSize, sector_size)?;
    if let Some(entry) = k.io.devices.get_mut(&source) {
        entry.attached_to = Some(below);
    }
    Ok(Some(below))
}

/// Opens a device by name and puts another on top of its stack.
///
/// The driver of the target sees a create, a cleanup and a close request; the last one comes
/// through the new device, which is in the stack by then.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioattachdevice")]
fn IoAttachDevice(
    k: &mut Kernel,
    source: GuestAddr,
    name: GuestPtr<UNICODE_STRING>,
    below_at: GuestPtr<GuestAddr>,
) -> CallResult<Flow> {
    let purpose = Purpose::Attach { source, below_at: below_at.at };
    object_pointer::open(k, name.at, FILE_READ_ATTRIBUTES, purpose)
}

/// Puts a device on top of the stack of an opened one and says which device is below.
pub(crate) fn attach_to(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
    below_at: GuestAddr,
) -> CallResult<NtStatus> {
    match attach_for_driver(k, source, target)? {
        Some(below) => {
            k.write_scalar(below_at, below.0)?;
            Ok(NtStatus::STATUS_SUCCESS)
        }
        None => Ok(NtStatus::STATUS_NO_SUCH_DEVICE),
    }
}

/// Attaches a device; returns the device below, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioattachdevicetodevicestack")]
fn IoAttachDeviceToDeviceStack(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
) -> CallResult<GuestAddr> {
    Ok(attach_for_driver(k, source, target)?.unwrap_or_default())
}

/// Attaches a device and writes the device below before requests can arrive.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-ioattachdevicetodevicestacksafe")]
fn IoAttachDeviceToDeviceStackSafe(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
    below_at: GuestPtr<GuestAddr>,
) -> CallResult<NtStatus> {
    attach_to(k, source, target, below_at.at)
}

/// Takes away the device that stands on another.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iodetachdevice")]
fn IoDetachDevice(k: &mut Kernel, target: GuestAddr) -> CallResult<Flow> {
    let above = GuestAddr(k.get(target, DEVICE_OBJECT::AttachedDevice)?);
    k.set(target, DEVICE_OBJECT::AttachedDevice, 0)?;
    if let Some(entry) = k.io.devices.get_mut(&above) {
        entry.attached_to = None;
    }
    neighbours::leave_if_top(k, target)?;
    let driver = k.io.devices.get(&target).map(|entry| entry.driver);
    if let Some(driver) = driver {
        unload::resume_if_unused(k, driver)?;
    }
    // A deletion may have waited for the device above to go.
    device::delete_if_unused(k, target)
}

/// Returns the top of a device's stack.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-iogetattacheddevice")]
fn IoGetAttachedDevice(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    top_of(k, device)
}

/// Returns the top of a device's stack, referenced.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iogetattacheddevicereference")]
fn IoGetAttachedDeviceReference(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    let top = top_of(k, device)?;
    ob::referenceable(k, top)?;
    ob::reference(k, top);
    Ok(top)
}

/// Returns the device that requests for a file go to.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iogetrelateddeviceobject",
    limits = "files of file systems do not exist",
    irql_note = "the remarks limit it no further"
)]
fn IoGetRelatedDeviceObject(k: &mut Kernel, file: GuestAddr) -> CallResult<GuestAddr> {
    related_device(k, file)
}

/// Returns the device below, referenced, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-iogetlowerdeviceobject")]
fn IoGetLowerDeviceObject(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    ob::referenceable(k, device)?;
    let below = k.io.devices.get(&device).and_then(|entry| entry.attached_to);
    if let Some(below) = below {
        ob::referenceable(k, below)?;
        ob::reference(k, below);
    }
    Ok(below.unwrap_or_default())
}

/// Returns the bottom of a device's stack, referenced.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-iogetdeviceattachmentbaseref")]
fn IoGetDeviceAttachmentBaseRef(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    let mut base = device;
    for _ in 0..TALLEST_STACK {
        let below = k.io.devices.get(&base).and_then(|entry| entry.attached_to);
        let Some(below) = below else { break };
        base = below;
    }
    ob::referenceable(k, base)?;
    ob::reference(k, base);
    Ok(base)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{
        constants::io::DO_DEVICE_INITIALIZING,
        structures::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP},
    };

    use crate::{
        GuestCall, Kernel,
        io::{
            driver::{DriverState, set_state},
            test_driver::{create_device, driver, stack},
        },
        ob,
        testing::{block, call_by_name, drive, unicode_string},
    };

    const NO_SUCH_DEVICE: u64 = 0xc000_000e;

    #[test]
    fn each_device_goes_on_top_and_needs_one_more_location() {
        let (mut k, devices) = stack();
        for (size, &device) in (1..).zip(&devices) {
            assert_eq!(k.get(device, DEVICE_OBJECT::StackSize), Ok(size));
            assert_eq!(call_by_name(&mut k, "IoGetAttachedDevice", &[device.0]), Ok(devices[2].0));
        }
        assert_eq!(k.get(devices[0], DEVICE_OBJECT::AttachedDevice), Ok(devices[1].0));
        assert_eq!(k.get(devices[2], DEVICE_OBJECT::AttachedDevice), Ok(0));
        let cases = [
            ("IoGetAttachedDeviceReference", 0, 2),
            ("IoGetLowerDeviceObject", 2, 1),
            ("IoGetDeviceAttachmentBaseRef", 2, 0),
        ];
        for (name, from, to) in cases {
            let to: GuestAddr = devices[to];
            let before = ob::object(&k, to).pointer_count;
            assert_eq!(call_by_name(&mut k, name, &[devices[from].0]), Ok(to.0), "{name}");
            assert_eq!(ob::object(&k, to).pointer_count, before + 1, "{name}");
        }
    }

    #[test]
    fn alignment_and_sector_size_come_from_below() {
        let (mut k, driver) = driver();
        let (lower, upper) = (create_device(&mut k, driver, ""), create_device(&mut k, driver, ""));
        k.set(lower, DEVICE_OBJECT::AlignmentRequirement, 0x1ff).unwrap();
        k.set(lower, DEVICE_OBJECT::SectorSize, 512).unwrap();
        let place = block(&mut k, &[0; 8]);
        let arguments = [upper.0, lower.0, place];
        let status = call_by_name(&mut k, "IoAttachDeviceToDeviceStackSafe", &arguments);
        assert_eq!(status, Ok(0));
        assert_eq!(k.read_scalar(GuestAddr(place)), Ok(lower.0));
        assert_eq!(k.get(upper, DEVICE_OBJECT::AlignmentRequirement), Ok(0x1ff));
        assert_eq!(k.get(upper, DEVICE_OBJECT::SectorSize), Ok(512));
    }

    #[test]
    fn nothing_attaches_to_a_device_that_comes_or_goes() {
        let spoil: [fn(&mut Kernel, GuestAddr, GuestAddr); 3] = [
            |k, device, _| {
                let flags = k.get(device, DEVICE_OBJECT::Flags).unwrap();
                k.set(device, DEVICE_OBJECT::Flags, flags | DO_DEVICE_INITIALIZING).unwrap();
            },
            |k, device, _| {
                k.set(device, DEVICE_OBJECT::ReferenceCount, 1).unwrap();
                call_by_name(k, "IoDeleteDevice", &[device.0]).unwrap();
            },
            |k, _, driver| set_state(k, driver, DriverState::UnloadPending),
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            let (mut k, driver) = driver();
            let (lower, upper) =
                (create_device(&mut k, driver, ""), create_device(&mut k, driver, ""));
            spoil(&mut k, lower, driver);
            let arguments = [upper.0, lower.0];
            let below = call_by_name(&mut k, "IoAttachDeviceToDeviceStack", &arguments);
            assert_eq!(below, Ok(0), "case {index}");
            let place = block(&mut k, &[0; 8]);
            let arguments = [upper.0, lower.0, place];
            let status = call_by_name(&mut k, "IoAttachDeviceToDeviceStackSafe", &arguments);
            assert_eq!(status, Ok(NO_SUCH_DEVICE), "case {index}");
        }
    }

    #[test]
    fn a_deleted_device_stays_until_the_one_above_is_detached() {
        let (mut k, devices) = stack();
        call_by_name(&mut k, "IoDeleteDevice", &[devices[0].0]).unwrap();
        assert!(k.get(devices[0], DEVICE_OBJECT::Type).is_ok());
        call_by_name(&mut k, "IoDetachDevice", &[devices[0].0]).unwrap();
        assert!(k.get(devices[0], DEVICE_OBJECT::Type).is_err());
        assert_eq!(call_by_name(&mut k, "IoGetLowerDeviceObject", &[devices[1].0]), Ok(0));
    }

    /// Completes every request; the majors and the devices they came to.
    fn serve(k: &mut Kernel, call: &GuestCall, log: &mut Vec<(u8, u64)>) -> u64 {
        let (device, irp) = (call.arguments[0], call.arguments[1]);
        let location = GuestAddr(k.get(GuestAddr(irp), IRP::CurrentStackLocation).unwrap());
        log.push((k.get(location, IO_STACK_LOCATION::MajorFunction).unwrap(), device));
        k.set(GuestAddr(irp), IRP::Status, 0).unwrap();
        call_by_name(k, "IofCompleteRequest", &[irp, 0]).unwrap();
        0
    }

    #[test]
    fn attaching_by_name_opens_the_target_and_closes_it_through_the_new_device() {
        let (mut k, driver) = driver();
        let target = create_device(&mut k, driver, r"\Device\Target");
        let source = create_device(&mut k, driver, "");
        let name = unicode_string(&mut k, r"\Device\Target", 0);
        let place = block(&mut k, &[0; 8]);
        let mut log = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| serve(k, call, &mut log);
        let arguments = [source.0, name, place];
        assert_eq!(drive(&mut k, "IoAttachDevice", &arguments, &mut guest), Ok(0));
        // Create, cleanup, close.
        assert_eq!(log, [(0, target.0), (0x12, target.0), (2, source.0)]);
        assert_eq!(k.read_scalar(GuestAddr(place)), Ok(target.0));
        assert_eq!(k.get(target, DEVICE_OBJECT::AttachedDevice), Ok(source.0));
        assert_eq!(k.get(target, DEVICE_OBJECT::ReferenceCount), Ok(0));
        let missing = unicode_string(&mut k, r"\Device\Missing", 0);
        let arguments = [source.0, missing, place];
        let status = call_by_name(&mut k, "IoAttachDevice", &arguments);
        assert_eq!(status, Ok(0xc000_0034));
    }

    #[test]
    fn a_pointer_to_a_device_comes_with_a_file_object_that_keeps_it() {
        let (mut k, driver) = driver();
        let target = create_device(&mut k, driver, r"\Device\Target");
        let above = create_device(&mut k, driver, "");
        call_by_name(&mut k, "IoAttachDeviceToDeviceStack", &[above.0, target.0]).unwrap();
        let name = unicode_string(&mut k, r"\Device\Target", 0);
        let (file_at, device_at) = (block(&mut k, &[0; 8]), block(&mut k, &[0; 8]));
        let mut log = Vec::new();
        let mut guest = |k: &mut Kernel, call: &GuestCall| serve(k, call, &mut log);
        let arguments = [name, 1, file_at, device_at];
        assert_eq!(drive(&mut k, "IoGetDeviceObjectPointer", &arguments, &mut guest), Ok(0));
        assert_eq!(k.read_scalar(GuestAddr(device_at)), Ok(above.0), "the top of the stack");
        let file: u64 = k.read_scalar(GuestAddr(file_at)).unwrap();
        assert_eq!(k.get(target, DEVICE_OBJECT::ReferenceCount), Ok(1));
        drive(&mut k, "ObfDereferenceObject", &[file], &mut guest).unwrap();
        assert_eq!(k.get(target, DEVICE_OBJECT::ReferenceCount), Ok(0));
        assert_eq!(log, [(0, above.0), (0x12, above.0), (2, above.0)]);
    }
}
