//! Handing out blocks: where they lie, their red zones, and how long freed ones stay away from
//! reuse.
//!
//! Blocks below a page share pages, each with red zones of its own, and never cross a page; larger
//! ones start a page and have unmapped guard pages on both sides. Addresses are taken upwards
//! through the whole arena before whole pages given back are used again. Everything is a function
//! of the requests alone.

use std::sync::Arc;

use crate::{
    AccessKind, Accessor, Arena, ArenaId, Block, BlockSpec, ByteState, Exhausted, FrameId,
    FreeError, GuestAddr, GuestMemory, KERNEL_HALF_START, Mapping, Near, PAGE_BYTES, Provenance,
    radix::Radix,
};

const UNIT_BYTES: u64 = 16;
const VIRTUAL_MASK: u64 = 0xffff_ffff_ffff;

/// All arenas and their blocks. Part of a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arenas {
    list: Arc<Vec<ArenaState>>,
    /// Live and quarantined blocks by their first address in units of 16 bytes.
    blocks: Radix<Record>,
}

#[derive(Clone, Debug)]
struct ArenaState {
    arena: Arena,
    /// First page never handed out.
    next: u64,
    /// Page runs given back: bytes by first page.
    free: Radix<u64>,
    /// Where the next small block goes, in a page that is mapped.
    cursor: Option<u64>,
    /// Freed blocks, by number of their free.
    quarantine: Radix<GuestAddr>,
    frees: u64,
    quarantined_bytes: u64,
}

/// A block and the ground it stands on.
#[derive(Clone, Copy, Debug)]
struct Record {
    block: Block,
    /// First byte of its front red zone; of a large block, of its front guard pages.
    low: u64,
    /// One past its rear red zone; of a large block, past its rear guard pages.
    high: u64,
    is_large: bool,
}

/// Blocks.
impl GuestMemory {
    /// Opens a range of the kernel half for blocks. At most 256 arenas; the first page is left as a
    /// guard.
    ///
    /// # Panics
    ///
    /// If the range is not page aligned, not in the kernel half, or overlaps another arena.
    pub fn create_arena(&mut self, arena: Arena) -> ArenaId {
        let end = arena.base.0.checked_add(arena.size_bytes).expect("an arena does not wrap");
        assert!(arena.base >= KERNEL_HALF_START, "an arena lies in the kernel half");
        assert!(
            arena.base.page_offset() == 0 && arena.size_bytes.is_multiple_of(PAGE_BYTES),
            "an arena is page aligned"
        );
        let list = Arc::make_mut(&mut self.state.arenas.list);
        let is_apart =
            |other: &ArenaState| end <= other.arena.base.0 || other.end() <= arena.base.0;
        assert!(list.iter().all(is_apart), "arenas do not overlap");
        let id = ArenaId(u8::try_from(list.len()).expect("at most 256 arenas"));
        list.push(ArenaState {
            arena,
            next: arena.base.0.saturating_add(PAGE_BYTES).min(end),
            free: Radix::default(),
            cursor: None,
            quarantine: Radix::default(),
            frees: 0,
            quarantined_bytes: 0,
        });
        id
    }

    /// Hands out a block. When a limit is reached, blocks in quarantine are given up first, oldest
    /// first.
    pub fn allocate(&mut self, arena: ArenaId, spec: BlockSpec) -> Result<GuestAddr, Exhausted> {
        let exhausted = Exhausted { size_bytes: spec.size_bytes };
        assert!(
            spec.align_bytes.is_power_of_two() && spec.align_bytes <= PAGE_BYTES,
            "the alignment is a power of two of at most a page"
        );
        let place = Layout::of(&spec).ok_or(exhausted)?;
        let record = loop {
            let has_number = self.state.arenas.blocks.len() < u64::from(self.limits.blocks);
            if has_number && let Some(record) = self.place(arena, &spec, place) {
                break record;
            }
            if !self.evict_one(arena) {
                return Err(exhausted);
            }
        };
        let block = record.block;
        self.state.arenas.blocks.insert(unit(block.base), record);
        // The guards of a large block are not mapped, and so skipped.
        let ground_bytes = record.high - record.low;
        let ground = GuestAddr(record.low);
        self.set_state(ground, ground_bytes, ByteState::RED_ZONE, Some(spec.fill));
        let (state, fill) = match spec.defined_as {
            Some(value) => (ByteState::DEFINED, value),
            None => (ByteState::UNDEFINED, spec.fill),
        };
        self.set_state(block.base, block.size_bytes, state, Some(fill));
        self.tracker.forget(block.base.0, block.size_bytes);
        Ok(block.base)
    }

