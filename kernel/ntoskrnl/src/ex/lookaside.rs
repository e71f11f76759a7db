//! Lookaside lists. Drivers inline their allocate and free paths, which use the counts, the
//! sequenced list and the two routines of the structure; so those must be as in the header.

use guest_memory::GuestAddr;
use nt_abi::structures::ex::GENERAL_LOOKASIDE;
use nt_macros::export;

use crate::{
    CallResult, Flow, GuestCall, Kernel,
    ex::sequenced_list::{pop, push},
    exports, frame,
};

exports![
    ExInitializeNPagedLookasideList,
    ExInitializePagedLookasideList,
    ExDeleteNPagedLookasideList,
    ExDeletePagedLookasideList,
    ExAllocateFromNPagedLookasideList,
    ExAllocateFromPagedLookasideList,
    ExFreeToNPagedLookasideList,
    ExFreeToPagedLookasideList,
];

/// Entries kept at first, and at most. Drivers may rely on neither.
const DEPTH: u16 = 4;
const MAXIMUM_DEPTH: u16 = 256;
/// `PagedPool`.
const PAGED_POOL: u32 = 1;

/// The counts of a list, which `wdm.h` adds to without a lock in the code that it inlines: nothing
/// but the depth of the list depends on them.
fn counts_of(list: GuestAddr) -> (GuestAddr, u64) {
    let begin = GENERAL_LOOKASIDE::TotalAllocates.offset_bytes;
    (list.add(begin), GENERAL_LOOKASIDE::Type.offset_bytes - begin)
}

/// Initialises a list of non-paged blocks.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exinitializenpagedlookasidelist",
    irql_note = "the remarks limit it no further")]
#[expect(clippy::too_many_arguments, reason = "the signature is the documented one")]
fn ExInitializeNPagedLookasideList(
    k: &mut Kernel,
    list: GuestAddr,
    allocate: GuestAddr,
    free: GuestAddr,
    flags: u32,
    size_bytes: u64,
    tag: u32,
    _depth: u16,
) -> CallResult<()> {
    initialize(k, list, (allocate, free), flags, size_bytes, tag)
}

/// Initialises a list of paged blocks.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exinitializepagedlookasidelist")]
#[expect(clippy::too_many_arguments, reason = "the signature is the documented one")]
fn ExInitializePagedLookasideList(
    k: &mut Kernel,
    list: GuestAddr,
    allocate: GuestAddr,
    free: GuestAddr,
    flags: u32,
    size_bytes: u64,
    tag: u32,
    _depth: u16,
) -> CallResult<()> {
    initialize(k, list, (allocate, free), flags | PAGED_POOL, size_bytes, tag)
}

fn initialize(
    k: &mut Kernel,
    list: GuestAddr,
    (allocate, free): (GuestAddr, GuestAddr),
    pool_type: u32,
    size_bytes: u64,
    tag: u32,
) -> CallResult<()> {
    let or = |k: &Kernel, at: GuestAddr, name: &str| {
        let own = || k.exports.find("ntoskrnl.exe", name).expect("the pool is exported");
        if at.is_null() { own() } else { at }
    };
    let allocate = or(k, allocate, "ExAllocatePoolWithTag");
    let free = or(k, free, "ExFreePool");
    k.fill(list, 0, GENERAL_LOOKASIDE::SIZE_BYTES)?;
    k.set(list, GENERAL_LOOKASIDE::Depth, DEPTH)?;
    k.set(list, GENERAL_LOOKASIDE::MaximumDepth, MAXIMUM_DEPTH)?;
    k.set(list, GENERAL_LOOKASIDE::Type, pool_type)?;
    k.set(list, GENERAL_LOOKASIDE::Tag, tag)?;
    let size_bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
    k.set(list, GENERAL_LOOKASIDE::Size, size_bytes)?;
    k.set(list, GENERAL_LOOKASIDE::Allocate, allocate.0)?;
    k.set(list, GENERAL_LOOKASIDE::Free, free.0)?;
    let (counts, size_bytes) = counts_of(list);
    k.leave_unordered(counts, size_bytes);
    Ok(())
}

/// Frees what a list keeps.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exdeletenpagedlookasidelist")]
fn ExDeleteNPagedLookasideList(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    delete(k, list)
}

