//! Pool: `ExAllocatePool*` and `ExFreePool*`.
//!
//! Every block remembers its tag, its size, who allocated it and when, so that a rule can show the
//! history of a block long after it was freed.

use events::{BlockKind, Event, POOL_FAILURE, PoolAllocate, PoolFree, PoolFreeOutcome};
use guest_memory::{GuestAddr, Near, PAGE_BYTES};
use nt_abi::{Irql, NtStatus};
use nt_macros::export;

use super::resource;
use crate::{CallResult, Kernel, Stop, exports, map};

exports![
    ExAllocatePool,
    ExAllocatePoolWithTag,
    ExAllocatePoolWithTagPriority,
    ExAllocatePoolWithQuota,
    ExAllocatePoolWithQuotaTag,
    ExAllocatePool2,
    ExAllocatePool3,
    ExFreePool,
    ExFreePoolWithTag,
    ExFreePool2,
];

/// `POOL_TYPE` bits. Source: `wdm/ne-wdm-_pool_type` and the `POOL_XXX` flags of the allocation
/// pages.
const PAGED: u32 = 1;
const MUST_SUCCEED: u32 = 2;
const CACHE_ALIGNED: u32 = 4;
const QUOTA_FAIL_INSTEAD_OF_RAISE: u32 = 8;
const RAISE_IF_ALLOCATION_FAILURE: u32 = 16;
const SESSION: u32 = 32;
const COLD_ALLOCATION: u32 = 256;
const NX_ALLOCATION: u32 = 512;
const ZERO_ALLOCATION: u32 = 1024;
const KNOWN_BITS: u32 = PAGED
    | MUST_SUCCEED
    | CACHE_ALIGNED
    | QUOTA_FAIL_INSTEAD_OF_RAISE
    | RAISE_IF_ALLOCATION_FAILURE
    | COLD_ALLOCATION
    | NX_ALLOCATION
    | ZERO_ALLOCATION;

/// `POOL_FLAGS`. Source: "POOL_FLAGS" page.
const FLAG_UNINITIALIZED: u64 = 0x2;
const FLAG_SESSION: u64 = 0x4;
const FLAG_CACHE_ALIGNED: u64 = 0x8;
const FLAG_RAISE_ON_FAILURE: u64 = 0x20;
const FLAG_NON_PAGED: u64 = 0x40;
const FLAG_NON_PAGED_EXECUTE: u64 = 0x80;
const FLAG_PAGED: u64 = 0x100;
/// Bits below this one are required: unknown ones fail the request.
const FLAG_OPTIONAL_START: u64 = 1 << 32;

/// The tag of blocks allocated without one: `None`.
const NO_TAG: u32 = u32::from_le_bytes(*b"None");

const POINTER_ALIGN_BYTES: u64 = 16;
const CACHE_LINE_BYTES: u64 = 64;

const BAD_POOL_CALLER: u32 = 0xc2;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    NonPaged,
    NonPagedExecute,
    Paged,
}

/// A request to a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) pool: Pool,
    pub(crate) size_bytes: u64,
    pub(crate) tag: u32,
    pub(crate) is_zeroed: bool,
    pub(crate) is_cache_aligned: bool,
    pub(crate) raises: bool,
}

impl Request {
    /// Reads a `POOL_TYPE` with its flags.
    fn from_pool_type(pool_type: u32, size_bytes: u64, tag: u32) -> CallResult<Self> {
        if pool_type & MUST_SUCCEED != 0 {
            let parameters = [0x9a, u64::from(pool_type), size_bytes, u64::from(tag)];
            return Err(Stop::bug_check(BAD_POOL_CALLER, parameters));
        }
        if pool_type & SESSION != 0 {
            return Err(Stop::unsupported("session pool"));
        }
        if pool_type & !KNOWN_BITS != 0 {
            return Err(Stop::unsupported(format!("pool type {pool_type:#x}")));
        }
        let pool = match (pool_type & PAGED != 0, pool_type & NX_ALLOCATION != 0) {
            (true, _) => Pool::Paged,
            (false, true) => Pool::NonPaged,
            (false, false) => Pool::NonPagedExecute,
        };
        Ok(Self {
            pool,
            size_bytes,
            tag,
            is_zeroed: pool_type & ZERO_ALLOCATION != 0,
            is_cache_aligned: pool_type & CACHE_ALIGNED != 0,
            raises: pool_type & RAISE_IF_ALLOCATION_FAILURE != 0,
        })
    }

