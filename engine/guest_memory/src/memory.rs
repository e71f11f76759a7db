//! The memory of one machine: configuration, spaces, mappings.

use host_frames::FrameStore;

use crate::{
    ByteState, FrameId, GuestAddr, MapError, Mapping, PAGE_BYTES, Perms, Reason, SpaceId,
    arenas::Arenas,
    frames::{FrameTable, Frames},
    radix::Radix,
    tables::{PageTable, page_range},
    tlb::{PLANE_RAISED, Tlb},
    track::Tracker,
};

/// Bounds on what a guest can make the host allocate.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Frames in all; at most 2 to the power of 24. At most four mapped pages per frame.
    pub frames: u32,
    /// Blocks in all, live and in quarantine.
    pub blocks: u32,
    /// User halves.
    pub spaces: u16,
}

/// The memory of one machine.
#[derive(Debug)]
pub struct GuestMemory {
    // Configuration.
    pub(crate) limits: Limits,
    pub(crate) most_effort: u64,
    // State that snapshots keep.
    pub(crate) state: State,
    pub(crate) frames: Frames,
    pub(crate) tracker: Tracker,
    // Caches over it.
    pub(crate) tlb: Tlb,
    /// Plane bits of the TLB, without the ring.
    pub(crate) plane: usize,
}

/// Everything but the bytes. A copy costs a few reference counts.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) frames: FrameTable,
    pub(crate) kernel: PageTable,
    pub(crate) spaces: Radix<PageTable>,
    pub(crate) space: Option<SpaceId>,
    pub(crate) is_pageable_allowed: bool,
    /// Mapped pages of all halves.
    pub(crate) mapped_pages: u64,
    pub(crate) arenas: Arenas,
    /// Work that counts no events; see `effort`.
    pub(crate) effort: u64,
}

impl State {
    /// Stamp of the last change of code in the current user half.
    pub(crate) fn user_exec_stamp(&self) -> u64 {
        let table = self.space.and_then(|space| self.spaces.get(u64::from(space.0)));
        table.map_or(0, |table| table.exec_stamp)
    }
}

/// Largest frame count that frame numbers allow.
const FRAMES_MAX: u32 = 1 << 24;
const MAPPINGS_PER_FRAME: u64 = 4;

/// Configuration, spaces, mappings.
impl GuestMemory {
    /// Makes an empty memory, without a user half, in which pageable memory may be touched.
    pub fn new(limits: Limits) -> Self {
        Self::in_store(limits, FrameStore::default())
    }

    pub(crate) fn in_store(limits: Limits, store: FrameStore) -> Self {
        Self {
            limits: Limits { frames: limits.frames.min(FRAMES_MAX), ..limits },
            most_effort: u64::MAX,
            state: State {
                frames: FrameTable::default(),
                kernel: PageTable::default(),
                spaces: Radix::default(),
                space: None,
                is_pageable_allowed: true,
                mapped_pages: 0,
                arenas: Arenas::default(),
                effort: 0,
            },
            frames: Frames::new(store),
            tracker: Tracker::default(),
            tlb: Tlb::new(),
            plane: 0,
        }
    }

    /// Creates an empty user half; the lowest free number is given.
    pub fn create_space(&mut self) -> Result<SpaceId, MapError> {
        let limit = self.limits.spaces;
        let is_free = |id: &u16| self.state.spaces.get(u64::from(*id)).is_none();
        let Some(id) = (0..limit).find(is_free) else {
            return Err(MapError::SpaceLimit(limit));
        };
        self.state.spaces.insert(u64::from(id), PageTable::default());
        Ok(SpaceId(id))
    }

    /// Removes a user half with its mappings. If it is the current one, there is none afterwards.
    pub fn destroy_space(&mut self, space: SpaceId) {
        if self.state.space == Some(space) {
            self.set_space(None);
        }
        if let Some(table) = self.state.spaces.remove(u64::from(space.0)) {
            self.frames.code_epoch += 1;
            self.state.mapped_pages -= table.len();
            for (_, mapping) in table.iter() {
                self.release(mapping.frame);
            }
        }
    }

