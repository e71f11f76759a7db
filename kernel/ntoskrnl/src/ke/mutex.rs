//! Mutexes.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ke::KMUTANT};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports, ke::DispatcherType};

exports![KeInitializeMutex, KeReleaseMutex, KeReadStateMutex];

/// Initialises a mutex that nobody owns. The level is reserved.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializemutex")]
fn KeInitializeMutex(k: &mut Kernel, mutex: GuestAddr, _level: u32) -> CallResult<()> {
    k.init_dispatcher(mutex, DispatcherType::Mutant, KMUTANT::SIZE_BYTES, 1)?;
    k.set(mutex, KMUTANT::OwnerThread, 0)?;
    k.set(mutex, KMUTANT::Abandoned, 0)?;
    k.set(mutex, KMUTANT::ApcDisable, 1)
}

/// Releases a mutex once; returns 0 if it is free now, else the previous state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleasemutex")]
fn KeReleaseMutex(k: &mut Kernel, mutex: GuestAddr, _wait: bool) -> CallResult<i32> {
    let id = k.core().thread.expect("driver code runs on a thread");
    let thread = k.ke.thread(id).object;
    if k.get(mutex, KMUTANT::OwnerThread)? != thread.0 {
        return Err(Stop::raise(NtStatus::STATUS_MUTANT_NOT_OWNED));
    }
    let before = k.get(mutex, KMUTANT::SignalState)?;
    if before == 0 {
        k.set(mutex, KMUTANT::OwnerThread, 0)?;
        let apc_disable = u32::from(k.get(mutex, KMUTANT::ApcDisable)?);
        let thread = k.ke.thread_mut(id);
        thread.critical_regions = thread.critical_regions.saturating_sub(apc_disable);
    }
    k.signal(mutex, before + 1)?;
    Ok(before)
}

/// Returns 1 if the mutex is free.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereadstatemutex")]
fn KeReadStateMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<i32> {
    k.get(mutex, KMUTANT::SignalState)
}
