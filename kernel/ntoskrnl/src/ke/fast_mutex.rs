//! Fast mutexes: `FAST_MUTEX` holds a count (1 is free), an owner and an event. Guarded mutexes are
//! made alike.

use events::{IrqlLimit, Lock, LockKind, LockMisuse, LockMode, LockStage, Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql,
    structures::ke::{DISPATCHER_HEADER, FAST_MUTEX, KEVENT},
};
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, Wait, exports, frame,
    ke::{DispatcherType, Wish},
};

exports![
    ExAcquireFastMutex,
    ExReleaseFastMutex,
    ExTryToAcquireFastMutex,
    ExAcquireFastMutexUnsafe,
    ExReleaseFastMutexUnsafe,
];

/// `KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE`: "a lock was released by a thread that did not own the
/// lock".
const INVALID_LOCK_RELEASE: u32 = 0x162;
/// `MUTEX_ALREADY_OWNED`.
const MUTEX_ALREADY_OWNED: u32 = 0xbf;

/// Through which routines a mutex is held; those that release it must be of the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `ExAcquireFastMutex`: the level is raised to `APC_LEVEL`.
    Fast,
    /// `ExAcquireFastMutexUnsafe`: nothing else happens.
    FastUnsafe,
    /// `KeAcquireGuardedMutex`: inside a guarded region.
    Guarded,
    /// `KeAcquireGuardedMutexUnsafe`: nothing else happens.
    GuardedUnsafe,
}

impl Form {
    fn kind(self) -> LockKind {
        match self {
            Self::Fast | Self::FastUnsafe => LockKind::FastMutex,
            Self::Guarded | Self::GuardedUnsafe => LockKind::GuardedMutex,
        }
    }
}

impl Form {
    /// Whether its routine releases what was acquired in a form.
    fn fits(self, acquired: Self) -> bool {
        // The page of `KeAcquireGuardedMutexUnsafe` names this pair too; it leaves the caller in
        // its guarded region.
        self == acquired || (acquired == Self::Guarded && self == Self::GuardedUnsafe)
    }
}

/// Who holds a mutex.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    thread: ThreadId,
    form: Form,
    acquired: Seq,
}

/// Raises to `APC_LEVEL` and acquires.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquirefastmutex")]
fn ExAcquireFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    let irql_before = k.irql();
    request(k, mutex, Form::Fast, false)?;
    k.set_irql(Irql::APC_LEVEL);
    acquire(k, Acquire { mutex, form: Form::Fast, irql_before, is_try: false })
}

/// Releases and restores the level.
#[export(irql = APC_LEVEL, ddi = "wdm/nf-wdm-exreleasefastmutex")]
fn ExReleaseFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    let old: u32 = k.get(mutex, FAST_MUTEX::OldIrql)?;
    let irql_after = Irql(u8::try_from(old).unwrap_or_default());
    release(k, mutex, Form::Fast, irql_after)?;
    k.set_irql(irql_after);
    Ok(())
}

/// Acquires if the mutex is free; the level is raised only then.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-extrytoacquirefastmutex")]
fn ExTryToAcquireFastMutex(k: &mut Kernel, mutex: GuestAddr) -> CallResult<bool> {
    request(k, mutex, Form::Fast, true)?;
    if k.get(mutex, FAST_MUTEX::Count)? != 1 {
        return Ok(false);
    }
    let irql_before = k.irql();
    k.set_irql(Irql::APC_LEVEL);
    own(k, Acquire { mutex, form: Form::Fast, irql_before, is_try: true })?;
    Ok(true)
}

/// Acquires without changing the level.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exacquirefastmutexunsafe",
    irql_when = "PASSIVE_LEVEL only inside a critical region")]
fn ExAcquireFastMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Flow> {
    check_apcs_disabled(k, "wdm/nf-wdm-exacquirefastmutexunsafe")?;
    request(k, mutex, Form::FastUnsafe, false)?;
    let irql_before = k.irql();
    acquire(k, Acquire { mutex, form: Form::FastUnsafe, irql_before, is_try: false })
}

/// Releases without changing the level.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exreleasefastmutexunsafe",
    irql_when = "PASSIVE_LEVEL only inside a critical region")]
fn ExReleaseFastMutexUnsafe(k: &mut Kernel, mutex: GuestAddr) -> CallResult<()> {
    check_apcs_disabled(k, "wdm/nf-wdm-exreleasefastmutexunsafe")?;
    let irql_after = k.irql();
    release(k, mutex, Form::FastUnsafe, irql_after)
}

/// "Only if either of the following is true: the code runs at APC_LEVEL; the code is wrapped
/// between calls to KeEnterCriticalRegion and KeLeaveCriticalRegion."
fn check_apcs_disabled(k: &mut Kernel, ddi: &'static str) -> CallResult<()> {
    let thread = k.current_thread();
    if thread.critical_regions > 0 || thread.guarded_regions > 0 {
        return Ok(());
    }
    k.check_irql(IrqlLimit { min: Irql::APC_LEVEL, max: Irql::APC_LEVEL }, ddi)
}

/// An acquisition, possibly waiting for the owner.
#[derive(Clone, Debug)]
pub(super) struct Acquire {
    pub(super) mutex: GuestAddr,
    pub(super) form: Form,
    /// The level to restore at release.
    pub(super) irql_before: Irql,
    pub(super) is_try: bool,
}
frame!(Acquire, |this, k, _| acquire(k, this));

