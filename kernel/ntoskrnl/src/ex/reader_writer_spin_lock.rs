//! Reader/writer spin locks: `EX_SPIN_LOCK`, a number that its driver initialises to zero.
//!
//! Source: "Reader/Writer Spin Locks". While a writer waits, no new reader gets the lock. Neither
//! access may be acquired recursively.

use events::{Lock, LockKind, LockMisuse, LockMode, LockStage, Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, exports, frame,
    ke::{
        Wish,
        spin_lock::{SPIN_LOCK_ALREADY_OWNED, SPIN_LOCK_INIT_FAILURE, SPIN_LOCK_NOT_OWNED},
    },
};

exports![
    ExAcquireSpinLockExclusive,
    ExAcquireSpinLockExclusiveAtDpcLevel,
    ExAcquireSpinLockShared,
    ExAcquireSpinLockSharedAtDpcLevel,
    ExTryAcquireSpinLockExclusiveAtDpcLevel,
    ExTryAcquireSpinLockSharedAtDpcLevel,
    ExTryConvertSharedSpinLockExclusive,
    ExReleaseSpinLockExclusive,
    ExReleaseSpinLockExclusiveFromDpcLevel,
    ExReleaseSpinLockShared,
    ExReleaseSpinLockSharedFromDpcLevel,
];

/// The lock's value: a writer owns it.
const WRITER: u32 = 1 << 31;
/// The lock's value: a writer waits. Below it the number of readers.
const WRITER_WAITS: u32 = 1 << 30;

/// Who holds the lock.
#[derive(Clone, Copy, Debug)]
struct Holder {
    processor: u8,
    thread: ThreadId,
    acquired: Seq,
}

/// What is known of one lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    list: Vec<Holder>,
    is_exclusive: bool,
    waiting_writers: u32,
}

impl Holders {
    fn value(&self) -> u32 {
        let readers = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let held = if self.is_exclusive { WRITER } else { readers };
        if self.waiting_writers > 0 { held | WRITER_WAITS } else { held }
    }
}

/// A request, with what its routine returns.
#[derive(Clone, Copy, Debug)]
struct Request {
    wish: Wish,
    irql_before: Irql,
    value: u64,
}

fn lock_at(at: GuestAddr) -> Lock {
    Lock { kind: LockKind::ReaderWriterSpinLock, at }
}

/// What is known of the lock at an address. A driver may have initialised it anew.
fn holders(k: &mut Kernel, at: GuestAddr) -> CallResult<&mut Holders> {
    let value: u32 = k.read_scalar(at)?;
    let known = k.ex.reader_writer_locks.entry(at).or_default();
    if value == 0 && known.value() != 0 {
        *known = Holders::default();
    }
    Ok(known)
}

fn show(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let value = k.ex.reader_writer_locks.get(&at).map_or(0, Holders::value);
    if value == 0 {
        k.ex.reader_writer_locks.remove(&at);
    }
    k.write_scalar(at, value)
}

/// Asks for the lock without changing the level.
fn begin(k: &mut Kernel, request: Request) -> CallResult<()> {
    let lock = request.wish.lock;
    k.lock_request(request.wish, true)?;
    if k.memory.undefined(lock.at, 4).is_some() {
        let misuse = LockMisuse::NotInitialized;
        return Err(k.lock_fault(lock, misuse, None, SPIN_LOCK_INIT_FAILURE));
    }
    Ok(())
}

