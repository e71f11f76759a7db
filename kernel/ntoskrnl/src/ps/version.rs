//! `PsGetVersion`.

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{CallResult, Kernel, exports, rtl::NT_VERSION};

exports![PsGetVersion];

/// Tells the version, as drivers did before `RtlGetVersion`; true for a checked build.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-psgetversion")]
fn PsGetVersion(
    k: &mut Kernel,
    major: GuestAddr,
    minor: GuestAddr,
    build: GuestAddr,
    service_pack: GuestAddr,
) -> CallResult<bool> {
    let version = [(major, NT_VERSION.0), (minor, NT_VERSION.1), (build, NT_VERSION.2)];
    for (to, value) in version {
        if !to.is_null() {
            k.write_scalar(to, value)?;
        }
    }
    if !service_pack.is_null() {
        k.set_counted_string(service_pack, 0, 0, GuestAddr::NULL)?;
    }
    Ok(false)
}
