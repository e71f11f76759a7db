//! Handles: `ZwClose`, `ObCloseHandle`, `ObOpenObjectByPointer`.

use guest_memory::GuestAddr;
use nt_abi::NtStatus;
use nt_macros::export;

use super::{
    Handle, PreviousMode, close_handle, handle_table,
    object::{object, referenceable},
    reference_exports::ObjectTypePtr,
};
use crate::{CallResult, Flow, GuestPtr, Kernel, exports};

exports![ZwClose, NtClose, ObCloseHandle, ObOpenObjectByPointer];

/// Closes a handle.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwclose")]
fn ZwClose(k: &mut Kernel, handle: Handle) -> CallResult<Flow> {
    close_handle(k, handle, PreviousMode::Kernel)
}

/// Closes a handle with the previous mode of the thread.
#[export(irql = PASSIVE_LEVEL, ddi = "ntifs/nf-ntifs-ntclose")]
fn NtClose(k: &mut Kernel, handle: Handle) -> CallResult<Flow> {
    let mode = previous_mode(k);
    close_handle(k, handle, mode)
}

/// The mode from which the current thread came into the kernel: system threads never leave it.
pub(crate) fn previous_mode(k: &Kernel) -> PreviousMode {
    let process = handle_table::current_process(k);
    if process.is_none() || process == k.ob.system_process {
        PreviousMode::Kernel
    } else {
        PreviousMode::User
    }
}

/// Closes a handle for a caller of the mode given.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-obclosehandle")]
fn ObCloseHandle(k: &mut Kernel, handle: Handle, mode: PreviousMode) -> CallResult<Flow> {
    close_handle(k, handle, mode)
}

/// Opens a handle to an object known by its address.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "ntifs/nf-ntifs-obopenobjectbypointer",
    limits = "access is granted as asked for: descriptors of objects are not evaluated"
)]
fn ObOpenObjectByPointer(
    k: &mut Kernel,
    at: GuestAddr,
    attributes: u32,
    _access_state: GuestAddr,
    desired: u32,
    kind: ObjectTypePtr,
    _mode: PreviousMode,
    into: GuestPtr<Handle>,
) -> CallResult<NtStatus> {
    let found = referenceable(k, at)?;
    match kind.wanted(k) {
        Ok(wanted) if wanted.is_none_or(|wanted| wanted == found) => {}
        _ => return Ok(NtStatus::STATUS_OBJECT_TYPE_MISMATCH),
    }
    debug_assert!(object(k, at).pointer_count > 0, "a deleted object is no object");
    let handle = handle_table::create_handle(k, at, desired, attributes)?;
    k.write_scalar(into.at, handle.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}
