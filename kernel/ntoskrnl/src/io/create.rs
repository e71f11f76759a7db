//! Opening: from a path to a file object and a handle.

use events::{BlockKind, TransferMethod};
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_CREATE,
        io::{
            DELETE, DO_DEVICE_INITIALIZING, DO_EXCLUSIVE, FILE_ALL_ACCESS, FILE_GENERIC_EXECUTE,
            FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_SYNCHRONOUS_IO_ALERT,
            FILE_SYNCHRONOUS_IO_NONALERT, FO_HANDLE_CREATED, GENERIC_ALL, GENERIC_EXECUTE,
            GENERIC_READ, GENERIC_WRITE, IRP_CREATE_OPERATION, IRP_SYNCHRONOUS_API,
            MAXIMUM_ALLOWED, SYNCHRONIZE,
        },
    },
    structures::io::{
        ACCESS_STATE, DEVICE_OBJECT, FILE_OBJECT, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IRP,
    },
};

use super::{
    attach, deliver,
    device::Descriptor,
    file::{self, FreeEvent, Synchrony},
    neighbours,
    request::Draft,
};
use crate::{
    CallResult, Flow, Kernel, frame, mm,
    ob::{self, ObjectAttributes, ObjectType, PreviousMode},
};

/// What an open wants.
#[derive(Clone, Debug)]
pub struct CreateFile {
    /// Name, root directory, `OBJ_XXX`.
    pub attributes: ObjectAttributes,
    /// Desired access.
    pub access: u32,
    /// `FILE_SHARE_XXX`.
    pub share: u32,
    /// `FILE_OPEN` and kin.
    pub disposition: u32,
    /// `CreateOptions`.
    pub options: u32,
    /// `FILE_ATTRIBUTE_XXX`.
    pub file_attributes: u32,
    /// Who asks.
    pub mode: PreviousMode,
    /// Where the handle goes.
    pub handle_at: GuestAddr,
    /// The `IO_STATUS_BLOCK`.
    pub iosb: GuestAddr,
}

/// Opens a file. The value is an `NTSTATUS`; on success the handle is written.
pub(crate) fn create_file(k: &mut Kernel, wish: CreateFile) -> CallResult<Flow> {
    let (device, name, related) = match find(k, &wish) {
        Ok(found) => found,
        Err(status) => return Ok(answer(status)),
    };
    if let Some(status) = refuse(k, device, related, &wish)? {
        return Ok(answer(status));
    }
    let granted = match check_access(k, device, &wish) {
        Ok(granted) => granted,
        Err(status) => return Ok(answer(status)),
    };
    let synchrony = match wish.options {
        options if options & FILE_SYNCHRONOUS_IO_ALERT != 0 => {
            Synchrony::Synchronous { is_alertable: true }
        }
        options if options & FILE_SYNCHRONOUS_IO_NONALERT != 0 => {
            Synchrony::Synchronous { is_alertable: false }
        }
        _ => Synchrony::Overlapped,
    };
    let file = file::create(k, device, name, related, synchrony)?;
    neighbours::before_open(k, device, wish.mode)?;
    let draft = Draft::for_file(k, file, IRP_MJ_CREATE, wish.mode)?;
    let context = security_context(k, &wish, granted)?;
    let location = draft.location;
    k.set(location, IO_STACK_LOCATION::Create_SecurityContext, context.0)?;
    let options = (wish.disposition << 24) | (wish.options & 0x00ff_ffff);
    k.set(location, IO_STACK_LOCATION::Create_Options, options)?;
    let attributes = u16::try_from(wish.file_attributes & 0xffff).unwrap_or(0);
    k.set(location, IO_STACK_LOCATION::Create_FileAttributes, attributes)?;
    let share = u16::try_from(wish.share & 0xffff).unwrap_or(0);
    k.set(location, IO_STACK_LOCATION::Create_ShareAccess, share)?;
    k.set(draft.irp, IRP::UserIosb, wish.iosb.0)?;
    draft.add_flags(k, IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API)?;
    draft.wait_on_own_event(k)?;
    debug_assert_eq!(draft.request(k).method, TransferMethod::Neither, "an open moves no data");
    let event = draft.request(k).event;
    let opened = Opened { file, context, granted, wish };
    draft.send(k)?.then(k, FreeEvent { event })?.then(k, opened)
}