    /// Frees the live block that starts at `base`: its bytes become untouchable and stay so while
    /// it is in quarantine. Returns the block with its whole history.
    pub fn free(&mut self, base: GuestAddr, freed: Provenance) -> Result<Block, FreeError> {
        let blocks = &mut self.state.arenas.blocks;
        let found = blocks.get(unit(base)).map(|record| record.block);
        let Some(block) = found.filter(|block| block.base == base) else {
            return Err(FreeError::NotABlock { near: self.near(base) });
        };
        if block.freed.is_some() {
            return Err(FreeError::AlreadyFreed { block });
        }
        let record = blocks.get_mut(unit(base)).expect("the block was just found");
        record.block.freed = Some(freed);
        let (block, ground_bytes) = (record.block, record.high - record.low);
        self.set_state(base, block.size_bytes, ByteState::FREED, None);
        let arena = self.arena_mut(block.arena);
        arena.quarantine.insert(arena.frees, base);
        arena.frees += 1;
        arena.quarantined_bytes += ground_bytes;
        while self.arena_of(block.arena).is_some_and(ArenaState::is_over_quota) {
            self.evict_oldest(block.arena);
        }
        Ok(block)
    }

    /// Returns the live block that starts here.
    pub fn block(&self, base: GuestAddr) -> Option<Block> {
        let record = self.state.arenas.blocks.get(unit(base))?;
        (record.block.base == base && record.block.freed.is_none()).then_some(record.block)
    }

    /// Returns the block, live or in quarantine, in or beside which the address lies: inside, in a
    /// red zone, in a guard page. An address outside the arenas that maps a frame of a block is
    /// taken for the block's.
    pub fn near(&self, at: GuestAddr) -> Option<Near> {
        if self.arena_at(at).is_some() {
            return self.near_in_arena(at);
        }
        let mapping = self.mapping(at)?;
        let home = self.state.frames.info(mapping.frame.0)?.home;
        if home == 0 {
            return None;
        }
        self.near_in_arena(GuestAddr(home + at.page_offset()))
    }

    /// Returns the live blocks in order of address.
    pub fn live_blocks(&self) -> Vec<Block> {
        let mut live = Vec::new();
        let mut next = Some(0);
        while let Some((key, record)) =
            next.and_then(|key| self.state.arenas.blocks.at_or_above(key))
        {
            if record.block.freed.is_none() {
                live.push(record.block);
            }
            next = key.checked_add(1);
        }
        live
    }
}

/// Look-ups.
impl GuestMemory {
    /// The arena whose range covers an address.
    pub(crate) fn arena_at(&self, at: GuestAddr) -> Option<ArenaId> {
        let mut arenas = self.state.arenas.list.iter();
        let index = arenas.position(|a| at >= a.arena.base && at.0 < a.end())?;
        u8::try_from(index).ok().map(ArenaId)
    }

    /// Whether a load may take the whole range: every byte is a readable one of a live block, or
    /// lies in a red zone of a live block that the range overlaps.
    pub(crate) fn is_overhang(&self, who: Accessor, at: GuestAddr, size_bytes: u64) -> bool {
        let Some(end) = at.0.checked_add(size_bytes) else { return false };
        let mut from = at.0;
        while from < end {
            let Some(record) = self.record_around(from).filter(|r| r.block.freed.is_none()) else {
                return false;
            };
            let (base, rear) = (record.block.base.0, record.block.base.0 + record.block.size_bytes);
            let is_overlapped = base < end && at.0 < rear;
            from = if !is_overlapped {
                return false;
            } else if from < base {
                base
            } else if from < rear {
                let len = rear.min(end) - from;
                if self.vet(who, AccessKind::Read, GuestAddr(from), len, true).is_err() {
                    return false;
                }
                rear
            } else {
                record.high
            };
        }
        true
    }

    /// The block whose bytes or red zones cover an address.
    fn record_around(&self, at: u64) -> Option<&Record> {
        let blocks = &self.state.arenas.blocks;
        let behind = blocks.at_or_below(unit(GuestAddr(at))).map(|(_, record)| record);
        let ahead = || blocks.at_or_above(unit(GuestAddr(at)) + 1).map(|(_, record)| record);
        behind.filter(|r| at < r.high).or_else(|| ahead().filter(|r| at >= r.low))
    }

    fn near_in_arena(&self, at: GuestAddr) -> Option<Near> {
        let record = self.record_around(at.0)?;
        let block = record.block;
        Some(match at.0.checked_sub(block.base.0) {
            None => Near::Before { block, distance_bytes: block.base.0 - at.0 },
            Some(offset_bytes) => match offset_bytes.checked_sub(block.size_bytes) {
                None => Near::Inside { block, offset_bytes },
                Some(distance_bytes) => Near::After { block, distance_bytes },
            },
        })
    }

