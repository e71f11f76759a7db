//! Physical frames: their bytes, byte states and masks, and what is known about each.
//!
//! What changed since the last capture or restore is known by granules of 64 bytes, for bytes and
//! states apart, so that going back costs what was touched.

use std::sync::Arc;

use host_frames::{FrameBytes, FrameStore};

use crate::{
    ByteState,
    radix::Radix,
    shown::Shown,
    vet::{Piece, first_not_plain, first_untouchable, slice, slice_mut},
};

pub(crate) use host_frames::PAGE;

/// Granules of 64 bytes: those of a frame are the bits of a word.
const LINE_SHIFT: usize = 6;
const LINE: usize = 1 << LINE_SHIFT;
/// All granules of a frame.
const ALL_LINES: u64 = u64::MAX;

/// What a snapshot keeps of a frame. Snapshots between which the states did not change share them.
#[derive(Debug)]
pub(crate) struct FrameCopy {
    data: [u8; PAGE],
    states: Arc<States>,
    /// No other copy has it.
    id: u64,
    /// The copy that was taken or brought back before this one was taken, or 0.
    parent: u64,
    /// What may differ from the parent.
    changed: Changed,
}

/// Granules of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    stored: u64,
    states: u64,
}

impl FrameCopy {
    /// The granules in which a frame is not this copy.
    pub(crate) fn changed_in(&self, live: &FrameBytes) -> Option<Changed> {
        let stored = differing_lines(&live.data, &self.data);
        let states = differing_lines(&live.state, &self.states.state);
        (stored | states != 0).then_some(Changed { stored, states })
    }
}

impl Changed {
    const NOTHING: Self = Self { stored: 0, states: 0 };
    pub(crate) const ALL: Self = Self { stored: ALL_LINES, states: ALL_LINES };

    /// What may differ between two copies: few granules between relatives, else all.
    fn between(before: &FrameCopy, after: &FrameCopy) -> Self {
        if after.parent == before.id {
            after.changed
        } else if before.parent == after.id {
            before.changed
        } else if before.parent == after.parent && after.parent != 0 {
            let (a, b) = (before.changed, after.changed);
            Self { stored: a.stored | b.stored, states: a.states | b.states }
        } else {
            Self::ALL
        }
    }
}

#[derive(Debug)]
struct States {
    state: [u8; PAGE],
    masks: Option<Box<[u8; PAGE]>>,
}

/// What only the host knows about a frame; never part of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct FrameHost {
    /// Undefined bits of bytes in state `PARTLY_DEFINED`; other entries mean nothing.
    masks: Option<Box<[u8; PAGE]>>,
    /// Listed as changed since the last capture or restore.
    is_dirty: bool,
    /// Granules whose states or masks changed since then.
    state_lines: u64,
    /// Granules that instructions were fetched from.
    fetched_lines: u64,
    /// Stamp of the last change of a fetched granule.
    version: u64,
}

/// Facts about a frame in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameInfo {
    /// Mappings and pins.
    pub(crate) references: u32,
    /// Address of the arena page it was taken for, or 0.
    pub(crate) home: u64,
}

/// Which frames are in use. Part of a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameTable {
    infos: Radix<FrameInfo>,
    free: Radix<u32>,
    next: u32,
}

/// The bytes of all frames, and what changed since the last capture.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) bytes: FrameStore,
    host: Vec<FrameHost>,
    /// For each frame, the granules whose bytes changed since the last capture or restore. Beside
    /// `host`, because every store writes here.
    stored_lines: Vec<u64>,
    /// Frames with a changed granule, and those that stores may change unseen from here.
    dirty: Vec<u32>,
    /// What was captured or brought back last.
    pub(crate) base: Radix<Arc<FrameCopy>>,
    /// Copies that were ever taken.
    copies: u64,
    /// Changes whenever code may have changed.
    pub(crate) code_epoch: u64,
    pub(crate) shown: Shown,
}

