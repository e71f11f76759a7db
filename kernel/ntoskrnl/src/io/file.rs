//! File objects: cleanup, close, names.

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
        io::{
            FO_ALERTABLE_IO, FO_CLEANUP_COMPLETE, FO_SYNCHRONOUS_IO, IO_TYPE_FILE,
            IRP_CLOSE_OPERATION, IRP_SYNCHRONOUS_API,
        },
    },
    structures::{LIST_ENTRY, UNICODE_STRING, io::FILE_OBJECT, ke::KEVENT},
};

use super::{device, file_lock, irp, request::Draft};
use crate::{
    CallResult, Flow, Kernel, frame,
    ke::DispatcherType,
    mm,
    ob::{self, CloseRequest, Name, ObjectType, PreviousMode},
};

/// What the kernel knows of a file beside its object.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its device: the one that was named, not the top of the stack.
    pub(crate) device: GuestAddr,
    /// The create request succeeded, so cleanup and close will follow.
    pub(crate) is_open: bool,
    /// Threads that shall not wait for its lock any longer.
    pub(crate) given_up: file_lock::GivenUp,
    /// Buffer of its name.
    name_buffer: Option<GuestAddr>,
    /// The file that the name was relative to.
    related: Option<GuestAddr>,
}

/// How a caller uses a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synchrony {
    /// Requests are waited for, alertably or not.
    Synchronous { is_alertable: bool },
    /// Requests may stay pending.
    Overlapped,
}

/// Creates the file object of an open under way, and counts it as a user of the device.
pub(crate) fn create(
    k: &mut Kernel,
    device: GuestAddr,
    name: Name,
    related: Option<GuestAddr>,
    synchrony: Synchrony,
) -> CallResult<GuestAddr> {
    let size = FILE_OBJECT::SIZE_BYTES;
    let file = ob::create(k, ObjectType::File, size)?;
    k.set(file, FILE_OBJECT::Type, IO_TYPE_FILE)?;
    k.set(file, FILE_OBJECT::Size, i16::try_from(size).unwrap_or(i16::MAX))?;
    k.set(file, FILE_OBJECT::DeviceObject, device.0)?;
    k.set(file, FILE_OBJECT::RelatedFileObject, related.unwrap_or_default().0)?;
    let flags = match synchrony {
        Synchrony::Synchronous { is_alertable: true } => FO_SYNCHRONOUS_IO | FO_ALERTABLE_IO,
        Synchrony::Synchronous { is_alertable: false } => FO_SYNCHRONOUS_IO,
        Synchrony::Overlapped => 0,
    };
    k.set(file, FILE_OBJECT::Flags, flags)?;
    let lock = file.add(FILE_OBJECT::Lock.offset_bytes);
    k.init_dispatcher(lock, DispatcherType::SynchronizationEvent, KEVENT::SIZE_BYTES, 0)?;
    let event = file.add(FILE_OBJECT::Event.offset_bytes);
    k.init_dispatcher(event, DispatcherType::NotificationEvent, KEVENT::SIZE_BYTES, 0)?;
    let list = file.add(FILE_OBJECT::IrpListFlink.offset_bytes);
    k.set(list, LIST_ENTRY::Flink, list.0)?;
    k.set(list, LIST_ENTRY::Blink, list.0)?;
    let name_buffer = match name.is_empty() {
        true => None,
        false => {
            let bytes = name.size_bytes();
            let buffer = mm::allocate_kernel(k, BlockKind::KernelPool, bytes, 16)?;
            let at = file.add(FILE_OBJECT::FileName.offset_bytes);
            ob::write_name(k, at, buffer, &name)?;
            Some(buffer)
        }
    };
    if let Some(related) = related {
        ob::reference(k, related);
    }
    device::use_device(k, device)?;
    let given_up = file_lock::GivenUp::default();
    k.io.files.insert(file, File { device, is_open: false, given_up, name_buffer, related });
    Ok(file)
}

/// Where requests of a file publish what was done, for its cleanup and close.
fn used(file: GuestAddr) -> GuestAddr {
    file.add(FILE_OBJECT::FinalStatus.offset_bytes)
}

/// A request of the file is over: it comes before cleanup and close.
pub(crate) fn note_use(k: &mut Kernel, file: GuestAddr) {
    k.order_release(used(file));
}

