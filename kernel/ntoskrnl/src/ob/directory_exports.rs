//! Names: `ObQueryNameString`, directories and symbolic links by handle.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::OBJ_PERMANENT,
    structures::{UNICODE_STRING, ob::OBJECT_NAME_INFORMATION},
};
use nt_macros::export;

use super::{
    Handle, Name, ObjectAttributes, ObjectType, PreviousMode, handle_table,
    namespace::{self, InsertError, LinkAtEnd},
    object::{self, claimed},
};
use crate::{CallResult, Flow, GuestPtr, Kernel, exports};

exports![
    ObQueryNameString,
    ZwMakeTemporaryObject,
    ZwOpenSymbolicLinkObject,
    ZwQuerySymbolicLinkObject,
    ZwOpenDirectoryObject,
    ZwCreateDirectoryObject,
];

/// Returns the name of an object; the string follows the structure.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "ntifs/nf-ntifs-obquerynamestring",
    limits = "of a file object: the name of its device and the name it was opened with"
)]
fn ObQueryNameString(
    k: &mut Kernel,
    at: GuestAddr,
    into: GuestPtr<OBJECT_NAME_INFORMATION>,
    length: u32,
    return_length: GuestPtr<u32>,
) -> CallResult<NtStatus> {
    let kind = claimed(k, at)?;
    let name = match object::query_name(k, kind) {
        Some(query) => query(k, at)?,
        None => namespace::path_of(k, at).unwrap_or_default(),
    };
    let size = OBJECT_NAME_INFORMATION::SIZE_BYTES;
    let needed = match name.is_empty() {
        true => size,
        // The string is terminated, though its length does not count the terminator.
        false => size + name.size_bytes() + 2,
    };
    k.write_scalar(return_length.at, u32::try_from(needed).unwrap_or(u32::MAX))?;
    if u64::from(length) < needed {
        return Ok(NtStatus::STATUS_INFO_LENGTH_MISMATCH);
    }
    if name.is_empty() {
        k.fill(into.at, 0, size)?;
        return Ok(NtStatus::STATUS_SUCCESS);
    }
    let buffer = into.at.add(size);
    let terminated = Name([name.0.as_slice(), &[0]].concat());
    super::attributes::write_name(k, into.at, buffer, &terminated)?;
    let bytes = u16::try_from(name.size_bytes()).unwrap_or(u16::MAX - 1);
    k.set(into.at, OBJECT_NAME_INFORMATION::Length, bytes)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Takes the permanence of an object away.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwmaketemporaryobject")]
fn ZwMakeTemporaryObject(k: &mut Kernel, handle: Handle) -> CallResult<NtStatus> {
    Ok(match handle_table::entry(k, handle, PreviousMode::Kernel) {
        Ok(entry) => {
            object::make_temporary(k, entry.object);
            NtStatus::STATUS_SUCCESS
        }
        Err(status) => status,
    })
}

/// Opens an object of the name space that needs no parse of its own.
fn open(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
    kind: ObjectType,
) -> CallResult<NtStatus> {
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(status),
    };
    match find(k, &attributes, kind) {
        Ok(found) => {
            let handle = handle_table::create_handle(k, found, desired, attributes.attributes)?;
            k.write_scalar(into.at, handle.0)?;
            Ok(NtStatus::STATUS_SUCCESS)
        }
        Err(status) => Ok(status),
    }
}

/// Finds an object by the name and root directory of its attributes; no reference is taken.
pub fn find(
    k: &mut Kernel,
    attributes: &ObjectAttributes,
    kind: ObjectType,
) -> Result<GuestAddr, NtStatus> {
    let root = root_of(k, attributes)?;
    let name = attributes.name.as_ref().ok_or(NtStatus::STATUS_OBJECT_NAME_INVALID)?;
    let end = match kind {
        ObjectType::SymbolicLink => LinkAtEnd::Stay,
        _ => LinkAtEnd::Follow,
    };
    let found = namespace::lookup(k, root, name, end)?;
    if !found.remaining.is_empty() || object::object(k, found.object).kind != kind {
        return Err(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    }
    Ok(found.object)
}

/// The object that a name is relative to.
pub fn root_of(
    k: &mut Kernel,
    attributes: &ObjectAttributes,
) -> Result<Option<GuestAddr>, NtStatus> {
    match attributes.root {
        Some(handle) => {
            handle_table::entry(k, handle, PreviousMode::Kernel).map(|entry| Some(entry.object))
        }
        None => Ok(None),
    }
}

/// Opens a symbolic link itself.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwopensymboliclinkobject")]
fn ZwOpenSymbolicLinkObject(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
) -> CallResult<NtStatus> {
    open(k, into, desired, attributes, ObjectType::SymbolicLink)
}

/// Returns the path that a symbolic link stands for.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwquerysymboliclinkobject")]
fn ZwQuerySymbolicLinkObject(
    k: &mut Kernel,
    handle: Handle,
    target: GuestPtr<UNICODE_STRING>,
    returned_length: GuestPtr<u32>,
) -> CallResult<NtStatus> {
    let entry = match handle_table::entry(k, handle, PreviousMode::Kernel) {
        Ok(entry) => entry,
        Err(status) => return Ok(status),
    };
    let Some(path) = namespace::link_target(k, entry.object).cloned() else {
        return Ok(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    };
    let needed = path.size_bytes();
    if !returned_length.at.is_null() {
        k.write_scalar(returned_length.at, u32::try_from(needed).unwrap_or(u32::MAX))?;
    }
    let room = k.get(target.at, UNICODE_STRING::MaximumLength)?;
    if u64::from(room) < needed {
        return Ok(NtStatus::STATUS_BUFFER_TOO_SMALL);
    }
    let buffer = GuestAddr(k.get(target.at, UNICODE_STRING::Buffer)?);
    super::attributes::write_name(k, target.at, buffer, &path)?;
    k.set(target.at, UNICODE_STRING::MaximumLength, room)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Opens a directory of the name space.
#[export(irql = PASSIVE_LEVEL, ddi = "ntifs/nf-ntifs-zwopendirectoryobject")]
fn ZwOpenDirectoryObject(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
) -> CallResult<NtStatus> {
    open(k, into, desired, attributes, ObjectType::Directory)
}

/// Creates a directory in the name space.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwcreatedirectoryobject")]
fn ZwCreateDirectoryObject(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
) -> CallResult<Flow> {
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let directory = namespace::create_directory(k)?;
    create_named(k, directory, &attributes, desired, into)
}

/// Names a new object, opens a handle to it and gives the creator's reference back; on failure the
/// object goes.
///
/// The value is an `NTSTATUS`.
pub fn create_named(
    k: &mut Kernel,
    object: GuestAddr,
    attributes: &ObjectAttributes,
    desired: u32,
    into: GuestPtr<Handle>,
) -> CallResult<Flow> {
    let named = match (root_of(k, attributes), &attributes.name) {
        (Err(status), _) => Err(status),
        (Ok(root), Some(name)) => {
            namespace::insert(k, object, name, root).map_err(InsertError::status)
        }
        (Ok(_), None) => Ok(()),
    };
    let status = match named {
        Ok(()) => {
            object::object_mut(k, object).is_permanent = attributes.attributes & OBJ_PERMANENT != 0;
            let handle = handle_table::create_handle(k, object, desired, attributes.attributes)?;
            k.write_scalar(into.at, handle.0)?;
            NtStatus::STATUS_SUCCESS
        }
        Err(status) => status,
    };
    object::dereference(k, object)?.then(k, super::close::Answer(status))
}
