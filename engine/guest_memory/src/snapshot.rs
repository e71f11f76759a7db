//! Capturing the memory and returning to it.

use std::{fmt, sync::Arc};

use saved::Keep;

use crate::{
    GuestMemory, frames::FrameCopy, memory::State, radix::Radix, tlb::PLANE_RAISED,
    track::TrackerCopy,
};

/// A captured state of the memory it was taken from.
#[derive(Clone)]
pub struct Snapshot {
    state: State,
    frames: Radix<Arc<FrameCopy>>,
    tracker: TrackerCopy,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

/// Snapshots.
impl GuestMemory {
    /// Captures everything: bytes, states, mappings, blocks, arenas, spaces. Costs what changed
    /// since the last capture or restore.
    pub fn capture(&mut self) -> Snapshot {
        // The first store into each page must be noticed again.
        self.tlb.flush_writes();
        self.frames.note_unseen(&self.state.frames);
        Snapshot {
            state: self.state.clone(),
            frames: self.frames.capture(&self.state.frames),
            tracker: self.tracker.capture(),
        }
    }

    /// Returns to a snapshot of this memory, older or newer. Costs what differs.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.frames.note_unseen(&self.state.frames);
        let (old, new) = (&self.state, &snapshot.state);
        self.frames.note_remapped(&old.kernel, &new.kernel, &new.frames);
        // Code of other spaces is noticed when they are entered.
        let is_same_code = old.kernel.exec_stamp == new.kernel.exec_stamp
            && old.space == new.space
            && old.user_exec_stamp() == new.user_exec_stamp();
        if !is_same_code {
            self.frames.code_epoch += 1;
        }
        let is_tracked = self.tracker.is_on() || snapshot.tracker.is_on();
        let is_same_user = old.space == new.space && old.spaces.is_same(&new.spaces);
        if is_tracked || !old.kernel.is_same(&new.kernel) {
            self.tlb.flush();
        } else {
            // Pages of the kernel half mean what they meant, and stores must be noticed again.
            self.tlb.flush_writes();
            if !is_same_user {
                self.tlb.flush_user();
            }
        }
        self.state = snapshot.state.clone();
        self.tracker.restore(&snapshot.tracker);
        self.plane = if self.state.is_pageable_allowed { 0 } else { PLANE_RAISED };
        self.frames.restore(&snapshot.frames);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};

    const AT: GuestAddr = GuestAddr(0xffff_fa00_0000_0000);
    const DATA: Perms = Perms::READ.union(Perms::WRITE);
    const WHO: Accessor = Accessor::Supervisor;

    /// Bytes, states and masks of a frame.
    type Frame = (u32, Vec<u8>, Vec<u8>, Vec<u8>);

