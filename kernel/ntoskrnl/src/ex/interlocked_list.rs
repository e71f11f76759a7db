//! Interlocked operations on linked lists and numbers, under a spin lock of the driver.
//!
//! They may be called at any level; the lock is held for the operation alone, so it never stays
//! taken.

use guest_memory::GuestAddr;
use nt_abi::structures::LIST_ENTRY;
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

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
const SPIN_LOCK_ALREADY_OWNED: u32 = 0x0f;

/// Inserts in front; returns the entry that was first, or null if the list was empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedinsertheadlist")]
fn ExInterlockedInsertHeadList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<GuestAddr> {
    touch_lock(k, lock)?;
    let first = GuestAddr(k.get(head, LIST_ENTRY::Flink)?);
    check_link(k, LIST_ENTRY::Blink, first, head)?;
    link(k, head, entry, first)?;
    Ok(if first == head { GuestAddr::NULL } else { first })
}

/// Inserts at the end; returns the entry that was last, or null if the list was empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedinserttaillist")]
fn ExInterlockedInsertTailList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<GuestAddr> {
    touch_lock(k, lock)?;
    let last = GuestAddr(k.get(head, LIST_ENTRY::Blink)?);
    check_link(k, LIST_ENTRY::Flink, last, head)?;
    link(k, last, entry, head)?;
    Ok(if last == head { GuestAddr::NULL } else { last })
}

/// Removes the first entry; null if the list is empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedremoveheadlist")]
fn ExInterlockedRemoveHeadList(
    k: &mut Kernel,
    head: GuestAddr,
    lock: GuestAddr,
) -> CallResult<GuestAddr> {
    touch_lock(k, lock)?;
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

/// Inserts in front of a singly linked list; returns the entry that was first.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpushentrylist")]
fn ExInterlockedPushEntryList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    lock: GuestAddr,
) -> CallResult<u64> {
    touch_lock(k, lock)?;
    let first: u64 = k.read_scalar(head)?;
    k.write_scalar(entry, first)?;
    k.write_scalar(head, entry.0)?;
    Ok(first)
}

/// Removes the first entry of a singly linked list; null if it is empty.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpopentrylist")]
fn ExInterlockedPopEntryList(k: &mut Kernel, head: GuestAddr, lock: GuestAddr) -> CallResult<u64> {
    touch_lock(k, lock)?;
    let first: u64 = k.read_scalar(head)?;
    if first != 0 {
        let second: u64 = k.read_scalar(GuestAddr(first))?;
        k.write_scalar(head, second)?;
    }
    Ok(first)
}

/// Adds; returns the old value.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedaddulong")]
fn ExInterlockedAddUlong(
    k: &mut Kernel,
    at: GuestAddr,
    increment: u32,
    lock: GuestAddr,
) -> CallResult<u32> {
    touch_lock(k, lock)?;
    let old: u32 = k.read_scalar(at)?;
    k.write_scalar(at, old.wrapping_add(increment))?;
    Ok(old)
}

/// Adds 64-bit numbers; returns the old value.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedaddlargeinteger")]
fn ExInterlockedAddLargeInteger(
    k: &mut Kernel,
    at: GuestAddr,
    increment: u64,
    lock: GuestAddr,
) -> CallResult<u64> {
    touch_lock(k, lock)?;
    let old: u64 = k.read_scalar(at)?;
    k.write_scalar(at, old.wrapping_add(increment))?;
    Ok(old)
}

/// Acquires and releases the lock at once: nothing runs in between. A lock that is held on this
/// processor would be waited for in vain.
fn touch_lock(k: &mut Kernel, lock: GuestAddr) -> CallResult<()> {
    if k.read_scalar::<u64>(lock)? != 0 {
        return Err(Stop::bug_check(SPIN_LOCK_ALREADY_OWNED, [lock.0, 0, 0, 0]));
    }
    k.write_scalar(lock, 0_u64)
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
}