    fn arena_of(&self, id: ArenaId) -> Option<&ArenaState> {
        self.state.arenas.list.get(usize::from(id.0))
    }

    fn arena_mut(&mut self, id: ArenaId) -> &mut ArenaState {
        let list = Arc::make_mut(&mut self.state.arenas.list);
        list.get_mut(usize::from(id.0)).expect("arena numbers come from `create_arena`")
    }
}

/// How much ground a block needs.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Shares a page with others.
    is_small: bool,
    zone_bytes: u64,
    mapped_bytes: u64,
    guard_bytes: u64,
}

impl Layout {
    fn of(spec: &BlockSpec) -> Option<Self> {
        let zone_bytes =
            spec.red_zone_bytes.max(UNIT_BYTES).checked_next_multiple_of(UNIT_BYTES)?;
        let align_bytes = spec.align_bytes.max(UNIT_BYTES);
        let front_bytes = zone_bytes.checked_next_multiple_of(align_bytes)?;
        let ground_bytes = front_bytes.checked_add(spec.size_bytes)?.checked_add(zone_bytes)?;
        Some(Self {
            is_small: ground_bytes.checked_next_multiple_of(UNIT_BYTES)? <= PAGE_BYTES,
            zone_bytes,
            mapped_bytes: spec.size_bytes.max(1).checked_next_multiple_of(PAGE_BYTES)?,
            guard_bytes: zone_bytes.checked_next_multiple_of(PAGE_BYTES)?,
        })
    }
}

/// Placing.
impl GuestMemory {
    fn place(&mut self, id: ArenaId, spec: &BlockSpec, layout: Layout) -> Option<Record> {
        let block = |base| Block {
            base: GuestAddr(base),
            size_bytes: spec.size_bytes,
            arena: id,
            allocated: spec.provenance,
            freed: None,
        };
        if !layout.is_small {
            let low = self.take_pages(id, layout.mapped_bytes, layout.guard_bytes)?;
            let base = low + layout.guard_bytes;
            let high = base + layout.mapped_bytes + layout.guard_bytes;
            return Some(Record { block: block(base), low, high, is_large: true });
        }
        let fit = |low: u64| {
            let base = (low + layout.zone_bytes).next_multiple_of(spec.align_bytes.max(UNIT_BYTES));
            let high = (base + spec.size_bytes + layout.zone_bytes).next_multiple_of(UNIT_BYTES);
            let record = Record { block: block(base), low, high, is_large: false };
            (high - (low & !(PAGE_BYTES - 1)) <= PAGE_BYTES).then_some(record)
        };
        let record = match self.arena_of(id)?.cursor.and_then(fit) {
            Some(record) => record,
            None => {
                let page = self.take_pages(id, PAGE_BYTES, 0)?;
                let old = self.arena_mut(id).cursor.take();
                if let Some(old) = old {
                    self.reclaim_small(id, (old - 1) & !(PAGE_BYTES - 1));
                }
                fit(page).expect("a small block fits into a fresh page")
            }
        };
        let is_full = record.high.is_multiple_of(PAGE_BYTES);
        self.arena_mut(id).cursor = (!is_full).then_some(record.high);
        Some(record)
    }

    /// Takes address space and maps fresh frames between its guards. Returns where the space
    /// starts.
    fn take_pages(&mut self, id: ArenaId, mapped_bytes: u64, guard_bytes: u64) -> Option<u64> {
        let free_frames = u64::from(self.limits.frames - self.state.frames.in_use());
        let mappings_max = u64::from(self.limits.frames) * 4;
        let pages = mapped_bytes / PAGE_BYTES;
        if pages > free_frames || pages > mappings_max.saturating_sub(self.state.mapped_pages) {
            return None;
        }
        let total_bytes = guard_bytes.checked_mul(2)?.checked_add(mapped_bytes)?;
        let low = loop {
            let low = self.arena_mut(id).take(total_bytes)?;
            // Pages that somebody mapped into the arena by hand are never handed out.
            if self.state.kernel.next(low, low + total_bytes - PAGE_BYTES).is_none() {
                break low;
            }
        };
        let base = low + guard_bytes;
        let perms = self.arena_of(id)?.arena.perms;
        for page in (base..base + mapped_bytes).step_by(4096) {
            let frame = self.state.frames.take(page);
            self.frames.prepare(frame, ByteState::UNALLOCATED, 0);
            self.set_page(page, Mapping { frame: FrameId(frame), perms, low: 0, high: 4096 });
        }
        Some(low)
    }

