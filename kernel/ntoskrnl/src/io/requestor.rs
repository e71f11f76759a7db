//! Who asked: processes and threads behind requests, stack limits, versions.

use guest_memory::GuestAddr;
use nt_abi::structures::io::IRP;
use nt_macros::export;

use crate::{CallResult, GuestPtr, Kernel, exports};

exports![
    IoGetRequestorProcess,
    IoThreadToProcess,
    IoIs32bitProcess,
    IoGetStackLimits,
    IoIsWdmVersionAvailable,
];

/// Returns the process of the thread that asked, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-iogetrequestorprocess")]
fn IoGetRequestorProcess(k: &mut Kernel, irp: GuestAddr) -> CallResult<GuestAddr> {
    let thread = GuestAddr(k.get(irp, IRP::Thread)?);
    Ok(k.ke.thread_at(thread).map_or(GuestAddr::NULL, |thread| thread.process))
}

/// Returns the process of a thread.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-iothreadtoprocess")]
fn IoThreadToProcess(k: &mut Kernel, thread: GuestAddr) -> CallResult<GuestAddr> {
    if let Some(thread) = k.ke.thread_at(thread) {
        return Ok(thread.process);
    }
    // A pointer to something else: what the routine would read decides.
    k.allow(guest_memory::AccessKind::Read, thread, 8)?;
    Ok(GuestAddr::NULL)
}

/// Says whether a 32-bit process asked: every process of this machine is a 64-bit one.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iois32bitprocess")]
fn IoIs32bitProcess(_: &mut Kernel, _irp: GuestAddr) -> bool {
    false
}

/// Returns the bounds of the current kernel stack.
#[export(
    irql = ..,
    ddi = "wdm/nf-wdm-iogetstacklimits",
    irql_note = "the page allows any level and says which stack is meant"
)]
fn IoGetStackLimits(k: &mut Kernel, low: GuestPtr<u64>, high: GuestPtr<u64>) -> CallResult<()> {
    let bounds = k.core().thread.map(|id| {
        let thread = k.ke.thread(id);
        (thread.stack_low, thread.stack_high)
    });
    let (from, to) = bounds.unwrap_or_default();
    k.write_scalar(low.at, from.0)?;
    k.write_scalar(high.at, to.0)
}

/// Says whether the kernel supports a version of WDM: Windows 10 reports 6.0.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioiswdmversionavailable")]
fn IoIsWdmVersionAvailable(_: &mut Kernel, major: u8, minor: u8) -> bool {
    (major, minor) <= (6, 0)
}
