//! Fast mutexes: `FAST_MUTEX` holds a count (1 is free), an owner and an event.

use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::ke::FAST_MUTEX};
use nt_macros::export;

use crate::{CallResult, Flow, Kernel, Stop, Wait, exports, frame};

exports![
    ExAcquireFastMutex,
    ExReleaseFastMutex,
    ExTryToAcquireFastMutex,
    ExAcquireFastMutexUnsafe,
    ExReleaseFastMutexUnsafe,
];

/// Raises to `APC_LEVEL` and acquires.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquirefastmutex")]
fn ExAcquireFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    let old = k.irql();
    k.set_irql(Irql::APC_LEVEL);
    acquire(k, Acquire { mutex, keep: Some(old) })
}

/// Releases and restores the level.
#[export(irql = APC_LEVEL, ddi = "wdm/nf-wdm-exreleasefastmutex")]
fn ExReleaseFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    let old: u32 = k.get(mutex, FAST_MUTEX::OldIrql)?;
    release(k, mutex)?;
    k.set_irql(Irql(u8::try_from(old).unwrap_or_default()));
    Ok(())
}

/// Acquires if the mutex is free; the level is raised only then.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-extrytoacquirefastmutex")]
fn ExTryToAcquireFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<bool> {
    if k.get(mutex, FAST_MUTEX::Count)? != 1 {
        return Ok(false);
    }
    let old = k.irql();
    k.set_irql(Irql::APC_LEVEL);
    own(k, Acquire { mutex, keep: Some(old) })?;
    Ok(true)
}

/// Acquires without changing the level.
#[export(irql = APC_LEVEL, ddi = "wdm/nf-wdm-exacquirefastmutexunsafe",
    irql_note = "also at PASSIVE_LEVEL inside a critical region; judged by rules")]
fn ExAcquireFastMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    acquire(k, Acquire { mutex, keep: None })
}

/// Releases without changing the level.
#[export(irql = APC_LEVEL, ddi = "wdm/nf-wdm-exreleasefastmutexunsafe",
    irql_note = "also at PASSIVE_LEVEL inside a critical region; judged by rules")]
fn ExReleaseFastMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    release(k, mutex)
}

/// An acquisition, possibly waiting for the owner.
#[derive(Clone, Debug)]
struct Acquire {
    mutex: GuestAddr,
    /// The level to restore at release.
    keep: Option<Irql>,
}
frame!(Acquire, |this, k, _| acquire(k, this));

fn acquire(k: &mut Kernel, request: Acquire) -> CallResult<Flow> {
    if k.get(request.mutex, FAST_MUTEX::Count)? == 1 {
        own(k, request)?;
        return Ok(Flow::Return(0));
    }
    let object = request.mutex.add(FAST_MUTEX::Event.offset_bytes);
    let wait = Wait { objects: vec![object], is_all: false, due_100ns: None, is_alertable: false };
    Ok(Flow::wait(wait, request))
}

fn own(k: &mut Kernel, request: Acquire) -> CallResult<()> {
    let thread = k.current_thread_object();
    k.set(request.mutex, FAST_MUTEX::Count, 0)?;
    k.set(request.mutex, FAST_MUTEX::Owner, thread.0)?;
    if let Some(old) = request.keep {
        k.set(request.mutex, FAST_MUTEX::OldIrql, u32::from(old.0))?;
    }
    Ok(())
}

fn release(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    if k.get(mutex, FAST_MUTEX::Count)? == 1 {
        // THREAD_NOT_MUTEX_OWNER.
        return Err(Stop::bug_check(0x11, [k.current_thread_object().0, mutex.0, 0, 0]));
    }
    k.set(mutex, FAST_MUTEX::Owner, 0)?;
    k.set(mutex, FAST_MUTEX::Count, 1)?;
    k.signal(mutex.add(FAST_MUTEX::Event.offset_bytes), 1)
}
