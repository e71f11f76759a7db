//! Services for the outside world: what user mode and the service control manager ask of the I/O
//! manager.
//!
//! Every one is a flow on the thread of its caller; its value is an `NTSTATUS`. Pointers are those
//! of user mode, raw: they are checked here as the system calls of Windows check them.

use events::{Event, IrpStuck, ThreadId, TransferMethod};
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{
    Irql, NtStatus,
    constants::{
        IRP_MJ_DEVICE_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE,
        io::{
            DO_BUFFERED_IO, DO_DIRECT_IO, FILE_APPEND_DATA, FILE_READ_ACCESS, FILE_READ_DATA,
            FILE_WRITE_ACCESS, FILE_WRITE_DATA, IRP_READ_OPERATION, IRP_WRITE_OPERATION,
        },
    },
    structures::io::{DEVICE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP},
};

use super::{
    attach,
    build::Control,
    cancel, create, device, driver, file_lock,
    irp::IrpKind,
    neighbours,
    request::{self, Draft},
    shutdown, thread_exit, unload,
};
use crate::{
    CallResult, Core, Flow, Kernel, Wait, ex, frame,
    ob::{self, Handle, Name, ObjectType, PreviousMode},
};

pub use super::{
    create::CreateFile,
    other_requests::{Information, flush_file, information},
};

/// `NtReadFile` and `NtWriteFile`.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// The file.
    pub handle: Handle,
    /// The `IO_STATUS_BLOCK`.
    pub iosb: GuestAddr,
    /// The caller's buffer.
    pub buffer: GuestAddr,
    /// Its length.
    pub length_bytes: u32,
    /// Position in the file.
    pub offset_bytes: i64,
}

/// `NtDeviceIoControlFile` and `NtFsControlFile`.
#[derive(Clone, Copy, Debug)]
pub struct DeviceControl {
    /// The file.
    pub handle: Handle,
    /// The `IO_STATUS_BLOCK`.
    pub iosb: GuestAddr,
    /// The control code.
    pub code: u32,
    /// `NtFsControlFile` instead.
    pub is_file_system: bool,
    /// Input buffer and its length.
    pub input: (GuestAddr, u32),
    /// Output buffer and its length.
    pub output: (GuestAddr, u32),
}

fn answer(status: NtStatus) -> CallResult<Flow> {
    Ok(Flow::Return(u64::from(status.0)))
}

/// Opens a file; the handle is written on success.
pub fn create_file(k: &mut Kernel, wish: CreateFile) -> CallResult<Flow> {
    create::create_file(k, wish)
}

/// Closes a handle.
pub fn close(k: &mut Kernel, handle: Handle) -> CallResult<Flow> {
    ob::close_handle(k, handle, PreviousMode::User)
}

/// Reads from a file.
pub fn read_file(k: &mut Kernel, transfer: Transfer) -> CallResult<Flow> {
    transfer_file(k, transfer, IRP_MJ_READ)
}

/// Writes to a file.
pub fn write_file(k: &mut Kernel, transfer: Transfer) -> CallResult<Flow> {
    transfer_file(k, transfer, IRP_MJ_WRITE)
}

