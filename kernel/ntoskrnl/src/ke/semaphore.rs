//! Semaphores.

use events::KeptKind;
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ke::KSEMAPHORE};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports, ke::DispatcherType};

exports![KeInitializeSemaphore, KeReleaseSemaphore, KeReadStateSemaphore];

/// Initialises a semaphore with a count and a limit.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-keinitializesemaphore")]
fn KeInitializeSemaphore(
    k: &mut Kernel,
    semaphore: GuestAddr,
    count: i32,
    limit: i32,
) -> CallResult<()> {
    k.initialize_kept(semaphore, KeptKind::Dispatcher)?;
    k.init_dispatcher(semaphore, DispatcherType::Semaphore, KSEMAPHORE::SIZE_BYTES, count)?;
    k.set(semaphore, KSEMAPHORE::Limit, limit)
}

/// Adds to the count; returns the previous one. Above the limit it raises.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleasesemaphore",
    irql_when = "APC_LEVEL at most if Wait is TRUE")]
fn KeReleaseSemaphore(
    k: &mut Kernel,
    semaphore: GuestAddr,
    _increment: i32,
    adjustment: i32,
    wait: bool,
) -> CallResult<i32> {
    k.check_wait_flag(wait, "wdm/nf-wdm-kereleasesemaphore")?;
    k.require_dispatcher(semaphore)?;
    let before = k.get(semaphore, KSEMAPHORE::SignalState)?;
    let limit = k.get(semaphore, KSEMAPHORE::Limit)?;
    match before.checked_add(adjustment) {
        Some(after) if after <= limit && after >= before => {
            k.signal_or_announce(semaphore, after, wait)?;
        }
        _ => return Err(Stop::raise(NtStatus::STATUS_SEMAPHORE_LIMIT_EXCEEDED)),
    }
    Ok(before)
}

/// Returns the count.
#[export(irql = .., ddi = "wdm/nf-wdm-kereadstatesemaphore")]
fn KeReadStateSemaphore(k: &mut Kernel, semaphore: GuestAddr) -> CallResult<i32> {
    k.get(semaphore, KSEMAPHORE::SignalState)
}
