//! Capturing the memory and returning to it.

use std::{fmt, sync::Arc};

use crate::{
    GuestMemory, frames::FrameCopy, memory::State, radix::Radix, tlb::PLANE_RAISED, track::Tracker,
};

/// A captured state of the memory it was taken from.
#[derive(Clone)]
pub struct Snapshot {
    state: State,
    frames: Radix<Arc<FrameCopy>>,
    tracker: Tracker,
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
        Snapshot {
            state: self.state.clone(),
            frames: self.frames.capture(&self.state.frames),
            tracker: self.tracker.clone(),
        }
    }

    /// Returns to a snapshot of this memory, older or newer. Costs what differs.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let (old, new) = (&self.state, &snapshot.state);
        let is_same_code = old.kernel.exec_stamp == new.kernel.exec_stamp
            && old.space == new.space
            && old.spaces.is_same(&new.spaces);
        if !is_same_code {
            self.frames.code_epoch += 1;
        }
        self.tlb.flush();
        self.state = snapshot.state.clone();
        self.tracker.clone_from(&snapshot.tracker);
        self.plane = if self.state.is_pageable_allowed { 0 } else { PLANE_RAISED };
        self.frames.restore(&snapshot.frames);
    }
}
