//! Delivery: the results of a finished request go to its caller, and what it used is given back.

use events::{Event, IrpId, Seq, TransferMethod, TransferOut};
use guest_memory::{Accessor, GuestAddr};
use nt_abi::{
    NtStatus,
    constants::io::{IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION},
    structures::io::{FILE_OBJECT, IO_STATUS_BLOCK, IRP},
};

use super::{
    file,
    irp::{self, IrpKind, Request},
    request, worker,
};
use crate::{CallResult, Flow, Kernel, Stop, mm, ob, ob::PreviousMode};

/// Delivers an IRP that came up to the top, and frees it.
///
/// Windows does this in an APC of the calling thread. It is kernel code that no driver can watch,
/// so it is done at once, in the caller's address space.
pub(crate) fn deliver(k: &mut Kernel, id: IrpId, completed: Seq) -> CallResult<Flow> {
    let entry = irp::entry(k, id);
    let (address, file) = (entry.address, entry.file);
    let request = match entry.kind {
        IrpKind::Request | IrpKind::Threaded | IrpKind::Asynchronous => entry.request.clone(),
        IrpKind::Driver | IrpKind::Initialized | IrpKind::Associated => None,
    };
    let Some(request) = request else {
        // There is no thread to tell: Windows follows a null `Tail.Overlay.Thread` at
        // DISPATCH_LEVEL.
        return Err(Stop::bug_check(IRQL_NOT_LESS_OR_EQUAL, [0, 2, 1, address.0]));
    };
    let status = NtStatus(k.get(address, IRP::Status)?);
    let information = k.get(address, IRP::Information)?;
    irp::entry(k, id).result = Some((status, information));
    let was_pending = k.get(address, IRP::PendingReturned)? != 0;
    let space = k.memory.space();
    if request.mode == PreviousMode::User {
        k.memory.set_space(request.space);
    }
    let done = hand_over(k, id, &request, (status, information), completed, was_pending);
    k.memory.set_space(space);
    done?;
    release_buffers(k, address, &request)?;
    signal(k, address, &request, status, was_pending)?;
    irp::free(k, id);
    if file.is_null() {
        return Ok(Flow::Return(0));
    }
    file::note_use(k, file);
    release_file(k, file)
}

/// Gives the file object back. Where that was the last reference, a system worker sends the close
/// request, beside whoever completed the request: never within `IoCompleteRequest`, for Windows
/// does this at `APC_LEVEL`, and a close request is always sent at `PASSIVE_LEVEL`. Source:
/// `ifs/how-completion-processing-is-performed`, `kernel/irp-mj-close`.
fn release_file(k: &mut Kernel, file: GuestAddr) -> CallResult<Flow> {
    let flow = ob::dereference_later(k, file)?;
    if ob::has_deferred_deletions(k) {
        worker::wake(k)?;
    }
    Ok(flow)
}

const IRQL_NOT_LESS_OR_EQUAL: u32 = 0x0a;

/// Copies data and status to the caller.
fn hand_over(
    k: &mut Kernel,
    id: IrpId,
    request: &Request,
    (status, information): (NtStatus, u64),
    completed: Seq,
    was_pending: bool,
) -> CallResult<()> {
    let entry = irp::entry(k, id);
    let (address, major, control_code) = (entry.address, entry.major, entry.control_code);
    let flags = k.get(address, IRP::Flags)?;
    let system_buffer = GuestAddr(k.get(address, IRP::SystemBuffer)?);
    let is_copied = flags & (IRP_BUFFERED_IO | IRP_INPUT_OPERATION)
        == IRP_BUFFERED_IO | IRP_INPUT_OPERATION
        && !status.is_error();
    let copied_bytes = if is_copied { information.min(request.output_bytes) } else { 0 };
    let shown = match (copied_bytes, request.method) {
        (1.., _) => Some((system_buffer, copied_bytes)),
        // The driver wrote into the caller's memory itself.
        (_, TransferMethod::InDirect | TransferMethod::OutDirect | TransferMethod::Neither)
            if is_visible(k, request) =>
        {
            Some((request.output, request.output_bytes))
        }
        _ => None,
    };
    let undefined = shown.and_then(|(at, size_bytes)| {
        let (first, count) = k.memory.undefined(at, size_bytes)?;
        Some((count, first.0 - at.0))
    });
    if request.output_bytes > 0 {
        k.emit(Event::TransferOut(TransferOut {
            irp: id,
            major,
            control_code,
            method: request.method,
            status,
            information,
            output_bytes: request.output_bytes,
            undefined,
            completed,
        }))?;
    }
    if copied_bytes > 0 {
        let user_buffer = GuestAddr(k.get(address, IRP::UserBuffer)?);
        copy_out(k, request, user_buffer, system_buffer, copied_bytes)?;
    }
    // A request that fails at once tells its caller by the returned status alone.
    if !status.is_error() || (was_pending && !request.is_synchronous) {
        let iosb = GuestAddr(k.get(address, IRP::UserIosb)?);
        write_status_block(k, request.mode, iosb, status, information)?;
    }
    Ok(())
}

