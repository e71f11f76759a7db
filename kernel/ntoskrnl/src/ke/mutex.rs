//! Mutexes.

use events::{Lock, LockKind, LockMisuse, LockMode, LockStage, Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus, structures::ke::KMUTANT};
use nt_macros::export;

use crate::{
    CallResult, Flow, Frame, Kernel, Stop, Wait, exports, frame,
    ke::{DispatcherType, Wish},
};

exports![KeInitializeMutex, KeReleaseMutex, KeReadStateMutex];

/// Who owns a mutex, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    thread: ThreadId,
    acquired: Seq,
}

fn lock_at(at: GuestAddr) -> Lock {
    Lock { kind: LockKind::Mutex, at }
}

/// Initialises a mutex that nobody owns. The level is reserved.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializemutex")]
fn KeInitializeMutex(k: &mut Kernel, mutex: GuestAddr, _level: u32) -> CallResult<()> {
    k.init_dispatcher(mutex, DispatcherType::Mutant, KMUTANT::SIZE_BYTES, 1)?;
    k.set(mutex, KMUTANT::OwnerThread, 0)?;
    k.set(mutex, KMUTANT::Abandoned, 0)?;
    k.set(mutex, KMUTANT::ApcDisable, 1)?;
    k.ke.mutexes.remove(&mutex);
    k.lock_life(lock_at(mutex), LockStage::Initialized)
}

/// Releases a mutex once; returns 0 if it is free now, else the previous state.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleasemutex")]
fn KeReleaseMutex(k: &mut Kernel, mutex: GuestAddr, _wait: bool) -> CallResult<i32> {
    let id = k.current_thread().id;
    let thread = k.ke.thread(id).object;
    let owner = k.get(mutex, KMUTANT::OwnerThread)?;
    if owner != thread.0 {
        let acquired = k.ke.mutexes.get(&mutex).map(|owner| owner.acquired);
        let is_free = owner == 0;
        let misuse = if is_free { LockMisuse::NotHeld } else { LockMisuse::HeldByAnother };
        k.lock_misuse(lock_at(mutex), misuse, acquired.filter(|_| !is_free))?;
        return Err(Stop::raise(NtStatus::STATUS_MUTANT_NOT_OWNED));
    }
    let before = k.get(mutex, KMUTANT::SignalState)?;
    let irql = k.irql();
    k.lock_released(lock_at(mutex), LockMode::Exclusive, irql)?;
    if before == 0 {
        k.ke.mutexes.remove(&mutex);
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

/// Reports the mutexes among the objects of a wait that begins; the frames report at its end which
/// of them are owned.
pub(crate) fn watch_wait(k: &mut Kernel, wait: &Wait) -> CallResult<Vec<Box<dyn Frame>>> {
    let mut mutexes = Vec::new();
    for (index, &object) in (0_u32..).zip(&wait.objects) {
        if k.dispatcher_type(object)? == DispatcherType::Mutant {
            mutexes.push((index, object));
        }
    }
    if mutexes.is_empty() {
        return Ok(Vec::new());
    }
    // A wait for any of several objects does not depend on one of them.
    let is_try = wait.due_100ns.is_some() || (wait.objects.len() > 1 && !wait.is_all);
    for &(_, at) in &mutexes {
        let wish = Wish { lock: lock_at(at), mode: LockMode::Exclusive, is_try };
        k.lock_request(wish, true)?;
    }
    let irql = k.irql();
    Ok(vec![Box::new(Waited { mutexes, is_all: wait.is_all, is_try, irql })])
}

/// A wait on mutexes has ended.
#[derive(Clone, Debug)]
struct Waited {
    /// Each with its index among the objects of the wait.
    mutexes: Vec<(u32, GuestAddr)>,
    is_all: bool,
    is_try: bool,
    irql: Irql,
}
frame!(Waited, |this, k, value| {
    /// `STATUS_WAIT_0` and `STATUS_ABANDONED_WAIT_0` are followed by one status per object.
    const OBJECTS: u64 = 64;
    let abandoned = u64::from(NtStatus::STATUS_ABANDONED.0);
    let index = match value {
        0..OBJECTS => Some(value),
        _ if (abandoned..abandoned + OBJECTS).contains(&value) => Some(value - abandoned),
        _ => None,
    };
    let Some(index) = index else { return Ok(Flow::Return(value)) };
    let thread = k.current_thread().id;
    for &(_, at) in this.mutexes.iter().filter(|(i, _)| this.is_all || u64::from(*i) == index) {
        let wish = Wish { lock: lock_at(at), mode: LockMode::Exclusive, is_try: this.is_try };
        let acquired = k.lock_acquired(wish, this.irql)?;
        // Recursion counts from the first acquisition.
        if k.ke.mutexes.get(&at).is_none_or(|owner| owner.thread != thread) {
            k.ke.mutexes.insert(at, Owner { thread, acquired });
        }
    }
    Ok(Flow::Return(value))
});

#[cfg(test)]
mod tests;
