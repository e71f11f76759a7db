//! MDLs: descriptions of locked or non-paged pages.
//!
//! The structure stands in guest memory, because drivers read it and the inline
//! `MmGetSystemAddressForMdlSafe` uses it. Which pages are locked and where they are mapped is kept
//! here, where no driver can spoil it.

pub(super) mod mapping;

use std::collections::BTreeMap;

use events::{BlockKind, IrqlLimit};
use guest_memory::{AccessKind, Accessor, FrameId, GuestAddr, PAGE_BYTES, Perms, Reason, SpaceId};
use nt_abi::{
    Irql, NtStatus,
    structures::{io::IRP, mm::MDL},
};
use nt_macros::export;

use super::{
    blocks::{allocate_kernel, free_kernel},
    physical::{frame_of, page_number},
    probe::access_violation,
};
use crate::{CallResult, GuestPtr, Kernel, Stop, exports};

exports![
    IoAllocateMdl,
    IoFreeMdl,
    IoBuildPartialMdl,
    MmBuildMdlForNonPagedPool,
    MmProbeAndLockPages,
    MmUnlockPages,
    MmSizeOfMdl,
];

/// `MDL.MdlFlags`. Source: `wdm.h`.
const MDL_MAPPED_TO_SYSTEM_VA: i16 = 0x0001;
const MDL_PAGES_LOCKED: i16 = 0x0002;
const MDL_SOURCE_IS_NONPAGED_POOL: i16 = 0x0004;
const MDL_PARTIAL: i16 = 0x0010;
const MDL_PARTIAL_HAS_BEEN_MAPPED: i16 = 0x0020;
/// What a page costs that is looked up or mapped, in units of `GuestMemory::exert`.
const PAGE_EFFORT: u64 = 256;
const MDL_WRITE_OPERATION: i16 = 0x0080;

const USER_MODE: u8 = 1;
/// `IoReadAccess`: the pages are only read.
const IO_READ_ACCESS: u32 = 0;
/// Length of one page frame number behind the head.
const PAGE_NUMBER_BYTES: u64 = 8;

/// What is known about the MDLs of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mdls {
    /// Pages locked, by MDL.
    locked: BTreeMap<GuestAddr, Locked>,
    /// Mappings by their first page.
    mapped: BTreeMap<(Option<SpaceId>, GuestAddr), mapping::Mapped>,
}

/// The pages of an MDL that are locked.
#[derive(Clone, Debug)]
struct Locked {
    frames: Vec<FrameId>,
    /// Locked for reading, and one of them can only be read where they were found.
    is_read_only: bool,
}

type Mdl = GuestPtr<MDL>;

/// What an MDL says about its range.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: GuestAddr,
    size_bytes: u64,
    flags: i16,
}

impl Range {
    fn read(k: &mut Kernel, mdl: GuestAddr) -> CallResult<Self> {
        let page = GuestAddr(k.get(mdl, MDL::StartVa)?);
        let offset_bytes = u64::from(k.get(mdl, MDL::ByteOffset)?);
        let size_bytes = u64::from(k.get(mdl, MDL::ByteCount)?);
        let flags = k.get(mdl, MDL::MdlFlags)?;
        Ok(Self { start: page.add(offset_bytes), size_bytes, flags })
    }

    fn pages(self) -> u64 {
        pages_of(self.start, self.size_bytes)
    }
}

/// `ADDRESS_AND_SIZE_TO_SPAN_PAGES`.
fn pages_of(start: GuestAddr, size_bytes: u64) -> u64 {
    (start.page_offset() + size_bytes).div_ceil(PAGE_BYTES)
}

