//! Requests that drivers build: `IoBuildDeviceIoControlRequest`, `IoBuildSynchronousFsdRequest`,
//! `IoBuildAsynchronousFsdRequest`.

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

exports![
    IoBuildAsynchronousFsdRequest,
    IoBuildDeviceIoControlRequest,
    IoBuildSynchronousFsdRequest,
];

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
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
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
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let wish = Transfer { major, device, buffer, length, offset };
    let draft = wish.build(k, IrpKind::Threaded)?;
    finish(k, draft, event, iosb)
}

/// Builds the same for a driver that does not wait: it sets a completion routine.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-iobuildasynchronousfsdrequest")]
fn IoBuildAsynchronousFsdRequest(
    k: &mut Kernel,
    major: u32,
    device: GuestAddr,
    buffer: GuestAddr,
    length: u32,
    offset: GuestAddr,
    iosb: GuestAddr,
) -> CallResult<GuestAddr> {
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let wish = Transfer { major, device, buffer, length, offset };
    let draft = wish.build(k, IrpKind::Asynchronous)?;
    finish(k, draft, GuestAddr::NULL, iosb)
}

/// A read, write, flush or shutdown request of a driver.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    major: u32,
    device: GuestAddr,
    buffer: GuestAddr,
    length: u32,
    offset: GuestAddr,
}

impl Transfer {
    fn build(self, k: &mut Kernel, kind: IrpKind) -> CallResult<Draft> {
        let Self { major, device, buffer, length, offset } = self;
        let major = u8::try_from(major).unwrap_or(irp::NO_MAJOR);
        let draft = Draft::new(k, device, major, kind, PreviousMode::Kernel)?;
        if matches!(major, IRP_MJ_READ | IRP_MJ_WRITE) {
            let offset: i64 = if offset.is_null() { 0 } else { k.read_scalar(offset)? };
            k.set(draft.location, IO_STACK_LOCATION::Transfer_Length, length)?;
            k.set(draft.location, IO_STACK_LOCATION::Transfer_ByteOffset, offset)?;
            let flags = k.get(device, DEVICE_OBJECT::Flags)?;
            attach_buffer(k, draft, major, flags, (buffer, u64::from(length)))?;
        }
        Ok(draft)
    }
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

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{
        constants::io::{DO_BUFFERED_IO, DO_DIRECT_IO},
        structures::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP},
    };

    use crate::{
        GuestCall, Kernel,
        io::{
            irp::{self, location_at},
            test_driver::{self, set_completion_routine},
        },
        testing::{block, call_by_name, drive},
    };

    const COMPLETED: u64 = 0xffff_f802_0000_1000;
    const READ: u64 = 3;
    const WRITE: u64 = 4;

    fn device_with(flags: u32) -> (Kernel, GuestAddr) {
        let (mut k, device) = test_driver::device();
        let before = k.get(device, DEVICE_OBJECT::Flags).unwrap();
        k.set(device, DEVICE_OBJECT::Flags, before | flags).unwrap();
        (k, device)
    }

    #[test]
    fn reads_and_writes_travel_as_the_flags_of_the_device_say() {
        for (flags, is_buffered, is_direct) in
            [(0, false, false), (DO_BUFFERED_IO, true, false), (DO_DIRECT_IO, false, true)]
        {
            let (mut k, device) = device_with(flags);
            let data = block(&mut k, b"data");
            let offset = block(&mut k, &0x1234_u64.to_le_bytes());
            let iosb = block(&mut k, &[0; 0x10]);
            let arguments = [WRITE, device.0, data, 4, offset, iosb];
            let irp = call_by_name(&mut k, "IoBuildAsynchronousFsdRequest", &arguments).unwrap();
            let irp = GuestAddr(irp);
            let location = location_at(irp, 1);
            assert_eq!(k.get(location, IO_STACK_LOCATION::Transfer_ByteOffset), Ok(0x1234));
            assert_eq!(k.get(location, IO_STACK_LOCATION::Transfer_Length), Ok(4));
            let system_buffer = GuestAddr(k.get(irp, IRP::SystemBuffer).unwrap());
            assert_eq!(!system_buffer.is_null(), is_buffered);
            if is_buffered {
                assert_eq!(k.read_vec(system_buffer, 4), Ok(b"data".to_vec()));
            }
            assert_eq!(k.get(irp, IRP::MdlAddress).unwrap() != 0, is_direct);
            let is_neither = !is_buffered && !is_direct;
            assert_eq!(k.get(irp, IRP::UserBuffer), Ok(if is_neither { data } else { 0 }));
        }
    }

    #[test]
    fn an_asynchronous_request_is_taken_back_with_its_buffer() {
        let (mut k, device) = device_with(DO_BUFFERED_IO);
        let data = block(&mut k, b"data");
        let arguments = [WRITE, device.0, data, 4, 0, 0];
        let irp = call_by_name(&mut k, "IoBuildAsynchronousFsdRequest", &arguments).unwrap();
        set_completion_routine(&mut k, irp, (COMPLETED, 0), 0xe0);
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            if call.target.0 != COMPLETED {
                return 0x103;
            }
            let buffer = k.get(GuestAddr(irp), IRP::SystemBuffer).unwrap();
            call_by_name(k, "ExFreePoolWithTag", &[buffer, 0]).unwrap();
            call_by_name(k, "IoFreeIrp", &[irp]).unwrap();
            0xc000_0016
        };
        drive(&mut k, "IofCallDriver", &[device.0, irp], &mut guest).unwrap();
        drive(&mut k, "IofCompleteRequest", &[irp, 0], &mut guest).unwrap();
        assert!(k.get(GuestAddr(irp), IRP::Type).is_err());
    }

    #[test]
    fn a_finished_request_copies_back_tells_its_driver_and_is_gone() {
        let (mut k, device) = device_with(DO_BUFFERED_IO);
        let (data, iosb) = (block(&mut k, b"data"), block(&mut k, &[0xee; 0x10]));
        let event = block(&mut k, &[0; 0x18]);
        call_by_name(&mut k, "KeInitializeEvent", &[event, 0, 0]).unwrap();
        let arguments = [READ, device.0, data, 4, 0, event, iosb];
        let irp = call_by_name(&mut k, "IoBuildSynchronousFsdRequest", &arguments).unwrap();
        let mut guest = |k: &mut Kernel, _: &GuestCall| {
            let buffer = GuestAddr(k.get(GuestAddr(irp), IRP::SystemBuffer).unwrap());
            k.write(buffer, b"ok").unwrap();
            k.set(GuestAddr(irp), IRP::Information, 2).unwrap();
            call_by_name(k, "IofCompleteRequest", &[irp, 0]).unwrap();
            0
        };
        drive(&mut k, "IofCallDriver", &[device.0, irp], &mut guest).unwrap();
        assert_eq!(k.read_vec(GuestAddr(data), 4), Ok(b"okta".to_vec()));
        assert_eq!(k.read_scalar::<u32>(GuestAddr(iosb)), Ok(0));
        assert_eq!(k.read_scalar(GuestAddr(iosb + 8)), Ok(2_u64));
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[event]), Ok(1));
        assert!(!irp::at(&k, GuestAddr(irp)).unwrap().is_live);
    }
}