    /// Unmaps pages of the arena and gives their address space back.
    fn give_pages(&mut self, id: ArenaId, low: u64, mapped_bytes: u64, guard_bytes: u64) {
        let base = low + guard_bytes;
        for page in (base..base + mapped_bytes).step_by(4096) {
            if let Some(mapping) = self.mapping(GuestAddr(page))
                && let Some(info) = self.state.frames.info_mut(mapping.frame.0)
            {
                // A pinned frame outlives the block and is nobody's page from now on.
                info.home = 0;
            }
        }
        self.unmap(GuestAddr(base), mapped_bytes);
        self.arena_mut(id).give(low, mapped_bytes + 2 * guard_bytes);
    }

    /// Gives a page of small blocks back if none is left in it and none can come.
    fn reclaim_small(&mut self, id: ArenaId, page: u64) {
        let is_current = self
            .arena_of(id)
            .and_then(|arena| arena.cursor)
            .is_some_and(|cursor| cursor & !(PAGE_BYTES - 1) == page);
        let first = self.state.arenas.blocks.at_or_above(unit(GuestAddr(page)));
        let is_used = first.is_some_and(|(_, record)| record.block.base.0 < page + PAGE_BYTES);
        if !is_current && !is_used {
            self.give_pages(id, page, PAGE_BYTES, 0);
        }
    }

    /// Ends the quarantine of one block: of this arena if it has one, else of the first that has.
    fn evict_one(&mut self, preferred: ArenaId) -> bool {
        let count = u8::try_from(self.state.arenas.list.len()).unwrap_or(u8::MAX);
        self.evict_oldest(preferred) || (0..count).any(|id| self.evict_oldest(ArenaId(id)))
    }

    fn evict_oldest(&mut self, id: ArenaId) -> bool {
        let arena = self.arena_of(id);
        let Some((number, base)) = arena.and_then(|a| a.quarantine.at_or_above(0)) else {
            return false;
        };
        let base = *base;
        let record = self.state.arenas.blocks.remove(unit(base));
        let record = record.expect("a quarantined block is recorded");
        let arena = self.arena_mut(id);
        arena.quarantine.remove(number);
        arena.quarantined_bytes -= record.high - record.low;
        if record.is_large {
            let mapped_bytes = record.block.size_bytes.max(1).next_multiple_of(PAGE_BYTES);
            let guard_bytes = record.block.base.0 - record.low;
            self.give_pages(id, record.low, mapped_bytes, guard_bytes);
        } else {
            let low = GuestAddr(record.low);
            self.set_state(low, record.high - record.low, ByteState::UNALLOCATED, None);
            self.reclaim_small(id, low.page().0);
        }
        true
    }
}

impl ArenaState {
    fn end(&self) -> u64 {
        self.arena.base.0 + self.arena.size_bytes
    }

    fn is_over_quota(&self) -> bool {
        self.quarantined_bytes > self.arena.quarantine_bytes
    }

    /// Takes address space: fresh if there is, else the lowest run given back that is long enough.
    fn take(&mut self, size_bytes: u64) -> Option<u64> {
        if self.end() - self.next >= size_bytes {
            let base = self.next;
            self.next += size_bytes;
            return Some(base);
        }
        let mut key = 0;
        loop {
            let (first, run_bytes) = self.free.at_or_above(key)?;
            let run_bytes = *run_bytes;
            if run_bytes >= size_bytes {
                self.free.remove(first);
                if run_bytes > size_bytes {
                    self.free.insert(first + size_bytes / PAGE_BYTES, run_bytes - size_bytes);
                }
                return Some(self.arena.base.0 + first * PAGE_BYTES);
            }
            key = first + 1;
        }
    }

    /// Gives address space back and joins it with its neighbours.
    fn give(&mut self, base: u64, size_bytes: u64) {
        let mut first = (base - self.arena.base.0) / PAGE_BYTES;
        let mut run_bytes = size_bytes;
        if let Some(bytes) = self.free.remove(first + size_bytes / PAGE_BYTES) {
            run_bytes += bytes;
        }
        if let Some((before, bytes)) = self.free.at_or_below(first)
            && before + bytes / PAGE_BYTES == first
        {
            run_bytes += bytes;
            first = before;
        }
        self.free.insert(first, run_bytes);
    }
}

/// Blocks are at least 16 bytes apart, so the unit names them.
fn unit(at: GuestAddr) -> u64 {
    (at.0 & VIRTUAL_MASK) / UNIT_BYTES
}