fn answer(status: NtStatus) -> Flow {
    Flow::Return(u64::from(status.0))
}

/// A device, the name behind it, and the file that the name is relative to.
type Target = (GuestAddr, ob::Name, Option<GuestAddr>);

/// Follows the path to a device.
fn find(k: &mut Kernel, wish: &CreateFile) -> Result<Target, NtStatus> {
    let name = wish.attributes.name.clone().unwrap_or_default();
    let root = match wish.attributes.root {
        Some(handle) => Some(ob::entry(k, handle, wish.mode)?.object),
        None => None,
    };
    if let Some(root) = root
        && ob::object(k, root).kind == ObjectType::File
    {
        let device = k.io.files.get(&root).map(|file| file.device);
        return Ok((device.ok_or(NtStatus::STATUS_INVALID_HANDLE)?, name, Some(root)));
    }
    if root.is_none() && name.is_empty() {
        return Err(NtStatus::STATUS_OBJECT_NAME_INVALID);
    }
    let found = ob::lookup(k, root, &name, ob::LinkAtEnd::Follow)?;
    match ob::object(k, found.object).kind {
        ObjectType::Device => Ok((found.object, found.remaining, None)),
        _ => Err(NtStatus::STATUS_OBJECT_TYPE_MISMATCH),
    }
}

/// Why this device cannot be opened now.
fn refuse(
    k: &mut Kernel,
    device: GuestAddr,
    related: Option<GuestAddr>,
    _wish: &CreateFile,
) -> CallResult<Option<NtStatus>> {
    let top = attach::top_of(k, device)?;
    let flags = k.get(device, DEVICE_OBJECT::Flags)?;
    if flags & DO_DEVICE_INITIALIZING != 0
        || k.get(top, DEVICE_OBJECT::Flags)? & DO_DEVICE_INITIALIZING != 0
    {
        return Ok(Some(NtStatus::STATUS_NO_SUCH_DEVICE));
    }
    let is_going = k.io.devices.get(&device).is_none_or(|entry| {
        entry.is_delete_pending
            || k.io.drivers.get(&entry.driver).is_none_or(|driver| {
                !matches!(driver.state, super::DriverState::Started | super::DriverState::Starting)
            })
    });
    if is_going {
        return Ok(Some(NtStatus::STATUS_NO_SUCH_DEVICE));
    }
    // "Exclusive: only one handle at a time"; a relative open belongs to the handle there is.
    let is_taken = flags & DO_EXCLUSIVE != 0
        && related.is_none()
        && k.get(device, DEVICE_OBJECT::ReferenceCount)? > 0;
    Ok(is_taken.then_some(NtStatus::STATUS_ACCESS_DENIED))
}

/// Access that the device's descriptor grants. The default one lets everybody read, write and
/// execute.
fn check_access(k: &Kernel, device: GuestAddr, wish: &CreateFile) -> Result<u32, NtStatus> {
    let desired = map_generic(wish.access);
    if wish.mode == PreviousMode::Kernel {
        let all = if desired & MAXIMUM_ALLOWED != 0 { FILE_ALL_ACCESS } else { 0 };
        return Ok((desired | all) & !MAXIMUM_ALLOWED);
    }
    let everybody = FILE_GENERIC_READ | FILE_GENERIC_WRITE | FILE_GENERIC_EXECUTE | SYNCHRONIZE;
    let descriptor = k.io.devices.get(&device).map(|entry| &entry.descriptor);
    let allowed = match descriptor {
        Some(Descriptor::Default) | None => everybody,
        // Nobody can give one yet: descriptors come with the security component.
        Some(Descriptor::Sddl(_)) => 0,
    };
    if desired & MAXIMUM_ALLOWED != 0 {
        return Ok(allowed | (desired & !MAXIMUM_ALLOWED));
    }
    if desired & !allowed != 0 {
        return Err(NtStatus::STATUS_ACCESS_DENIED);
    }
    debug_assert_eq!(desired & DELETE, 0, "not among what everybody gets");
    Ok(desired)
}

