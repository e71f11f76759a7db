//! A naive model of guest memory: one cell per byte, one look-up per byte, nothing cached.

use std::collections::BTreeMap;

use guest_memory::{
    AccessKind, Accessor, ByteState, FrameId, GuestAddr, KERNEL_HALF_START, MapError, Mapping,
    Objection, PAGE_BYTES, Perms, Reason,
};

/// One byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) value: u8,
    /// Undefined bits; all of an untouchable byte.
    pub(crate) mask: u8,
    /// Untouchable state, or `DEFINED`.
    pub(crate) state: ByteState,
}

impl Cell {
    fn new(value: u8, state: ByteState) -> Self {
        match state {
            ByteState::DEFINED => Self { value, mask: 0, state },
            ByteState::UNDEFINED | ByteState::PARTLY_DEFINED => {
                Self { value, mask: 0xff, state: ByteState::DEFINED }
            }
            _ => Self { value, mask: 0xff, state },
        }
    }
}

#[derive(Clone, Debug)]
struct Frame {
    cells: Vec<Cell>,
    references: u32,
}

pub(crate) type Pages = BTreeMap<u64, Mapping>;

/// The whole machine memory; a clone is a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    frames: BTreeMap<u32, Frame>,
    frames_max: usize,
    spaces_max: u16,
    pub(crate) kernel: Pages,
    pub(crate) spaces: BTreeMap<u16, Pages>,
    pub(crate) space: Option<u16>,
    pub(crate) is_pageable_allowed: bool,
}

impl Model {
    pub(crate) fn new(frames_max: usize, spaces_max: u16) -> Self {
        Self {
            frames: BTreeMap::new(),
            frames_max,
            spaces_max,
            kernel: Pages::new(),
            spaces: BTreeMap::new(),
            space: None,
            is_pageable_allowed: true,
        }
    }

    pub(crate) fn pages(&self, at: u64) -> Option<&Pages> {
        if at >> 63 == 1 { Some(&self.kernel) } else { self.spaces.get(&self.space?) }
    }

    fn pages_mut(&mut self, at: u64) -> Option<&mut Pages> {
        if at >> 63 == 1 { Some(&mut self.kernel) } else { self.spaces.get_mut(&self.space?) }
    }

    pub(crate) fn create_space(&mut self) -> Option<u16> {
        let id = (0..self.spaces_max).find(|id| !self.spaces.contains_key(id))?;
        self.spaces.insert(id, Pages::new());
        Some(id)
    }

    pub(crate) fn destroy_space(&mut self, id: u16) {
        for mapping in self.spaces.remove(&id).unwrap_or_default().into_values() {
            self.release(mapping.frame);
        }
        if self.space == Some(id) {
            self.space = None;
        }
    }

    pub(crate) fn release(&mut self, id: FrameId) {
        if let Some(frame) = self.frames.get_mut(&id.0) {
            frame.references -= 1;
            if frame.references == 0 {
                self.frames.remove(&id.0);
            }
        }
    }

    pub(crate) fn pin(&mut self, id: FrameId) {
        if let Some(frame) = self.frames.get_mut(&id.0) {
            frame.references += 1;
        }
    }

    /// Whether `count` pages can be mapped at `at`, taking `fresh` frames.
    pub(crate) fn may_map(&self, at: u64, count: u64, fresh: u64) -> Result<(), MapError> {
        let last =
            at.checked_add((count * PAGE_BYTES).saturating_sub(1)).ok_or(MapError::BadRange)?;
        let is_user = last <= 0x7fff_ffff_ffff;
        let is_kernel = at >= KERNEL_HALF_START.0;
        if !at.is_multiple_of(PAGE_BYTES) || !(is_user || is_kernel) {
            return Err(MapError::BadRange);
        }
        let pages = self.pages(at).ok_or(MapError::BadRange)?;
        if pages.range(at..=last).next().is_some() {
            return Err(MapError::Occupied);
        }
        if self.frames.len() as u64 + fresh > self.frames_max as u64 {
            return Err(MapError::Limit(u32::try_from(self.frames_max).expect("small")));
        }
        Ok(())
    }