    /// Reads `POOL_FLAGS`; the request is `None` if they, or the tag, are invalid. The flag says
    /// whether to raise.
    fn from_flags(flags: u64, size_bytes: u64, tag: u32) -> CallResult<(Option<Self>, bool)> {
        const KNOWN: u64 = 1
            | FLAG_UNINITIALIZED
            | FLAG_CACHE_ALIGNED
            | FLAG_RAISE_ON_FAILURE
            | FLAG_NON_PAGED
            | FLAG_NON_PAGED_EXECUTE
            | FLAG_PAGED;
        if flags & FLAG_SESSION != 0 {
            return Err(Stop::unsupported("session pool"));
        }
        let raises = flags & FLAG_RAISE_ON_FAILURE != 0;
        let pool = match flags & (FLAG_NON_PAGED | FLAG_NON_PAGED_EXECUTE | FLAG_PAGED) {
            FLAG_NON_PAGED => Some(Pool::NonPaged),
            FLAG_NON_PAGED_EXECUTE => Some(Pool::NonPagedExecute),
            FLAG_PAGED => Some(Pool::Paged),
            _ => None,
        };
        let is_known = flags & (FLAG_OPTIONAL_START - 1) & !KNOWN == 0;
        let request = pool.filter(|_| is_known && tag != 0).map(|pool| Self {
            pool,
            size_bytes,
            tag,
            is_zeroed: flags & FLAG_UNINITIALIZED == 0,
            is_cache_aligned: flags & FLAG_CACHE_ALIGNED != 0,
            raises,
        });
        Ok((request, raises))
    }
}

/// Allocates without a tag.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepool",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePool(k: &mut Kernel, pool_type: u32, size_bytes: u64) -> CallResult<GuestAddr> {
    let request = Request::from_pool_type(pool_type, size_bytes, NO_TAG)?;
    k.allocate_pool(request)
}

/// Allocates uninitialised memory.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepoolwithtag",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePoolWithTag(
    k: &mut Kernel,
    pool_type: u32,
    size_bytes: u64,
    tag: u32,
) -> CallResult<GuestAddr> {
    let request = Request::from_pool_type(pool_type, size_bytes, tag)?;
    k.allocate_pool(request)
}

/// Allocates uninitialised memory; how important the request is changes nothing while there is
/// memory.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepoolwithtagpriority",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePoolWithTagPriority(
    k: &mut Kernel,
    pool_type: u32,
    size_bytes: u64,
    tag: u32,
    _priority: u32,
) -> CallResult<GuestAddr> {
    let request = Request::from_pool_type(pool_type, size_bytes, tag)?;
    k.allocate_pool(request)
}

/// Allocates without a tag and charges the process; raises when it fails.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepoolwithquota",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePoolWithQuota(
    k: &mut Kernel,
    pool_type: u32,
    size_bytes: u64,
) -> CallResult<GuestAddr> {
    let request = Request::from_pool_type(pool_type, size_bytes, NO_TAG)?;
    let raises = pool_type & QUOTA_FAIL_INSTEAD_OF_RAISE == 0;
    k.allocate_pool(Request { raises, ..request })
}

