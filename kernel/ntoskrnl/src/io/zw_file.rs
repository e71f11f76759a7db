//! Opening files from drivers: `ZwCreateFile`, `ZwOpenFile`.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, constants::io::FILE_OPEN};
use nt_macros::export;

use super::create::{self, CreateFile};
use crate::{
    CallResult, Flow, GuestPtr, Kernel, Stop, exports, frame,
    ob::{Handle, ObjectAttributes, PreviousMode},
};

exports![ZwCreateFile, ZwOpenFile];

/// Opens a device, or creates or opens a file.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-zwcreatefile",
    limits = "devices of loaded drivers only; there are no file systems, and no extended attributes"
)]
fn ZwCreateFile(
    k: &mut Kernel,
    handle: GuestPtr<Handle>,
    access: u32,
    attributes: GuestAddr,
    iosb: GuestAddr,
    _allocation_size: GuestAddr,
    file_attributes: u32,
    share: u32,
    disposition: u32,
    options: u32,
    ea_buffer: GuestAddr,
    _ea_length: u32,
) -> CallResult<Flow> {
    if !ea_buffer.is_null() {
        return Err(Stop::unsupported("ZwCreateFile with extended attributes"));
    }
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let name = attributes.name.clone().unwrap_or_default().to_string();
    let wish = CreateFile {
        attributes,
        access,
        share,
        disposition,
        options,
        file_attributes,
        mode: PreviousMode::Kernel,
        handle_at: handle.at,
        iosb,
    };
    create::create_file(k, wish)?.then(k, Created { name })
}

/// Opens a device or a file.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-zwopenfile",
    limits = "devices of loaded drivers only; there are no file systems"
)]
fn ZwOpenFile(
    k: &mut Kernel,
    handle: GuestPtr<Handle>,
    access: u32,
    attributes: GuestAddr,
    iosb: GuestAddr,
    share: u32,
    options: u32,
) -> CallResult<Flow> {
    let nothing = GuestAddr::NULL;
    let disposition = FILE_OPEN;
    ZwCreateFile(
        k,
        handle,
        access,
        attributes,
        iosb,
        nothing,
        0,
        share,
        disposition,
        options,
        nothing,
        0,
    )
}

/// The open is over; the value is its status.
#[derive(Clone, Debug)]
struct Created {
    name: String,
}

frame!(Created, |this, _, value| {
    // Nothing but loaded drivers exists here, so a missing name says nothing about what Windows
    // would have.
    let missing = [NtStatus::STATUS_OBJECT_NAME_NOT_FOUND, NtStatus::STATUS_OBJECT_PATH_NOT_FOUND];
    if missing.iter().any(|status| u64::from(status.0) == value) {
        return Err(Stop::unsupported(format!("ZwCreateFile of `{}`", this.name)));
    }
    Ok(Flow::Return(value))
});
