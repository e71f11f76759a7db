//! Requests that drivers build: `IoBuildDeviceIoControlRequest`, `IoBuildSynchronousFsdRequest`.

use events::TransferMethod;
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{
    constants::{
        IRP_MJ_DEVICE_CONTROL, IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE,
        io::{DO_BUFFERED_IO, DO_DIRECT_IO},
    },
    structures::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::{
    irp::{self, IrpKind},
    request::Draft,
    service::transfer_method,
};
use crate::{CallResult, Kernel, Stop, exports, ob::PreviousMode};

exports![IoBuildDeviceIoControlRequest, IoBuildSynchronousFsdRequest];

/// Builds a device control request for a driver that waits for it.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-iobuilddeviceiocontrolrequest")]
fn IoBuildDeviceIoControlRequest(
    k: &mut Kernel,
    code: u32,
    device: GuestAddr,
    input: GuestAddr,
    input_bytes: u32,
    output: GuestAddr,
    output_bytes: u32,
    is_internal: bool,
    event: GuestAddr,
    iosb: GuestAddr,
) -> CallResult<GuestAddr> {
    let major = if is_internal { IRP_MJ_INTERNAL_DEVICE_CONTROL } else { IRP_MJ_DEVICE_CONTROL };
    let draft = Draft::new(k, device, major, IrpKind::Threaded, PreviousMode::Kernel)?;
    let control = Control { code, input, input_bytes, output, output_bytes };
    control.fill(k, draft)?;
    finish(k, draft, event, iosb)
}

/// A device control request of kernel mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) code: u32,
    pub(crate) input: GuestAddr,
    pub(crate) input_bytes: u32,
    pub(crate) output: GuestAddr,
    pub(crate) output_bytes: u32,
}

impl Control {
    /// Fills in lengths and buffers by the method of the code. Buffers of a driver are used as they
    /// are.
    fn fill(self, k: &mut Kernel, draft: Draft) -> CallResult<()> {
        let Self { code, input, input_bytes, output, output_bytes } = self;
        let method = transfer_method(code);
        self.write_parameters(k, draft)?;
        let (input_len, output_len) = (u64::from(input_bytes), u64::from(output_bytes));
        if method != TransferMethod::Neither && input_len > 0 {
            k.allow(AccessKind::Read, input, input_len)?;
        }
        let request = draft.request(k);
        request.method = method;
        request.output_bytes = output_len;
        match method {
            TransferMethod::Buffered => {
                draft.attach_system_buffer(k, input_len.max(output_len), (input, input_len))?;
                if output_len > 0 {
                    draft.copy_back(k, output)?;
                }
            }
            TransferMethod::InDirect | TransferMethod::OutDirect => {
                draft.attach_system_buffer(k, input_len, (input, input_len))?;
                if output_len > 0 {
                    let access = match method {
                        TransferMethod::InDirect => AccessKind::Read,
                        _ => AccessKind::Write,
                    };
                    if let Err(status) = draft.attach_mdl(k, (output, output_len), access)? {
                        return Err(Stop::raise(status));
                    }
                }
            }
            TransferMethod::Neither => {
                k.set(draft.irp, IRP::UserBuffer, output.0)?;
                let field = IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer;
                k.set(draft.location, field, input.0)?;
            }
        }
        Ok(())
    }

    /// Fills in code and lengths.
    pub(crate) fn write_parameters(self, k: &mut Kernel, draft: Draft) -> CallResult<()> {
        let at = draft.location;
        k.set(at, IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength, self.output_bytes)?;
        k.set(at, IO_STACK_LOCATION::DeviceIoControl_InputBufferLength, self.input_bytes)?;
        k.set(at, IO_STACK_LOCATION::DeviceIoControl_IoControlCode, self.code)?;
        irp::entry(k, draft.id).control_code = self.code;
        Ok(())
    }
}

/// Notes where the driver wants to be told, and gives it the IRP.
fn finish(
    k: &mut Kernel,
    draft: Draft,
    event: GuestAddr,
    iosb: GuestAddr,
) -> CallResult<GuestAddr> {
    k.set(draft.irp, IRP::UserIosb, iosb.0)?;
    k.set(draft.irp, IRP::UserEvent, event.0)?;
    // The driver waits, not the I/O manager: it learns of failures through the status block too.
    draft.request(k).is_synchronous = false;
    irp::announce(k, draft.id)?;
    Ok(draft.irp)
}

/// Builds a read, write, flush or shutdown request for a driver that waits for it.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-iobuildsynchronousfsdrequest")]
fn IoBuildSynchronousFsdRequest(
    k: &mut Kernel,
    major: u32,
    device: GuestAddr,
    buffer: GuestAddr,
    length: u32,
    offset: GuestAddr,
    event: GuestAddr,
    iosb: GuestAddr,
) -> CallResult<GuestAddr> {
    let major = u8::try_from(major).unwrap_or(irp::NO_MAJOR);
    let draft = Draft::new(k, device, major, IrpKind::Threaded, PreviousMode::Kernel)?;
    if matches!(major, IRP_MJ_READ | IRP_MJ_WRITE) {
        let offset: i64 = if offset.is_null() { 0 } else { k.read_scalar(offset)? };
        k.set(draft.location, IO_STACK_LOCATION::Transfer_Length, length)?;
        k.set(draft.location, IO_STACK_LOCATION::Transfer_ByteOffset, offset)?;
        let flags = k.get(device, DEVICE_OBJECT::Flags)?;
        attach_buffer(k, draft, major, flags, (buffer, u64::from(length)))?;
    }
    finish(k, draft, event, iosb)
}

/// Gives a read or write its buffer as the flags of the device want it.
fn attach_buffer(
    k: &mut Kernel,
    draft: Draft,
    major: u8,
    flags: u32,
    (buffer, size_bytes): (GuestAddr, u64),
) -> CallResult<()> {
    let is_read = major == IRP_MJ_READ;
    if is_read {
        draft.request(k).output_bytes = size_bytes;
    }
    if flags & DO_BUFFERED_IO != 0 {
        draft.request(k).method = TransferMethod::Buffered;
        if is_read {
            draft.attach_system_buffer(k, size_bytes, (buffer, 0))?;
            return draft.copy_back(k, buffer);
        }
        k.allow(AccessKind::Read, buffer, size_bytes)?;
        return draft.attach_system_buffer(k, size_bytes, (buffer, size_bytes));
    }
    if flags & DO_DIRECT_IO != 0 {
        draft.request(k).method = TransferMethod::OutDirect;
        // What the device reads into memory is written there.
        let access = if is_read { AccessKind::Write } else { AccessKind::Read };
        if size_bytes > 0
            && let Err(status) = draft.attach_mdl(k, (buffer, size_bytes), access)?
        {
            return Err(Stop::raise(status));
        }
        return Ok(());
    }
    k.set(draft.irp, IRP::UserBuffer, buffer.0)
}