impl FrameTable {
    pub(crate) fn in_use(&self) -> u32 {
        u32::try_from(self.infos.len()).expect("frames are numbered with 24 bits")
    }

    pub(crate) fn info(&self, frame: u32) -> Option<&FrameInfo> {
        self.infos.get(u64::from(frame))
    }

    pub(crate) fn info_mut(&mut self, frame: u32) -> Option<&mut FrameInfo> {
        self.infos.get_mut(u64::from(frame))
    }

    /// Takes the frame freed last, or the next fresh one; without a reference yet.
    pub(crate) fn take(&mut self, home: u64) -> u32 {
        let frame = match self.free.len().checked_sub(1) {
            Some(top) => self.free.remove(top).expect("the free stack is dense"),
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        self.infos.insert(u64::from(frame), FrameInfo { references: 0, home });
        frame
    }

    pub(crate) fn give_back(&mut self, frame: u32) {
        if self.infos.remove(u64::from(frame)).is_some() {
            self.free.insert(self.free.len(), frame);
        }
    }
}

impl Frames {
    pub(crate) fn new(bytes: FrameStore) -> Self {
        Self {
            bytes,
            host: Vec::new(),
            stored_lines: Vec::new(),
            dirty: Vec::new(),
            base: Radix::default(),
            copies: 0,
            code_epoch: 1,
            shown: Shown::default(),
        }
    }

    /// Makes a frame that was just taken look fresh.
    pub(crate) fn prepare(&mut self, frame: u32, state: ByteState, fill: u8) {
        let index = frame as usize;
        while self.bytes.len() <= index {
            self.bytes.push_zeroed();
            self.host.push(FrameHost::default());
            self.stored_lines.push(0);
        }
        self.mark_all(frame);
        if let (Some(bytes), Some(host)) = (self.bytes.get_mut(index), self.host.get_mut(index)) {
            bytes.data.fill(fill);
            bytes.state.fill(state.without_mask().0);
            host.masks = None;
            if host.fetched_lines != 0 {
                host.fetched_lines = 0;
                self.code_epoch += 1;
                host.version = self.code_epoch;
            }
        }
    }

    #[inline]
    pub(crate) fn bytes(&self, frame: u32) -> &FrameBytes {
        self.bytes.get(frame as usize).expect("a mapped frame has bytes")
    }

    /// Gives bytes for changing; notes the change.
    #[inline]
    pub(crate) fn data_mut(&mut self, piece: Piece) -> &mut [u8] {
        self.note_store(piece);
        slice_mut(&mut self.page_mut(piece.frame).data, piece)
    }

    /// Makes bytes defined. The caller has noted the change of the frame.
    #[inline]
    pub(crate) fn define(&mut self, piece: Piece) {
        let states = slice_mut(&mut self.page_mut(piece.frame).state, piece);
        if first_not_plain(states).is_some() {
            states.fill(ByteState::DEFINED.0);
            self.note_states(piece);
        }
    }

    /// Sets the state of bytes.
    pub(crate) fn set_states(&mut self, piece: Piece, state: ByteState) {
        self.mark_dirty(piece.frame);
        self.note_states(piece);
        slice_mut(&mut self.page_mut(piece.frame).state, piece).fill(state.without_mask().0);
        if !state.is_touchable() {
            self.shown.revoke_states(piece.frame);
        }
    }

    /// Makes the touchable bytes undefined; the caller has noted the change of the frame.
    #[inline]
    pub(crate) fn forget(&mut self, piece: Piece) {
        let states = slice_mut(&mut self.page_mut(piece.frame).state, piece);
        if first_untouchable(states).is_none() {
            states.fill(ByteState::UNDEFINED.0);
        } else {
            for state in states.iter_mut().filter(|state| ByteState(**state).is_touchable()) {
                *state = ByteState::UNDEFINED.0;
            }
        }
        self.note_states(piece);
    }