/// Takes the lock if nobody is in the way; says whether it did.
fn take(k: &mut Kernel, request: Request, is_waiting: bool) -> CallResult<bool> {
    let Request { wish: Wish { lock, mode, is_try }, irql_before, .. } = request;
    let processor = k.core().index;
    let known = holders(k, lock.at)?;
    let own = known.list.iter().find(|holder| holder.processor == processor);
    if let Some(acquired) = own.map(|holder| holder.acquired).filter(|_| !is_try) {
        // "Recursive acquisition of a spin lock causes deadlock and is not allowed."
        let misuse = LockMisuse::AlreadyHeld;
        return Err(k.lock_fault(lock, misuse, Some(acquired), SPIN_LOCK_ALREADY_OWNED));
    }
    let is_free = match mode {
        LockMode::Exclusive => known.list.is_empty(),
        LockMode::Shared => !known.is_exclusive && known.waiting_writers == 0,
    };
    if !is_free {
        return Ok(false);
    }
    let acquired = k.lock_acquired(request.wish, irql_before)?;
    let thread = k.core().thread.unwrap_or_default();
    let known = holders(k, lock.at)?;
    known.list.push(Holder { processor, thread, acquired });
    known.is_exclusive = mode == LockMode::Exclusive;
    known.waiting_writers -= u32::from(is_waiting && known.waiting_writers > 0);
    show(k, lock.at)?;
    Ok(true)
}

fn acquire(k: &mut Kernel, request: Request) -> CallResult<Flow> {
    begin(k, request)?;
    if take(k, request, false)? {
        return Ok(Flow::Return(request.value));
    }
    let lock = request.wish.lock;
    let is_writer = request.wish.mode == LockMode::Exclusive;
    holders(k, lock.at)?.waiting_writers += u32::from(is_writer);
    show(k, lock.at)?;
    Ok(Flow::spin(lock.at, Spinning { request }))
}

/// A processor that spins for a lock.
#[derive(Clone, Debug)]
struct Spinning {
    request: Request,
}
frame!(Spinning, |this, k, _| {
    let is_writer = this.request.wish.mode == LockMode::Exclusive;
    if take(k, this.request, is_writer)? {
        return Ok(Flow::Return(this.request.value));
    }
    Ok(Flow::spin(this.request.wish.lock.at, this))
});

fn wish(at: GuestAddr, mode: LockMode, is_try: bool) -> Wish {
    Wish { lock: lock_at(at), mode, is_try }
}

fn raise_and_acquire(k: &mut Kernel, at: GuestAddr, mode: LockMode) -> CallResult<Flow> {
    let irql_before = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    let wish = wish(at, mode, false);
    acquire(k, Request { wish, irql_before, value: u64::from(irql_before.0) })
}

fn acquire_here(k: &mut Kernel, at: GuestAddr, mode: LockMode) -> CallResult<Flow> {
    let irql_before = k.irql();
    acquire(k, Request { wish: wish(at, mode, false), irql_before, value: 0 })
}

fn try_here(k: &mut Kernel, at: GuestAddr, mode: LockMode) -> CallResult<bool> {
    let irql_before = k.irql();
    let request = Request { wish: wish(at, mode, true), irql_before, value: 1 };
    begin(k, request)?;
    take(k, request, false)
}

/// Raises to `DISPATCH_LEVEL` and acquires for writing; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirespinlockexclusive")]
fn ExAcquireSpinLockExclusive(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    raise_and_acquire(k, at, LockMode::Exclusive)
}

/// Acquires for writing without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exacquirespinlockexclusiveatdpclevel")]
fn ExAcquireSpinLockExclusiveAtDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    acquire_here(k, at, LockMode::Exclusive)
}

/// Raises to `DISPATCH_LEVEL` and acquires for reading; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exacquirespinlockshared",
    irql_note = "Remarks: on entry, the caller must be running at IRQL <= DISPATCH_LEVEL")]
fn ExAcquireSpinLockShared(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    raise_and_acquire(k, at, LockMode::Shared)
}

/// Acquires for reading without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exacquirespinlocksharedatdpclevel")]
fn ExAcquireSpinLockSharedAtDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    acquire_here(k, at, LockMode::Shared)
}

/// Acquires for writing if that is possible at once; says whether it did.
#[export(irql = DISPATCH_LEVEL..,
    ddi = "wdm/nf-wdm-extryacquirespinlockexclusiveatdpclevel")]
fn ExTryAcquireSpinLockExclusiveAtDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    try_here(k, at, LockMode::Exclusive)
}

/// Acquires for reading if that is possible at once; says whether it did.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-extryacquirespinlocksharedatdpclevel")]
fn ExTryAcquireSpinLockSharedAtDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    try_here(k, at, LockMode::Shared)
}

