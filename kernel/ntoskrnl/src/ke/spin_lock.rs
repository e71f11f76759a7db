//! Spin locks. The lock word is in guest memory: 0 is free. Who holds it is the kernel's own note.

use events::{Lock, LockKind, LockMisuse, LockMode, LockStage, Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, exports, frame,
    ke::{State, Wish},
};

exports![
    KeInitializeSpinLock,
    KeAcquireSpinLockRaiseToDpc,
    KeReleaseSpinLock,
    KeAcquireSpinLockAtDpcLevel,
    KeReleaseSpinLockFromDpcLevel,
    KeTryToAcquireSpinLockAtDpcLevel,
    KeAcquireInStackQueuedSpinLock,
    KeAcquireInStackQueuedSpinLockAtDpcLevel,
    KeReleaseInStackQueuedSpinLock,
    KeReleaseInStackQueuedSpinLockFromDpcLevel,
    KeTestSpinLock,
    KeAcquireSpinLockForDpc,
    KeReleaseSpinLockForDpc,
    KeAcquireInStackQueuedSpinLockForDpc,
    KeReleaseInStackQueuedSpinLockForDpc,
];

/// A spin lock is acquired that its owner holds, and so never gets free.
pub(crate) const SPIN_LOCK_ALREADY_OWNED: u32 = 0x0f;
/// A spin lock is released that nobody holds.
pub(crate) const SPIN_LOCK_NOT_OWNED: u32 = 0x10;
/// A lock was used without being initialised.
pub(crate) const SPIN_LOCK_INIT_FAILURE: u32 = 0x81;

/// Who holds a spin lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The thread that ran; a DPC borrows any.
    pub(crate) thread: ThreadId,
    /// The processor: at `DISPATCH_LEVEL` it runs nothing else until the release.
    pub(crate) processor: u8,
    /// Through which routines.
    pub(crate) kind: LockKind,
    /// When.
    pub(crate) acquired: Seq,
}

impl State {
    /// Who holds a spin lock.
    pub(crate) fn spin_lock_holder(&self, at: GuestAddr) -> Option<Holder> {
        self.spin_locks.get(&at).copied()
    }
}

/// A request for a spin lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The lock.
    pub(crate) lock: Lock,
    /// IRQL before the routine raised it.
    pub(crate) irql_before: Irql,
    /// What the routine returns when it has the lock.
    pub(crate) value: u64,
}

/// Initialises a spin lock as free.
#[export(irql = .., ddi = "wdm/nf-wdm-keinitializespinlock",
    irql_note = "the remarks limit it no further")]
fn KeInitializeSpinLock(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    k.write_scalar(lock, 0u64)?;
    k.ke.spin_locks.remove(&lock);
    k.lock_life(Lock { kind: LockKind::SpinLock, at: lock }, LockStage::Initialized)
}

/// Raises to `DISPATCH_LEVEL` and acquires; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquirespinlock",
    written_as = "KeAcquireSpinLock")]
fn KeAcquireSpinLockRaiseToDpc(k: &mut Kernel, lock: GuestAddr) -> CallResult<Flow> {
    let irql_before = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    let lock = Lock { kind: LockKind::SpinLock, at: lock };
    k.acquire_spin_lock(Request { lock, irql_before, value: u64::from(irql_before.0) })
}

/// Releases and lowers to the given level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-kereleasespinlock",
    irql_note = "above DISPATCH_LEVEL when the lock was acquired there, see Remarks")]
fn KeReleaseSpinLock(k: &mut Kernel, lock: GuestAddr, level: u8) -> CallResult<()> {
    k.release_spin_lock(Lock { kind: LockKind::SpinLock, at: lock }, Irql(level))?;
    k.set_irql(Irql(level));
    Ok(())
}

/// Acquires without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-keacquirespinlockatdpclevel",
    irql_note = "the page says IRQL >= DISPATCH_LEVEL in Remarks")]
fn KeAcquireSpinLockAtDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<Flow> {
    let lock = Lock { kind: LockKind::SpinLock, at: lock };
    let irql_before = k.irql();
    k.acquire_spin_lock(Request { lock, irql_before, value: 0 })
}

/// Releases without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-kereleasespinlockfromdpclevel",
    irql_note = "above DISPATCH_LEVEL when the lock was acquired there")]
fn KeReleaseSpinLockFromDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    k.release_spin_lock(Lock { kind: LockKind::SpinLock, at: lock }, irql)
}

/// Acquires if the lock is free; says whether it did.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ketrytoacquirespinlockatdpclevel")]
fn KeTryToAcquireSpinLockAtDpcLevel(k: &mut Kernel, lock: GuestAddr) -> CallResult<bool> {
    let lock = Lock { kind: LockKind::SpinLock, at: lock };
    request(k, lock, true)?;
    if k.read_scalar::<u64>(lock.at)? != 0 {
        return Ok(false);
    }
    let irql_before = k.irql();
    own(k, Request { lock, irql_before, value: 1 }, true)?;
    Ok(true)
}

/// Raises to `DISPATCH_LEVEL` and acquires. The handle keeps lock and old level:
/// `KLOCK_QUEUE_HANDLE`, with the lock at 8 and the level at 10h.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquireinstackqueuedspinlock")]
fn KeAcquireInStackQueuedSpinLock(
    k: &mut Kernel,
    lock: GuestAddr,
    handle: GuestAddr,
) -> CallResult<Flow> {
    let irql_before = k.irql();
    write_handle(k, lock, handle)?;
    k.set_irql(Irql::DISPATCH_LEVEL);
    let lock = Lock { kind: LockKind::QueuedSpinLock, at: lock };
    k.acquire_spin_lock(Request { lock, irql_before, value: 0 })
}

/// Acquires without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-keacquireinstackqueuedspinlockatdpclevel")]
fn KeAcquireInStackQueuedSpinLockAtDpcLevel(
    k: &mut Kernel,
    lock: GuestAddr,
    handle: GuestAddr,
) -> CallResult<Flow> {
    let irql_before = k.irql();
    write_handle(k, lock, handle)?;
    let lock = Lock { kind: LockKind::QueuedSpinLock, at: lock };
    k.acquire_spin_lock(Request { lock, irql_before, value: 0 })
}

fn write_handle(k: &mut Kernel, lock: GuestAddr, handle: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    k.write_scalar(handle, 0u64)?;
    k.write_scalar(handle.add(8), lock.0)?;
    k.write_scalar(handle.add(0x10), irql.0)
}

/// Releases and lowers to the level kept in the handle.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleaseinstackqueuedspinlock",
    irql_note = "the remarks limit it no further")]
fn KeReleaseInStackQueuedSpinLock(k: &mut Kernel, handle: GuestAddr) -> CallResult<()> {
    let at = GuestAddr(k.read_scalar(handle.add(8))?);
    let level: u8 = k.read_scalar(handle.add(0x10))?;
    k.release_spin_lock(Lock { kind: LockKind::QueuedSpinLock, at }, Irql(level))?;
    k.set_irql(Irql(level));
    Ok(())
}

/// Releases without changing the level.
#[export(irql = DISPATCH_LEVEL..,
    ddi = "wdm/nf-wdm-kereleaseinstackqueuedspinlockfromdpclevel")]
fn KeReleaseInStackQueuedSpinLockFromDpcLevel(k: &mut Kernel, handle: GuestAddr) -> CallResult<()> {
    let at = GuestAddr(k.read_scalar(handle.add(8))?);
    let irql = k.irql();
    k.release_spin_lock(Lock { kind: LockKind::QueuedSpinLock, at }, irql)
}

/// Says whether the lock is free.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ketestspinlock",
    irql_note = "the page: callers must be at IRQL = DISPATCH_LEVEL")]
fn KeTestSpinLock(k: &mut Kernel, lock: GuestAddr) -> CallResult<bool> {
    Ok(k.read_scalar::<u64>(lock)? == 0)
}

/// Acquires in a DPC, threaded or not; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquirespinlockfordpc")]
fn KeAcquireSpinLockForDpc(k: &mut Kernel, lock: GuestAddr) -> CallResult<Flow> {
    KeAcquireSpinLockRaiseToDpc(k, lock)
}

/// Releases in a DPC, threaded or not, and restores the level.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleasespinlockfordpc")]
fn KeReleaseSpinLockForDpc(k: &mut Kernel, lock: GuestAddr, level: u8) -> CallResult<()> {
    KeReleaseSpinLock(k, lock, level)
}