/// Whether the caller's output buffer is user memory that is still there.
fn is_visible(k: &Kernel, request: &Request) -> bool {
    let Request { mode, output, output_bytes, .. } = *request;
    let read = guest_memory::AccessKind::Read;
    mode == PreviousMode::User
        && output_bytes > 0
        && request::is_user_range(k, read, output, output_bytes)
}

fn copy_out(
    k: &mut Kernel,
    request: &Request,
    to: GuestAddr,
    from: GuestAddr,
    size_bytes: u64,
) -> CallResult<()> {
    if request.mode == PreviousMode::Kernel {
        return k.copy(to, from, size_bytes);
    }
    // The caller may have freed its buffer meanwhile; that is its own loss.
    if request::is_user_range(k, guest_memory::AccessKind::Write, to, size_bytes) {
        let machine = Accessor::Machine;
        let copied = k.memory.copy((machine, to), (machine, from), size_bytes);
        debug_assert!(copied.is_ok(), "the range was just checked");
    }
    Ok(())
}

/// Writes an `IO_STATUS_BLOCK` of the caller.
pub(crate) fn write_status_block(
    k: &mut Kernel,
    mode: PreviousMode,
    iosb: GuestAddr,
    status: NtStatus,
    information: u64,
) -> CallResult<()> {
    if iosb.is_null() {
        return Ok(());
    }
    if mode == PreviousMode::Kernel {
        k.set(iosb, IO_STATUS_BLOCK::Status, status.0)?;
        return k.set(iosb, IO_STATUS_BLOCK::Information, information);
    }
    let write = guest_memory::AccessKind::Write;
    if request::is_user_range(k, write, iosb, IO_STATUS_BLOCK::SIZE_BYTES) {
        let mut bytes = [0; 16];
        let (low, high) = bytes.split_at_mut(8);
        low.copy_from_slice(&u64::from(status.0).to_le_bytes());
        high.copy_from_slice(&information.to_le_bytes());
        let written = k.memory.write(Accessor::Machine, iosb, &bytes);
        debug_assert!(written.is_ok(), "the range was just checked");
    }
    Ok(())
}

/// Gives system buffer and MDLs back.
fn release_buffers(k: &mut Kernel, address: GuestAddr, request: &Request) -> CallResult<()> {
    let flags = k.get(address, IRP::Flags)?;
    let system_buffer = GuestAddr(k.get(address, IRP::SystemBuffer)?);
    if flags & IRP_DEALLOCATE_BUFFER != 0 && Some(system_buffer) != request.system_buffer {
        return Err(Stop::unsupported("a system buffer that a driver put in place of another"));
    }
    if let Some(buffer) = request.system_buffer {
        match request.is_buffer_from_pool {
            true => k.free_pool(buffer, 0)?,
            false => mm::free_kernel(k, buffer),
        }
    }
    let mdl = GuestAddr(k.get(address, IRP::MdlAddress)?);
    mm::release_chain(k, mdl)
}

/// Signals whoever waits.
fn signal(
    k: &mut Kernel,
    address: GuestAddr,
    request: &Request,
    status: NtStatus,
    was_pending: bool,
) -> CallResult<()> {
    let user_event = GuestAddr(k.get(address, IRP::UserEvent)?);
    let object = GuestAddr(k.get(address, IRP::OriginalFileObject)?);
    if !object.is_null() {
        k.set(object, FILE_OBJECT::FinalStatus, status.0)?;
    }
    if let Some(event) = request.event {
        k.signal(event, 1)?;
    }
    // A failure at once leaves the caller's event alone, as it leaves the status block.
    let is_told = !status.is_error() || was_pending;
    if is_told && !user_event.is_null() && Some(user_event) != request.event {
        k.signal(user_event, 1)?;
    }
    Ok(())
}