/// Makes a writer of the reader, unless there are other readers or a writer waits.
#[export(irql = DISPATCH_LEVEL, ddi = "wdm/nf-wdm-extryconvertsharedspinlockexclusive")]
fn ExTryConvertSharedSpinLockExclusive(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    let processor = k.core().index;
    let known = holders(k, at)?;
    let is_exclusive = known.is_exclusive;
    let own = known.list.iter().find(|holder| holder.processor == processor).copied();
    let is_alone = known.list.len() == 1 && known.waiting_writers == 0;
    // "The caller must already own this spin lock for shared access."
    let misuse = match own {
        None => Some(LockMisuse::NotHeld),
        Some(_) if is_exclusive => Some(LockMisuse::OtherForm),
        Some(_) => None,
    };
    if let Some(misuse) = misuse {
        let acquired = own.map(|holder| holder.acquired);
        return Err(k.lock_fault(lock_at(at), misuse, acquired, SPIN_LOCK_NOT_OWNED));
    }
    if !is_alone {
        return Ok(false);
    }
    k.lock_life(lock_at(at), LockStage::Exclusive)?;
    k.order_acquire(at);
    holders(k, at)?.is_exclusive = true;
    show(k, at)?;
    Ok(true)
}

fn release(k: &mut Kernel, at: GuestAddr, mode: LockMode, irql_after: Irql) -> CallResult<()> {
    let (lock, processor) = (lock_at(at), k.core().index);
    let known = holders(k, at)?;
    let is_form = (mode == LockMode::Exclusive) == known.is_exclusive;
    let first = known.list.first().copied();
    let own = known.list.iter().position(|holder| holder.processor == processor);
    let Some(first) = first else {
        return Err(k.lock_fault(lock, LockMisuse::NotHeld, None, SPIN_LOCK_NOT_OWNED));
    };
    let acquired = Some(first.acquired);
    if !is_form {
        return Err(k.lock_fault(lock, LockMisuse::OtherForm, acquired, SPIN_LOCK_NOT_OWNED));
    }
    // Windows counts readers; it does not know them.
    if own.is_none() && Some(first.thread) != k.core().thread {
        k.lock_misuse(lock, LockMisuse::HeldByAnother, acquired)?;
    }
    k.lock_released(lock, mode, irql_after)?;
    let known = holders(k, at)?;
    known.list.remove(own.unwrap_or(0));
    known.is_exclusive = false;
    show(k, at)
}

fn release_to(k: &mut Kernel, at: GuestAddr, mode: LockMode, level: u8) -> CallResult<()> {
    release(k, at, mode, Irql(level))?;
    k.set_irql(Irql(level));
    Ok(())
}

/// Releases for a writer and lowers to the given level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exreleasespinlockexclusive",
    irql_note = "Remarks: IRQL = DISPATCH_LEVEL, or above it when the lock was acquired there")]
fn ExReleaseSpinLockExclusive(k: &mut Kernel, at: GuestAddr, level: u8) -> CallResult<()> {
    release_to(k, at, LockMode::Exclusive, level)
}

/// Releases for a writer without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exreleasespinlockexclusivefromdpclevel")]
fn ExReleaseSpinLockExclusiveFromDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    release(k, at, LockMode::Exclusive, irql)
}

/// Releases for a reader and lowers to the given level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exreleasespinlockshared",
    irql_note = "Remarks: IRQL = DISPATCH_LEVEL, or above it when the lock was acquired there")]
fn ExReleaseSpinLockShared(k: &mut Kernel, at: GuestAddr, level: u8) -> CallResult<()> {
    release_to(k, at, LockMode::Shared, level)
}

/// Releases for a reader without changing the level.
#[export(irql = DISPATCH_LEVEL.., ddi = "wdm/nf-wdm-exreleasespinlocksharedfromdpclevel")]
fn ExReleaseSpinLockSharedFromDpcLevel(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let irql = k.irql();
    release(k, at, LockMode::Shared, irql)
}

#[cfg(test)]
mod tests;
