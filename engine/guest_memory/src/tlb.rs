//! A direct-mapped cache of page walks, consulted by every plain access.
//!
//! An entry exists only for a page at which nothing on the level of pages can object. Each
//! combination of ring and "pageable memory is off limits" is a plane with entries of its own, so
//! that raising and lowering the IRQL flushes nothing.
//!
//! Beside them stand the latest walks, whatever they found: services of the kernel look at every
//! kind of page.

use std::cell::Cell;

use crate::{FrameId, GuestAddr, Mapping, Perms};

const ENTRIES: usize = 256;
const PLANES: usize = 4;
/// No memory ever has this frame, so an entry with it answers nothing, whatever its page.
const NO_FRAME: u32 = u32::MAX;

/// Plane bit of ring 3.
pub(crate) const PLANE_USER: usize = 1;
/// Plane bit of "pageable memory is off limits".
pub(crate) const PLANE_RAISED: usize = 2;

/// The page that may be read and the page that may be written, each with its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) read_frame: u32,
    pub(crate) write_frame: u32,
}

/// The page of a walk, and what it found.
#[derive(Clone, Copy, Debug)]
struct Walk {
    page: u64,
    mapping: Mapping,
}

const WALKS: usize = 64;
const NO_WALK: Walk = Walk {
    // No page begins there.
    page: u64::MAX,
    mapping: Mapping { frame: FrameId(NO_FRAME), perms: Perms::empty(), low: 0, high: 0 },
};

#[derive(Debug)]
pub(crate) struct Tlb {
    /// In place, not boxed: the way to them is part of every access.
    planes: [[Entry; ENTRIES]; PLANES],
    /// A bit for each entry that was filled since the last flush, so that a flush costs what was
    /// used.
    filled: [u64; ENTRIES * PLANES / 64],
    /// The latest walks.
    walks: [Cell<Walk>; WALKS],
}

const EMPTY: Entry = Entry { read: 0, write: 0, read_frame: NO_FRAME, write_frame: NO_FRAME };

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
fn slot(at: u64) -> usize {
    // Regions start at round addresses; folding higher bits in keeps their first pages apart.
    ((at >> 12) ^ (at >> 21)) as usize & (ENTRIES - 1)
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Self {
            planes: [[EMPTY; ENTRIES]; PLANES],
            filled: [0; _],
            walks: [const { Cell::new(NO_WALK) }; WALKS],
        }
    }

    /// What the walk for this page found, if that is remembered.
    #[inline]
    pub(crate) fn walked(&self, at: u64) -> Option<Mapping> {
        let walk = self.walks.get(slot(at) % WALKS)?.get();
        (walk.page == GuestAddr(at).page().0).then_some(walk.mapping)
    }

    pub(crate) fn note_walk(&self, at: u64, mapping: Mapping) {
        if let Some(walk) = self.walks.get(slot(at) % WALKS) {
            walk.set(Walk { page: GuestAddr(at).page().0, mapping });
        }
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "both indices are masked")]
    pub(crate) fn entry(&self, plane: usize, at: u64) -> &Entry {
        &self.planes[plane & (PLANES - 1)][slot(at)]
    }

    pub(crate) fn fill_read(&mut self, plane: usize, at: u64, frame: u32) {
        if let Some(entry) = self.used_entry(plane, at) {
            entry.read = GuestAddr(at).page().0;
            entry.read_frame = frame;
        }
    }

    pub(crate) fn fill_write(&mut self, plane: usize, at: u64, frame: u32) {
        if let Some(entry) = self.used_entry(plane, at) {
            entry.write = GuestAddr(at).page().0;
            entry.write_frame = frame;
        }
    }

    pub(crate) fn flush(&mut self) {
        self.each_filled(|entry| *entry = EMPTY);
        self.filled = [0; _];
        self.walks.iter().for_each(|walk| walk.set(NO_WALK));
    }

    /// Forgets the pages of the user half.
    pub(crate) fn flush_user(&mut self) {
        let is_user = |page: u64, frame: u32| frame != NO_FRAME && page >> 63 == 0;
        self.each_filled(|entry| {
            let Entry { read, write, read_frame, write_frame } = *entry;
            if is_user(read, read_frame) || is_user(write, write_frame) {
                *entry = EMPTY;
            }
        });
        for walk in self.walks.iter().filter(|walk| walk.get().page >> 63 == 0) {
            walk.set(NO_WALK);
        }
    }

    /// Forgets who may write, after a capture or when a frame becomes code.
    pub(crate) fn flush_writes(&mut self) {
        self.each_filled(|entry| entry.write_frame = NO_FRAME);
    }

    pub(crate) fn flush_page(&mut self, at: u64) {
        if let Some(walk) = self.walks.get(slot(at) % WALKS) {
            walk.set(NO_WALK);
        }
        for plane in &mut self.planes {
            if let Some(entry) = plane.get_mut(slot(at)) {
                *entry = EMPTY;
            }
        }
    }

    fn used_entry(&mut self, plane: usize, at: u64) -> Option<&mut Entry> {
        let index = plane * ENTRIES + slot(at);
        *self.filled.get_mut(index / 64)? |= 1 << (index % 64);
        self.planes.as_flattened_mut().get_mut(index)
    }

    fn each_filled(&mut self, mut act: impl FnMut(&mut Entry)) {
        let (groups, _) = self.planes.as_flattened_mut().as_chunks_mut::<64>();
        for (group, filled) in groups.iter_mut().zip(self.filled) {
            let mut bits = filled;
            while bits != 0 {
                if let Some(entry) = group.get_mut(bits.trailing_zeros() as usize) {
                    act(entry);
                }
                bits &= bits - 1;
            }
        }
    }
}