    /// Copies plain bytes into as many of another frame, where they are defined.
    pub(crate) fn copy_between(&mut self, from: Piece, to: Piece) {
        self.note_store(to);
        let frames = [from.frame as usize, to.frame as usize];
        if let Ok([source, target]) = self.bytes.get_disjoint_mut(frames) {
            slice_mut(&mut target.data, to).copy_from_slice(slice(&source.data, from));
        }
        self.define(to);
    }

    fn page_mut(&mut self, frame: u32) -> &mut FrameBytes {
        self.bytes.get_mut(frame as usize).expect("a mapped frame has bytes")
    }

    #[inline]
    fn note_store(&mut self, piece: Piece) {
        self.mark_dirty(piece.frame);
        self.note_bytes(piece.frame, lines(piece.offset, piece.len));
        if let Some(host) = self.host.get_mut(piece.frame as usize)
            && host.fetched_lines != 0
            && host.fetched_lines & lines(piece.offset, piece.len) != 0
        {
            self.code_epoch += 1;
            host.version = self.code_epoch;
        }
    }

    /// Notes that bytes of these granules change; the frame is listed already.
    #[inline(always)]
    pub(crate) fn note_bytes(&mut self, frame: u32, lines: u64) {
        if let Some(stored) = self.stored_lines.get_mut(frame as usize) {
            *stored |= lines;
        }
    }

    /// Notes that states change; the frame is listed already.
    #[inline]
    pub(crate) fn note_states(&mut self, piece: Piece) {
        if let Some(host) = self.host.get_mut(piece.frame as usize) {
            host.state_lines |= lines(piece.offset, piece.len);
        }
    }

    /// Lists a frame of which everything may have changed.
    pub(crate) fn mark_all(&mut self, frame: u32) {
        self.mark_changed(frame, Changed::ALL);
    }

    /// Lists a frame with what changed unseen.
    pub(crate) fn mark_changed(&mut self, frame: u32, changed: Changed) {
        self.mark_dirty(frame);
        self.note_bytes(frame, changed.stored);
        if let Some(host) = self.host.get_mut(frame as usize) {
            host.state_lines |= changed.states;
        }
    }

    /// Lists a frame as changed; which of its granules change is noted apart.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, frame: u32) {
        if let Some(host) = self.host.get_mut(frame as usize)
            && !host.is_dirty
        {
            host.is_dirty = true;
            self.dirty.push(frame);
        }
    }

    /// Undefined bits of one byte.
    pub(crate) fn mask(&self, frame: u32, offset: usize) -> u8 {
        match self.bytes(frame).state.get(offset).copied().map(ByteState) {
            Some(ByteState::UNDEFINED) => 0xff,
            Some(ByteState::PARTLY_DEFINED) => {
                let host = self.host.get(frame as usize);
                let masks = host.and_then(|h| h.masks.as_ref());
                masks.and_then(|m| m.get(offset).copied()).unwrap_or(0xff)
            }
            _ => 0,
        }
    }

    /// Sets the undefined bits of one byte; the byte becomes touchable. The caller has noted the
    /// change of the frame.
    pub(crate) fn set_mask(&mut self, frame: u32, offset: usize, mask: u8) {
        let state = match mask {
            0 => ByteState::DEFINED,
            0xff => ByteState::UNDEFINED,
            _ => ByteState::PARTLY_DEFINED,
        };
        let (Some(bytes), Some(host)) =
            (self.bytes.get_mut(frame as usize), self.host.get_mut(frame as usize))
        else {
            return;
        };
        host.state_lines |= lines(offset, 1);
        if let Some(slot) = bytes.state.get_mut(offset) {
            *slot = state.0;
        }
        if state == ByteState::PARTLY_DEFINED {
            let masks = host.masks.get_or_insert_with(|| Box::new([0; PAGE]));
            if let Some(slot) = masks.get_mut(offset) {
                *slot = mask;
            }
        }
    }

    pub(crate) fn has_code(&self, frame: u32) -> bool {
        self.host.get(frame as usize).is_some_and(|host| host.fetched_lines != 0)
    }