    /// Four pages of defined bytes.
    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::new(Limits { frames: 16, blocks: 4, spaces: 1 });
        memory.map(AT, 4 * 4096, DATA, ByteState::DEFINED, 7).unwrap();
        memory
    }

    /// All of the frames in use.
    fn content(memory: &GuestMemory) -> Vec<Frame> {
        let in_use = (0..16).filter(|frame| memory.state.frames.info(*frame).is_some());
        let frame = |frame| {
            let bytes = memory.frames.bytes(frame);
            let masks = (0..4096).map(|offset| memory.frames.mask(frame, offset)).collect();
            (frame, bytes.data.to_vec(), bytes.state.to_vec(), masks)
        };
        in_use.map(frame).collect()
    }

    /// Changes, and goes back, several times: nothing is left of them.
    fn comes_back(memory: &mut GuestMemory, mut change: impl FnMut(&mut GuestMemory)) {
        let (snapshot, before) = (memory.capture(), content(memory));
        for round in 0..3 {
            change(memory);
            assert_ne!(content(memory), before, "round {round} changes something");
            memory.restore(&snapshot);
            assert_eq!(content(memory), before, "round {round}");
        }
        change(memory);
        let (other, after) = (memory.capture(), content(memory));
        memory.restore(&snapshot);
        assert_eq!(content(memory), before);
        memory.restore(&other);
        assert_eq!(content(memory), after);
    }

    #[test]
    fn stores_at_the_borders_of_granules_come_back() {
        for offset in [0, 1, 56, 60, 63, 64, 127, 4032, 4088, 4092, 4095, 8191] {
            let at = AT.add(offset);
            comes_back(&mut memory(), |m| m.store::<u8>(false, at.0, 1).unwrap());
            comes_back(&mut memory(), |m| m.store::<u64>(false, at.0, 1).unwrap());
            comes_back(&mut memory(), |m| m.store::<u128>(false, at.0, 1).unwrap());
            comes_back(&mut memory(), |m| m.write(WHO, at, &[1; 70]).unwrap());
        }
        comes_back(&mut memory(), |m| {
            for at in (0..4 * 4096).step_by(128) {
                m.store::<u8>(false, AT.0 + at, 1).unwrap();
            }
        });
    }

    #[test]
    fn long_copies_and_fills_come_back() {
        comes_back(&mut memory(), |m| assert_eq!(m.fill_units(WHO, AT.add(100), &[1], 5000), 5000));
        comes_back(&mut memory(), |m| {
            m.store::<u32>(false, AT.0 + 4094, 0x0102_0304).unwrap();
            assert_eq!(m.copy_units(WHO, (AT.add(63), AT.add(4090)), 130, 1), 130);
        });
        comes_back(&mut memory(), |m| {
            m.fill(WHO, AT, 1, 64).unwrap();
            m.copy((WHO, AT.add(8190)), (WHO, AT.add(62)), 70).unwrap();
        });
    }

    #[test]
    fn states_that_change_alone_come_back() {
        comes_back(&mut memory(), |m| m.forget(AT.0 + 60, 8));
        comes_back(&mut memory(), |m| m.set_state(AT.add(4095), 2, ByteState::FREED, None));
        // Masks: bytes of which some bits are undefined.
        comes_back(&mut memory(), |m| {
            m.store_slow(WHO, AT.add(62), &[7; 4], &[1, 2, 4, 8], false).unwrap();
        });
        let mut masked = memory();
        masked.store_slow(WHO, AT.add(62), &[7; 4], &[1, 2, 4, 8], false).unwrap();
        comes_back(&mut masked, |m| m.store_slow(WHO, AT.add(63), &[7], &[9], false).unwrap());
        comes_back(&mut masked, |m| m.write(WHO, AT, &[7; 256]).unwrap());
        let mut undefined = memory();
        undefined.forget(AT.0, 4096);
        comes_back(&mut undefined, |m| m.store::<u32>(false, AT.0 + 62, 0x0707_0707).unwrap());
    }

    #[test]
    fn mappings_come_back() {
        let (at, far) = (AT.add(4096), AT.add(0x10_0000));
        comes_back(&mut memory(), |m| m.unmap(at, 4096));
        comes_back(&mut memory(), |m| m.map(far, 8192, DATA, ByteState::UNDEFINED, 3).unwrap());
        comes_back(&mut memory(), |m| {
            m.store::<u8>(false, at.0 + 64, 1).unwrap();
            m.unmap(at, 4096);
            m.map(far, 4096, DATA, ByteState::DEFINED, 9).unwrap();
            m.store::<u8>(false, far.0 + 64, 2).unwrap();
        });
        let mut m = memory();
        let snapshot = m.capture();
        for _ in 0..2 {
            m.store::<u8>(false, at.0, 1).unwrap();
            assert!(m.protect(at, 4096, Perms::READ));
            assert!(m.store::<u8>(false, at.0, 2).is_err());
            m.restore(&snapshot);
            assert_eq!(m.load::<u8>(false, at.0), Ok(7));
            m.store::<u8>(false, at.0, 1).unwrap();
            m.restore(&snapshot);
            assert_eq!(m.load::<u8>(false, at.0), Ok(7));
        }
    }

    #[test]
    fn code_that_changed_is_known_to_have() {
        let mut m = memory();
        assert!(m.protect(AT, 4096, DATA | Perms::EXECUTE));
        m.fetch(false, AT.add(64), &mut [0; 15]).unwrap();
        let snapshot = m.capture();
        let version = m.code_version(AT);
        // Data beside code.
        m.write(WHO, AT.add(128), &[1]).unwrap();
        m.restore(&snapshot);
        assert_eq!(m.code_version(AT), version);
        // The same bytes again: a change, but not by the restore.
        m.write(WHO, AT.add(64), &[7]).unwrap();
        let rewritten = m.code_version(AT);
        assert_ne!(rewritten, version);
        m.restore(&snapshot);
        assert_eq!(m.code_version(AT), rewritten);
        m.write(WHO, AT.add(78), &[1]).unwrap();
        let changed = m.code_version(AT);
        m.restore(&snapshot);
        assert_ne!(m.code_version(AT), changed);
        assert_eq!(m.load::<u8>(false, AT.0 + 78), Ok(7));
        // Code that is fetched from bytes that go away.
        m.write(WHO, AT.add(256), &[1]).unwrap();
        m.fetch(false, AT.add(256), &mut [0; 15]).unwrap();
        let fetched = m.code_version(AT);
        m.restore(&snapshot);
        assert_ne!(m.code_version(AT), fetched);
    }

    #[test]
    fn snapshots_nest_and_have_siblings() {
        let mut m = memory();
        let mut kept = vec![(m.capture(), content(&m))];
        // Each begins at an earlier one: a tree.
        for (from, offset) in [(0, 0), (1, 64), (1, 4090), (0, 64), (2, 0), (4, 12_288)] {
            m.restore(&kept[from].0);
            m.store::<u64>(false, AT.0 + offset, offset + 1).unwrap();
            m.forget(AT.0 + 8192 + offset / 64, 3);
            kept.push((m.capture(), content(&m)));
        }
        for from in 0..kept.len() {
            for to in 0..kept.len() {
                m.restore(&kept[from].0);
                m.store::<u32>(false, AT.0 + 70, 5).unwrap();
                m.restore(&kept[to].0);
                assert_eq!(content(&m), kept[to].1, "{from} to {to}");
            }
        }
    }
}