    /// Makes `space` the user half that addresses below the kernel half mean; `None`: no user half.
    pub fn set_space(&mut self, space: Option<SpaceId>) {
        if self.state.space == space {
            return;
        }
        let has_code = |space: Option<SpaceId>| {
            let table = self.state.spaces.get(u64::from(space?.0))?;
            (table.exec_stamp != 0).then_some(())
        };
        if has_code(space).or(has_code(self.state.space)).is_some() {
            self.frames.code_epoch += 1;
        }
        self.state.space = space;
        self.tlb.flush();
    }

    /// Returns the current user half.
    pub fn space(&self) -> Option<SpaceId> {
        self.state.space
    }

    /// Says whether pageable pages may be touched now (false at `DISPATCH_LEVEL` and above).
    pub fn set_pageable_allowed(&mut self, is_allowed: bool) {
        self.state.is_pageable_allowed = is_allowed;
        self.plane = if is_allowed { 0 } else { PLANE_RAISED };
    }

    /// Maps fresh frames, whose bytes are `fill` in state `state`, at a page-aligned range.
    /// User-half addresses go to the current space; without one they are a bad range.
    pub fn map(
        &mut self,
        at: GuestAddr,
        size_bytes: u64,
        perms: Perms,
        state: ByteState,
        fill: u8,
    ) -> Result<(), MapError> {
        let Some(last) = self.vacant(at, size_bytes)? else { return Ok(()) };
        let free = u64::from(self.limits.frames - self.state.frames.in_use());
        if size_bytes / PAGE_BYTES > free {
            return Err(MapError::Limit(self.limits.frames));
        }
        for page in (at.0..=last).step_by(4096) {
            let frame = self.state.frames.take(0);
            self.frames.prepare(frame, state, fill);
            self.set_page(page, Mapping { frame: FrameId(frame), perms, low: 0, high: 4096 });
        }
        Ok(())
    }

    /// Maps existing frames: `first_byte` is the offset of the first valid byte in the first frame,
    /// `size_bytes` the valid length. `at` is page aligned. A frame that is not in use is a bad
    /// range.
    pub fn map_frames(
        &mut self,
        at: GuestAddr,
        frames: &[FrameId],
        first_byte: u16,
        size_bytes: u64,
        perms: Perms,
    ) -> Result<(), MapError> {
        let end = size_bytes.checked_add(u64::from(first_byte)).ok_or(MapError::BadRange)?;
        let is_whole = end.div_ceil(PAGE_BYTES) == frames.len() as u64;
        let is_used = |frame: &FrameId| self.state.frames.info(frame.0).is_some();
        if u64::from(first_byte) >= PAGE_BYTES || !is_whole || !frames.iter().all(is_used) {
            return Err(MapError::BadRange);
        }
        if self.vacant(at, frames.len() as u64 * PAGE_BYTES)?.is_none() {
            return Ok(());
        }
        let mut low = first_byte;
        let mut rest = end;
        let mut page = at;
        for frame in frames {
            let high = u16::try_from(rest.min(PAGE_BYTES)).unwrap_or(4096);
            self.set_page(page.0, Mapping { frame: *frame, perms, low, high });
            low = 0;
            rest = rest.saturating_sub(PAGE_BYTES);
            page = page.add(PAGE_BYTES);
        }
        Ok(())
    }

    /// Unmaps whole pages; frames without a mapping or pin are given back. Unmapped pages in the
    /// range are skipped, and so is a range that could not have been mapped.
    pub fn unmap(&mut self, at: GuestAddr, size_bytes: u64) {
        let Ok(Some(last)) = page_range(at, size_bytes) else { return };
        let mut next = Some(at.0);
        while let Some((page, mapping)) = next.and_then(|page| self.table(page)?.next(page, last)) {
            let Some((table, stamp)) = self.table_mut(page) else { return };
            table.remove(page, stamp);
            self.tlb.flush_page(page);
            self.state.mapped_pages -= 1;
            self.release(mapping.frame);
            let is_in_use = self.state.frames.info(mapping.frame.0).is_some();
            self.frames.note_unmapped(page, mapping.frame.0, is_in_use);
            next = page.checked_add(PAGE_BYTES);
        }
    }

