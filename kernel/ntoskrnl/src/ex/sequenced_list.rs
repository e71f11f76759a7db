//! Sequenced singly linked lists. Heads and entries are in guest memory: drivers see them.

use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    structures::ex::{SLIST_ENTRY, SLIST_HEADER},
};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    InitializeSListHead,
    ExQueryDepthSList,
    ExpInterlockedPushEntrySList,
    ExpInterlockedPopEntrySList,
    ExpInterlockedFlushSList,
    ExInterlockedPushEntrySList,
    ExInterlockedPopEntrySList,
    ExInterlockedFlushSList,
];

/// Heads and entries are aligned to this.
const ALIGN_BYTES: u64 = 16;
/// One more push in the sequence number, above the 16 bits of depth.
const SEQUENCE_STEP: u64 = 1 << 16;

/// Makes a head of an empty list.
#[export(irql = .., ddi = "wdm/nf-wdm-initializeslisthead",
    irql_when = "above APC_LEVEL only if the list head is resident")]
fn InitializeSListHead(k: &mut Kernel, head: GuestAddr) -> CallResult<()> {
    aligned(head)?;
    k.set(head, SLIST_HEADER::Alignment, 0)?;
    k.set(head, SLIST_HEADER::Region, 0)
}

/// Number of entries, modulo 2 to the power of 16.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exquerydepthslist")]
fn ExQueryDepthSList(k: &mut Kernel, head: GuestAddr) -> CallResult<u16> {
    Ok(depth_of(k.get(head, SLIST_HEADER::Alignment)?))
}

/// Puts an entry in front; returns the one that was there.
#[export(
    irql = ..,
    ddi = "wdm/nf-wdm-exinterlockedpushentryslist",
    written_as = "ExInterlockedPushEntrySList",
    irql_when = "the list is resident"
)]
fn ExpInterlockedPushEntrySList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
) -> CallResult<GuestAddr> {
    push(k, head, entry)
}

/// Takes the first entry, or null.
#[export(
    irql = ..,
    ddi = "wdm/nf-wdm-exinterlockedpopentryslist",
    written_as = "ExInterlockedPopEntrySList",
    irql_when = "the list is resident"
)]
fn ExpInterlockedPopEntrySList(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    pop(k, head)
}

/// Takes the whole list.
#[export(
    irql = ..,
    ddi = "wdm/nf-wdm-exinterlockedflushslist",
    written_as = "ExInterlockedFlushSList",
    irql_when = "the list is resident"
)]
fn ExpInterlockedFlushSList(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    flush(k, head)
}

/// Puts an entry in front; the lock is not used on this architecture.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpushentryslist",
    irql_when = "the list is resident")]
fn ExInterlockedPushEntrySList(
    k: &mut Kernel,
    head: GuestAddr,
    entry: GuestAddr,
    _lock: GuestAddr,
) -> CallResult<GuestAddr> {
    push(k, head, entry)
}

/// Takes the first entry; the lock is not used on this architecture.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedpopentryslist",
    irql_when = "the list is resident")]
fn ExInterlockedPopEntrySList(
    k: &mut Kernel,
    head: GuestAddr,
    _lock: GuestAddr,
) -> CallResult<GuestAddr> {
    pop(k, head)
}

/// Takes the whole list.
#[export(irql = .., ddi = "wdm/nf-wdm-exinterlockedflushslist",
    irql_when = "the list is resident")]
fn ExInterlockedFlushSList(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    flush(k, head)
}

/// Puts an entry in front; returns the one that was there.
pub(super) fn push(k: &mut Kernel, head: GuestAddr, entry: GuestAddr) -> CallResult<GuestAddr> {
    aligned(entry)?;
    let (counts, first) = read(k, head)?;
    k.set(entry, SLIST_ENTRY::Next, first.0)?;
    let depth = depth_of(counts).wrapping_add(1);
    let sequence = (counts & !0xffff).wrapping_add(SEQUENCE_STEP);
    k.set(head, SLIST_HEADER::Alignment, sequence | u64::from(depth))?;
    k.set(head, SLIST_HEADER::Region, entry.0)?;
    ordered(k, head);
    Ok(first)
}

