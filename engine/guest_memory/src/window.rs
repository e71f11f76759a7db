//! What a translator needs: pages that it may use directly, and when it must give them up.
//!
//! A window shows pages under the rule of the TLB: only a page at which nothing on the level of
//! pages can object may be in it. It forgets a page that is mapped otherwise or not at all, and the
//! right to store into one that becomes code. Captures and restores take nothing from it: they copy
//! from and into the frames that it shows. Pages of ring 3, pageable and watched pages are never in
//! a window, and none is used while accesses are tracked.

use host_frames::{FrameStore, STRIDE};

use crate::{
    AccessKind, FrameId, GuestAddr, GuestMemory, Limits, Perms, shown::Revoked,
    vet::first_untouchable,
};

/// What a window may show of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// This frame.
    Frame(FrameId),
    /// Nothing: each access to the page has to be looked at, for as long as it is mapped so.
    Guarded,
    /// Nothing now.
    Nothing,
}

/// Windows.
impl GuestMemory {
    /// Makes an empty memory whose frames can be mapped a second time; `None` where the host does
    /// not have such memory.
    pub fn new_shared(limits: Limits) -> Option<Self> {
        let store = FrameStore::shared(usize::try_from(limits.frames).ok()?)?;
        let mut memory = Self::in_store(limits, store);
        // A window that showed an earlier memory forgets it when it meets this one.
        memory.frames.shown.revoked = Revoked::ALL;
        Some(memory)
    }