    /// Changes the permissions of mapped pages; returns false, and changes nothing, if one is not
    /// mapped.
    pub fn protect(&mut self, at: GuestAddr, size_bytes: u64, perms: Perms) -> bool {
        let Ok(last) = page_range(at, size_bytes) else { return false };
        let Some(last) = last else { return true };
        if !(at.0..=last).step_by(4096).all(|page| self.mapping(GuestAddr(page)).is_some()) {
            return false;
        }
        for page in (at.0..=last).step_by(4096) {
            let Some(mapping) = self.mapping(GuestAddr(page)) else { return false };
            self.tlb.flush_page(page);
            self.frames.shown.map(page, Mapping { perms, ..mapping });
            if let Some((table, stamp)) = self.table_mut(page) {
                table.set(page, Mapping { perms, ..mapping }, stamp);
            }
        }
        true
    }

    /// Returns the mapping of the page around `at`.
    pub fn mapping(&self, at: GuestAddr) -> Option<Mapping> {
        self.resolve(at).ok()
    }

    /// Keeps a frame alive (a locked page of an MDL). A frame that is not in use stays so.
    pub fn pin(&mut self, frame: FrameId) {
        if let Some(info) = self.state.frames.info_mut(frame.0) {
            info.references += 1;
        }
    }

    /// Lets a pinned frame go.
    pub fn unpin(&mut self, frame: FrameId) {
        self.release(frame);
    }
}

impl GuestMemory {
    /// Walks the page tables, or remembers where an earlier walk came to.
    #[inline]
    pub(crate) fn resolve(&self, at: GuestAddr) -> Result<Mapping, Reason> {
        self.tlb.walked(at.0).map_or_else(|| self.walk(at), Ok)
    }

    #[inline(never)]
    fn walk(&self, at: GuestAddr) -> Result<Mapping, Reason> {
        if !at.is_canonical() {
            return Err(Reason::NonCanonical);
        }
        let found = self.table(at.0).and_then(|table| table.get(at.0)).copied();
        let found = found.ok_or_else(|| Reason::NotMapped { arena: self.arena_at(at) })?;
        self.tlb.note_walk(at.0, found);
        Ok(found)
    }

    /// The page table that serves an address now.
    #[inline]
    pub(crate) fn table(&self, at: u64) -> Option<&PageTable> {
        if at >> 63 == 1 {
            Some(&self.state.kernel)
        } else {
            self.state.spaces.get(u64::from(self.state.space?.0))
        }
    }

    /// The page table that serves an address, and the source of stamps.
    fn table_mut(&mut self, at: u64) -> Option<(&mut PageTable, &mut u64)> {
        let table = if at >> 63 == 1 {
            &mut self.state.kernel
        } else {
            self.state.spaces.get_mut(u64::from(self.state.space?.0))?
        };
        Some((table, &mut self.frames.code_epoch))
    }

    /// Checks that a range can be mapped; returns its last page.
    fn vacant(&self, at: GuestAddr, size_bytes: u64) -> Result<Option<u64>, MapError> {
        let Some(last) = page_range(at, size_bytes)? else { return Ok(None) };
        let table = self.table(at.0).ok_or(MapError::BadRange)?;
        if table.next(at.0, last).is_some() {
            return Err(MapError::Occupied);
        }
        let mappings_max = u64::from(self.limits.frames) * MAPPINGS_PER_FRAME;
        if size_bytes / PAGE_BYTES > mappings_max - self.state.mapped_pages.min(mappings_max) {
            return Err(MapError::Limit(self.limits.frames));
        }
        Ok(Some(last))
    }

    /// Maps a vacant page.
    pub(crate) fn set_page(&mut self, page: u64, mapping: Mapping) {
        self.frames.shown.map(page, mapping);
        if let Some((table, stamp)) = self.table_mut(page) {
            table.set(page, mapping, stamp);
            self.state.mapped_pages += 1;
            if let Some(info) = self.state.frames.info_mut(mapping.frame.0) {
                info.references += 1;
            }
        }
    }

    /// Drops a reference of a frame.
    fn release(&mut self, frame: FrameId) {
        let Some(info) = self.state.frames.info_mut(frame.0) else { return };
        info.references = info.references.saturating_sub(1);
        if info.references == 0 {
            self.state.frames.give_back(frame.0);
        }
    }
}
