//! Device stacks: attaching, detaching, finding the top.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::DO_DEVICE_INITIALIZING,
    structures::io::{DEVICE_OBJECT, FILE_OBJECT},
};
use nt_macros::export;

use super::unload;
use crate::{CallResult, GuestPtr, Kernel, Stop, exports, ob};

exports![
    IoAttachDeviceToDeviceStack,
    IoAttachDeviceToDeviceStackSafe,
    IoDetachDevice,
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

/// Puts a device on top of the stack of another; returns the device it now stands on.
fn attach(k: &mut Kernel, source: GuestAddr, target: GuestAddr) -> CallResult<Option<GuestAddr>> {
    let below = top_of(k, target)?;
    let flags = k.get(below, DEVICE_OBJECT::Flags)?;
    let is_going = k.io.devices.get(&below).is_some_and(|entry| entry.is_delete_pending);
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

/// Attaches a device; returns the device below, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioattachdevicetodevicestack")]
fn IoAttachDeviceToDeviceStack(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
) -> CallResult<GuestAddr> {
    Ok(attach(k, source, target)?.unwrap_or_default())
}

/// Attaches a device and writes the device below before requests can arrive.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-ioattachdevicetodevicestacksafe")]
fn IoAttachDeviceToDeviceStackSafe(
    k: &mut Kernel,
    source: GuestAddr,
    target: GuestAddr,
    below_at: GuestPtr<GuestAddr>,
) -> CallResult<NtStatus> {
    match attach(k, source, target)? {
        Some(below) => {
            k.write_scalar(below_at.at, below.0)?;
            Ok(NtStatus::STATUS_SUCCESS)
        }
        None => Ok(NtStatus::STATUS_NO_SUCH_DEVICE),
    }
}

/// Takes away the device that stands on another.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iodetachdevice")]
fn IoDetachDevice(k: &mut Kernel, target: GuestAddr) -> CallResult<()> {
    let above = GuestAddr(k.get(target, DEVICE_OBJECT::AttachedDevice)?);
    k.set(target, DEVICE_OBJECT::AttachedDevice, 0)?;
    if let Some(entry) = k.io.devices.get_mut(&above) {
        entry.attached_to = None;
    }
    let driver = k.io.devices.get(&target).map(|entry| entry.driver);
    match driver {
        Some(driver) => unload::resume_if_unused(k, driver),
        None => Ok(()),
    }
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
    limits = "files of file systems do not exist"
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
