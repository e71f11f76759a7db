//! What a window shows of each frame, and what it has to give up.
//!
//! A frame that is shown for stores changes unseen. What changed is found out at each capture and
//! restore, by comparing with what was captured or brought back last; one that does not change for
//! long is given up, so that comparing costs less than being told of stores again would.
//!
//! A page that is unmapped may stay, if its frame is given back: the states of the frame then
//! forbid to touch any byte of it. Pages that are mapped anew in each run cost only that.

use std::collections::BTreeMap;

use crate::{
    ByteState, FrameId, GuestAddr, Mapping,
    frames::{Changed, FrameTable, Frames, PAGE},
    tables::PageTable,
    vet::Piece,
};

/// Pages or frames named one by one; beyond that, everything is given up.
const MOST_NAMED: usize = 256;
/// Captures and restores in a row at which a frame shown for stores may be as it was. Comparing it
/// so often costs as much as a fault of the host with the changes of mappings that it leads to.
const MOST_IDLE: u8 = 32;

/// What a window has to give up. Taking it makes it empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Everything.
    pub all: bool,
    /// These pages: they mean something else now.
    pub pages: Vec<GuestAddr>,
    /// The right to store into these frames.
    pub stores: Vec<FrameId>,
    /// The right to change the states of these frames without looking: some of their bytes must
    /// not be touched any more.
    pub states: Vec<FrameId>,
    /// Whether there is any of this: asked behind each call that is served in place.
    is_any: bool,
}

impl Revoked {
    pub(crate) const ALL: Self =
        Self { all: true, pages: Vec::new(), stores: Vec::new(), states: Vec::new(), is_any: true };

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_any
    }

    /// Behind each addition.
    fn bound(&mut self) {
        self.is_any = true;
        let longest = self.pages.len().max(self.stores.len()).max(self.states.len());
        self.all |= longest > MOST_NAMED;
    }
}

/// What a window shows.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) revoked: Revoked,
    /// How the pages were mapped when they were shown.
    pages: BTreeMap<u64, Mapping>,
    /// By number; frames behind the end are not shown.
    frames: Vec<ShownFrame>,
    /// Those that are shown for stores.
    for_stores: Vec<u32>,
    /// Those that are shown and not in use.
    dead: Vec<u32>,
}

/// What a window may show of a frame. It may also have forgotten it.
#[derive(Clone, Copy, Debug, Default)]
struct ShownFrame {
    /// The page that shows it, if it is dead.
    dead_at: Option<u64>,
    /// It can be stored to, and its states changed as a store does.
    is_for_stores: bool,
    /// Its states can be changed without looking at them.
    is_blind: bool,
    /// Captures and restores in a row at which it was as before.
    idle: u8,
}

impl Shown {
    /// Notes that a window shows the page, or knows that it must not.
    pub(crate) fn show(&mut self, page: u64, mapping: Mapping) {
        self.pages.insert(page, mapping);
    }

    /// Notes that it shows the frame for stores.
    pub(crate) fn show_for_stores(&mut self, frame: u32) {
        let shown = self.of(frame);
        shown.idle = 0;
        if !std::mem::replace(&mut shown.is_for_stores, true) {
            self.for_stores.push(frame);
        }
    }

    /// Notes that code may change the states of the frame without looking.
    pub(crate) fn show_blindly(&mut self, frame: u32) {
        self.of(frame).is_blind = true;
    }

    /// The page is mapped in another way now.
    #[inline]
    pub(crate) fn revoke_page(&mut self, page: u64) {
        if self.pages.remove(&page).is_some() && !self.revoked.all {
            self.revoked.pages.push(GuestAddr(page));
            self.revoked.bound();
        }
    }

    /// A page is mapped that was not, or otherwise.
    #[inline]
    pub(crate) fn map(&mut self, page: u64, mapping: Mapping) {
        if self.pages.is_empty() {
            return;
        }
        let frame = mapping.frame.0;
        if let Some(at) = self.revive(frame)
            && at != page
        {
            self.revoke_page(at);
        }
        if self.pages.get(&page).is_some_and(|shown| *shown != mapping) {
            self.revoke_page(page);
        }
    }

    /// The frame is in use again, or about to be; returns where it was shown.
    fn revive(&mut self, frame: u32) -> Option<u64> {
        let at = self.get_mut(frame)?.dead_at.take()?;
        self.dead.retain(|other| *other != frame);
        Some(at)
    }