/// Allocates and charges the process; raises when it fails.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepoolwithquotatag",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePoolWithQuotaTag(
    k: &mut Kernel,
    pool_type: u32,
    size_bytes: u64,
    tag: u32,
) -> CallResult<GuestAddr> {
    let request = Request::from_pool_type(pool_type, size_bytes, tag)?;
    let raises = pool_type & QUOTA_FAIL_INSTEAD_OF_RAISE == 0;
    k.allocate_pool(Request { raises, ..request })
}

/// Allocates zeroed memory, unless told otherwise.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatepool2",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExAllocatePool2(k: &mut Kernel, flags: u64, size_bytes: u64, tag: u32) -> CallResult<GuestAddr> {
    match Request::from_flags(flags, size_bytes, tag)? {
        (Some(request), _) => k.allocate_pool(request),
        (None, raises) => {
            let is_paged = flags & FLAG_PAGED != 0;
            let block = GuestAddr::NULL;
            k.emit(Event::PoolAllocate(PoolAllocate { is_paged, tag, size_bytes, block }))?;
            failed(raises, NtStatus::STATUS_INVALID_PARAMETER)
        }
    }
}

/// Allocates zeroed memory, unless told otherwise. Only a request without extended parameters is
/// modelled.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-exallocatepool3",
    limits = "no extended parameters",
    irql_when = "DISPATCH_LEVEL only for non-paged pool"
)]
fn ExAllocatePool3(
    k: &mut Kernel,
    flags: u64,
    size_bytes: u64,
    tag: u32,
    _parameters: GuestAddr,
    parameter_count: u32,
) -> CallResult<GuestAddr> {
    if parameter_count != 0 {
        return Err(Stop::unsupported("extended parameters of ExAllocatePool3"));
    }
    ExAllocatePool2(k, flags, size_bytes, tag)
}

/// Frees a block of any tag.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-exfreepool",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExFreePool(k: &mut Kernel, block: GuestAddr) -> CallResult<()> {
    k.free_pool(block, 0)
}

/// Frees a block; a tag of 0 stands for any.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exfreepoolwithtag",
    irql_when = "DISPATCH_LEVEL only for non-paged pool")]
fn ExFreePoolWithTag(k: &mut Kernel, block: GuestAddr, tag: u32) -> CallResult<()> {
    k.free_pool(block, tag)
}

/// Frees a block; a tag of 0 stands for any. Only a request without extended parameters is
/// modelled.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-exfreepool2",
    irql_note = "the page states no limit; the limit of the other free routines is taken",
    limits = "no extended parameters",
    irql_when = "DISPATCH_LEVEL only for non-paged pool"
)]
fn ExFreePool2(
    k: &mut Kernel,
    block: GuestAddr,
    tag: u32,
    _parameters: GuestAddr,
    parameter_count: u32,
) -> CallResult<()> {
    if parameter_count != 0 {
        return Err(Stop::unsupported("extended parameters of ExFreePool2"));
    }
    k.free_pool(block, tag)
}

impl Kernel {
    /// Carries out a driver's request, unless the tape lets it fail.
    pub(crate) fn allocate_pool(&mut self, request: Request) -> CallResult<GuestAddr> {
        let Request { size_bytes, tag, .. } = request;
        let is_failing = self.is_to_fail(POOL_FAILURE)?;
        let block = if is_failing { None } else { self.take_pool(request, BlockKind::Pool) };
        let event = PoolAllocate {
            is_paged: request.pool == Pool::Paged,
            tag,
            size_bytes,
            block: block.unwrap_or(GuestAddr::NULL),
        };
        self.emit(Event::PoolAllocate(event))?;
        match block {
            Some(block) => Ok(block),
            None => failed(request.raises, NtStatus::STATUS_INSUFFICIENT_RESOURCES),
        }
    }