/// The close procedure of the type: the last handle sends the cleanup request.
pub(crate) fn close(k: &mut Kernel, request: CloseRequest) -> CallResult<Flow> {
    let is_open = k.io.files.get(&request.object).is_some_and(|file| file.is_open);
    if request.handle_count != 1 || !is_open {
        return Ok(Flow::Return(0));
    }
    let file = request.object;
    k.order_acquire(used(file));
    file_lock::give_up(k, file, NtStatus::STATUS_FILE_CLOSED)?;
    let flags = k.get(file, FILE_OBJECT::Flags)?;
    k.set(file, FILE_OBJECT::Flags, flags | FO_CLEANUP_COMPLETE)?;
    let draft = Draft::for_file(k, file, IRP_MJ_CLEANUP, PreviousMode::Kernel)?;
    draft.wait_on_own_event(k)?;
    draft.add_flags(k, IRP_CLOSE_OPERATION | IRP_SYNCHRONOUS_API)?;
    let event = draft.request(k).event;
    draft.send(k)?.then(k, FreeEvent { event })
}

/// A request that waited on an event of its own is over.
#[derive(Clone, Debug)]
pub(crate) struct FreeEvent {
    pub(crate) event: Option<GuestAddr>,
}

frame!(FreeEvent, |this, k, value| {
    if let Some(event) = this.event {
        mm::free_kernel(k, event);
    }
    Ok(Flow::Return(value))
});

/// The delete procedure of the type: the last reference sends the close request of a file that was
/// open.
pub(crate) fn delete(k: &mut Kernel, file: GuestAddr) -> CallResult<Flow> {
    let is_open = k.io.files.get(&file).is_some_and(|file| file.is_open);
    if !is_open {
        return Forget { file }.run(k);
    }
    k.order_acquire(used(file));
    // The request must not hold a reference: it is sent because there is none left.
    let draft = Draft::for_file(k, file, IRP_MJ_CLOSE, PreviousMode::Kernel)?;
    irp::entry(k, draft.id).file = GuestAddr::NULL;
    ob::drop_reference(k, file);
    draft.wait_on_own_event(k)?;
    draft.add_flags(k, IRP_CLOSE_OPERATION | IRP_SYNCHRONOUS_API)?;
    let event = draft.request(k).event;
    draft.send(k)?.then(k, FreeEvent { event })?.then(k, Forget { file })
}

/// The close request is over.
#[derive(Clone, Debug)]
struct Forget {
    file: GuestAddr,
}

frame!(Forget, |this, k, _| this.run(k));

impl Forget {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        let Some(file) = k.io.files.remove(&self.file) else { return Ok(Flow::Return(0)) };
        if let Some(buffer) = file.name_buffer {
            mm::free_kernel(k, buffer);
        }
        let related = Related { file: file.related };
        device::stop_using(k, file.device)?.then(k, related)
    }
}

/// The device is released; now the file that the name was relative to.
#[derive(Clone, Debug)]
struct Related {
    file: Option<GuestAddr>,
}

frame!(Related, |this, k, _| match this.file {
    Some(file) => ob::dereference(k, file),
    None => Ok(Flow::Return(0)),
});

/// An open failed: the file object goes without cleanup and close.
pub(crate) fn discard(k: &mut Kernel, file: GuestAddr, status: NtStatus) -> CallResult<Flow> {
    ob::dereference(k, file)?.then(k, ob::Answer(status))
}

/// Name of a file: that of its device, and what it was opened with.
pub(crate) fn query_name(k: &mut Kernel, file: GuestAddr) -> CallResult<Name> {
    let Some(entry) = k.io.files.get(&file) else { return Ok(Name::default()) };
    let device = ob::path_of(k, entry.device).unwrap_or_default();
    // The driver may have changed the name: it owns it while it serves the create request.
    let at = file.add(FILE_OBJECT::FileName.offset_bytes);
    debug_assert_eq!(UNICODE_STRING::SIZE_BYTES, 0x10, "two lengths and a pointer");
    let name = ob::read_name(k, at)?;
    Ok(device.with(&name))
}

/// Requests of a file that nothing completed yet.
pub(crate) fn requests(k: &Kernel, file: GuestAddr) -> Vec<GuestAddr> {
    let open = |irp: &&irp::Irp| irp.is_live && irp.file == file && irp.completed.is_none();
    k.io.irps.values().filter(open).map(|irp| irp.address).collect()
}