/// Takes the first entry, or null.
pub(super) fn pop(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    let (counts, first) = read(k, head)?;
    if first.is_null() {
        return Ok(first);
    }
    let next = k.get(first, SLIST_ENTRY::Next)?;
    let depth = depth_of(counts).wrapping_sub(1);
    k.set(head, SLIST_HEADER::Alignment, (counts & !0xffff) | u64::from(depth))?;
    k.set(head, SLIST_HEADER::Region, next & !(ALIGN_BYTES - 1))?;
    ordered(k, head);
    Ok(first)
}

/// Interlocked operations on one list happen one after the other.
fn ordered(k: &mut Kernel, head: GuestAddr) {
    k.order_acquire(head);
    k.order_release(head);
}

fn flush(k: &mut Kernel, head: GuestAddr) -> CallResult<GuestAddr> {
    let (counts, first) = read(k, head)?;
    k.set(head, SLIST_HEADER::Alignment, counts & !0xffff)?;
    k.set(head, SLIST_HEADER::Region, 0)?;
    ordered(k, head);
    Ok(first)
}

fn read(k: &mut Kernel, head: GuestAddr) -> CallResult<(u64, GuestAddr)> {
    let counts = k.get(head, SLIST_HEADER::Alignment)?;
    let region = k.get(head, SLIST_HEADER::Region)?;
    Ok((counts, GuestAddr(region & !(ALIGN_BYTES - 1))))
}

fn depth_of(counts: u64) -> u16 {
    let [low, high, ..] = counts.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// "All list heads and entries must be aligned on a MEMORY_ALLOCATION_ALIGNMENT boundary."
fn aligned(at: GuestAddr) -> CallResult<()> {
    if at.0.is_multiple_of(ALIGN_BYTES) {
        return Ok(());
    }
    Err(Stop::raise(NtStatus::STATUS_DATATYPE_MISALIGNMENT))
}

#[cfg(test)]
mod tests {
    use crate::testing::{block, call_by_name, kernel};

    #[test]
    fn entries_come_back_in_reverse_order() {
        let mut k = kernel();
        let head = block(&mut k, &[0xee; 16]);
        let entries = [block(&mut k, &[0; 16]), block(&mut k, &[0; 16])];
        call_by_name(&mut k, "InitializeSListHead", &[head]).unwrap();
        let push = "ExpInterlockedPushEntrySList";
        assert_eq!(call_by_name(&mut k, push, &[head, entries[0]]), Ok(0));
        assert_eq!(call_by_name(&mut k, push, &[head, entries[1]]), Ok(entries[0]));
        assert_eq!(call_by_name(&mut k, "ExQueryDepthSList", &[head]), Ok(2));
        let pop = "ExpInterlockedPopEntrySList";
        assert_eq!(call_by_name(&mut k, pop, &[head]), Ok(entries[1]));
        assert_eq!(call_by_name(&mut k, "ExpInterlockedFlushSList", &[head]), Ok(entries[0]));
        assert_eq!(call_by_name(&mut k, pop, &[head]), Ok(0));
        assert_eq!(call_by_name(&mut k, "ExQueryDepthSList", &[head]), Ok(0));
    }

    #[test]
    fn the_forms_with_a_lock_share_the_list() {
        let mut k = kernel();
        let (head, lock) = (block(&mut k, &[0; 16]), block(&mut k, &[0; 8]));
        let [a, b] = [(); 2].map(|()| block(&mut k, &[0; 16]));
        let push = "ExInterlockedPushEntrySList";
        assert_eq!(call_by_name(&mut k, push, &[head, a, lock]), Ok(0));
        assert_eq!(call_by_name(&mut k, push, &[head, b, lock]), Ok(a));
        let pop = "ExInterlockedPopEntrySList";
        assert_eq!(call_by_name(&mut k, pop, &[head, lock]), Ok(b));
        assert_eq!(call_by_name(&mut k, "ExInterlockedFlushSList", &[head]), Ok(a));
        assert_eq!(call_by_name(&mut k, "ExQueryDepthSList", &[head]), Ok(0));
        // "Must be aligned on a 16-byte boundary."
        assert!(call_by_name(&mut k, push, &[head, a + 8, lock]).is_err());
    }
}