/// Frees what a list keeps.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exdeletepagedlookasidelist")]
fn ExDeletePagedLookasideList(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    delete(k, list)
}

fn delete(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    k.order_again(counts_of(list).0);
    Deleting { list }.go_on(k)
}

/// Takes a block from a list, or allocates one.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatefromnpagedlookasidelist")]
fn ExAllocateFromNPagedLookasideList(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    allocate_from(k, list)
}

/// Takes a block from a list, or allocates one.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exallocatefrompagedlookasidelist")]
fn ExAllocateFromPagedLookasideList(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    allocate_from(k, list)
}

/// Gives a block back to a list, or frees it.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exfreetonpagedlookasidelist")]
fn ExFreeToNPagedLookasideList(
    k: &mut Kernel,
    list: GuestAddr,
    entry: GuestAddr,
) -> CallResult<Flow> {
    free_to(k, list, entry)
}

/// Gives a block back to a list, or frees it.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exfreetopagedlookasidelist")]
fn ExFreeToPagedLookasideList(
    k: &mut Kernel,
    list: GuestAddr,
    entry: GuestAddr,
) -> CallResult<Flow> {
    free_to(k, list, entry)
}

fn allocate_from(k: &mut Kernel, list: GuestAddr) -> CallResult<Flow> {
    let total = k.get(list, GENERAL_LOOKASIDE::TotalAllocates)?;
    k.set(list, GENERAL_LOOKASIDE::TotalAllocates, total.wrapping_add(1))?;
    let entry = pop(k, list)?;
    if !entry.is_null() {
        return Ok(Flow::Return(entry.0));
    }
    let misses = k.get(list, GENERAL_LOOKASIDE::AllocateMisses)?;
    k.set(list, GENERAL_LOOKASIDE::AllocateMisses, misses.wrapping_add(1))?;
    let target = GuestAddr(k.get(list, GENERAL_LOOKASIDE::Allocate)?);
    let arguments = vec![
        u64::from(k.get(list, GENERAL_LOOKASIDE::Type)?),
        u64::from(k.get(list, GENERAL_LOOKASIDE::Size)?),
        u64::from(k.get(list, GENERAL_LOOKASIDE::Tag)?),
    ];
    Ok(Flow::Call(GuestCall::helper(target, arguments), Vec::new()))
}

fn free_to(k: &mut Kernel, list: GuestAddr, entry: GuestAddr) -> CallResult<Flow> {
    let total = k.get(list, GENERAL_LOOKASIDE::TotalFrees)?;
    k.set(list, GENERAL_LOOKASIDE::TotalFrees, total.wrapping_add(1))?;
    let [low, high, ..] = k.get(list, GENERAL_LOOKASIDE::ListHeadAlignment)?.to_le_bytes();
    if u16::from_le_bytes([low, high]) < k.get(list, GENERAL_LOOKASIDE::Depth)? {
        push(k, list, entry)?;
        return Ok(Flow::Return(0));
    }
    let misses = k.get(list, GENERAL_LOOKASIDE::FreeMisses)?;
    k.set(list, GENERAL_LOOKASIDE::FreeMisses, misses.wrapping_add(1))?;
    let target = GuestAddr(k.get(list, GENERAL_LOOKASIDE::Free)?);
    Ok(Flow::Call(GuestCall::helper(target, vec![entry.0]), Vec::new()))
}

/// A list whose blocks go to its free routine, one after the other.
#[derive(Clone, Debug)]
struct Deleting {
    list: GuestAddr,
}
frame!(Deleting, |this, k, _| this.go_on(k));

impl Deleting {
    fn go_on(self, k: &mut Kernel) -> CallResult<Flow> {
        let free = GuestAddr(k.get(self.list, GENERAL_LOOKASIDE::Free)?);
        let is_own = k.exports.find("ntoskrnl.exe", "ExFreePool") == Some(free);
        loop {
            let entry = pop(k, self.list)?;
            if entry.is_null() {
                return Ok(Flow::Return(0));
            }
            if is_own {
                k.free_pool(entry, 0)?;
                continue;
            }
            let call = GuestCall::helper(free, vec![entry.0]);
            return Ok(Flow::call(call, self));
        }
    }
}