/// Creates an MDL for a range; nothing is locked yet.
pub(crate) fn create(k: &mut Kernel, start: GuestAddr, size_bytes: u32) -> CallResult<GuestAddr> {
    let structure_bytes = mdl_bytes(start, u64::from(size_bytes));
    let mdl = allocate_kernel(k, BlockKind::Mdl, structure_bytes, 16)?;
    let [low, high, ..] = structure_bytes.to_le_bytes();
    k.set(mdl, MDL::Size, i16::from_le_bytes([low, high]))?;
    k.set(mdl, MDL::StartVa, start.page().0)?;
    k.set(mdl, MDL::ByteOffset, u32::try_from(start.page_offset()).expect("below a page"))?;
    k.set(mdl, MDL::ByteCount, size_bytes)?;
    Ok(mdl)
}

fn mdl_bytes(start: GuestAddr, size_bytes: u64) -> u64 {
    MDL::SIZE_BYTES + PAGE_NUMBER_BYTES * pages_of(start, size_bytes)
}

/// Locks the pages of an MDL. `Err(Stop::Exception)` if one cannot be touched that way.
pub(crate) fn lock(
    k: &mut Kernel,
    mdl: GuestAddr,
    accessor: Accessor,
    access: AccessKind,
) -> CallResult<()> {
    let range = Range::read(k, mdl)?;
    if range.flags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL) != 0 {
        return Err(Stop::unsupported("MmProbeAndLockPages on an MDL whose pages are locked"));
    }
    let end = range.start.0.checked_add(range.size_bytes);
    let is_user = accessor == Accessor::User;
    let is_user_range = end.is_some_and(|end| Kernel::is_user_address(GuestAddr(end - 1)));
    if end.is_none() || (is_user && !is_user_range) {
        return Err(access_violation(range.start, access, false));
    }
    if is_user
        && let Err(objection) = k.memory.check(accessor, access, range.start, range.size_bytes)
        && objection.reason != Reason::Watched
    {
        return Err(access_violation(
            objection.at,
            access,
            k.mm.provoked.contains(&objection.at.page()),
        ));
    }
    let is_write = access == AccessKind::Write;
    let mut frames = Vec::new();
    let mut is_read_only = false;
    for index in 0..range.pages() {
        let page = range.start.page().add(index * PAGE_BYTES);
        let mapping = k.memory.mapping(page);
        let needed = if is_write { Perms::WRITE } else { Perms::READ };
        let Some(mapping) = mapping.filter(|mapping| mapping.perms.contains(needed)) else {
            return Err(access_violation(page.max(range.start), access, false));
        };
        is_read_only |= !mapping.perms.contains(Perms::WRITE);
        frames.push(mapping.frame);
    }
    k.memory.exert(frames.len() as u64 * PAGE_EFFORT);
    write_pages(k, mdl, &frames)?;
    for frame in &frames {
        k.memory.pin(*frame);
    }
    k.mm.mdls.locked.insert(mdl, Locked { frames, is_read_only });
    let flags = MDL_PAGES_LOCKED | if is_write { MDL_WRITE_OPERATION } else { 0 };
    k.set(mdl, MDL::MdlFlags, range.flags | flags)
}

/// Unmaps and unlocks an MDL.
pub(crate) fn unlock(k: &mut Kernel, mdl: GuestAddr) -> CallResult<()> {
    let flags = k.get(mdl, MDL::MdlFlags)?;
    let Some(Locked { frames, .. }) = k.mm.mdls.locked.remove(&mdl) else {
        // PFN_LIST_CORRUPT: pages unlocked that are not locked.
        return Err(Stop::bug_check(0x4e, [0x9a, 0, 0, 0]));
    };
    if flags & MDL_MAPPED_TO_SYSTEM_VA != 0 {
        mapping::unmap_all(k, mdl);
    }
    for frame in frames {
        k.memory.unpin(frame);
    }
    let cleared = MDL_PAGES_LOCKED | MDL_WRITE_OPERATION | MDL_MAPPED_TO_SYSTEM_VA;
    k.set(mdl, MDL::MdlFlags, flags & !cleared)
}

