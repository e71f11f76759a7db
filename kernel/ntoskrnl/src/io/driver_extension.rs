//! Extensions of a driver object that belong to its clients.

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{CallResult, GuestPtr, Kernel, Stop, exports, mm};

exports![IoAllocateDriverObjectExtension, IoGetDriverObjectExtension];

/// Allocates a zeroed extension under an identification address of the client's. It goes with the
/// driver object.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-ioallocatedriverobjectextension"
)]
fn IoAllocateDriverObjectExtension(
    k: &mut Kernel,
    driver: GuestAddr,
    client: GuestAddr,
    size_bytes: u32,
    into: GuestPtr<GuestAddr>,
) -> CallResult<NtStatus> {
    k.write_scalar(into.at, 0_u64)?;
    let Some(entry) = k.io.driver(driver) else { return Err(no_driver()) };
    if entry.extensions.contains_key(&client) {
        return Ok(NtStatus::STATUS_OBJECT_NAME_COLLISION);
    }
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
    }
    let extension = mm::allocate_kernel(k, BlockKind::KernelPool, u64::from(size_bytes), 16)?;
    if let Some(entry) = k.io.drivers.get_mut(&driver) {
        entry.extensions.insert(client, extension);
    }
    k.write_scalar(into.at, extension.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Returns the extension of an identification address, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iogetdriverobjectextension")]
fn IoGetDriverObjectExtension(
    k: &mut Kernel,
    driver: GuestAddr,
    client: GuestAddr,
) -> CallResult<GuestAddr> {
    let Some(entry) = k.io.driver(driver) else { return Err(no_driver()) };
    Ok(entry.extensions.get(&client).copied().unwrap_or_default())
}

fn no_driver() -> Stop {
    Stop::unsupported("an extension of what is no driver object")
}
