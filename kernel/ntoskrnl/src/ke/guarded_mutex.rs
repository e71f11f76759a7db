//! Guarded mutexes: fast mutexes whose owner is in a guarded region.

use events::LockKind;
use guest_memory::GuestAddr;
use nt_abi::structures::ke::FAST_MUTEX;
use nt_macros::export;

use super::fast_mutex::{Acquire, Form, acquire, initialize, own, release, request};
use crate::{CallResult, Flow, Kernel, exports};

exports![
    KeInitializeGuardedMutex,
    KeAcquireGuardedMutex,
    KeAcquireGuardedMutexUnsafe,
    KeTryToAcquireGuardedMutex,
    KeReleaseGuardedMutex,
    KeReleaseGuardedMutexUnsafe,
];

/// Initialises a mutex as free.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-keinitializeguardedmutex")]
fn KeInitializeGuardedMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    initialize(k, mutex, LockKind::GuardedMutex)
}

fn taken(k: &Kernel, mutex: GuestAddr, form: Form, is_try: bool) -> Acquire {
    Acquire { mutex, form, irql_before: k.irql(), is_try }
}

/// Enters a guarded region and acquires.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-keacquireguardedmutex")]
fn KeAcquireGuardedMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    request(k, mutex, Form::Guarded, false)?;
    k.current_thread().guarded_regions += 1;
    let wish = taken(k, mutex, Form::Guarded, false);
    acquire(k, wish)
}

/// Acquires; the caller has disabled APCs.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-keacquireguardedmutexunsafe")]
fn KeAcquireGuardedMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    request(k, mutex, Form::GuardedUnsafe, false)?;
    let wish = taken(k, mutex, Form::GuardedUnsafe, false);
    acquire(k, wish)
}

/// Acquires if the mutex is free; the guarded region is entered only then.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-ketrytoacquireguardedmutex")]
fn KeTryToAcquireGuardedMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<bool> {
    request(k, mutex, Form::Guarded, true)?;
    if k.get(mutex, FAST_MUTEX::Count)? != 1 {
        return Ok(false);
    }
    k.current_thread().guarded_regions += 1;
    let wish = taken(k, mutex, Form::Guarded, true);
    own(k, wish)?;
    Ok(true)
}

/// Releases and leaves the guarded region.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-kereleaseguardedmutex")]
fn KeReleaseGuardedMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    release(k, mutex, Form::Guarded, irql)?;
    let thread = k.current_thread();
    thread.guarded_regions = thread.guarded_regions.saturating_sub(1);
    Ok(())
}

/// Releases and leaves APCs alone.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-kereleaseguardedmutexunsafe")]
fn KeReleaseGuardedMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    release(k, mutex, Form::GuardedUnsafe, irql)
}