    /// Nobody may store into the frame unseen any more; returns whether somebody might have.
    pub(crate) fn revoke_stores(&mut self, frame: u32) -> bool {
        let shown = self.get_mut(frame);
        let was_stored = shown.is_some_and(|shown| std::mem::take(&mut shown.is_for_stores));
        if was_stored {
            self.for_stores.retain(|other| *other != frame);
            self.revoked.stores.push(FrameId(frame));
            self.revoked.bound();
        }
        was_stored
    }

    /// Whether the states of the frame are changed without looking.
    #[inline]
    pub(crate) fn is_blind(&self, frame: u32) -> bool {
        self.get(frame).is_some_and(|shown| shown.is_blind)
    }

    /// Some bytes of the frame must not be touched any more.
    #[inline]
    pub(crate) fn revoke_states(&mut self, frame: u32) {
        let shown = self.get_mut(frame);
        if shown.is_some_and(|shown| std::mem::take(&mut shown.is_blind)) {
            self.revoked.states.push(FrameId(frame));
            self.revoked.bound();
        }
    }

    fn get(&self, frame: u32) -> Option<&ShownFrame> {
        self.frames.get(frame as usize)
    }

    fn get_mut(&mut self, frame: u32) -> Option<&mut ShownFrame> {
        self.frames.get_mut(frame as usize)
    }

    fn of(&mut self, frame: u32) -> &mut ShownFrame {
        let index = frame as usize;
        if self.frames.len() <= index {
            self.frames.resize(index + 1, ShownFrame::default());
        }
        self.get_mut(frame).expect("there is room for it now")
    }
}

impl Frames {
    /// Notes what was changed through a window since the last capture or restore; `table` says
    /// which frames are in use.
    pub(crate) fn note_unseen(&mut self, table: &FrameTable) {
        let mut for_stores = std::mem::take(&mut self.shown.for_stores);
        for_stores.retain(|frame| {
            let changed = self.changed(*frame);
            if let Some(changed) = changed {
                self.mark_changed(*frame, changed);
            }
            // One that is not in use may be shown all the same, and again be what it was.
            if table.info(*frame).is_none() {
                return true;
            }
            let Some(shown) = self.shown.get_mut(*frame) else { return false };
            shown.idle = if changed.is_some() { 0 } else { shown.idle + 1 };
            shown.is_for_stores = shown.idle < MOST_IDLE;
            let stays = shown.is_for_stores;
            if !stays {
                self.shown.revoked.stores.push(FrameId(*frame));
                self.shown.revoked.bound();
            }
            stays
        });
        self.shown.for_stores = for_stores;
    }

    /// A page was unmapped that meant this frame.
    pub(crate) fn note_unmapped(&mut self, page: u64, frame: u32, is_in_use: bool) {
        let is_shown = self.shown.pages.get(&page).is_some_and(|old| old.frame.0 == frame);
        let is_dead = self.shown.get(frame).is_some_and(|shown| shown.dead_at.is_some());
        if !is_shown || is_in_use || is_dead {
            self.shown.revoke_page(page);
            return;
        }
        self.set_states(Piece { frame, offset: 0, len: PAGE }, ByteState::UNALLOCATED);
        self.shown.of(frame).dead_at = Some(page);
        self.shown.dead.push(frame);
    }

    /// The page table becomes another, and so do the frames in use.
    pub(crate) fn note_remapped(&mut self, old: &PageTable, new: &PageTable, used: &FrameTable) {
        if self.shown.pages.is_empty() {
            return;
        }
        for page in old.differing(new) {
            match (old.get(page), new.get(page)) {
                (_, Some(mapping)) => self.shown.map(page, *mapping),
                (Some(Mapping { frame, .. }), None) => {
                    self.note_unmapped(page, frame.0, used.info(frame.0).is_some());
                }
                (None, None) => {}
            }
        }
        for frame in self.shown.dead.clone() {
            if used.info(frame).is_some()
                && let Some(at) = self.shown.revive(frame)
            {
                self.shown.revoke_page(at);
            }
        }
    }

    /// What of a frame is not as it was at the last capture or restore.
    fn changed(&self, frame: u32) -> Option<Changed> {
        match self.base.get(u64::from(frame)) {
            Some(copy) => copy.changed_in(self.bytes(frame)),
            None => Some(Changed::ALL),
        }
    }
}
