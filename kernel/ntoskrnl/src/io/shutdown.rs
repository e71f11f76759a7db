//! Shutdown notification.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::{IRP_MJ_SHUTDOWN, io::DO_SHUTDOWN_REGISTERED},
    structures::io::DEVICE_OBJECT,
};
use nt_macros::export;

use super::{attach, file::FreeEvent, irp::IrpKind, request::Draft};
use crate::{CallResult, Flow, Kernel, exports, frame, ob, ob::PreviousMode};

exports![IoRegisterShutdownNotification, IoUnregisterShutdownNotification];

/// Registers a device for `IRP_MJ_SHUTDOWN`.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioregistershutdownnotification")]
fn IoRegisterShutdownNotification(k: &mut Kernel, device: GuestAddr) -> CallResult<NtStatus> {
    ob::referenceable(k, device)?;
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
    }
    ob::reference(k, device);
    // The last to register is the first to be told.
    k.io.shutdown_devices.push_front(device);
    let flags = k.get(device, DEVICE_OBJECT::Flags)?;
    k.set(device, DEVICE_OBJECT::Flags, flags | DO_SHUTDOWN_REGISTERED)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Takes a device from the list.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iounregistershutdownnotification")]
fn IoUnregisterShutdownNotification(k: &mut Kernel, device: GuestAddr) -> CallResult<()> {
    let flags = k.get(device, DEVICE_OBJECT::Flags)?;
    k.set(device, DEVICE_OBJECT::Flags, flags & !DO_SHUTDOWN_REGISTERED)?;
    forget(k, device);
    Ok(())
}

/// Drops the registrations of a device with the references they hold.
pub(crate) fn forget(k: &mut Kernel, device: GuestAddr) {
    let before = k.io.shutdown_devices.len();
    k.io.shutdown_devices.retain(|&registered| registered != device);
    for _ in k.io.shutdown_devices.len()..before {
        ob::drop_reference(k, device);
    }
}

/// Sends `IRP_MJ_SHUTDOWN` to every registered device, one after the other.
pub(crate) fn announce(k: &mut Kernel) -> CallResult<Flow> {
    AnnounceNext.run(k)
}

#[derive(Clone, Debug)]
struct AnnounceNext;

frame!(AnnounceNext, |this, k, _| this.run(k));

impl AnnounceNext {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        let Some(device) = k.io.shutdown_devices.pop_front() else {
            return Ok(Flow::Return(u64::from(NtStatus::STATUS_SUCCESS.0)));
        };
        let top = attach::top_of(k, device)?;
        let kind = IrpKind::Request;
        let draft = Draft::new(k, top, IRP_MJ_SHUTDOWN, kind, PreviousMode::Kernel)?;
        draft.wait_on_own_event(k)?;
        let event = draft.request(k).event;
        draft.send(k)?.then(k, FreeEvent { event })?.then(k, Told { device })
    }
}

/// A device was told; its registration is used up.
#[derive(Clone, Debug)]
struct Told {
    device: GuestAddr,
}

frame!(Told, |this, k, _| ob::dereference(k, this.device)?.then(k, AnnounceNext));