/// Acquires in a DPC, threaded or not.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keacquireinstackqueuedspinlockfordpc")]
fn KeAcquireInStackQueuedSpinLockForDpc(
    k: &mut Kernel,
    lock: GuestAddr,
    handle: GuestAddr,
) -> CallResult<Flow> {
    KeAcquireInStackQueuedSpinLock(k, lock, handle)
}

/// Releases in a DPC, threaded or not, and restores the level.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereleaseinstackqueuedspinlockfordpc")]
fn KeReleaseInStackQueuedSpinLockForDpc(k: &mut Kernel, handle: GuestAddr) -> CallResult<()> {
    KeReleaseInStackQueuedSpinLock(k, handle)
}

impl Kernel {
    /// Acquires a spin lock, spinning while another processor holds it.
    pub(crate) fn acquire_spin_lock(&mut self, wish: Request) -> CallResult<Flow> {
        request(self, wish.lock, false)?;
        acquire(self, wish)
    }

    /// Releases a spin lock; the caller sets the level to `irql_after` then.
    pub(crate) fn release_spin_lock(&mut self, lock: Lock, irql_after: Irql) -> CallResult<()> {
        let holder = self.ke.spin_lock_holder(lock.at);
        if self.read_scalar::<u64>(lock.at)? == 0 {
            return Err(self.lock_fault(lock, LockMisuse::NotHeld, None, SPIN_LOCK_NOT_OWNED));
        }
        if let Some(holder) = holder {
            let acquired = Some(holder.acquired);
            if holder.kind != lock.kind {
                let misuse = LockMisuse::OtherForm;
                return Err(self.lock_fault(lock, misuse, acquired, SPIN_LOCK_NOT_OWNED));
            }
            // While it is held, its processor runs nothing else. Windows notices nothing.
            let core = self.core();
            if holder.processor != core.index && Some(holder.thread) != core.thread {
                self.lock_misuse(lock, LockMisuse::HeldByAnother, acquired)?;
            }
        }
        self.lock_released(lock, LockMode::Exclusive, irql_after)?;
        self.ke.spin_locks.remove(&lock.at);
        self.write_scalar(lock.at, 0u64)
    }
}

fn request(k: &mut Kernel, lock: Lock, is_try: bool) -> CallResult<()> {
    // At DISPATCH_LEVEL no APC is delivered.
    k.lock_request(Wish { lock, mode: LockMode::Exclusive, is_try }, true)?;
    if k.memory.undefined(lock.at, 8).is_some() {
        let misuse = LockMisuse::NotInitialized;
        return Err(k.lock_fault(lock, misuse, None, SPIN_LOCK_INIT_FAILURE));
    }
    Ok(())
}

/// A processor that spins for a lock.
#[derive(Clone, Debug)]
struct Spinning {
    wish: Request,
}
frame!(Spinning, |this, k, _| acquire(k, this.wish));

fn acquire(k: &mut Kernel, wish: Request) -> CallResult<Flow> {
    if k.read_scalar::<u64>(wish.lock.at)? == 0 {
        own(k, wish, false)?;
        return Ok(Flow::Return(wish.value));
    }
    if let Some(holder) = k.ke.spin_lock_holder(wish.lock.at)
        && holder.processor == k.core().index
        && k.irql() >= Irql::DISPATCH_LEVEL
    {
        // Nothing else runs on this processor until it stops spinning.
        let acquired = Some(holder.acquired);
        let misuse = LockMisuse::AlreadyHeld;
        return Err(k.lock_fault(wish.lock, misuse, acquired, SPIN_LOCK_ALREADY_OWNED));
    }
    Ok(Flow::spin(wish.lock.at, Spinning { wish }))
}

fn own(k: &mut Kernel, wish: Request, is_try: bool) -> CallResult<()> {
    let Request { lock, irql_before, .. } = wish;
    let request = Wish { lock, mode: LockMode::Exclusive, is_try };
    let acquired = k.lock_acquired(request, irql_before)?;
    let thread = k.core().thread.unwrap_or_default();
    let processor = k.core().index;
    k.write_scalar(lock.at, 1u64)?;
    k.ke.spin_locks.insert(lock.at, Holder { thread, processor, kind: lock.kind, acquired });
    Ok(())
}

#[cfg(test)]
mod tests;