    /// Notes a page of a fresh frame whose number the real memory chose.
    pub(crate) fn map_fresh(
        &mut self,
        at: u64,
        frame: FrameId,
        perms: Perms,
        state: ByteState,
        fill: u8,
    ) {
        let cells = vec![Cell::new(fill, state); 4096];
        let old = self.frames.insert(frame.0, Frame { cells, references: 0 });
        assert!(old.is_none(), "{frame:?} is in use");
        self.map_frame(at, Mapping { frame, perms, low: 0, high: 4096 });
    }

    pub(crate) fn map_frame(&mut self, at: u64, mapping: Mapping) {
        self.pin(mapping.frame);
        self.pages_mut(at).expect("checked").insert(at, mapping);
    }

    pub(crate) fn unmap(&mut self, at: u64, count: u64) {
        for index in 0..count {
            let Some(page) = at.checked_add(index * PAGE_BYTES) else { return };
            let old = self.pages_mut(page).and_then(|pages| pages.remove(&page));
            if let Some(old) = old {
                self.release(old.frame);
            }
        }
    }

    pub(crate) fn protect(&mut self, at: u64, count: u64, perms: Perms) -> bool {
        let pages: Vec<u64> = (0..count).map(|index| at + index * PAGE_BYTES).collect();
        let is_mapped = |page: &u64| self.pages(*page).is_some_and(|p| p.contains_key(page));
        if !pages.iter().all(is_mapped) {
            return false;
        }
        for page in pages {
            let mapping = self.pages_mut(page).and_then(|pages| pages.get_mut(&page));
            mapping.expect("checked").perms = perms;
        }
        true
    }

    pub(crate) fn mapping(&self, at: u64) -> Option<Mapping> {
        self.pages(at)?.get(&(at & !0xfff)).copied()
    }

    pub(crate) fn cell(&self, at: u64) -> Option<Cell> {
        let frame = self.frames.get(&self.mapping(at)?.frame.0)?;
        frame.cells.get((at & 0xfff) as usize).copied()
    }

    pub(crate) fn set_cell(&mut self, at: u64, cell: Cell) {
        let Some(mapping) = self.mapping(at) else { return };
        let frame = self.frames.get_mut(&mapping.frame.0).expect("a mapped frame exists");
        *frame.cells.get_mut((at & 0xfff) as usize).expect("in the page") = cell;
    }

    pub(crate) fn set_state(
        &mut self,
        at: u64,
        size_bytes: u64,
        state: ByteState,
        fill: Option<u8>,
    ) {
        for byte in (0..size_bytes).map(|index| at + index) {
            if let Some(cell) = self.cell(byte) {
                self.set_cell(byte, Cell::new(fill.unwrap_or(cell.value), state));
            }
        }
    }