    pub(crate) fn version(&self, frame: u32) -> u64 {
        self.host.get(frame as usize).map_or(0, |host| host.version)
    }

    /// Notes a fetch; returns whether it is the first one from this frame.
    pub(crate) fn note_fetch(&mut self, frame: u32, offset: usize, len: usize) -> bool {
        let Some(host) = self.host.get_mut(frame as usize) else { return false };
        let is_first = host.fetched_lines == 0;
        host.fetched_lines |= lines(offset, len);
        if is_first {
            // What was decoded in an earlier life of the frame, or is restored later, must not look
            // current.
            self.code_epoch += 1;
            host.version = self.code_epoch;
            if self.shown.revoke_stores(frame) {
                self.mark_all(frame);
            }
        }
        is_first
    }

    /// Copies what changed since the last capture and returns all frames in use.
    pub(crate) fn capture(&mut self, table: &FrameTable) -> Radix<Arc<FrameCopy>> {
        for frame in self.dirty.drain(..) {
            let index = frame as usize;
            let (Some(bytes), Some(host)) = (self.bytes.get(index), self.host.get_mut(index))
            else {
                continue;
            };
            host.is_dirty = false;
            let mut changed = Changed {
                stored: self.stored_lines.get_mut(index).map_or(ALL_LINES, std::mem::take),
                states: std::mem::take(&mut host.state_lines),
            };
            if table.info(frame).is_none() {
                self.base.remove(u64::from(frame));
                continue;
            }
            let parent = self.base.get(u64::from(frame));
            let states = match parent {
                Some(copy) if changed.states == 0 => Arc::clone(&copy.states),
                _ => Arc::new(States { state: bytes.state, masks: host.masks.clone() }),
            };
            match parent {
                // Listed, but never changed.
                Some(_) if changed.stored | changed.states == 0 => continue,
                Some(_) => {}
                None => changed = Changed::ALL,
            }
            let parent = parent.map_or(0, |copy| copy.id);
            self.copies += 1;
            let copy = FrameCopy { data: bytes.data, states, id: self.copies, parent, changed };
            self.base.insert(u64::from(frame), Arc::new(copy));
        }
        self.base.clone()
    }

    /// Brings back the bytes of all frames that differ from `saved`.
    pub(crate) fn restore(&mut self, saved: &Radix<Arc<FrameCopy>>) {
        let base = std::mem::replace(&mut self.base, saved.clone());
        let mut changed = Vec::new();
        base.differing(saved, Arc::ptr_eq, &mut changed);
        for key in changed {
            let Some(copy) = saved.get(key) else { continue };
            let before = base.get(key);
            let changed = before.map_or(Changed::ALL, |before| Changed::between(before, copy));
            self.bring_back(key, copy, changed);
        }
        // What is listed and was brought back just now has nothing left to bring back.
        let mut dirty = std::mem::take(&mut self.dirty);
        for frame in dirty.drain(..) {
            if let Some(host) = self.host.get_mut(frame as usize) {
                host.is_dirty = false;
            }
            if let Some(copy) = saved.get(u64::from(frame)) {
                self.bring_back(u64::from(frame), copy, Changed::NOTHING);
            }
        }
        self.dirty = dirty;
    }

    /// Brings back the granules of a frame that changed since then, and these.
    fn bring_back(&mut self, key: u64, copy: &FrameCopy, changed: Changed) {
        let index = usize::try_from(key).expect("frames are numbered with 24 bits");
        let (Some(bytes), Some(host), Some(stored_lines)) =
            (self.bytes.get_mut(index), self.host.get_mut(index), self.stored_lines.get_mut(index))
        else {
            return;
        };
        let stored = changed.stored | std::mem::take(stored_lines);
        let states = changed.states | std::mem::take(&mut host.state_lines);
        let fetched = host.fetched_lines & stored;
        if fetched != 0 && !same_lines(&bytes.data, &copy.data, fetched) {
            self.code_epoch += 1;
            host.version = self.code_epoch;
        }
        copy_lines(&mut bytes.data, &copy.data, stored);
        copy_lines(&mut bytes.state, &copy.states.state, states);
        // Without masks in the copy, no state says that one is meant.
        if let Some(masks) = copy.states.masks.as_deref().filter(|_| states != 0) {
            match &mut host.masks {
                Some(own) => copy_lines(own, masks, states),
                None => host.masks = Some(Box::new(*masks)),
            }
        }
        let Ok(frame) = u32::try_from(key) else { return };
        if states != 0 && self.shown.is_blind(frame) && first_untouchable(&bytes.state).is_some() {
            self.shown.revoke_states(frame);
        }
    }
}

