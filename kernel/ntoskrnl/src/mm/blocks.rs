//! Blocks: the arenas of the kernel half, memory of the kernel itself, stacks, and the caller's
//! user memory.

use events::BlockKind;
use guest_memory::{
    Arena, ArenaId, Block, BlockSpec, ByteState, GuestAddr, MapError, PAGE_BYTES, Perms,
    Provenance, SpaceId,
};

use crate::{CallResult, Kernel, Stop, map};

/// Red zone on each side of a block.
const RED_ZONE_BYTES: u64 = 64;
/// Freed memory kept out of reuse, per arena.
const QUARANTINE_BYTES: u64 = 64 << 20;
/// Address space skipped between two user allocations.
const USER_GAP_BYTES: u64 = 0x1_0000;

/// The arenas of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Arenas {
    /// Non-paged pool without execute rights.
    pub nonpaged: ArenaId,
    /// Non-paged pool that may be executed.
    pub nonpaged_execute: ArenaId,
    /// Paged pool.
    pub paged: ArenaId,
    /// Objects, IRPs, MDLs and buffers of the kernel.
    pub kernel: ArenaId,
    /// Kernel stacks.
    pub stacks: ArenaId,
}

/// Opens the arenas and maps the canary. Called once, before anything else uses memory.
pub fn start(k: &mut Kernel) -> CallResult<()> {
    let data = Perms::READ | Perms::WRITE;
    let mut open = |(base, size_bytes): (GuestAddr, u64), perms| {
        let quarantine_bytes = QUARANTINE_BYTES;
        k.memory.create_arena(Arena { base, size_bytes, perms, quarantine_bytes })
    };
    let arenas = Arenas {
        nonpaged: open(map::NONPAGED_POOL, data),
        nonpaged_execute: open(map::NONPAGED_EXECUTE_POOL, data | Perms::EXECUTE),
        paged: open(map::PAGED_POOL, data | Perms::PAGEABLE),
        kernel: open(map::KERNEL_OBJECTS, data),
        stacks: open(map::STACKS, data),
    };
    k.mm.arenas = Some(arenas);
    let (base, size_bytes) = map::CANARY;
    let perms = data | Perms::WATCHED;
    k.memory.map(base, size_bytes, perms, ByteState::DEFINED, 0).map_err(|error| no_room(&error))
}

/// Allocates zeroed non-paged memory for the kernel, outside the pools. Driver mistakes around it
/// name its kind.
pub fn allocate_kernel(
    k: &mut Kernel,
    kind: BlockKind,
    size_bytes: u64,
    align_bytes: u64,
) -> CallResult<GuestAddr> {
    let (provenance, arena) = (k.provenance(kind, 0), k.arenas().kernel);
    k.hand_out(arena, size_bytes, align_bytes, Some(0), provenance)
        .ok_or_else(|| exhausted(size_bytes))
}

/// Gives a block of [`allocate_kernel`] back. Its bytes may not be touched afterwards.
///
/// # Panics
///
/// If no such block is live: the kernel owns these blocks, and no driver can give one back twice.
pub fn free_kernel(k: &mut Kernel, at: GuestAddr) {
    let block = k.memory.block(at).expect("the kernel frees what it allocated");
    let kind = BlockKind::from_u16(block.allocated.kind).unwrap_or(BlockKind::KernelPool);
    let freed = k.provenance(kind, block.allocated.tag);
    k.memory.free(at, freed).expect("the block was just found");
}

/// Allocates a kernel stack; returns its lowest address and one past its highest. The page below is
/// unmapped.
pub fn allocate_stack(k: &mut Kernel) -> CallResult<(GuestAddr, GuestAddr)> {
    let (provenance, arena) = (k.provenance(BlockKind::Stack, 0), k.arenas().stacks);
    let size_bytes = map::KERNEL_STACK_BYTES;
    let low = k
        .hand_out(arena, size_bytes, PAGE_BYTES, None, provenance)
        .ok_or_else(|| exhausted(size_bytes))?;
    Ok((low, low.add(size_bytes)))
}

/// Gives a kernel stack back.
pub fn free_stack(k: &mut Kernel, low: GuestAddr) {
    free_kernel(k, low);
}

