//! References: `ObReferenceObject…`, `ObDereferenceObject…`.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ob::OBJECT_HANDLE_INFORMATION};
use nt_macros::export;

use super::{
    Handle, ObjectType, PreviousMode, handle_table,
    object::{self, Deletion, referenceable},
    object_type,
};
use crate::{CallResult, Flow, GuestPtr, Kernel, exports};

exports![
    ObReferenceObjectByHandle,
    ObReferenceObjectByHandleWithTag,
    ObReferenceObjectByPointer,
    ObReferenceObjectByPointerWithTag,
    ObfReferenceObject,
    ObfReferenceObjectWithTag,
    ObfDereferenceObject,
    ObfDereferenceObjectWithTag,
    ObDereferenceObjectDeferDelete,
];

/// A pointer to an `OBJECT_TYPE`, as `*IoFileObjectType` is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectTypePtr(pub(crate) GuestAddr);

impl crate::FromArg for ObjectTypePtr {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        GuestAddr::from_arg(k, index).map(Self)
    }
}

impl ObjectTypePtr {
    /// The type wanted, `None` for any. A pointer to anything else matches no object.
    pub(crate) fn wanted(self, k: &Kernel) -> Result<Option<ObjectType>, NtStatus> {
        if self.0.is_null() {
            return Ok(None);
        }
        let found = object_type::type_at(k, self.0);
        found.map(Some).ok_or(NtStatus::STATUS_OBJECT_TYPE_MISMATCH)
    }
}

/// References the object behind a handle.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-obreferenceobjectbyhandle")]
fn ObReferenceObjectByHandle(
    k: &mut Kernel,
    handle: Handle,
    desired: u32,
    kind: ObjectTypePtr,
    mode: PreviousMode,
    into: GuestPtr<GuestAddr>,
    information: GuestPtr<OBJECT_HANDLE_INFORMATION>,
) -> CallResult<NtStatus> {
    k.write_scalar(into.at, 0_u64)?;
    let wanted = kind.wanted(k);
    let found =
        wanted.and_then(|kind| handle_table::reference_by_handle(k, handle, desired, kind, mode));
    match found {
        Ok(entry) => {
            if !information.at.is_null() {
                let at = information.at;
                k.set(at, OBJECT_HANDLE_INFORMATION::HandleAttributes, entry.attributes)?;
                k.set(at, OBJECT_HANDLE_INFORMATION::GrantedAccess, entry.granted)?;
            }
            object::note_taken(k, entry.object)?;
            k.write_scalar(into.at, entry.object.0)?;
            Ok(NtStatus::STATUS_SUCCESS)
        }
        Err(status) => Ok(status),
    }
}

/// The same with a tag for reference tracing.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-obreferenceobjectbyhandlewithtag")]
fn ObReferenceObjectByHandleWithTag(
    k: &mut Kernel,
    handle: Handle,
    desired: u32,
    kind: ObjectTypePtr,
    mode: PreviousMode,
    _tag: u32,
    into: GuestPtr<GuestAddr>,
    information: GuestPtr<OBJECT_HANDLE_INFORMATION>,
) -> CallResult<NtStatus> {
    ObReferenceObjectByHandle(k, handle, desired, kind, mode, into, information)
}

/// References an object by its address.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-obreferenceobjectbypointer")]
fn ObReferenceObjectByPointer(
    k: &mut Kernel,
    object: GuestAddr,
    _desired: u32,
    kind: ObjectTypePtr,
    mode: PreviousMode,
) -> CallResult<NtStatus> {
    let found = referenceable(k, object)?;
    // Kernel mode may leave the type open, except for symbolic links.
    let is_checked = mode == PreviousMode::User || found == ObjectType::SymbolicLink;
    let matches = match kind.wanted(k) {
        Ok(Some(wanted)) => wanted == found,
        Ok(None) => !is_checked,
        Err(_) => false,
    };
    if !matches {
        return Ok(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    }
    object::reference_for_driver(k, object)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// The same with a tag for reference tracing.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-obreferenceobjectbypointerwithtag")]
fn ObReferenceObjectByPointerWithTag(
    k: &mut Kernel,
    object: GuestAddr,
    desired: u32,
    kind: ObjectTypePtr,
    mode: PreviousMode,
    _tag: u32,
) -> CallResult<NtStatus> {
    ObReferenceObjectByPointer(k, object, desired, kind, mode)
}

/// Adds a reference. Returns the new count, which drivers may only use for debugging.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-obfreferenceobject",
    written_as = "ObReferenceObject"
)]
fn ObfReferenceObject(k: &mut Kernel, object: GuestAddr) -> CallResult<u64> {
    referenceable(k, object)?;
    object::reference_for_driver(k, object)?;
    Ok(object::object(k, object).pointer_count)
}

/// The same with a tag for reference tracing.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-obreferenceobjectwithtag",
    written_as = "ObReferenceObjectWithTag"
)]
fn ObfReferenceObjectWithTag(k: &mut Kernel, object: GuestAddr, _tag: u32) -> CallResult<u64> {
    ObfReferenceObject(k, object)
}

/// Takes a reference away.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-obdereferenceobject",
    written_as = "ObDereferenceObject"
)]
fn ObfDereferenceObject(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    object::dereference_for_driver(k, object, Deletion::AtOnce)
}

/// The same with a tag for reference tracing.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-obdereferenceobjectwithtag",
    written_as = "ObDereferenceObjectWithTag"
)]
fn ObfDereferenceObjectWithTag(k: &mut Kernel, object: GuestAddr, _tag: u32) -> CallResult<Flow> {
    ObfDereferenceObject(k, object)
}

/// Takes a reference away; a deletion is left to a system worker.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-obdereferenceobjectdeferdelete")]
fn ObDereferenceObjectDeferDelete(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    object::dereference_for_driver(k, object, Deletion::Deferred)
}