fn transfer_file(k: &mut Kernel, transfer: Transfer, major: u8) -> CallResult<Flow> {
    let is_read = major == IRP_MJ_READ;
    let wanted = if is_read { FILE_READ_DATA } else { FILE_WRITE_DATA | FILE_APPEND_DATA };
    let file = match file_of(k, transfer.handle, Some(wanted)) {
        Ok(file) => file,
        Err(status) => return answer(status),
    };
    let (buffer, size_bytes) = (transfer.buffer, u64::from(transfer.length_bytes));
    // Reads write into the caller's memory.
    let access = if is_read { AccessKind::Write } else { AccessKind::Read };
    if !is_status_block_good(k, transfer.iosb)
        || !request::is_user_range(k, access, buffer, size_bytes)
    {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    file_lock::with_lock(k, file, SendTransfer { file, transfer, major })
}

/// A read or write that may be sent now.
#[derive(Clone, Debug)]
struct SendTransfer {
    file: GuestAddr,
    transfer: Transfer,
    major: u8,
}

frame!(SendTransfer, |this, k, _| {
    let SendTransfer { file, transfer, major } = this;
    let is_read = major == IRP_MJ_READ;
    let (buffer, size_bytes) = (transfer.buffer, u64::from(transfer.length_bytes));
    let access = if is_read { AccessKind::Write } else { AccessKind::Read };
    let device = attach::related_device(k, file)?;
    let is_read_by_driver = !is_read && k.get(device, DEVICE_OBJECT::Flags)? & DO_BUFFERED_IO == 0;
    if is_read_by_driver {
        request::make_read_only_if_chosen(k, (buffer, size_bytes), u64::from(major))?;
    }
    // The caller's memory may have changed while it waited for the file.
    if !request::is_user_range(k, access, buffer, size_bytes) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    let draft = Draft::for_file(k, file, major, PreviousMode::User)?;
    k.set(draft.irp, IRP::UserIosb, transfer.iosb.0)?;
    k.set(draft.location, IO_STACK_LOCATION::Transfer_Length, transfer.length_bytes)?;
    k.set(draft.location, IO_STACK_LOCATION::Transfer_ByteOffset, transfer.offset_bytes)?;
    draft.add_flags(k, if is_read { IRP_READ_OPERATION } else { IRP_WRITE_OPERATION })?;
    let flags = k.get(draft.device, DEVICE_OBJECT::Flags)?;
    let request = draft.request(k);
    request.ranges.push((buffer, size_bytes));
    request.output_bytes = if is_read { size_bytes } else { 0 };
    request.output = buffer;
    if flags & DO_BUFFERED_IO != 0 {
        request.method = TransferMethod::Buffered;
        let input_bytes = if is_read { 0 } else { size_bytes };
        draft.attach_system_buffer(k, size_bytes, (buffer, input_bytes))?;
        if is_read && size_bytes > 0 {
            draft.copy_back(k, buffer)?;
        }
    } else if flags & DO_DIRECT_IO != 0 {
        request.method = if is_read { TransferMethod::OutDirect } else { TransferMethod::InDirect };
        if size_bytes > 0
            && let Err(status) = draft.attach_mdl(k, (buffer, size_bytes), access)?
        {
            return draft.abandon(k, status);
        }
    } else {
        k.set(draft.irp, IRP::UserBuffer, buffer.0)?;
    }
    draft.send(k)
});

/// Sends a device control request.
pub fn device_control(k: &mut Kernel, wish: DeviceControl) -> CallResult<Flow> {
    let file = match file_of(k, wish.handle, None) {
        Ok(file) => file,
        Err(status) => return answer(status),
    };
    if let Err(status) = check_code_access(k, wish.handle, wish.code) {
        return answer(status);
    }
    if !is_status_block_good(k, wish.iosb) || !are_buffers_good(k, &wish) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    file_lock::with_lock(k, file, SendControl { file, wish })
}

/// Whether the caller may touch the buffers that the system copies.
fn are_buffers_good(k: &Kernel, wish: &DeviceControl) -> bool {
    let ((input, input_bytes), (output, output_bytes)) = (wish.input, wish.output);
    let (input_len, output_len) = (u64::from(input_bytes), u64::from(output_bytes));
    let method = transfer_method(wish.code);
    let is_input_read = method != TransferMethod::Neither;
    let is_output_written = method == TransferMethod::Buffered;
    (!is_input_read || request::is_user_range(k, AccessKind::Read, input, input_len))
        && (!is_output_written || request::is_user_range(k, AccessKind::Write, output, output_len))
}

/// A device control that may be sent now.
#[derive(Clone, Debug)]
struct SendControl {
    file: GuestAddr,
    wish: DeviceControl,
}

frame!(SendControl, |this, k, _| {
    let SendControl { file, wish } = this;
    let DeviceControl { code, input: (input, input_bytes), output: (output, output_bytes), .. } =
        wish;
    let read_by_driver = match transfer_method(code) {
        TransferMethod::InDirect => Some((output, u64::from(output_bytes))),
        TransferMethod::Neither => Some((input, u64::from(input_bytes))),
        _ => None,
    };
    if let Some(range) = read_by_driver {
        request::make_read_only_if_chosen(k, range, u64::from(code))?;
    }
    // The caller's memory may have changed while it waited for the file.
    if !are_buffers_good(k, &wish) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    let method = transfer_method(code);
    let (input_len, output_len) = (u64::from(input_bytes), u64::from(output_bytes));
    let major =
        if wish.is_file_system { IRP_MJ_FILE_SYSTEM_CONTROL } else { IRP_MJ_DEVICE_CONTROL };
    let draft = Draft::for_file(k, file, major, PreviousMode::User)?;
    k.set(draft.irp, IRP::UserIosb, wish.iosb.0)?;
    let control = Control { code, input, input_bytes, output, output_bytes };
    control.write_parameters(k, draft)?;
    let request = draft.request(k);
    request.method = method;
    request.output_bytes = output_len;
    request.output = output;
    request.ranges.extend([(input, input_len), (output, output_len)]);
    match method {
        TransferMethod::Buffered => {
            let size_bytes = input_len.max(output_len);
            draft.attach_system_buffer(k, size_bytes, (input, input_len))?;
            if output_len > 0 {
                draft.choose_tail(k, size_bytes, input_len);
                draft.copy_back(k, output)?;
            }
        }
        TransferMethod::InDirect | TransferMethod::OutDirect => {
            draft.attach_system_buffer(k, input_len, (input, input_len))?;
            let access = match method {
                TransferMethod::InDirect => AccessKind::Read,
                _ => AccessKind::Write,
            };
            if output_len > 0
                && let Err(status) = draft.attach_mdl(k, (output, output_len), access)?
            {
                return draft.abandon(k, status);
            }
        }
        TransferMethod::Neither => {
            k.set(draft.irp, IRP::UserBuffer, output.0)?;
            let field = IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer;
            k.set(draft.location, field, input.0)?;
        }
    }
    draft.send(k)
});

/// How the data of a control code travels. Source: "Buffer Descriptions for I/O Control Codes".
pub(crate) fn transfer_method(code: u32) -> TransferMethod {
    match code & 3 {
        0 => TransferMethod::Buffered,
        1 => TransferMethod::InDirect,
        2 => TransferMethod::OutDirect,
        _ => TransferMethod::Neither,
    }
}

/// Whether the handle grants what bits 14 and 15 of a control code demand.
fn check_code_access(k: &mut Kernel, handle: Handle, code: u32) -> Result<(), NtStatus> {
    let granted = ob::entry(k, handle, PreviousMode::User)?.granted;
    let demanded = code >> 14;
    let is_read_missing = demanded & FILE_READ_ACCESS != 0 && granted & FILE_READ_DATA == 0;
    let is_write_missing = demanded & FILE_WRITE_ACCESS != 0 && granted & FILE_WRITE_DATA == 0;
    match is_read_missing || is_write_missing {
        true => Err(NtStatus::STATUS_ACCESS_DENIED),
        false => Ok(()),
    }
}

/// The file object behind a handle of user mode that grants one of the rights.
pub(super) fn file_of(
    k: &mut Kernel,
    handle: Handle,
    rights: Option<u32>,
) -> Result<GuestAddr, NtStatus> {
    let entry = ob::entry(k, handle, PreviousMode::User)?;
    if ob::object(k, entry.object).kind != ObjectType::File {
        return Err(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    }
    match rights {
        Some(rights) if entry.granted & rights == 0 => Err(NtStatus::STATUS_ACCESS_DENIED),
        _ => Ok(entry.object),
    }
}

pub(super) fn is_status_block_good(k: &Kernel, iosb: GuestAddr) -> bool {
    request::is_user_range(k, AccessKind::Write, iosb, IO_STATUS_BLOCK::SIZE_BYTES)
}

/// Cancels the outstanding requests of a file (`CancelIoEx`), and what waits to become one: the
/// caller gives up (`CancelSynchronousIo`).
pub fn cancel_file(k: &mut Kernel, handle: Handle) -> CallResult<Flow> {
    match file_of(k, handle, None) {
        Ok(file) => {
            file_lock::give_up(k, file, NtStatus::STATUS_CANCELLED)?;
            cancel::cancel_file(k, file)
        }
        Err(status) => answer(status),
    }
}

/// The same for one of several calls that start at once. A cancel routine is called at
/// `DISPATCH_LEVEL`: on the last processor that is free it waits until the others have started.
pub fn cancel_file_beside(k: &mut Kernel, handle: Handle) -> CallResult<Flow> {
    let is_free =
        |(index, core): (usize, &Core)| index != k.current && core.irql < Irql::DISPATCH_LEVEL;
    if k.cores.iter().enumerate().any(is_free) {
        return cancel_file(k, handle);
    }
    // A wait that is over by now would go on at once.
    let soon = Some(k.interrupt_time_100ns() + 1);
    let wait = Wait { objects: Vec::new(), is_all: false, due_100ns: soon, is_alertable: false };
    Ok(Flow::wait(wait, LaterCancel { handle }))
}

/// A cancel that is to come a moment later.
#[derive(Clone, Debug)]
struct LaterCancel {
    handle: Handle,
}

frame!(LaterCancel, |this, k, _| cancel_file(k, this.handle));

/// Cancels the outstanding requests of a thread that ends, and waits until they are over.
pub fn end_thread(k: &mut Kernel, thread: ThreadId) -> CallResult<Flow> {
    thread_exit::cancel_requests(k, thread)
}

/// Ends a thread of a process that ends: what it waits for on behalf of user mode is over too.
pub fn terminate_thread(k: &mut Kernel, thread: ThreadId) -> CallResult<Flow> {
    k.terminate(thread)?;
    thread_exit::cancel_requests(k, thread)
}

/// Tells registered drivers that the system shuts down. On a system thread.
pub fn shutdown(k: &mut Kernel) -> CallResult<Flow> {
    shutdown::announce(k)
}

/// Loads a driver whose image is mapped: calls its DriverEntry. On a system thread.
pub fn load_driver(
    k: &mut Kernel,
    service: &str,
    image: (GuestAddr, u64),
    entry: GuestAddr,
) -> CallResult<Flow> {
    driver::load(k, &Name::new(service), image, entry)
}

/// Asks for a driver to be unloaded. On a system thread. Success also if open files make it wait.
pub fn unload_driver(k: &mut Kernel, service: &str) -> CallResult<Flow> {
    match driver_object(k, service) {
        Some(object) => {
            neighbours::leave_driver(k, object)?;
            unload::request(k, object)
        }
        None => answer(NtStatus::STATUS_OBJECT_NAME_NOT_FOUND),
    }
}

/// The driver object of a service, as long as there is one.
pub fn driver_object(k: &Kernel, service: &str) -> Option<GuestAddr> {
    let path = Name::new(r"\Driver").join(&Name::new(service));
    let found = ob::lookup(k, None, &path, ob::LinkAtEnd::Follow).ok()?;
    (ob::object(k, found.object).kind == ObjectType::Driver).then_some(found.object)
}

/// Whether the image of a service's driver is needed: its driver object exists, if only because a
/// work item or somebody's reference to a device keeps it.
pub fn is_image_needed(k: &Kernel, service: &str) -> bool {
    k.io.drivers.values().any(|driver| driver.name.is(service))
}

/// Whether system threads have something to do: waiting unloads, work items, deletions.
pub fn has_system_work(k: &Kernel) -> bool {
    ex::has_work(k) || ob::has_deferred_deletions(k)
}

/// The next piece of work of a system thread. The value says nothing.
pub fn system_work(k: &mut Kernel) -> CallResult<Flow> {
    match ex::take_work(k) {
        Some(work) => work.routine.resume(k, 0),
        None => ob::run_deferred_deletions(k),
    }
}

/// Devices of loaded drivers, in order of creation.
pub fn devices(k: &mut Kernel) -> CallResult<Vec<device::DeviceFacts>> {
    device::facts(k)
}

/// Reports every request of user mode that nothing completed, although it was cancelled and its
/// file was closed, if only by the end of its thread.
pub fn report_stuck_requests(k: &mut Kernel) -> CallResult<()> {
    let stuck: Vec<_> =
        k.io.irps
            .values()
            .filter(|irp| irp.kind == IrpKind::Request && irp.is_live && irp.completed.is_none())
            .map(|irp| IrpStuck {
                irp: irp.id,
                major: irp.major,
                control_code: irp.control_code,
                returned: irp.returned,
                is_cancel_missed: false,
            })
            .collect();
    for event in stuck {
        k.emit(Event::IrpStuck(event))?;
    }
    Ok(())
}

/// Whether a neighbour of the driver was there, which may still keep requests for a moment.
pub fn had_neighbours(k: &Kernel) -> bool {
    k.io.neighbours.were_there()
}

/// Requests of user mode that are under way.
pub fn outstanding_requests(k: &Kernel) -> usize {
    let open =
        |irp: &&super::Irp| irp.kind == IrpKind::Request && irp.is_live && irp.completed.is_none();
    k.io.irps.values().filter(open).count()
}