    /// Allocates a paged block that the kernel hands to a driver, such as the buffer of a converted
    /// string. It may be freed with any tag.
    pub(crate) fn allocate_for_driver(&mut self, size_bytes: u64) -> CallResult<Option<GuestAddr>> {
        if self.is_to_fail(POOL_FAILURE)? {
            return Ok(None);
        }
        let request = Request {
            pool: Pool::Paged,
            size_bytes,
            tag: 0,
            is_zeroed: false,
            is_cache_aligned: false,
            raises: false,
        };
        Ok(self.take_pool(request, BlockKind::KernelPool))
    }

    /// Allocates a non-paged block that the kernel hands to a driver; any tag may free it.
    pub(crate) fn allocate_nonpaged_for_driver(
        &mut self,
        size_bytes: u64,
    ) -> CallResult<GuestAddr> {
        let request = Request {
            pool: Pool::NonPaged,
            size_bytes,
            tag: 0,
            is_zeroed: false,
            is_cache_aligned: false,
            raises: false,
        };
        let block = self.take_pool(request, BlockKind::KernelPool);
        block.ok_or_else(|| Stop::Limit { what: format!("{size_bytes} bytes of pool") })
    }

    fn take_pool(&mut self, request: Request, kind: BlockKind) -> Option<GuestAddr> {
        let arenas = self.arenas();
        let arena = match request.pool {
            Pool::NonPaged => arenas.nonpaged,
            Pool::NonPagedExecute => arenas.nonpaged_execute,
            Pool::Paged => arenas.paged,
        };
        let align_bytes = if request.size_bytes >= PAGE_BYTES {
            PAGE_BYTES
        } else if request.is_cache_aligned {
            CACHE_LINE_BYTES
        } else {
            POINTER_ALIGN_BYTES
        };
        let defined_as = request.is_zeroed.then_some(0);
        let mut provenance = self.provenance(kind, request.tag);
        // The event that follows is the one a report points at.
        provenance.when += 1;
        self.hand_out(arena, request.size_bytes, align_bytes, defined_as, provenance)
    }

    /// Frees a pool block, after saying what the address met.
    pub(crate) fn free_pool(&mut self, address: GuestAddr, tag: u32) -> CallResult<()> {
        let outcome = self.pool_free_outcome(address, tag);
        let seq = self.emit(Event::PoolFree(PoolFree { address, tag, outcome }))?;
        let parameters = match outcome {
            PoolFreeOutcome::Freed(block) => {
                resource::check_freed(self, block.base, block.size_bytes)?;
                self.give_up_memory(address, block.size_bytes)?;
                let mut freed = self.provenance(BlockKind::Pool, tag);
                freed.when = seq.0;
                self.memory.free(address, freed).expect("the block was just found");
                return Ok(());
            }
            PoolFreeOutcome::WrongTag(block) => {
                [0x0a, address.0, u64::from(block.allocated.tag), u64::from(tag)]
            }
            PoolFreeOutcome::AlreadyFreed(_) => [0x07, 0, 0, address.0],
            PoolFreeOutcome::PagedTooHigh(_) => {
                [0x09, u64::from(self.irql().0), u64::from(PAGED), address.0]
            }
            PoolFreeOutcome::NotABlock(_) if address.is_null() => [0x46, 0, 0, 0],
            PoolFreeOutcome::NotABlock(_) if Self::is_user_address(address) => {
                [0x40, address.0, map::SHARED_USER_DATA.0, 0]
            }
            PoolFreeOutcome::NotABlock(Some(Near::Inside { .. })) => {
                [0x41286, 0, 0, address.page_offset()]
            }
            PoolFreeOutcome::NotABlock(_) => [0x46, address.0, 0, 0],
        };
        Err(Stop::bug_check(BAD_POOL_CALLER, parameters))
    }