    /// The file behind the frames, if they can be mapped a second time.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub fn frames_file(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.frames.bytes.file()
    }

    /// Where the bytes of a frame are in the file; their states follow them.
    pub fn frame_offset(frame: FrameId) -> u64 {
        u64::from(frame.0) * STRIDE as u64
    }

    /// Says what a window may show of the page around `at` to ring 0 that loads from it, or with
    /// `is_store` stores to it. A frame given for stores may change unseen from now on.
    pub fn enter_window(&mut self, at: GuestAddr, is_store: bool) -> Showing {
        let kind = if is_store { AccessKind::Write } else { AccessKind::Read };
        let Ok(mapping) = self.resolve(at) else { return Showing::Nothing };
        if !at.is_kernel_half() || self.is_tracking() {
            return Showing::Nothing;
        }
        let (page, frame) = (at.page().0, mapping.frame.0);
        let guarded = Perms::USER | Perms::PAGEABLE | Perms::WATCHED;
        if mapping.perms.intersects(guarded) || (mapping.low, mapping.high) != (0, 4096) {
            self.frames.shown.show(page, mapping);
            return Showing::Guarded;
        }
        let is_code = is_store && self.frames.has_code(frame);
        if is_code || self.plain_mapping(false, at.0, kind).is_none() {
            return Showing::Nothing;
        }
        self.frames.shown.show(page, mapping);
        if is_store {
            self.frames.shown.show_for_stores(frame);
        }
        Showing::Frame(mapping.frame)
    }

    /// Whether every byte of the frame may be touched, so that code may change their states without
    /// looking. When that ends, it is revoked.
    pub fn show_blindly(&mut self, frame: FrameId) -> bool {
        let is_touchable = first_untouchable(&self.frames.bytes(frame.0).state).is_none();
        if is_touchable {
            self.frames.shown.show_blindly(frame.0);
        }
        is_touchable
    }

    /// Takes what a window has to give up.
    pub fn take_revoked(&mut self) -> Revoked {
        std::mem::take(&mut self.frames.shown.revoked)
    }

    /// Whether a window has to give something up.
    #[inline]
    pub fn has_revoked(&self) -> bool {
        !self.frames.shown.revoked.is_empty()
    }

    /// Whether it has to give up everything, as one that never saw this memory.
    #[inline]
    pub fn has_revoked_all(&self) -> bool {
        self.frames.shown.revoked.all
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        ByteState, FrameId, GuestAddr, GuestMemory, Limits, Perms, Revoked, Showing, Tracking,
    };

    const AT: GuestAddr = GuestAddr(0xffff_fa00_0000_0000);
    const DATA: Perms = Perms::READ.union(Perms::WRITE);

    /// A memory with one page.
    fn memory(perms: Perms) -> Option<GuestMemory> {
        let mut memory = GuestMemory::new_shared(Limits { frames: 8, blocks: 4, spaces: 1 })?;
        memory.map(AT, 4096, perms, ByteState::DEFINED, 0).ok()?;
        memory.take_revoked();
        Some(memory)
    }

    fn shows(memory: &mut GuestMemory, is_store: bool) -> bool {
        matches!(memory.enter_window(AT, is_store), Showing::Frame(_))
    }

    #[test]
    fn only_plain_pages_enter_a_window() {
        use Showing::{Frame, Guarded, Nothing};
        let frame = Frame(FrameId(0));
        let rows = [
            (DATA, [frame, frame]),
            (Perms::READ, [frame, Nothing]),
            (DATA | Perms::WATCHED, [Guarded, Guarded]),
            (DATA | Perms::USER, [Guarded, Guarded]),
            (DATA | Perms::PAGEABLE, [Guarded, Guarded]),
        ];
        for (perms, expected) in rows {
            let Some(mut memory) = memory(perms) else { return };
            let entered = [false, true].map(|is_store| memory.enter_window(AT, is_store));
            assert_eq!(entered, expected, "{perms:?}");
            assert_eq!(memory.enter_window(AT.add(4096), false), Nothing, "not mapped");
            let alias = AT.add(0x10_0000);
            memory.map_frames(alias, &[FrameId(0)], 8, 64, DATA).unwrap();
            assert_eq!(memory.enter_window(alias, false), Guarded, "a part of a page");
            memory.track(Tracking::default());
            assert_eq!(memory.enter_window(AT, false), Nothing);
        }
    }

    #[test]
    fn what_changes_its_meaning_is_revoked() {
        let Some(mut memory) = memory(DATA | Perms::EXECUTE) else { return };
        memory.protect(AT, 4096, DATA);
        memory.protect(AT, 4096, DATA | Perms::EXECUTE);
        assert!(!memory.has_revoked(), "nothing is shown");
        assert!(shows(&mut memory, true));
        let snapshot = memory.capture();
        memory.set_space(None);
        memory.restore(&snapshot);
        memory.protect(AT, 4096, DATA | Perms::EXECUTE);
        assert!(!memory.has_revoked(), "the page means what it meant");
        memory.protect(AT, 4096, Perms::READ);
        assert_eq!(memory.take_revoked().pages, [AT]);
        assert!(shows(&mut memory, false));
        memory.restore(&snapshot);
        assert_eq!(memory.take_revoked().pages, [AT]);
        assert!(shows(&mut memory, true));
        memory.pin(FrameId(0));
        memory.unmap(AT, 4096);
        assert_eq!(memory.take_revoked().pages, [AT], "its frame has a life of its own");
        let without = memory.capture();
        memory.restore(&snapshot);
        assert!(!memory.has_revoked(), "the page was not mapped");
        assert!(shows(&mut memory, false));
        memory.restore(&without);
        assert_eq!(memory.take_revoked().pages, [AT]);
        memory.restore(&snapshot);
        assert!(shows(&mut memory, true));
        assert!(memory.fetch(false, AT, &mut [0; 15]).is_ok());
        assert_eq!(memory.take_revoked().stores, [FrameId(0)], "the page holds code now");
        assert_eq!(memory.enter_window(AT, true), Showing::Nothing);
    }

    /// The states of the first frame, as a window shows them.
    fn states(memory: &GuestMemory) -> Vec<u8> {
        let mut states = memory.frames.bytes(0).state.to_vec();
        states.dedup();
        states
    }

    #[test]
    fn a_page_may_stay_while_its_frame_is_not_in_use() {
        let Some(mut memory) = memory(DATA) else { return };
        let with = memory.capture();
        assert!(shows(&mut memory, true));
        store_unseen(&mut memory, 70, 7, ByteState::DEFINED);
        memory.unmap(AT, 4096);
        assert!(!memory.has_revoked());
        assert_eq!(states(&memory), [ByteState::UNALLOCATED.0], "no byte can be touched");
        let without = memory.capture();
        memory.restore(&with);
        assert_eq!(memory.load::<u8>(false, AT.0 + 70), Ok(0), "what nobody saw comes back");
        store_unseen(&mut memory, 70, 8, ByteState::DEFINED);
        memory.restore(&without);
        assert_eq!(states(&memory), [ByteState::UNALLOCATED.0]);
        memory.map(AT, 4096, DATA, ByteState::DEFINED, 5).unwrap();
        assert!(!memory.has_revoked(), "the same frame again");
        let other = memory.capture();
        store_unseen(&mut memory, 70, 9, ByteState::DEFINED);
        memory.restore(&other);
        assert_eq!(memory.load::<u8>(false, AT.0 + 70), Ok(5), "stores are found out again");
        assert!(!memory.has_revoked());
    }

    #[test]
    fn a_page_leaves_when_its_frame_is_used_otherwise() {
        let other = AT.add(0x10_0000);
        let with = |perms: Perms, at: GuestAddr| {
            let mut memory = memory(DATA)?;
            let before = memory.capture();
            assert!(shows(&mut memory, true));
            memory.unmap(AT, 4096);
            memory.map(at, 4096, perms, ByteState::DEFINED, 5).ok()?;
            assert_eq!(memory.take_revoked().pages, [AT], "{at:?}");
            memory.restore(&before);
            Some((memory.take_revoked(), shows(&mut memory, true)))
        };
        for (perms, at) in [(DATA, other), (Perms::READ, AT), (DATA | Perms::PAGEABLE, AT)] {
            let expected = (Revoked::default(), true);
            assert!(with(perms, at).is_none_or(|came| came == expected), "{perms:?}");
        }
        // In a snapshot that uses the frame without a page.
        let Some(mut memory) = memory(DATA) else { return };
        memory.pin(FrameId(0));
        memory.unmap(AT, 4096);
        let pinned = memory.capture();
        memory.unpin(FrameId(0));
        memory.map(AT, 4096, DATA, ByteState::DEFINED, 5).unwrap();
        assert!(shows(&mut memory, true));
        memory.unmap(AT, 4096);
        assert!(!memory.has_revoked());
        memory.restore(&pinned);
        assert_eq!(memory.take_revoked().pages, [AT]);
    }

    #[test]
    fn bytes_that_must_not_be_touched_end_blind_changes_of_states() {
        let Some(mut memory) = memory(DATA) else { return };
        let frame = FrameId(0);
        memory.set_state(AT, 16, ByteState::FREED, None);
        assert!(!memory.show_blindly(frame));
        let with_freed = memory.capture();
        memory.set_state(AT, 16, ByteState::UNDEFINED, None);
        assert!(memory.show_blindly(frame));
        memory.set_state(AT, 16, ByteState::DEFINED, None);
        assert!(!memory.has_revoked());
        memory.restore(&with_freed);
        assert_eq!(memory.take_revoked().states, [frame]);
        memory.set_state(AT, 16, ByteState::UNDEFINED, None);
        assert!(memory.show_blindly(frame));
        let alias = AT.add(0x10_0000);
        memory.map_frames(alias, &[frame], 0, 4096, DATA).unwrap();
        memory.set_state(alias, 1, ByteState::GUARD, None);
        assert_eq!(memory.take_revoked().states, [frame], "by whatever address");
        memory.set_state(AT, 16, ByteState::FREED, None);
        assert!(!memory.has_revoked());
    }

    /// What translated code does, by another way that notes nothing.
    fn store_unseen(memory: &mut GuestMemory, offset: usize, byte: u8, state: ByteState) {
        let frame = memory.frames.bytes.get_mut(0).unwrap();
        (frame.data[offset], frame.state[offset]) = (byte, state.0);
    }

    #[test]
    fn what_a_window_may_write_is_part_of_the_next_snapshot() {
        let Some(mut memory) = memory(DATA) else { return };
        let first = memory.capture();
        assert!(shows(&mut memory, true));
        store_unseen(&mut memory, 0, 7, ByteState::DEFINED);
        store_unseen(&mut memory, 1, 0, ByteState::UNDEFINED);
        let second = memory.capture();
        store_unseen(&mut memory, 4095, 8, ByteState::DEFINED);
        for _ in 0..2 {
            memory.restore(&first);
            assert_eq!(memory.load::<u16>(false, AT.0), Ok(0));
            assert_eq!(memory.load::<u8>(false, AT.0 + 4095), Ok(0));
            memory.restore(&second);
            assert_eq!(memory.load::<u8>(false, AT.0), Ok(7));
            assert_eq!(memory.undefined(AT, 2), Some((AT.add(1), 1)));
            store_unseen(&mut memory, 64, 9, ByteState::UNDEFINED);
            memory.restore(&second);
            assert_eq!(memory.load::<u8>(false, AT.0 + 64), Ok(0));
            store_unseen(&mut memory, 0, 3, ByteState::UNDEFINED);
        }
        assert!(!memory.has_revoked());
        // As code, it is written by nobody unseen, but what was written before comes back too.
        memory.restore(&first);
        memory.protect(AT, 4096, DATA | Perms::EXECUTE);
        assert!(shows(&mut memory, true));
        store_unseen(&mut memory, 128, 5, ByteState::DEFINED);
        assert!(memory.fetch(false, AT, &mut [0; 15]).is_ok());
        memory.restore(&first);
        assert_eq!(memory.load::<u8>(false, AT.0 + 128), Ok(0));
    }

    #[test]
    fn what_is_not_stored_to_for_long_is_given_up() {
        let Some(mut memory) = memory(DATA) else { return };
        let first = memory.capture();
        assert!(shows(&mut memory, true));
        let mut restores = 0;
        while !memory.has_revoked() {
            // One store begins the count anew.
            if restores == 20 {
                store_unseen(&mut memory, 9, 9, ByteState::DEFINED);
            }
            memory.restore(&first);
            assert_eq!(memory.load::<u8>(false, AT.0 + 9), Ok(0));
            restores += 1;
            assert!(restores < 100);
        }
        assert_eq!(restores, 21 + 32);
        let Revoked { all, pages, stores, states, .. } = memory.take_revoked();
        assert_eq!((all, pages, stores, states), (false, vec![], vec![FrameId(0)], vec![]));
        memory.restore(&first);
        assert!(!memory.has_revoked(), "once");
    }
}
