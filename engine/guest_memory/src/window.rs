//! What a translator needs: pages that it may use directly, and when it must give them up.
//!
//! A window holds pages under the rule of the TLB: only a page at which nothing on the level of
//! pages can object may be in it. So whatever the TLB forgets, a window forgets too. Pages of ring
//! 3, pageable pages and pages that are tracked are never in a window.

use host_frames::{FrameStore, STRIDE};

use crate::{AccessKind, FrameId, GuestAddr, GuestMemory, Limits, Perms, vet::first_untouchable};

/// Pages named one by one; beyond that, everything is given up.
const MOST_PAGES: usize = 256;

/// What a window has to give up. Taking it makes it empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Everything.
    pub all: bool,
    /// The right to write, everywhere.
    pub writes: bool,
    /// These pages.
    pub pages: Vec<GuestAddr>,
    /// Bytes of these pages may not be touched any more, which the states say. It concerns only who
    /// changes states without looking.
    pub states: Vec<GuestAddr>,
    /// Whether somebody takes it.
    is_used: bool,
}

impl Revoked {
    pub(crate) fn page(&mut self, at: u64) {
        if self.is_used && !self.all {
            self.pages.push(GuestAddr(at).page());
            self.all |= self.pages.len() > MOST_PAGES;
        }
    }

    pub(crate) fn states(&mut self, at: u64) {
        if self.is_used && !self.all {
            self.states.push(GuestAddr(at).page());
            self.all |= self.states.len() > MOST_PAGES;
        }
    }
}

/// Windows.
impl GuestMemory {
    /// Makes an empty memory whose frames can be mapped a second time; `None` where the host does
    /// not have such memory.
    pub fn new_shared(limits: Limits) -> Option<Self> {
        let store = FrameStore::shared(usize::try_from(limits.frames).ok()?)?;
        let mut memory = Self::in_store(limits, store);
        // A window that showed an earlier memory forgets it when it meets this one.
        memory.tlb.revoked = Revoked { all: true, is_used: true, ..Revoked::default() };
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

    /// Gives the frame of the page around `at` if ring 0 may load from it plainly, or with
    /// `is_store` store to it. A page given for stores counts as changed from now on.
    pub fn enter_window(&mut self, at: GuestAddr, is_store: bool) -> Option<FrameId> {
        let kind = if is_store { AccessKind::Write } else { AccessKind::Read };
        let mapping = self.plain_mapping(false, at.0, kind)?;
        let is_shut = mapping.perms.intersects(Perms::USER | Perms::PAGEABLE);
        let is_code = is_store && self.frames.has_code(mapping.frame.0);
        if is_shut || is_code || !at.is_kernel_half() || self.is_tracking() {
            return None;
        }
        if is_store {
            self.frames.mark_all(mapping.frame.0);
        }
        Some(mapping.frame)
    }

    /// Whether every byte of the frame may be touched.
    pub fn is_touchable(&self, frame: FrameId) -> bool {
        first_untouchable(&self.frames.bytes(frame.0).state).is_none()
    }

    /// Takes what a window has to give up.
    pub fn take_revoked(&mut self) -> Revoked {
        let revoked = &mut self.tlb.revoked;
        std::mem::replace(revoked, Revoked { is_used: revoked.is_used, ..Revoked::default() })
    }

    /// Whether a window has to give something up.
    #[inline]
    pub fn has_revoked(&self) -> bool {
        let Revoked { all, writes, pages, states, .. } = &self.tlb.revoked;
        *all || *writes || !pages.is_empty() || !states.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::{ByteState, GuestAddr, GuestMemory, Limits, Perms};

    const AT: GuestAddr = GuestAddr(0xffff_fa00_0000_0000);
    const DATA: Perms = Perms::READ.union(Perms::WRITE);

    /// A memory with one page.
    fn memory(perms: Perms) -> Option<GuestMemory> {
        let mut memory = GuestMemory::new_shared(Limits { frames: 8, blocks: 4, spaces: 1 })?;
        memory.map(AT, 4096, perms, ByteState::DEFINED, 0).ok()?;
        memory.take_revoked();
        Some(memory)
    }

    #[test]
    fn only_plain_pages_enter_a_window() {
        let rows = [
            (DATA, [true, true]),
            (Perms::READ, [true, false]),
            (DATA | Perms::WATCHED, [false, false]),
            (DATA | Perms::USER, [false, false]),
            (DATA | Perms::PAGEABLE, [false, false]),
        ];
        for (perms, expected) in rows {
            let Some(mut memory) = memory(perms) else { return };
            let entered = [false, true].map(|is_store| memory.enter_window(AT, is_store).is_some());
            assert_eq!(entered, expected, "{perms:?}");
            assert!(memory.enter_window(AT.add(4096), false).is_none());
        }
    }

    #[test]
    fn what_the_tlb_forgets_is_revoked() {
        let Some(mut memory) = memory(DATA | Perms::EXECUTE) else { return };
        assert!(!memory.has_revoked());
        let snapshot = memory.capture();
        assert!(memory.take_revoked().writes);
        memory.protect(AT, 4096, DATA | Perms::EXECUTE);
        assert_eq!(memory.take_revoked().pages, [AT]);
        assert!(memory.enter_window(AT, true).is_some());
        assert!(memory.fetch(false, AT, &mut [0; 15]).is_ok());
        assert!(memory.take_revoked().writes, "the page holds code now");
        assert!(memory.enter_window(AT, true).is_none());
        memory.set_state(AT, 16, ByteState::FREED, None);
        assert_eq!(memory.take_revoked().states, [AT]);
        memory.restore(&snapshot);
        assert!(memory.take_revoked().all);
        assert!(!memory.has_revoked());
    }

    #[test]
    fn what_a_window_may_write_is_part_of_the_next_snapshot() {
        let Some(mut memory) = memory(DATA) else { return };
        let first = memory.capture();
        assert!(memory.enter_window(AT, true).is_some());
        // What translated code does, by another way that notes nothing.
        if let Some(frame) = memory.frames.bytes.get_mut(0) {
            (frame.data[0], frame.state[1]) = (7, ByteState::UNDEFINED.0);
        }
        let second = memory.capture();
        memory.restore(&first);
        assert_eq!(memory.load::<u16>(false, AT.0), Ok(0));
        memory.restore(&second);
        assert_eq!(memory.load::<u8>(false, AT.0), Ok(7));
        assert_eq!(memory.undefined(AT, 2), Some((AT.add(1), 1)));
    }
}