    fn pool_free_outcome(&self, address: GuestAddr, tag: u32) -> PoolFreeOutcome {
        let near = self.memory.near(address);
        let Some(Near::Inside { block, .. } | Near::After { block, .. }) = near else {
            return PoolFreeOutcome::NotABlock(near);
        };
        let is_pool = match BlockKind::from_u16(block.allocated.kind) {
            Some(BlockKind::Pool) => true,
            Some(BlockKind::KernelPool) => block.arena != self.arenas().kernel,
            _ => false,
        };
        // A block of 0 bytes has no inside: its own address lies behind it.
        if !is_pool || block.base != address {
            return PoolFreeOutcome::NotABlock(near);
        }
        let has_own_tag = block.allocated.kind == BlockKind::Pool as u16;
        if block.freed.is_some() {
            PoolFreeOutcome::AlreadyFreed(block)
        } else if has_own_tag && tag != 0 && tag != block.allocated.tag {
            PoolFreeOutcome::WrongTag(block)
        } else if block.arena == self.arenas().paged && self.irql() >= Irql::DISPATCH_LEVEL {
            PoolFreeOutcome::PagedTooHigh(block)
        } else {
            PoolFreeOutcome::Freed(block)
        }
    }
}

fn failed(raises: bool, status: NtStatus) -> CallResult<GuestAddr> {
    if raises { Err(Stop::raise(status)) } else { Ok(GuestAddr::NULL) }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{Event, POOL_FAILURE, PoolFreeOutcome};
    use guest_memory::GuestAddr;
    use nt_abi::{Irql, NtStatus};

    use crate::{
        Kernel, Stop,
        testing::{bug_check_code, call_by_name, kernel, kernel_with, take_events},
    };

    const TAG: u64 = 0x3167_6154;
    const OTHER: u64 = 0x3267_6154;

    fn allocate(k: &mut Kernel, pool_type: u64, size_bytes: u64) -> u64 {
        call_by_name(k, "ExAllocatePoolWithTag", &[pool_type, size_bytes, TAG]).unwrap()
    }

    fn outcome(k: &mut Kernel, block: u64, tag: u64) -> String {
        take_events(k);
        let result = call_by_name(k, "ExFreePoolWithTag", &[block, tag]);
        let heard = take_events(k);
        let [Event::PoolFree(free)] = heard.as_slice() else { panic!("{heard:?}") };
        let name = match free.outcome {
            PoolFreeOutcome::Freed(_) => "freed",
            PoolFreeOutcome::WrongTag(_) => "wrong tag",
            PoolFreeOutcome::AlreadyFreed(_) => "already freed",
            PoolFreeOutcome::NotABlock(_) => "not a block",
            PoolFreeOutcome::PagedTooHigh(_) => "paged too high",
        };
        match result {
            Ok(_) => name.to_owned(),
            Err(Stop::BugCheck(check)) => {
                format!("{name}: {:x} {:x}", check.code, check.parameters[0])
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_free_meets_what_it_should() {
        let mut k = kernel();
        let block = allocate(&mut k, 512, 40);
        assert_eq!(outcome(&mut k, block, OTHER), "wrong tag: c2 a");
        assert_eq!(outcome(&mut k, block + 16, TAG), "not a block: c2 41286");
        assert_eq!(outcome(&mut k, block, TAG), "freed");
        assert_eq!(outcome(&mut k, block, TAG), "already freed: c2 7");
        assert_eq!(outcome(&mut k, 0, TAG), "not a block: c2 46");
        assert_eq!(outcome(&mut k, 0x10_0000, TAG), "not a block: c2 40");
        let block = allocate(&mut k, 1, 8);
        assert_eq!(outcome(&mut k, block, 0), "freed");
        let empty = allocate(&mut k, 512, 0);
        assert_eq!(outcome(&mut k, empty, TAG), "freed");
        let paged = allocate(&mut k, 1, 5000);
        k.set_irql(Irql::DISPATCH_LEVEL);
        assert_eq!(outcome(&mut k, paged, TAG), "paged too high: c2 9");
    }

    #[test]
    fn alignment_and_initial_bytes_follow_the_request() {
        let mut k = kernel();
        for size_bytes in [1, 17, 4000, 4095, 4096, 5000] {
            let block = allocate(&mut k, 512, size_bytes);
            let align = if size_bytes >= 4096 { 4096 } else { 16 };
            assert_eq!(block % align, 0, "{size_bytes}");
            let all = Some((GuestAddr(block), size_bytes));
            assert_eq!(k.memory.undefined(GuestAddr(block), size_bytes), all);
        }
        let cases = [(0x40, true), (0x42, false), (0x100, true), (0x102, false), (0x80, true)];
        for (flags, is_zeroed) in cases {
            let block = call_by_name(&mut k, "ExAllocatePool2", &[flags, 64, TAG]).unwrap();
            assert_eq!(k.memory.undefined(GuestAddr(block), 64).is_none(), is_zeroed, "{flags:x}");
        }
    }

    #[test]
    fn invalid_requests_fail() {
        let mut k = kernel();
        let null = |k: &mut Kernel, flags: u64, tag| {
            call_by_name(k, "ExAllocatePool2", &[flags, 8, tag]).unwrap() == 0
        };
        assert!(null(&mut k, 0x40, 0));
        assert!(null(&mut k, 0, TAG));
        assert!(null(&mut k, 0x140, TAG));
        assert!(null(&mut k, 0x1_0040 & !0x1_0000 | 0x800, TAG));
        let raised = call_by_name(&mut k, "ExAllocatePool2", &[0x60, 8, 0]);
        assert_eq!(raised, Err(Stop::raise(NtStatus::STATUS_INVALID_PARAMETER)));
        let must = call_by_name(&mut k, "ExAllocatePoolWithTag", &[2, 8, TAG]);
        assert_eq!(bug_check_code(must), 0xc2);
    }

    #[test]
    fn the_tape_lets_a_request_fail() {
        let fail = |ordinal| Deviation { kind: POOL_FAILURE.number, ordinal, answer: 1 };
        let mut k = kernel_with([fail(1), fail(2)]);
        assert_ne!(allocate(&mut k, 512, 8), 0);
        assert_eq!(allocate(&mut k, 512, 8), 0);
        let raised = call_by_name(&mut k, "ExAllocatePoolWithQuotaTag", &[1, 8, TAG]);
        assert_eq!(raised, Err(Stop::raise(NtStatus::STATUS_INSUFFICIENT_RESOURCES)));
        let quiet = call_by_name(&mut k, "ExAllocatePoolWithQuotaTag", &[1 | 8, 8, TAG]);
        assert_ne!(quiet, Ok(0));
    }

    #[test]
    fn the_other_forms_allocate_and_free_as_well() {
        let mut k = kernel();
        for (name, arguments) in [
            ("ExAllocatePoolWithTagPriority", [512, 24, TAG, 0, 0]),
            ("ExAllocatePoolWithQuota", [512, 24, 0, 0, 0]),
            ("ExAllocatePool3", [0x40, 24, TAG, 0, 0]),
        ] {
            let block = call_by_name(&mut k, name, &arguments).unwrap();
            let size_bytes = k.memory.block(GuestAddr(block)).map(|block| block.size_bytes);
            assert_eq!(size_bytes, Some(24), "{name}");
            assert_eq!(call_by_name(&mut k, "ExFreePool2", &[block, 0, 0, 0]), Ok(0), "{name}");
            let twice = call_by_name(&mut k, "ExFreePool2", &[block, 0, 0, 0]);
            assert_eq!(bug_check_code(twice), 0xc2, "{name}");
        }
        let block = allocate(&mut k, 512, 8);
        let wrong = call_by_name(&mut k, "ExFreePool2", &[block, OTHER, 0, 0]);
        assert_eq!(bug_check_code(wrong), 0xc2);
        let extended = call_by_name(&mut k, "ExAllocatePool3", &[0x40, 24, TAG, 0x1000, 1]);
        assert!(matches!(extended, Err(Stop::Unsupported { .. })));
    }
}