/// Maps zeroed user memory of the current process that ends at the end of a page; the next page is
/// unmapped.
///
/// Driver accesses are shown as fetches (`Perms::WATCHED`). User mode sees whole pages, so the
/// bytes before the buffer in its first page are there too.
pub fn map_user(k: &mut Kernel, size_bytes: u64) -> CallResult<GuestAddr> {
    let (low, pages_bytes) = reserve_user(k, size_bytes.max(1))?;
    let perms = Perms::READ | Perms::WRITE | Perms::USER | Perms::WATCHED;
    k.memory
        .map(low, pages_bytes, perms, ByteState::DEFINED, 0)
        .map_err(|error| no_room(&error))?;
    k.memory.exert(pages_bytes);
    Ok(low.add(pages_bytes - size_bytes))
}

/// Takes user address space of the current process: whole pages, with a gap behind them.
pub fn reserve_user(k: &mut Kernel, size_bytes: u64) -> CallResult<(GuestAddr, u64)> {
    let space = k.memory.space().expect("a process is current while user memory is mapped");
    let next = k.mm.user_next.entry(space).or_insert(map::USER.0);
    // The allocation granularity of Windows.
    let low = GuestAddr(next.0.next_multiple_of(USER_GAP_BYTES));
    let used = low.0 - map::USER.0.0;
    let pages_bytes = size_bytes.checked_next_multiple_of(PAGE_BYTES);
    let room = map::USER.1.checked_sub(used + USER_GAP_BYTES);
    match (pages_bytes, room) {
        (Some(bytes), Some(room)) if bytes <= room => {
            *next = low.add(bytes + USER_GAP_BYTES);
            Ok((low, bytes))
        }
        _ => Err(Stop::Limit { what: format!("user address space for {size_bytes} bytes") }),
    }
}

/// Unmaps memory of [`map_user`].
pub fn unmap_user(k: &mut Kernel, at: GuestAddr, size_bytes: u64) {
    // A buffer of no bytes ends the page before its address.
    let first = GuestAddr(at.0 - u64::from(size_bytes == 0));
    let bytes = first.page_offset() + size_bytes.max(1);
    k.memory.unmap(first.page(), bytes.next_multiple_of(PAGE_BYTES));
}

/// What other components of the kernel hand out from their own arenas.
impl Kernel {
    /// [`allocate_kernel`] for the components before this one.
    pub(crate) fn new_block(&mut self, kind: BlockKind, size_bytes: u64) -> CallResult<GuestAddr> {
        allocate_kernel(self, kind, size_bytes, 16)
    }

    /// [`free_kernel`] for the components before this one.
    pub(crate) fn give_block_back(&mut self, at: GuestAddr) {
        free_kernel(self, at);
    }

    /// Hands out a block with the red zones of the machine; `None` when there is no room.
    pub(crate) fn hand_out(
        &mut self,
        arena: ArenaId,
        size_bytes: u64,
        align_bytes: u64,
        defined_as: Option<u8>,
        provenance: Provenance,
    ) -> Option<GuestAddr> {
        let spec = BlockSpec {
            size_bytes,
            align_bytes,
            red_zone_bytes: RED_ZONE_BYTES,
            defined_as,
            fill: self.config.fill,
            provenance,
        };
        let at = self.memory.allocate(arena, spec).ok()?;
        // Refusing a huge block is no work.
        self.memory.exert(size_bytes);
        Some(at)
    }

    /// Who asks now, for a block of this kind.
    pub(crate) fn provenance(&self, kind: BlockKind, tag: u32) -> Provenance {
        let origin = self.origin();
        Provenance { kind: kind as u16, tag, who: origin.ip, when: origin.seq.0 }
    }

    /// The arenas.
    pub(crate) fn arenas(&self) -> Arenas {
        self.mm.arenas.expect("`mm::start` runs before anything is allocated")
    }
}

/// Pool blocks that code inside the image allocated and nobody freed.
pub fn owned_by(k: &Kernel, image_base: GuestAddr, image_bytes: u64) -> Vec<Block> {
    let is_inside = |at: GuestAddr| at.0.wrapping_sub(image_base.0) < image_bytes;
    let is_pool = |block: &Block| block.allocated.kind == BlockKind::Pool as u16;
    let blocks = k.memory.live_blocks().into_iter();
    blocks.filter(|block| is_pool(block) && is_inside(block.allocated.who)).collect()
}

/// State of user address space: the next address handed out, per process.
pub(crate) type UserNext = std::collections::BTreeMap<SpaceId, GuestAddr>;

fn exhausted(size_bytes: u64) -> Stop {
    Stop::Limit { what: format!("guest memory for {size_bytes} bytes") }
}

/// A mapping that the machine needs found no frames.
pub(crate) fn no_room(error: &MapError) -> Stop {
    Stop::Limit { what: error.to_string() }
}