    pub(crate) fn forget(&mut self, at: u64, size_bytes: u64) {
        for byte in (0..size_bytes).map(|index| at + index) {
            let Some(mapping) = self.mapping(byte) else { continue };
            let offset = (byte & 0xfff) as u16;
            let is_inside = (mapping.low..mapping.high).contains(&offset);
            let cell = self.cell(byte).expect("mapped");
            if is_inside && mapping.perms.contains(Perms::WRITE) && cell.state == ByteState::DEFINED
            {
                self.set_cell(byte, Cell { mask: 0xff, ..cell });
            }
        }
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8], masks: &[u8]) {
        for (index, value) in bytes.iter().enumerate() {
            let mask = masks.get(index).copied().unwrap_or(0);
            let cell = Cell { value: *value, mask, state: ByteState::DEFINED };
            self.set_cell(at.wrapping_add(index as u64), cell);
        }
    }

    pub(crate) fn get(&self, at: u64, size_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let cells = (0..size_bytes as u64)
            .map(|index| self.cell(at.wrapping_add(index)).expect("a checked byte is mapped"));
        cells.map(|cell| (cell.value, cell.mask)).unzip()
    }

    pub(crate) fn vet(
        &self,
        who: Accessor,
        kind: AccessKind,
        at: u64,
        size_bytes: u64,
        granted: bool,
    ) -> Result<(), Objection> {
        let objection = |byte: u64, reason| Objection {
            address: GuestAddr(at),
            size_bytes,
            kind,
            at: GuestAddr(byte),
            reason,
        };
        let mut watched = None;
        for byte in (0..size_bytes).map(|index| at.wrapping_add(index)) {
            match self.byte_reason(who, kind, byte) {
                Some(Reason::Watched) => {
                    watched.get_or_insert(byte);
                }
                Some(reason) => return Err(objection(byte, reason)),
                None => {}
            }
        }
        match watched {
            Some(byte) if !granted => Err(objection(byte, Reason::Watched)),
            _ => Ok(()),
        }
    }

    fn byte_reason(&self, who: Accessor, kind: AccessKind, at: u64) -> Option<Reason> {
        if at > 0x7fff_ffff_ffff && at < 0xffff_8000_0000_0000 {
            return Some(Reason::NonCanonical);
        }
        let Some(mapping) = self.mapping(at) else {
            return Some(Reason::NotMapped { arena: None });
        };
        if who == Accessor::Machine {
            return None;
        }
        let perms = mapping.perms;
        let has = |perm| perms.contains(perm);
        let is_permitted = match (kind, who) {
            (AccessKind::Read, Accessor::User) => has(Perms::READ | Perms::USER),
            (AccessKind::Write, Accessor::User) => has(Perms::WRITE | Perms::USER),
            (AccessKind::Execute, Accessor::User) => has(Perms::EXECUTE | Perms::USER),
            (AccessKind::Read, _) => has(Perms::READ),
            (AccessKind::Write, _) => has(Perms::WRITE),
            (AccessKind::Execute, _) => has(Perms::EXECUTE) && !has(Perms::USER),
        };
        if !is_permitted {
            return Some(Reason::NotPermitted { perms });
        }
        if has(Perms::PAGEABLE) && !self.is_pageable_allowed {
            return Some(Reason::Pageable);
        }
        let offset = (at & 0xfff) as u16;
        if offset < mapping.low || offset >= mapping.high {
            return Some(Reason::OutsideBounds);
        }
        let state = self.cell(at).expect("mapped").state;
        if state != ByteState::DEFINED {
            return Some(Reason::Untouchable { state });
        }
        has(Perms::WATCHED).then_some(Reason::Watched)
    }

    /// `is_code` says from which bytes' pages code was fetched.
    pub(crate) fn copy_units(
        &mut self,
        who: Accessor,
        (to, from): (u64, u64),
        (count, unit_bytes): (u64, u64),
        is_code: impl Fn(u64) -> bool,
    ) -> u64 {
        for index in 0..count {
            let bytes = index * unit_bytes..(index + 1) * unit_bytes;
            let (target, source) = (to.wrapping_add(bytes.start), from.wrapping_add(bytes.start));
            let is_free = self.vet(who, AccessKind::Read, source, unit_bytes, false).is_ok()
                && self.vet(who, AccessKind::Write, target, unit_bytes, false).is_ok()
                && !bytes.clone().any(|byte| is_code(to.wrapping_add(byte)));
            if !is_free {
                return index;
            }
            let (values, masks) = self.get(source, usize::try_from(unit_bytes).expect("small"));
            if masks.iter().any(|mask| *mask != 0) {
                return index;
            }
            self.put(target, &values, &[]);
        }
        count
    }

    pub(crate) fn fill_units(
        &mut self,
        who: Accessor,
        at: u64,
        unit: &[u8],
        count: u64,
        is_code: impl Fn(u64) -> bool,
    ) -> u64 {
        let unit_bytes = unit.len() as u64;
        for index in 0..count {
            let target = at.wrapping_add(index * unit_bytes);
            let is_free = self.vet(who, AccessKind::Write, target, unit_bytes, false).is_ok();
            if !is_free || (0..unit_bytes).any(|byte| is_code(target.wrapping_add(byte))) {
                return index;
            }
            self.put(target, unit, &[]);
        }
        count
    }
}