/// A driver asks for a mutex: reports it, and whether it can be one.
pub(super) fn request(
    k: &mut Kernel,
    mutex: GuestAddr,
    form: Form,
    is_try: bool,
) -> CallResult<()> {
    let lock = Lock { kind: form.kind(), at: mutex };
    let are_apcs_disabled = match form {
        Form::Fast | Form::Guarded => true,
        Form::FastUnsafe => k.are_normal_apcs_disabled(),
        Form::GuardedUnsafe => k.are_all_apcs_disabled(),
    };
    k.lock_request(Wish { lock, mode: LockMode::Exclusive, is_try }, are_apcs_disabled)?;
    if !is_initialized(k, mutex)? {
        return Err(k.lock_fault(lock, LockMisuse::NotInitialized, None, MUTEX_ALREADY_OWNED));
    }
    Ok(())
}

/// The initialising routine, which is inline code, makes a synchronisation event of the event.
fn is_initialized(k: &mut Kernel, mutex: GuestAddr) -> CallResult<bool> {
    if k.memory.undefined(mutex, 4).is_some() {
        return Ok(false);
    }
    let event = mutex.add(FAST_MUTEX::Event.offset_bytes);
    let kind = k.get(event, DISPATCHER_HEADER::Type)?;
    let words = k.get(event, DISPATCHER_HEADER::Size)?;
    let is_event = u64::from(words) * 4 == KEVENT::SIZE_BYTES
        && kind == DispatcherType::SynchronizationEvent.number();
    Ok(is_event && k.memory.undefined(event, 8).is_none())
}

pub(super) fn initialize(k: &mut Kernel, mutex: GuestAddr, kind: LockKind) -> CallResult<()> {
    k.set(mutex, FAST_MUTEX::Count, 1)?;
    k.set(mutex, FAST_MUTEX::Owner, 0)?;
    k.set(mutex, FAST_MUTEX::Contention, 0)?;
    k.set(mutex, FAST_MUTEX::OldIrql, 0)?;
    let event = mutex.add(FAST_MUTEX::Event.offset_bytes);
    k.init_dispatcher(event, DispatcherType::SynchronizationEvent, KEVENT::SIZE_BYTES, 0)?;
    k.ke.fast_mutexes.remove(&mutex);
    k.lock_life(Lock { kind, at: mutex }, LockStage::Initialized)
}

/// Whether the mutex is held, and by whom as far as the kernel knows.
fn owner(k: &mut Kernel, mutex: GuestAddr) -> CallResult<Option<Owner>> {
    let is_held = k.get(mutex, FAST_MUTEX::Count)? != 1;
    Ok(k.ke.fast_mutexes.get(&mutex).copied().filter(|_| is_held))
}

pub(super) fn acquire(k: &mut Kernel, request: Acquire) -> CallResult<Flow> {
    if k.get(request.mutex, FAST_MUTEX::Count)? == 1 {
        own(k, request)?;
        return Ok(Flow::Return(0));
    }
    if let Some(owner) = owner(k, request.mutex)?
        && Some(owner.thread) == k.core().thread
    {
        let lock = Lock { kind: request.form.kind(), at: request.mutex };
        let acquired = Some(owner.acquired);
        return Err(k.lock_fault(lock, LockMisuse::AlreadyHeld, acquired, MUTEX_ALREADY_OWNED));
    }
    let contention = k.get(request.mutex, FAST_MUTEX::Contention)?;
    k.set(request.mutex, FAST_MUTEX::Contention, contention.wrapping_add(1))?;
    let object = request.mutex.add(FAST_MUTEX::Event.offset_bytes);
    let wait = Wait { objects: vec![object], is_all: false, due_100ns: None, is_alertable: false };
    Ok(Flow::wait(wait, request))
}

pub(super) fn own(k: &mut Kernel, request: Acquire) -> CallResult<()> {
    let Acquire { mutex, form, irql_before, is_try } = request;
    let lock = Lock { kind: form.kind(), at: mutex };
    let wish = Wish { lock, mode: LockMode::Exclusive, is_try };
    let acquired = k.lock_acquired(wish, irql_before)?;
    let thread = k.current_thread().id;
    let object = k.current_thread_object();
    k.set(mutex, FAST_MUTEX::Count, 0)?;
    k.set(mutex, FAST_MUTEX::Owner, object.0)?;
    if form == Form::Fast {
        k.set(mutex, FAST_MUTEX::OldIrql, u32::from(irql_before.0))?;
    }
    k.ke.fast_mutexes.insert(mutex, Owner { thread, form, acquired });
    Ok(())
}

pub(super) fn release(
    k: &mut Kernel,
    mutex: GuestAddr,
    form: Form,
    irql_after: Irql,
) -> CallResult<()> {
    let lock = Lock { kind: form.kind(), at: mutex };
    let Some(owner) = owner(k, mutex)? else {
        return Err(misused(k, lock, LockMisuse::NotHeld, None));
    };
    let misuse = if Some(owner.thread) != k.core().thread {
        Some(LockMisuse::HeldByAnother)
    } else if !form.fits(owner.form) {
        Some(LockMisuse::OtherForm)
    } else {
        None
    };
    if let Some(misuse) = misuse {
        return Err(misused(k, lock, misuse, Some(owner.acquired)));
    }
    k.lock_released(lock, LockMode::Exclusive, irql_after)?;
    k.ke.fast_mutexes.remove(&mutex);
    k.set(mutex, FAST_MUTEX::Owner, 0)?;
    k.set(mutex, FAST_MUTEX::Count, 1)?;
    k.signal(mutex.add(FAST_MUTEX::Event.offset_bytes), 1)
}

fn misused(k: &mut Kernel, lock: Lock, misuse: LockMisuse, acquired: Option<Seq>) -> Stop {
    k.lock_fault(lock, misuse, acquired, INVALID_LOCK_RELEASE)
}

#[cfg(test)]
mod tests;
