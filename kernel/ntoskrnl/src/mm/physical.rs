//! Physical memory: where RAM lies, device memory, contiguous memory.
//!
//! Frames of guest memory are RAM from 1 GiB up; every other physical address is the bus, where
//! nothing answers and reads give ones. What a driver stores there stays, as in the memory of a
//! device.

use std::collections::BTreeMap;

use events::{BlockKind, PrivilegedSink};
use guest_memory::{ByteState, FrameId, GuestAddr, PAGE_BYTES, Perms};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports, map};

exports![
    MmGetPhysicalAddress,
    MmMapIoSpace,
    MmMapIoSpaceEx,
    MmUnmapIoSpace,
    MmAllocateContiguousMemory,
    MmAllocateContiguousMemorySpecifyCache,
    MmFreeContiguousMemory,
    MmFreeContiguousMemorySpecifyCache,
    MmAllocateNonCachedMemory,
    MmFreeNonCachedMemory,
];

/// Page frame number of the first frame of guest memory.
const RAM_FIRST_PAGE: u64 = 0x4000_0000 / PAGE_BYTES;
/// Pages that count as RAM: more than a machine has frames, and below where devices usually lie.
const RAM_PAGES: u64 = 1 << 18;
/// Physical address bits of the processor model: those of a processor without CPUID leaf
/// 8000_0008h.
const ADDRESS_BITS: u32 = 36;
/// Device pages that a machine has room for.
const DEVICE_MOST_PAGES: usize = 1 << 14;
/// Tag of contiguous and non-cached memory, which only its own routines free.
const CONTIGUOUS_TAG: u32 = u32::from_le_bytes(*b"MmCm");
/// What a read from the bus gives where nothing answers.
const OPEN_BUS: u8 = 0xff;

/// `PAGE_XXX` protections. Source: `wdm/nf-wdm-mmmapiospaceex`.
const PAGE_READONLY: u32 = 0x02;
const PAGE_READWRITE: u32 = 0x04;
const PAGE_EXECUTE: u32 = 0x10;
const PAGE_EXECUTE_READ: u32 = 0x20;
const PAGE_EXECUTE_READWRITE: u32 = 0x40;
const CACHE_BITS: u32 = 0x600;

/// Physical memory of a machine, beyond its frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Physical {
    /// Frames that stand for pages of the bus.
    devices: BTreeMap<u64, FrameId>,
    /// Mappings of `MmMapIoSpace`: pages by first page.
    io_mappings: BTreeMap<GuestAddr, u64>,
    /// Pages of system address space handed out.
    system_pages: u64,
}

/// The page frame number of a frame.
pub(crate) fn page_number(frame: FrameId) -> u64 {
    RAM_FIRST_PAGE + u64::from(frame.0)
}

/// The frame of a page frame number that lies in RAM.
pub(crate) fn frame_of(page_number: u64) -> Option<FrameId> {
    u32::try_from(page_number.checked_sub(RAM_FIRST_PAGE)?).ok().map(FrameId)
}

/// Takes address space for a mapping, with a page behind it that stays unmapped.
pub(crate) fn take_system_pages(k: &mut Kernel, pages: u64) -> Option<GuestAddr> {
    let first = k.mm.physical.system_pages;
    let next = first.checked_add(pages)?.checked_add(1)?;
    if next > map::SYSTEM_PTES.1 / PAGE_BYTES {
        return None;
    }
    k.mm.physical.system_pages = next;
    Some(map::SYSTEM_PTES.0.add(first * PAGE_BYTES))
}

/// Returns the physical address behind a virtual one; 0 if none is mapped.
#[export(irql = .., ddi = "ntddk/nf-ntddk-mmgetphysicaladdress",
    irql_note = "the remarks limit it no further")]
fn MmGetPhysicalAddress(k: &mut Kernel, at: GuestAddr) -> CallResult<u64> {
    let page = k.memory.mapping(at).map(|mapping| page_number(mapping.frame));
    Ok(page.map_or(0, |page| page * PAGE_BYTES + at.page_offset()))
}

/// Maps device memory.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmmapiospace")]
fn MmMapIoSpace(
    k: &mut Kernel,
    physical: u64,
    size_bytes: u64,
    _cache_type: u32,
) -> CallResult<GuestAddr> {
    let perms = Perms::READ | Perms::WRITE;
    map_physical(k, "MmMapIoSpace", physical, size_bytes, perms)
}

