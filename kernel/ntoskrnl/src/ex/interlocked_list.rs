//! Interlocked operations on linked lists and numbers, under a spin lock of the driver.
//!
//! They may be called at any level: each raises to `HIGH_LEVEL`, so that lists, entries and lock
//! must be resident, and holds the lock for the operation alone.

use events::{Lock, LockKind, LockMisuse};
use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::LIST_ENTRY};
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, exports, frame,
    ke::spin_lock::{SPIN_LOCK_ALREADY_OWNED, SPIN_LOCK_INIT_FAILURE},
};

exports![
    ExInterlockedInsertHeadList,
    ExInterlockedInsertTailList,
    ExInterlockedRemoveHeadList,
    ExInterlockedPushEntryList,
    ExInterlockedPopEntryList,
    ExInterlockedAddUlong,
    ExInterlockedAddLargeInteger,
];

/// `KERNEL_SECURITY_CHECK_FAILURE` with "a LIST_ENTRY was corrupted".
const SECURITY_CHECK: u32 = 0x139;
const CORRUPT_LIST_ENTRY: u64 = 3;

/// What is done under the lock, on this list or number.
#[derive(Clone, Copy, Debug)]
enum Operation {
    InsertHead { entry: GuestAddr },
    InsertTail { entry: GuestAddr },
    RemoveHead,
    Push { entry: GuestAddr },
    Pop,
    AddUlong { increment: u32 },
    AddLargeInteger { increment: u64 },
}

/// Inserts in front; returns the entry that was first, or null if the list was empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedinsertheadlist",
    irql_when = "the list and the spin lock are resident")]
fn ExInterlockedInsertHeadList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at: head, operation: Operation::InsertHead { entry } })
}

/// Inserts at the end; returns the entry that was last, or null if the list was empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedinserttaillist",
    irql_when = "the list and the spin lock are resident")]
fn ExInterlockedInsertTailList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at: head, operation: Operation::InsertTail { entry } })
}

/// Removes the first entry; null if the list is empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedremoveheadlist",
    irql_when = "the list and the spin lock are resident")]
fn ExInterlockedRemoveHeadList(
    k: &mut Kernel,
    head: GuestAddr,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at: head, operation: Operation::RemoveHead })
}

/// Inserts in front of a singly linked list; returns the entry that was first.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpushentrylist",
    irql_when = "the list and the spin lock are resident")]
fn ExInterlockedPushEntryList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at: head, operation: Operation::Push { entry } })
}

/// Removes the first entry of a singly linked list; null if it is empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpopentrylist",
    irql_when = "the list and the spin lock are resident")]
fn ExInterlockedPopEntryList(k: &mut Kernel, head: GuestAddr, lock: GuestAddr) -> CallResult<Flow> {
    run(k, Locked { lock, at: head, operation: Operation::Pop })
}

/// Adds; returns the old value.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedaddulong",
    irql_when = "the number and the spin lock are resident")]
fn ExInterlockedAddUlong(
    k: &mut Kernel,
    at: GuestAddr,
    increment: u32,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at, operation: Operation::AddUlong { increment } })
}

/// Adds 64-bit numbers; returns the old value.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedaddlargeinteger",
    irql_when = "the number and the spin lock are resident")]
fn ExInterlockedAddLargeInteger(
    k: &mut Kernel,
    at: GuestAddr,
    increment: u64,
    lock: GuestAddr,
) -> CallResult<Flow> {
    run(k, Locked { lock, at, operation: Operation::AddLargeInteger { increment } })
}

/// An operation that needs its lock.
#[derive(Clone, Copy, Debug)]
struct Locked {
    lock: GuestAddr,
    at: GuestAddr,
    operation: Operation,
}
frame!(Locked, |this, k, _| run(k, this));

/// Carries the operation out, or spins while another processor holds the lock. Nothing runs between
/// its acquisition and its release.
fn run(k: &mut Kernel, this: Locked) -> CallResult<Flow> {
    let irql = k.irql();
    k.set_irql(irql.max(Irql::HIGH_LEVEL));
    let done = attempt(k, this);
    if !matches!(done, Err(Stop::Violation)) {
        k.set_irql(irql);
    }
    match done? {
        Some(value) => Ok(Flow::Return(value)),
        None => Ok(Flow::spin(this.lock, this)),
    }
}