/// Frees an MDL with the mappings made through it.
pub(crate) fn free(k: &mut Kernel, mdl: GuestAddr) -> CallResult<()> {
    let is_mdl = |kind: u16| BlockKind::from_u16(kind) == Some(BlockKind::Mdl);
    if !k.memory.block(mdl).is_some_and(|block| is_mdl(block.allocated.kind)) {
        // What the routine touches first says what is wrong.
        k.get(mdl, MDL::MdlFlags)?;
        return Err(Stop::unsupported("IoFreeMdl on something that is no MDL"));
    }
    mapping::unmap_all(k, mdl);
    free_kernel(k, mdl);
    Ok(())
}

/// Unlocks and frees a chain of MDLs, as completion does for a request.
pub fn release_chain(k: &mut Kernel, first: GuestAddr) -> CallResult<()> {
    let mut mdl = first;
    while !mdl.is_null() {
        let next = GuestAddr(k.get(mdl, MDL::Next)?);
        if k.mm.mdls.locked.contains_key(&mdl) {
            unlock(k, mdl)?;
        }
        free(k, mdl)?;
        mdl = next;
    }
    Ok(())
}

/// Writes the page frame numbers behind the head.
fn write_pages(k: &mut Kernel, mdl: GuestAddr, frames: &[FrameId]) -> CallResult<()> {
    let numbers: Vec<u8> =
        frames.iter().flat_map(|frame| page_number(*frame).to_le_bytes()).collect();
    k.write(mdl.add(MDL::SIZE_BYTES), &numbers)
}

/// Reads the frames behind the head; `None` if a number is no page of RAM.
fn frames_of(k: &mut Kernel, mdl: GuestAddr, pages: u64) -> CallResult<Option<Vec<FrameId>>> {
    let bytes = k.read_vec(mdl.add(MDL::SIZE_BYTES), PAGE_NUMBER_BYTES * pages)?;
    Ok(bytes.as_chunks().0.iter().map(|number| frame_of(u64::from_le_bytes(*number))).collect())
}

/// Allocates an MDL for a buffer, and links it to a request.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioallocatemdl")]
fn IoAllocateMdl(
    k: &mut Kernel,
    start: GuestAddr,
    size_bytes: u32,
    is_secondary: bool,
    _charges_quota: bool,
    irp: GuestAddr,
) -> CallResult<GuestAddr> {
    if k.is_to_fail(events::POOL_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let mdl = create(k, start, size_bytes)?;
    if irp.is_null() {
        return Ok(mdl);
    }
    if !is_secondary {
        k.set(irp, IRP::MdlAddress, mdl.0)?;
        return Ok(mdl);
    }
    let mut last = GuestAddr(k.get(irp, IRP::MdlAddress)?);
    loop {
        let next = GuestAddr(k.get(last, MDL::Next)?);
        if next.is_null() {
            break;
        }
        last = next;
    }
    k.set(last, MDL::Next, mdl.0)?;
    Ok(mdl)
}

/// Frees an MDL.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iofreemdl")]
fn IoFreeMdl(k: &mut Kernel, mdl: Mdl) -> CallResult<()> {
    free(k, mdl.at)
}

/// Makes an MDL describe a part of what another describes. A length of 0 means up to the end.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iobuildpartialmdl")]
fn IoBuildPartialMdl(
    k: &mut Kernel,
    source: Mdl,
    target: Mdl,
    start: GuestAddr,
    size_bytes: u32,
) -> CallResult<()> {
    let whole = Range::read(k, source.at)?;
    let skipped_bytes = start.0.wrapping_sub(whole.start.0);
    let part_bytes = match u64::from(size_bytes) {
        0 => whole.size_bytes.wrapping_sub(skipped_bytes),
        size_bytes => size_bytes,
    };
    let end = skipped_bytes.checked_add(part_bytes);
    if end.is_none_or(|end| end > whole.size_bytes) {
        return Err(Stop::unsupported("IoBuildPartialMdl for a range outside its source"));
    }
    let room_bytes = u64::from(k.get(target.at, MDL::Size)?.cast_unsigned());
    if mdl_bytes(start, part_bytes) > room_bytes {
        // TARGET_MDL_TOO_SMALL.
        return Err(Stop::bug_check(0x40, [0; 4]));
    }
    let first = (start.page().0 - whole.start.page().0) / PAGE_BYTES;
    let from = source.at.add(MDL::SIZE_BYTES + PAGE_NUMBER_BYTES * first);
    let numbers_bytes = PAGE_NUMBER_BYTES * pages_of(start, part_bytes);
    k.copy(target.at.add(MDL::SIZE_BYTES), from, numbers_bytes)?;
    // A part of what is mapped is mapped too, as long as the source stays.
    let inherited = whole.flags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA);
    let system_va = k.get(source.at, MDL::MappedSystemVa)?;
    if inherited != 0 {
        k.set(target.at, MDL::MappedSystemVa, system_va.wrapping_add(skipped_bytes))?;
    }
    let process = k.get(source.at, MDL::Process)?;
    k.set(target.at, MDL::Process, process)?;
    k.set(target.at, MDL::MdlFlags, MDL_PARTIAL | inherited)?;
    k.set(target.at, MDL::StartVa, start.page().0)?;
    let offset_bytes = u32::try_from(start.page_offset()).expect("below a page");
    k.set(target.at, MDL::ByteOffset, offset_bytes)?;
    k.set(target.at, MDL::ByteCount, u32::try_from(part_bytes).expect("inside the source"))
}