/// Maps device memory with a protection.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmmapiospaceex")]
fn MmMapIoSpaceEx(
    k: &mut Kernel,
    physical: u64,
    size_bytes: u64,
    protection: u32,
) -> CallResult<GuestAddr> {
    let perms = match protection & !CACHE_BITS {
        PAGE_READONLY => Perms::READ,
        PAGE_READWRITE => Perms::READ | Perms::WRITE,
        PAGE_EXECUTE | PAGE_EXECUTE_READ => Perms::READ | Perms::EXECUTE,
        PAGE_EXECUTE_READWRITE => Perms::READ | Perms::WRITE | Perms::EXECUTE,
        _ => return Ok(GuestAddr::NULL),
    };
    map_physical(k, "MmMapIoSpaceEx", physical, size_bytes, perms)
}

fn map_physical(
    k: &mut Kernel,
    name: &'static str,
    physical: u64,
    size_bytes: u64,
    perms: Perms,
) -> CallResult<GuestAddr> {
    k.expose(PrivilegedSink::PhysicalMemory, name, false, vec![physical, size_bytes])?;
    if k.is_to_fail(events::MAPPING_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let Some(frames) = bus_frames(k, physical, size_bytes)? else { return Ok(GuestAddr::NULL) };
    let Some(at) = take_system_pages(k, frames.len() as u64) else { return Ok(GuestAddr::NULL) };
    let first_byte = u16::try_from(physical % PAGE_BYTES).expect("below a page");
    if k.memory.map_frames(at, &frames, first_byte, size_bytes, perms).is_err() {
        return Ok(GuestAddr::NULL);
    }
    k.mm.physical.io_mappings.insert(at, frames.len() as u64);
    Ok(at.add(u64::from(first_byte)))
}

/// The frames that stand for a range of the bus; `None` if the range is no physical range or there
/// is no room.
pub(crate) fn bus_frames(
    k: &mut Kernel,
    physical: u64,
    size_bytes: u64,
) -> CallResult<Option<Vec<FrameId>>> {
    let Some(last) = size_bytes.checked_sub(1).and_then(|tail| physical.checked_add(tail)) else {
        return Ok(None);
    };
    if last >> ADDRESS_BITS != 0 || size_bytes / PAGE_BYTES > DEVICE_MOST_PAGES as u64 {
        return Ok(None);
    }
    let pages = physical / PAGE_BYTES..=last / PAGE_BYTES;
    let ram = RAM_FIRST_PAGE..RAM_FIRST_PAGE + RAM_PAGES;
    if pages.start() < &ram.end && pages.end() >= &ram.start {
        return Err(Stop::unsupported("a mapping of RAM by its physical address"));
    }
    let mut frames = Vec::new();
    for page in pages {
        match bus_frame(k, page) {
            Some(frame) => frames.push(frame),
            None => return Ok(None),
        }
    }
    Ok(Some(frames))
}

fn bus_frame(k: &mut Kernel, page: u64) -> Option<FrameId> {
    if let Some(frame) = k.mm.physical.devices.get(&page) {
        return Some(*frame);
    }
    if k.mm.physical.devices.len() >= DEVICE_MOST_PAGES {
        return None;
    }
    // A frame comes into being with a mapping; a pin keeps it when the mapping goes.
    let at = take_system_pages(k, 1)?;
    let perms = Perms::READ | Perms::WRITE;
    k.memory.map(at, PAGE_BYTES, perms, ByteState::DEFINED, OPEN_BUS).ok()?;
    let frame = k.memory.mapping(at).expect("the page was just mapped").frame;
    k.memory.pin(frame);
    k.memory.unmap(at, PAGE_BYTES);
    k.mm.physical.devices.insert(page, frame);
    Some(frame)
}

/// Unmaps what `MmMapIoSpace` mapped.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmunmapiospace")]
fn MmUnmapIoSpace(k: &mut Kernel, at: GuestAddr, _size_bytes: u64) -> CallResult<()> {
    let Some(pages) = k.mm.physical.io_mappings.remove(&at.page()) else {
        // SYSTEM_PTE_MISUSE.
        return Err(Stop::bug_check(0xda, [0, at.0, 0, 0]));
    };
    k.memory.unmap(at.page(), pages * PAGE_BYTES);
    Ok(())
}

/// Allocates physically contiguous memory below an address.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmallocatecontiguousmemory")]
fn MmAllocateContiguousMemory(
    k: &mut Kernel,
    size_bytes: u64,
    highest: u64,
) -> CallResult<GuestAddr> {
    contiguous(k, size_bytes, 0..=highest, 0)
}

/// Allocates physically contiguous memory between two addresses, across no multiple of a boundary.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmallocatecontiguousmemoryspecifycache")]
fn MmAllocateContiguousMemorySpecifyCache(
    k: &mut Kernel,
    size_bytes: u64,
    lowest: u64,
    highest: u64,
    boundary: u64,
    _cache_type: u32,
) -> CallResult<GuestAddr> {
    contiguous(k, size_bytes, lowest..=highest, boundary)
}

/// Frees contiguous memory.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmfreecontiguousmemory",
    irql_note = "DISPATCH_LEVEL since Windows Server 2008")]