/// The result of the operation; `None` while another processor holds the lock.
fn attempt(k: &mut Kernel, this: Locked) -> CallResult<Option<u64>> {
    let Locked { lock, at, operation } = this;
    if k.read_scalar::<u64>(lock)? != 0 {
        let named = Lock { kind: LockKind::SpinLock, at: lock };
        if k.memory.undefined(lock, 8).is_some() {
            let misuse = LockMisuse::NotInitialized;
            return Err(k.lock_fault(named, misuse, None, SPIN_LOCK_INIT_FAILURE));
        }
        // A lock that is held on this processor would be waited for in vain.
        let holder = k.ke.spin_lock_holder(lock);
        if let Some(holder) = holder.filter(|holder| holder.processor == k.core().index) {
            let acquired = Some(holder.acquired);
            let misuse = LockMisuse::AlreadyHeld;
            return Err(k.lock_fault(named, misuse, acquired, SPIN_LOCK_ALREADY_OWNED));
        }
        return Ok(None);
    }
    k.order_acquire(lock);
    let value = match operation {
        Operation::InsertHead { entry } => insert_head(k, at, entry)?.0,
        Operation::InsertTail { entry } => insert_tail(k, at, entry)?.0,
        Operation::RemoveHead => remove_head(k, at)?.0,
        Operation::Push { entry } => push(k, at, entry)?,
        Operation::Pop => pop(k, at)?,
        Operation::AddUlong { increment } => {
            let old: u32 = k.read_scalar(at)?;
            k.write_scalar(at, old.wrapping_add(increment))?;
            u64::from(old)
        }
        Operation::AddLargeInteger { increment } => {
            let old: u64 = k.read_scalar(at)?;
            k.write_scalar(at, old.wrapping_add(increment))?;
            old
        }
    };
    k.write_scalar(lock, 0_u64)?;
    k.order_release(lock);
    Ok(Some(value))
}

fn insert_head(k: &mut Kernel, head: GuestAddr, entry: GuestAddr) -> CallResult<GuestAddr> {
    let first = GuestAddr(k.get(head, LIST_ENTRY::Flink)?);
    check_link(k, LIST_ENTRY::Blink, first, head)?;
    link(k, head, entry, first)?;
    Ok(if first == head { GuestAddr::NULL } else { first })
}

fn insert_tail(k: &mut Kernel, head: GuestAddr, entry: GuestAddr) -> CallResult<GuestAddr> {
    let last = GuestAddr(k.get(head, LIST_ENTRY::Blink)?);
    check_link(k, LIST_ENTRY::Flink, last, head)?;
    link(k, last, entry, head)?;
    Ok(if last == head { GuestAddr::NULL } else { last })
}

fn remove_head(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    let first = GuestAddr(k.get(head, LIST_ENTRY::Flink)?);
    if first == head {
        return Ok(GuestAddr::NULL);
    }
    let second = GuestAddr(k.get(first, LIST_ENTRY::Flink)?);
    check_link(k, LIST_ENTRY::Blink, first, head)?;
    check_link(k, LIST_ENTRY::Blink, second, first)?;
    k.set(head, LIST_ENTRY::Flink, second.0)?;
    k.set(second, LIST_ENTRY::Blink, head.0)?;
    Ok(first)
}

fn push(k: &mut Kernel, head: GuestAddr, entry: GuestAddr) -> CallResult<u64> {
    let first: u64 = k.read_scalar(head)?;
    k.write_scalar(entry, first)?;
    k.write_scalar(head, entry.0)?;
    Ok(first)
}

fn pop(k: &mut Kernel, head: GuestAddr) -> CallResult<u64> {
    let first: u64 = k.read_scalar(head)?;
    if first != 0 {
        let second: u64 = k.read_scalar(GuestAddr(first))?;
        k.write_scalar(head, second)?;
    }
    Ok(first)
}

