//! Mappings of the pages that MDLs describe, into system space or a process.

use guest_memory::{GuestAddr, PAGE_BYTES, Perms, SpaceId};
use nt_abi::structures::mm::MDL;
use nt_macros::export;

use super::{
    MDL_MAPPED_TO_SYSTEM_VA, MDL_PAGES_LOCKED, MDL_PARTIAL, MDL_PARTIAL_HAS_BEEN_MAPPED,
    MDL_SOURCE_IS_NONPAGED_POOL, Mdl, PAGE_EFFORT, Range, USER_MODE, check_apc_level, frames_of,
};
use crate::{
    CallResult, Kernel, Stop, exports,
    mm::{blocks::reserve_user, physical::take_system_pages},
};

exports![MmMapLockedPagesSpecifyCache, MmMapLockedPages, MmUnmapLockedPages];

/// `MM_PAGE_PRIORITY` options of a mapping. Source: `wdm/nf-wdm-mmmaplockedpagesspecifycache`.
const MDL_MAPPING_NO_WRITE: u32 = 0x8000_0000;
const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;

/// A mapping of an MDL's pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    mdl: GuestAddr,
    pages: u64,
}

/// Maps the pages of an MDL into system space, or into the current process.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-mmmaplockedpagesspecifycache",
    limits = "no requested address",
    irql_when = "APC_LEVEL at most if AccessMode is UserMode"
)]
fn MmMapLockedPagesSpecifyCache(
    k: &mut Kernel,
    mdl: Mdl,
    mode: u8,
    _cache_type: u32,
    requested: GuestAddr,
    bug_checks: u32,
    priority: u32,
) -> CallResult<GuestAddr> {
    if mode == USER_MODE {
        check_apc_level(k, "wdm/nf-wdm-mmmaplockedpagesspecifycache")?;
    }
    let mut perms = Perms::READ | Perms::WRITE | Perms::EXECUTE;
    perms.set(Perms::WRITE, priority & MDL_MAPPING_NO_WRITE == 0);
    perms.set(Perms::EXECUTE, priority & MDL_MAPPING_NO_EXECUTE == 0);
    if mode == USER_MODE && !requested.is_null() {
        return Err(Stop::unsupported("MmMapLockedPagesSpecifyCache at a requested address"));
    }
    map(k, mdl.at, mode, perms, bug_checks == 0 && mode != USER_MODE)
}

/// Maps the pages of an MDL; failure is a bug check for system space and an exception for user
/// space.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmmaplockedpages",
    irql_when = "APC_LEVEL at most if AccessMode is UserMode")]
fn MmMapLockedPages(k: &mut Kernel, mdl: Mdl, mode: u8) -> CallResult<GuestAddr> {
    if mode == USER_MODE {
        check_apc_level(k, "wdm/nf-wdm-mmmaplockedpages")?;
    }
    map(k, mdl.at, mode, Perms::READ | Perms::WRITE | Perms::EXECUTE, false)
}

/// Maps the pages of an MDL. Null: the mapping fails, and may.
fn map(
    k: &mut Kernel,
    mdl: GuestAddr,
    mode: u8,
    perms: Perms,
    may_fail: bool,
) -> CallResult<GuestAddr> {
    let range = Range::read(k, mdl)?;
    if range.flags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL) == 0 {
        return Err(Stop::unsupported("a mapping of an MDL whose pages are not locked"));
    }
    if may_fail && k.is_to_fail(events::MAPPING_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let pages = range.pages();
    k.memory.exert(pages * PAGE_EFFORT);
    let Some(frames) = frames_of(k, mdl, pages)? else {
        return Err(Stop::unsupported("an MDL whose page numbers were changed"));
    };
    let is_user = mode == USER_MODE;
    if is_user && k.memory.space().is_none() {
        return Err(Stop::unsupported("a user mapping of an MDL in the system process"));
    }
    let taken = if is_user {
        Some(reserve_user(k, pages * PAGE_BYTES)?.0)
    } else {
        take_system_pages(k, pages)
    };
    let Some(at) = taken else {
        return if may_fail { Ok(GuestAddr::NULL) } else { Err(no_mapping()) };
    };
    let first_byte = u16::try_from(range.start.page_offset()).expect("below a page");
    let perms = if is_user {
        (perms - Perms::EXECUTE) | Perms::USER | Perms::WATCHED
    } else if k.mm.mdls.locked.get(&mdl).is_some_and(|locked| locked.is_read_only) {
        perms | Perms::WATCHED
    } else {
        perms
    };
    if k.memory.map_frames(at, &frames, first_byte, range.size_bytes, perms).is_err() {
        return Err(Stop::unsupported("a mapping of an MDL whose pages are gone"));
    }
    let space = if is_user { k.memory.space() } else { None };
    k.mm.mdls.mapped.insert((space, at), Mapped { mdl, pages });
    let address = at.add(u64::from(first_byte));
    if !is_user {
        let is_partial = range.flags & MDL_PARTIAL != 0;
        let flags =
            MDL_MAPPED_TO_SYSTEM_VA | if is_partial { MDL_PARTIAL_HAS_BEEN_MAPPED } else { 0 };
        k.set(mdl, MDL::MappedSystemVa, address.0)?;
        k.set(mdl, MDL::MdlFlags, range.flags | flags)?;
    }
    Ok(address)
}

