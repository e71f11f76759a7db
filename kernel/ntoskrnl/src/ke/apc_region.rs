//! Critical and guarded regions.

use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    KeEnterCriticalRegion,
    KeLeaveCriticalRegion,
    KeEnterGuardedRegion,
    KeLeaveGuardedRegion,
    KeAreApcsDisabled,
];

/// Disables normal kernel APCs.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keentercriticalregion")]
fn KeEnterCriticalRegion(k: &mut Kernel) {
    k.current_thread().critical_regions += 1;
}

/// Enables them again.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keleavecriticalregion")]
fn KeLeaveCriticalRegion(k: &mut Kernel) -> CallResult<()> {
    let thread = k.current_thread();
    match thread.critical_regions.checked_sub(1) {
        Some(left) => thread.critical_regions = left,
        None => {
            return Err(Stop::unsupported("KeLeaveCriticalRegion outside of a critical region"));
        }
    }
    Ok(())
}

/// Disables all APCs.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keenterguardedregion")]
fn KeEnterGuardedRegion(k: &mut Kernel) {
    k.current_thread().guarded_regions += 1;
}

/// Enables them again.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-keleaveguardedregion")]
fn KeLeaveGuardedRegion(k: &mut Kernel) -> CallResult<()> {
    let thread = k.current_thread();
    match thread.guarded_regions.checked_sub(1) {
        Some(left) => thread.guarded_regions = left,
        None => return Err(Stop::unsupported("KeLeaveGuardedRegion outside of a guarded region")),
    }
    Ok(())
}

/// Says whether normal kernel APCs are disabled.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keareapcsdisabled")]
fn KeAreApcsDisabled(k: &mut Kernel) -> bool {
    let thread = k.current_thread();
    thread.critical_regions > 0 || thread.guarded_regions > 0
}
