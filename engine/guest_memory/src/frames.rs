//! Physical frames: their bytes, byte states and masks, and what is known about each.

use std::sync::Arc;

use host_frames::{FrameBytes, FrameStore};

use crate::{
    ByteState,
    radix::Radix,
    vet::{Piece, first_not_plain, first_untouchable, slice, slice_mut},
};

pub(crate) use host_frames::PAGE;

const LINE_SHIFT: usize = 6;

/// What a snapshot keeps of a frame. Snapshots between which the states did not change share them.
#[derive(Debug)]
pub(crate) struct FrameCopy {
    data: [u8; PAGE],
    states: Arc<States>,
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
    /// Changed since the last capture or restore.
    is_dirty: bool,
    /// States or masks changed since then.
    has_dirty_states: bool,
    /// Lines of 64 bytes that instructions were fetched from.
    fetched_lines: u64,
    /// Stamp of the last change of a fetched line.
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
    dirty: Vec<u32>,
    base: Radix<Arc<FrameCopy>>,
    /// Changes whenever code may have changed.
    pub(crate) code_epoch: u64,
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
        Self { bytes, host: Vec::new(), dirty: Vec::new(), base: Radix::default(), code_epoch: 1 }
    }

    /// Makes a frame that was just taken look fresh.
    pub(crate) fn prepare(&mut self, frame: u32, state: ByteState, fill: u8) {
        let index = frame as usize;
        while self.bytes.len() <= index {
            self.bytes.push_zeroed();
            self.host.push(FrameHost::default());
        }
        self.mark_dirty(frame);
        if let (Some(bytes), Some(host)) = (self.bytes.get_mut(index), self.host.get_mut(index)) {
            bytes.data.fill(fill);
            bytes.state.fill(state.without_mask().0);
            host.masks = None;
            host.has_dirty_states = true;
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
            self.note_states(piece.frame);
        }
    }

    /// Sets the state of bytes.
    pub(crate) fn set_states(&mut self, piece: Piece, state: ByteState) {
        self.mark_dirty(piece.frame);
        self.note_states(piece.frame);
        slice_mut(&mut self.page_mut(piece.frame).state, piece).fill(state.without_mask().0);
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
        self.note_states(piece.frame);
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
        if let Some(host) = self.host.get_mut(piece.frame as usize)
            && host.fetched_lines != 0
            && host.fetched_lines & lines(piece.offset, piece.len) != 0
        {
            self.code_epoch += 1;
            host.version = self.code_epoch;
        }
    }

    #[inline]
    pub(crate) fn note_states(&mut self, frame: u32) {
        if let Some(host) = self.host.get_mut(frame as usize) {
            host.has_dirty_states = true;
        }
    }

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
        host.has_dirty_states = true;
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
            let has_new_states = std::mem::take(&mut host.has_dirty_states);
            if table.info(frame).is_none() {
                self.base.remove(u64::from(frame));
                continue;
            }
            let states = match self.base.get(u64::from(frame)) {
                Some(copy) if !has_new_states => Arc::clone(&copy.states),
                _ => Arc::new(States { state: bytes.state, masks: host.masks.clone() }),
            };
            self.base.insert(u64::from(frame), Arc::new(FrameCopy { data: bytes.data, states }));
        }
        self.base.clone()
    }

    /// Brings back the bytes of all frames that differ from `saved`.
    pub(crate) fn restore(&mut self, saved: &Radix<Arc<FrameCopy>>) {
        let mut changed = Vec::new();
        self.base.differing(saved, Arc::ptr_eq, &mut changed);
        for frame in self.dirty.drain(..) {
            if let Some(host) = self.host.get_mut(frame as usize) {
                host.is_dirty = false;
            }
            changed.push(u64::from(frame));
        }
        for key in changed {
            let before = self.base.get(key);
            let Some(copy) = saved.get(key) else { continue };
            let index = usize::try_from(key).expect("frames are numbered with 24 bits");
            let (Some(bytes), Some(host)) = (self.bytes.get_mut(index), self.host.get_mut(index))
            else {
                continue;
            };
            if host.fetched_lines != 0 && !same_code(&bytes.data, copy, host.fetched_lines) {
                self.code_epoch += 1;
                host.version = self.code_epoch;
            }
            bytes.data = copy.data;
            let is_same = before.is_some_and(|before| Arc::ptr_eq(&before.states, &copy.states));
            if std::mem::take(&mut host.has_dirty_states) || !is_same {
                bytes.state = copy.states.state;
                host.masks.clone_from(&copy.states.masks);
            }
        }
        self.base = saved.clone();
    }
}

/// The lines that a range of a frame covers.
#[inline]
fn lines(offset: usize, len: usize) -> u64 {
    if len == 0 {
        return 0;
    }
    let first = offset >> LINE_SHIFT;
    let last = (offset + len - 1) >> LINE_SHIFT;
    (u64::MAX >> (63 - last.min(63))) & (u64::MAX << first.min(63))
}

fn same_code(data: &[u8; PAGE], copy: &FrameCopy, fetched_lines: u64) -> bool {
    let mut chunks = data.chunks(1 << LINE_SHIFT).zip(copy.data.chunks(1 << LINE_SHIFT));
    let mut line = 0;
    chunks.all(|(live, saved)| {
        let is_fetched = fetched_lines >> line & 1 == 1;
        line += 1;
        !is_fetched || live == saved
    })
}