fn link(k: &mut Kernel, before: GuestAddr, entry: GuestAddr, after: GuestAddr) -> CallResult<()> {
    k.set(entry, LIST_ENTRY::Flink, after.0)?;
    k.set(entry, LIST_ENTRY::Blink, before.0)?;
    k.set(before, LIST_ENTRY::Flink, entry.0)?;
    k.set(after, LIST_ENTRY::Blink, entry.0)
}

/// Neighbours must point at each other, as the kernel checks since Windows 8.
fn check_link(
    k: &mut Kernel,
    field: nt_abi::Field<u64>,
    entry: GuestAddr,
    expected: GuestAddr,
) -> CallResult<()> {
    if k.get(entry, field)? == expected.0 {
        return Ok(());
    }
    Err(Stop::bug_check(SECURITY_CHECK, [CORRUPT_LIST_ENTRY, 0, 0, 0]))
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, bug_check_code, call_by_name, kernel};

    #[test]
    fn a_list_keeps_its_order() {
        let mut k = kernel();
        let lock = block(&mut k, &[0; 8]);
        let head = block(&mut k, &[0; 16]);
        k.write_scalar(GuestAddr(head), head).unwrap();
        k.write_scalar(GuestAddr(head + 8), head).unwrap();
        let [a, b, c] = [(); 3].map(|()| block(&mut k, &[0; 16]));
        let cases = [
            ("ExInterlockedInsertTailList", a, 0),
            ("ExInterlockedInsertTailList", b, a),
            ("ExInterlockedInsertHeadList", c, a),
        ];
        for (name, entry, old) in cases {
            assert_eq!(call_by_name(&mut k, name, &[head, entry, lock]), Ok(old), "{name}");
        }
        for expected in [c, a, b, 0] {
            let removed = call_by_name(&mut k, "ExInterlockedRemoveHeadList", &[head, lock]);
            assert_eq!(removed, Ok(expected));
        }
        k.write_scalar(GuestAddr(head + 8), a).unwrap();
        let corrupt = call_by_name(&mut k, "ExInterlockedInsertTailList", &[head, b, lock]);
        assert_eq!(bug_check_code(corrupt), 0x139);
    }

    #[test]
    fn a_single_list_is_a_stack() {
        let mut k = kernel();
        let (lock, head) = (block(&mut k, &[0; 8]), block(&mut k, &[0; 8]));
        let [a, b] = [(); 2].map(|()| block(&mut k, &[0xee; 8]));
        let push = "ExInterlockedPushEntryList";
        assert_eq!(call_by_name(&mut k, push, &[head, a, lock]), Ok(0));
        assert_eq!(call_by_name(&mut k, push, &[head, b, lock]), Ok(a));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(b)), Ok(a));
        for expected in [b, a, 0] {
            let popped = call_by_name(&mut k, "ExInterlockedPopEntryList", &[head, lock]);
            assert_eq!(popped, Ok(expected));
        }
    }

    #[test]
    fn sums_return_the_old_number_and_wrap() {
        let mut k = kernel();
        let lock = block(&mut k, &[0; 8]);
        let at = block(&mut k, &u64::MAX.to_le_bytes());
        let long = "ExInterlockedAddLargeInteger";
        assert_eq!(call_by_name(&mut k, long, &[at, 3, lock]), Ok(u64::MAX));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(at)), Ok(2));
        k.write_scalar(GuestAddr(at), 7_u32).unwrap();
        let minus_two = u64::from(u32::MAX) - 1;
        assert_eq!(call_by_name(&mut k, "ExInterlockedAddUlong", &[at, minus_two, lock]), Ok(7));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(at)), Ok(5));
        // Its own processor holds the lock: nobody is left to release it.
        call_by_name(&mut k, "KeAcquireSpinLockAtDpcLevel", &[lock]).unwrap();
        let owned = call_by_name(&mut k, "ExInterlockedAddUlong", &[at, 1, lock]);
        assert_eq!(bug_check_code(owned), 0x0f);
    }
}