fn MmFreeContiguousMemory(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    free_contiguous(k, at)
}

/// Frees contiguous memory.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-mmfreecontiguousmemoryspecifycache")]
fn MmFreeContiguousMemorySpecifyCache(
    k: &mut Kernel,
    at: GuestAddr,
    _size_bytes: u64,
    _cache_type: u32,
) -> CallResult<()> {
    free_contiguous(k, at)
}

/// Allocates non-cached memory.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-mmallocatenoncachedmemory")]
fn MmAllocateNonCachedMemory(k: &mut Kernel, size_bytes: u64) -> CallResult<GuestAddr> {
    Ok(take_contiguous(k, size_bytes)?.unwrap_or(GuestAddr::NULL))
}

/// Frees non-cached memory.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-mmfreenoncachedmemory")]
fn MmFreeNonCachedMemory(k: &mut Kernel, at: GuestAddr, _size_bytes: u64) -> CallResult<()> {
    free_contiguous(k, at)
}

fn contiguous(
    k: &mut Kernel,
    size_bytes: u64,
    range: std::ops::RangeInclusive<u64>,
    boundary: u64,
) -> CallResult<GuestAddr> {
    let Some(at) = take_contiguous(k, size_bytes)? else { return Ok(GuestAddr::NULL) };
    let pages = size_bytes.div_ceil(PAGE_BYTES);
    let page = |k: &Kernel, index: u64| {
        k.memory.mapping(at.add(index * PAGE_BYTES)).map(|mapping| page_number(mapping.frame))
    };
    let first = page(k, 0).unwrap_or_default();
    let is_in_order = (0..pages).all(|index| page(k, index) == Some(first + index));
    let (low, high) = (first * PAGE_BYTES, (first + pages) * PAGE_BYTES - 1);
    let is_within = range.contains(&low) && range.contains(&high);
    let is_one_part = boundary == 0 || low / boundary == high / boundary;
    if is_in_order && is_within && is_one_part {
        return Ok(at);
    }
    free_contiguous(k, at)?;
    Ok(GuestAddr::NULL)
}

fn take_contiguous(k: &mut Kernel, size_bytes: u64) -> CallResult<Option<GuestAddr>> {
    if size_bytes == 0 || k.is_to_fail(events::POOL_FAILURE)? {
        return Ok(None);
    }
    let arena = k.arenas().nonpaged_execute;
    let provenance = k.provenance(BlockKind::KernelPool, CONTIGUOUS_TAG);
    // A page or more starts a page; what is less gets one of its own by asking for all of it.
    let whole_bytes = size_bytes.checked_next_multiple_of(PAGE_BYTES);
    Ok(whole_bytes.and_then(|whole| k.hand_out(arena, whole, PAGE_BYTES, None, provenance)))
}