/// The granules that a range of a frame covers.
#[inline(always)]
pub(crate) fn lines(offset: usize, len: usize) -> u64 {
    if len == 0 {
        return 0;
    }
    let first = offset >> LINE_SHIFT;
    let last = (offset + len - 1) >> LINE_SHIFT;
    (u64::MAX >> (63 - last.min(63))) & (u64::MAX << first.min(63))
}

/// The granules in which two frames differ.
fn differing_lines(live: &[u8; PAGE], saved: &[u8; PAGE]) -> u64 {
    let ((live, _), (saved, _)) = (live.as_chunks::<LINE>(), saved.as_chunks::<LINE>());
    let pairs = live.iter().zip(saved).enumerate();
    pairs.fold(0, |lines, (line, (a, b))| lines | u64::from(a != b) << line)
}

/// Whether these granules are the same in both.
fn same_lines(live: &[u8; PAGE], saved: &[u8; PAGE], lines: u64) -> bool {
    let ((live, _), (saved, _)) = (live.as_chunks::<LINE>(), saved.as_chunks::<LINE>());
    each(lines).all(|line| live.get(line) == saved.get(line))
}

/// Copies these granules, one by one: that they have one size is worth more than long copies.
fn copy_lines(to: &mut [u8; PAGE], from: &[u8; PAGE], lines: u64) {
    if lines == ALL_LINES {
        *to = *from;
        return;
    }
    let ((to, _), (from, _)) = (to.as_chunks_mut::<LINE>(), from.as_chunks::<LINE>());
    for line in each(lines) {
        if let (Some(to), Some(from)) = (to.get_mut(line), from.get(line)) {
            *to = *from;
        }
    }
}

/// The numbers of granules.
fn each(lines: u64) -> impl Iterator<Item = usize> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let line = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        rest &= rest - 1;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::{copy_lines, each, lines, same_lines};

    #[test]
    fn a_range_covers_the_granules_that_it_touches() {
        let rows = [
            (0, 0, 0),
            (0, 1, 1),
            (63, 1, 1),
            (63, 2, 3),
            (64, 64, 2),
            (4095, 1, 1 << 63),
            (4032, 64, 1 << 63),
            (0, 4096, u64::MAX),
            (1, 4095, u64::MAX),
        ];
        for (offset, len, expected) in rows {
            assert_eq!(lines(offset, len), expected, "{offset}, {len}");
        }
    }

    #[test]
    fn each_granule_has_its_number() {
        let found = |lines| each(lines).collect::<Vec<_>>();
        assert_eq!(found(0), []);
        assert_eq!(found(0b1011), [0, 1, 3]);
        assert_eq!(found(1 << 63 | 1), [0, 63]);
        assert_eq!(found(u64::MAX), (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn granules_are_copied_and_compared_alone() {
        let (mut live, saved) = ([1; 4096], [2; 4096]);
        copy_lines(&mut live, &saved, 1 << 63 | 0b10);
        assert_eq!((live[63], live[64], live[127], live[128]), (1, 2, 2, 1));
        assert_eq!((live[4031], live[4032], live[4095]), (1, 2, 2));
        assert!(same_lines(&live, &saved, 0b10));
        assert!(!same_lines(&live, &saved, 0b11));
        copy_lines(&mut live, &saved, u64::MAX);
        assert_eq!(live, saved);
    }
}