/// Fills an MDL for non-paged memory, which needs no lock and is mapped already.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmbuildmdlfornonpagedpool")]
fn MmBuildMdlForNonPagedPool(k: &mut Kernel, mdl: Mdl) -> CallResult<()> {
    let range = Range::read(k, mdl.at)?;
    let mut frames = Vec::new();
    for index in 0..range.pages() {
        let page = range.start.page().add(index * PAGE_BYTES);
        let Some(mapping) = k.memory.mapping(page) else {
            // The fault says what lies there.
            k.allow(AccessKind::Read, page.max(range.start), 1)?;
            return Err(Stop::unsupported("MmBuildMdlForNonPagedPool for memory without a page"));
        };
        frames.push(mapping.frame);
    }
    k.memory.exert(frames.len() as u64 * PAGE_EFFORT);
    write_pages(k, mdl.at, &frames)?;
    k.set(mdl.at, MDL::Process, 0)?;
    k.set(mdl.at, MDL::MappedSystemVa, range.start.0)?;
    k.set(mdl.at, MDL::MdlFlags, range.flags | MDL_SOURCE_IS_NONPAGED_POOL)
}

/// Locks the pages of an MDL, or raises.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmprobeandlockpages",
    irql_when = "DISPATCH_LEVEL only for memory that is not pageable")]
fn MmProbeAndLockPages(k: &mut Kernel, mdl: Mdl, mode: u8, operation: u32) -> CallResult<()> {
    let accessor = if mode == USER_MODE { Accessor::User } else { Accessor::Supervisor };
    let is_read = operation == IO_READ_ACCESS;
    let access = if is_read { AccessKind::Read } else { AccessKind::Write };
    let range = Range::read(k, mdl.at)?;
    if is_pageable(k, range) {
        check_apc_level(k, "wdm/nf-wdm-mmprobeandlockpages")?;
    }
    if Kernel::is_user_address(range.start) {
        // Any page may be gone by now; the routine promises an exception then.
        k.touch_user(access, range.start, range.size_bytes)?;
    }
    lock(k, mdl.at, accessor, access)
}