/// NO_MORE_SYSTEM_PTES.
fn no_mapping() -> Stop {
    Stop::bug_check(0x3f, [0; 4])
}

/// Unmaps what a mapping routine returned.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmunmaplockedpages",
    irql_when = "APC_LEVEL at most for a mapping in user space")]
fn MmUnmapLockedPages(k: &mut Kernel, address: GuestAddr, mdl: Mdl) -> CallResult<()> {
    if Kernel::is_user_address(address) {
        check_apc_level(k, "wdm/nf-wdm-mmunmaplockedpages")?;
    }
    let space = if address.is_kernel_half() { None } else { k.memory.space() };
    let Some(mapped) = k.mm.mdls.mapped.remove(&(space, address.page())) else {
        // SYSTEM_PTE_MISUSE.
        return Err(Stop::bug_check(0xda, [0, mdl.at.0, address.0, 0]));
    };
    k.memory.unmap(address.page(), mapped.pages * PAGE_BYTES);
    if space.is_none() {
        let flags = k.get(mdl.at, MDL::MdlFlags)?;
        let cleared = MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED;
        k.set(mdl.at, MDL::MdlFlags, flags & !cleared)?;
    }
    Ok(())
}

/// Unmaps every system mapping made through an MDL.
pub(super) fn unmap_all(k: &mut Kernel, mdl: GuestAddr) {
    let of_mdl = |(key, mapped): (&(Option<SpaceId>, GuestAddr), &Mapped)| {
        (mapped.mdl == mdl && key.0.is_none()).then_some((*key, mapped.pages))
    };
    let found: Vec<_> = k.mm.mdls.mapped.iter().filter_map(of_mdl).collect();
    for (key, pages) in found {
        k.mm.mdls.mapped.remove(&key);
        k.memory.unmap(key.1, pages * PAGE_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, bug_check_code, call_by_name, kernel};

    const KERNEL: u64 = 0;
    const READ: u64 = 0;

    #[test]
    fn a_mapping_ends_with_its_unmapping() {
        let mut k = kernel();
        let buffer = block(&mut k, b"locked pages");
        let mdl = call_by_name(&mut k, "IoAllocateMdl", &[buffer, 12, 0, 0, 0]).unwrap();
        call_by_name(&mut k, "MmProbeAndLockPages", &[mdl, KERNEL, READ]).unwrap();
        let system = call_by_name(&mut k, "MmMapLockedPages", &[mdl, KERNEL]).unwrap();
        assert_eq!(k.read_vec(GuestAddr(system), 12).unwrap(), b"locked pages");
        call_by_name(&mut k, "MmUnmapLockedPages", &[system, mdl]).unwrap();
        assert!(k.read_vec(GuestAddr(system), 1).is_err());
        let twice = call_by_name(&mut k, "MmUnmapLockedPages", &[system, mdl]);
        assert_eq!(bug_check_code(twice), 0xda);
        // The pages are locked still, so they can be mapped again.
        assert!(call_by_name(&mut k, "MmMapLockedPages", &[mdl, KERNEL]).is_ok());
    }
}