fn free_contiguous(k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
    let block = k.memory.block(at).filter(|block| block.allocated.tag == CONTIGUOUS_TAG);
    if block.is_none() {
        // BAD_POOL_CALLER: "Bad address to MmFreeContiguousMemory".
        return Err(Stop::bug_check(0xc2, [0x60, at.0, 0, 0]));
    }
    let freed = k.provenance(BlockKind::KernelPool, CONTIGUOUS_TAG);
    k.memory.free(at, freed).expect("the block was just found");
    Ok(())
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::{
        Stop,
        testing::{bug_check_code, call_by_name, kernel, take_events},
    };

    #[test]
    fn two_mappings_of_a_device_share_its_memory() {
        let mut k = kernel();
        let map = "MmMapIoSpace";
        let a = call_by_name(&mut k, map, &[0xf_0ffc, 8, 0]).unwrap();
        let b = call_by_name(&mut k, map, &[0xf_1000, 4, 0]).unwrap();
        assert_eq!(a & 0xfff, 0xffc);
        assert_eq!(k.read_scalar::<u64>(GuestAddr(a)), Ok(u64::MAX));
        k.write_scalar(GuestAddr(a + 4), 0x1234_u32).unwrap();
        assert_eq!(k.read_scalar::<u32>(GuestAddr(b)), Ok(0x1234));
        assert!(k.read_scalar::<u32>(GuestAddr(a + 8)).is_err());
        assert!(matches!(take_events(&mut k).first(), Some(events::Event::Privileged(_))));
        call_by_name(&mut k, "MmUnmapIoSpace", &[a, 8]).unwrap();
        let twice = call_by_name(&mut k, "MmUnmapIoSpace", &[a, 8]);
        assert_eq!(bug_check_code(twice), 0xda);
    }

    #[test]
    fn impossible_ranges_are_not_mapped() {
        let mut k = kernel();
        for (physical, size_bytes) in [(0x1000, 0), (1 << 36, 8), (u64::MAX, 8), (0, 1 << 40)] {
            let mapped = call_by_name(&mut k, "MmMapIoSpace", &[physical, size_bytes, 0]);
            assert_eq!(mapped, Ok(0), "{physical:x} {size_bytes:x}");
        }
        let ram = call_by_name(&mut k, "MmMapIoSpace", &[0x4000_0000, 8, 0]);
        assert!(matches!(ram, Err(Stop::Unsupported { .. })));
    }

    #[test]
    fn contiguous_memory_is_contiguous() {
        let mut k = kernel();
        let name = "MmAllocateContiguousMemory";
        let at = call_by_name(&mut k, name, &[3 * 4096, u64::from(u32::MAX)]).unwrap();
        let physical =
            |k: &mut crate::Kernel, at| call_by_name(k, "MmGetPhysicalAddress", &[at]).unwrap();
        let first = physical(&mut k, at);
        assert_eq!(physical(&mut k, at + 0x2010), first + 0x2010);
        assert_eq!(call_by_name(&mut k, name, &[4096, 0xf_ffff]), Ok(0));
        call_by_name(&mut k, "MmFreeContiguousMemory", &[at]).unwrap();
        let twice = call_by_name(&mut k, "MmFreeContiguousMemory", &[at]);
        assert_eq!(bug_check_code(twice), 0xc2);
    }

    #[test]
    fn the_forms_with_a_cache_type_keep_their_bounds() {
        let mut k = kernel();
        let name = "MmAllocateContiguousMemorySpecifyCache";
        let highest = u64::from(u32::MAX);
        let at = call_by_name(&mut k, name, &[2 * 4096, 0, highest, 0, 1]).unwrap();
        assert_eq!(at & 0xfff, 0);
        let physical = call_by_name(&mut k, "MmGetPhysicalAddress", &[at]).unwrap();
        for (lowest, highest, boundary) in
            [(physical + (1 << 30), u64::MAX, 0), (0, 0xfff, 0), (0, u64::MAX, 4096)]
        {
            let found = call_by_name(&mut k, name, &[2 * 4096, lowest, highest, boundary, 1]);
            assert_eq!(found, Ok(0), "{lowest:x} {highest:x} {boundary:x}");
        }
        let free = "MmFreeContiguousMemorySpecifyCache";
        call_by_name(&mut k, free, &[at, 2 * 4096, 1]).unwrap();
        assert!(k.read_vec(GuestAddr(at), 1).is_err());
        let twice = call_by_name(&mut k, free, &[at, 2 * 4096, 1]);
        assert_eq!(bug_check_code(twice), 0xc2);
    }

    #[test]
    fn non_cached_memory_comes_in_pages() {
        let mut k = kernel();
        let at = call_by_name(&mut k, "MmAllocateNonCachedMemory", &[100]).unwrap();
        assert_eq!(at & 0xfff, 0);
        k.write_scalar(GuestAddr(at + 92), 1_u64).unwrap();
        assert_eq!(call_by_name(&mut k, "MmAllocateNonCachedMemory", &[0]), Ok(0));
        call_by_name(&mut k, "MmFreeNonCachedMemory", &[at, 100]).unwrap();
        let twice = call_by_name(&mut k, "MmFreeNonCachedMemory", &[at, 100]);
        assert_eq!(bug_check_code(twice), 0xc2);
    }
}