/// Says whether a range has pages that can be out: those of user mode, and pageable ones.
fn is_pageable(k: &Kernel, range: Range) -> bool {
    let pages = (0..range.pages()).map(|index| range.start.page().add(index * PAGE_BYTES));
    let mut mapped = pages.map_while(|page| k.memory.mapping(page));
    Kernel::is_user_address(range.start)
        || mapped.any(|mapping| mapping.perms.contains(Perms::PAGEABLE))
}

/// Of a routine that allows `DISPATCH_LEVEL` for other arguments.
fn check_apc_level(k: &mut Kernel, ddi: &'static str) -> CallResult<()> {
    k.check_irql(IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::APC_LEVEL }, ddi)
}

/// Unlocks the pages of an MDL.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmunlockpages")]
fn MmUnlockPages(k: &mut Kernel, mdl: Mdl) -> CallResult<()> {
    unlock(k, mdl.at)
}

/// Length of an MDL for a range.
#[export(irql = .., ddi = "wdm/nf-wdm-mmsizeofmdl")]
fn MmSizeOfMdl(_k: &mut Kernel, start: GuestAddr, size_bytes: u64) -> CallResult<u64> {
    Ok(mdl_bytes(start, size_bytes.min(u64::from(u32::MAX))))
}

/// Locks a caller's buffer for direct I/O; a status if it cannot be touched that way.
pub fn lock_buffer(
    k: &mut Kernel,
    start: GuestAddr,
    size_bytes: u64,
    accessor: Accessor,
    access: AccessKind,
) -> CallResult<Result<GuestAddr, NtStatus>> {
    let size_bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
    let mdl = create(k, start, size_bytes)?;
    match lock(k, mdl, accessor, access) {
        Ok(()) => Ok(Ok(mdl)),
        Err(Stop::Exception(exception)) => {
            free(k, mdl)?;
            Ok(Err(exception.code))
        }
        Err(stop) => Err(stop),
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::{Accessor, GuestAddr};

    use crate::{
        Kernel, Stop, mm,
        testing::{block, bug_check_code, call_by_name, kernel},
    };

    const USER: u64 = 1;
    const KERNEL: u64 = 0;
    const READ: u64 = 0;
    const WRITE: u64 = 1;

    fn kernel_with_user(size_bytes: u64) -> (Kernel, u64) {
        let mut k = kernel();
        let space = k.memory.create_space().unwrap();
        k.memory.set_space(Some(space));
        let at = mm::map_user(&mut k, size_bytes).unwrap().0;
        (k, at)
    }

    fn map(k: &mut Kernel, mdl: u64) -> u64 {
        let arguments = [mdl, KERNEL, 1, 0, 0, 0x4000_0010];
        call_by_name(k, "MmMapLockedPagesSpecifyCache", &arguments).unwrap()
    }

    #[test]
    fn the_system_process_has_no_user_space_to_map_into() {
        let mut k = kernel();
        let block = call_by_name(&mut k, "ExAllocatePool2", &[0x40, 0x1000, 0x7473_6554]).unwrap();
        let mdl = call_by_name(&mut k, "IoAllocateMdl", &[block, 0x1000, 0, 0, 0]).unwrap();
        call_by_name(&mut k, "MmBuildMdlForNonPagedPool", &[mdl]).unwrap();
        let arguments = [mdl, USER, 1, 0, 0, 0x4000_0010];
        let mapped = call_by_name(&mut k, "MmMapLockedPagesSpecifyCache", &arguments);
        assert!(matches!(mapped, Err(Stop::Unsupported { .. })), "{mapped:?}");
    }

    #[test]
    fn a_mapping_shares_the_callers_bytes_and_ends_where_they_end() {
        let (mut k, user) = kernel_with_user(0x1804);
        k.memory.write(Accessor::Machine, GuestAddr(user + 0x1000), b"data").unwrap();
        let mdl = call_by_name(&mut k, "IoAllocateMdl", &[user, 0x1804, 0, 0, 0]).unwrap();
        call_by_name(&mut k, "MmProbeAndLockPages", &[mdl, USER, WRITE]).unwrap();
        let system = map(&mut k, mdl);
        assert_eq!(system & 0xfff, user & 0xfff);
        assert_eq!(k.read_vec(GuestAddr(system + 0x1000), 4).unwrap(), b"data");
        k.write(GuestAddr(system), &[7]).unwrap();
        let mut byte = [0];
        k.memory.read(Accessor::Machine, GuestAddr(user), &mut byte).unwrap();
        assert_eq!(byte, [7]);
        assert!(k.read_vec(GuestAddr(system + 0x1804), 1).is_err());
        assert!(k.read_vec(GuestAddr(system - 1), 1).is_err());
        call_by_name(&mut k, "MmUnlockPages", &[mdl]).unwrap();
        assert!(k.read_vec(GuestAddr(system), 1).is_err());
        let twice = call_by_name(&mut k, "MmUnlockPages", &[mdl]);
        assert_eq!(bug_check_code(twice), 0x4e);
        call_by_name(&mut k, "IoFreeMdl", &[mdl]).unwrap();
        assert!(call_by_name(&mut k, "IoFreeMdl", &[mdl]).is_err());
    }

    #[test]
    fn probing_raises_for_what_cannot_be_locked() {
        let (mut k, user) = kernel_with_user(0x100);
        let kernel_block = block(&mut k, &[0; 16]);
        let cases = [
            (user, 0x100, USER, false),
            (user, 0x101, USER, true),
            (0, 8, USER, true),
            (kernel_block, 16, USER, true),
            (kernel_block, 16, KERNEL, false),
            (0xffff_f7ff_0000_0000, 8, KERNEL, true),
        ];
        for (at, size_bytes, mode, raises) in cases {
            let mdl = call_by_name(&mut k, "IoAllocateMdl", &[at, size_bytes, 0, 0, 0]).unwrap();
            let result = call_by_name(&mut k, "MmProbeAndLockPages", &[mdl, mode, READ]);
            assert_eq!(matches!(result, Err(Stop::Exception(_))), raises, "{at:x}");
        }
    }

    #[test]
    fn non_paged_memory_and_its_parts_are_mapped_already() {
        let mut k = kernel();
        let buffer = block(&mut k, &[5; 0x3000]);
        let mdl = call_by_name(&mut k, "IoAllocateMdl", &[buffer, 0x3000, 0, 0, 0]).unwrap();
        call_by_name(&mut k, "MmBuildMdlForNonPagedPool", &[mdl]).unwrap();
        let address = k.read_scalar::<u64>(GuestAddr(mdl + 0x18)).unwrap();
        assert_eq!(address, buffer);
        let start = buffer + 0x1010;
        let part = call_by_name(&mut k, "IoAllocateMdl", &[start, 0x1000, 0, 0, 0]).unwrap();
        call_by_name(&mut k, "IoBuildPartialMdl", &[mdl, part, start, 0x1000]).unwrap();
        assert_eq!(k.read_scalar::<u64>(GuestAddr(part + 0x18)), Ok(start));
        let small = call_by_name(&mut k, "IoAllocateMdl", &[buffer, 8, 0, 0, 0]).unwrap();
        let result = call_by_name(&mut k, "IoBuildPartialMdl", &[mdl, small, start, 0x1000]);
        assert_eq!(bug_check_code(result), 0x40);
    }

    #[test]
    fn the_size_of_an_mdl_counts_the_pages_it_spans() {
        let mut k = kernel();
        for (start, size_bytes, pages) in
            [(0, 0, 0), (0, 1, 1), (0xfff, 1, 1), (0xfff, 2, 2), (0x10, 0x2000, 3)]
        {
            let found = call_by_name(&mut k, "MmSizeOfMdl", &[start, size_bytes]);
            assert_eq!(found, Ok(0x30 + 8 * pages), "{start:x} {size_bytes:x}");
        }
    }
}