/// Replaces generic rights by those of files. Source: "File Access Rights Constants".
fn map_generic(access: u32) -> u32 {
    let mut mapped = access & 0x0fff_ffff;
    for (generic, specific) in [
        (GENERIC_READ, FILE_GENERIC_READ),
        (GENERIC_WRITE, FILE_GENERIC_WRITE),
        (GENERIC_EXECUTE, FILE_GENERIC_EXECUTE),
        (GENERIC_ALL, FILE_ALL_ACCESS),
    ] {
        if access & generic != 0 {
            mapped = (mapped & !GENERIC_ALL) | specific;
        }
    }
    mapped
}

/// The security context of a create request, its access state behind it in one block.
fn security_context(k: &mut Kernel, wish: &CreateFile, granted: u32) -> CallResult<GuestAddr> {
    let size = IO_SECURITY_CONTEXT::SIZE_BYTES + 8 + ACCESS_STATE::SIZE_BYTES;
    let context = mm::allocate_kernel(k, BlockKind::KernelPool, size, 16)?;
    let state = context.add(IO_SECURITY_CONTEXT::SIZE_BYTES + 8);
    k.set(context, IO_SECURITY_CONTEXT::AccessState, state.0)?;
    k.set(context, IO_SECURITY_CONTEXT::DesiredAccess, granted)?;
    k.set(context, IO_SECURITY_CONTEXT::FullCreateOptions, wish.options)?;
    k.set(state, ACCESS_STATE::PreviouslyGrantedAccess, granted)?;
    k.set(state, ACCESS_STATE::OriginalDesiredAccess, wish.access)?;
    Ok(context)
}

/// The create request is over; the value is its status.
#[derive(Clone, Debug)]
struct Opened {
    file: GuestAddr,
    context: GuestAddr,
    granted: u32,
    wish: CreateFile,
}

frame!(Opened, |this, k, value| {
    mm::free_kernel(k, this.context);
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of the value")]
    let status = NtStatus(value as u32);
    if status == NtStatus::STATUS_REPARSE {
        return Err(crate::Stop::unsupported("a create request that is reparsed"));
    }
    if !status.is_success() || status == NtStatus::STATUS_PENDING {
        let (mode, iosb) = (this.wish.mode, this.wish.iosb);
        deliver::write_status_block(k, mode, iosb, status, 0)?;
        return file::discard(k, this.file, status);
    }
    if let Some(file) = k.io.files.get_mut(&this.file) {
        file.is_open = true;
    }
    // The open comes before every use of the file.
    k.order_release(this.file);
    let flags = k.get(this.file, FILE_OBJECT::Flags)?;
    k.set(this.file, FILE_OBJECT::Flags, flags | FO_HANDLE_CREATED)?;
    let attributes = this.wish.attributes.attributes;
    let handle = ob::create_handle(k, this.file, this.granted, attributes)?;
    match this.wish.mode {
        PreviousMode::Kernel => k.write_scalar(this.wish.handle_at, handle.0)?,
        PreviousMode::User => {
            let machine = guest_memory::Accessor::Machine;
            // The caller's own loss if it freed the place meanwhile.
            let _ = k.memory.write(machine, this.wish.handle_at, &handle.0.to_le_bytes());
        }
    }
    // The handle has a reference of its own.
    ob::dereference(k, this.file)?.then(k, ob::Answer(status))
});

#[cfg(test)]
mod tests {
    use super::map_generic;

    #[test]
    fn generic_rights_become_those_of_files() {
        let cases = [
            (0, 0),
            (1, 1),
            (0x8000_0000, 0x0012_0089),
            (0xc000_0000, 0x0012_019f),
            (0x2000_0000, 0x0012_00a0),
            (0x1000_0000, 0x001f_01ff),
            (0x0200_0000, 0x0200_0000),
        ];
        for (access, expected) in cases {
            assert_eq!(map_generic(access), expected, "{access:x}");
        }
    }
}
