//! The engine's slow path: what the plain path refuses, exactly; and fetching code.

use crate::{AccessKind, Accessor, ByteState, GuestAddr, GuestMemory, Objection, Perms, Reason};

impl GuestMemory {
    /// Slow load of 1 to 64 bytes: value little-endian into `into`, undefined bits into `undefined`
    /// (same length, 1 = undefined). `granted`: a watch was shown to the owner already.
    ///
    /// A load of 16 bytes or more, aligned to its size, may reach into the red zones of the live
    /// blocks that it
    /// overlaps: compilers' string and copy routines load whole granules, which never leave the
    /// page. The bytes outside the blocks are undefined.
    pub fn load_slow(
        &mut self,
        who: Accessor,
        at: GuestAddr,
        into: &mut [u8],
        undefined: &mut [u8],
        granted: bool,
    ) -> Result<(), Objection> {
        let size_bytes = into.len() as u64;
        if let Err(objection) = self.vet(who, AccessKind::Read, at, size_bytes, granted) {
            let is_granule = size_bytes >= 16 && at.0.is_multiple_of(size_bytes);
            let is_red_zone =
                objection.reason == Reason::Untouchable { state: ByteState::RED_ZONE };
            if !is_granule || !is_red_zone || !self.is_overhang(who, at, size_bytes) {
                return Err(objection);
            }
            let is_watched =
                self.resolve(at).is_ok_and(|mapping| mapping.perms.contains(Perms::WATCHED));
            if is_watched && !granted {
                return Err(Objection { at, reason: Reason::Watched, ..objection });
            }
        }
        self.peek(at, into);
        self.peek_masks(at, undefined);
        Ok(())
    }

    /// Slow store of 1 to 64 bytes; `undefined` as above, empty = all defined. `granted`: a watch
    /// was shown to the owner already.
    pub fn store_slow(
        &mut self,
        who: Accessor,
        at: GuestAddr,
        bytes: &[u8],
        undefined: &[u8],
        granted: bool,
    ) -> Result<(), Objection> {
        self.vet(who, AccessKind::Write, at, bytes.len() as u64, granted)?;
        self.poke(at, bytes);
        if undefined.iter().any(|mask| *mask != 0) {
            self.poke_masks(at, undefined);
        }
        Ok(())
    }

    /// Instruction bytes at `at` (up to 15, fewer at the end of executable memory). A watch does
    /// not concern fetches. Ring 0 may not execute pages of ring 3.
    pub fn fetch(
        &mut self,
        user: bool,
        at: GuestAddr,
        into: &mut [u8; 15],
    ) -> Result<usize, Objection> {
        let who = if user { Accessor::User } else { Accessor::Supervisor };
        let len = match self.vet(who, AccessKind::Execute, at, 15, true) {
            Ok(()) => 15,
            Err(objection) if objection.at == at => return Err(objection),
            Err(objection) => usize::try_from(objection.at.0.wrapping_sub(at.0)).unwrap_or(0),
        };
        self.peek(at, into.get_mut(..len).unwrap_or_default());
        let mut is_first = false;
        self.each_piece(at, len, |memory, _, piece| {
            is_first |= memory.frames.note_fetch(piece.frame, piece.offset, piece.len);
        });
        if is_first {
            self.tlb.flush_writes();
        }
        Ok(len)
    }

    /// A number that changes whenever bytes fetched from the page around `at`, or its mapping, may
    /// have changed (stores, mapping, restore, another space); 0 if nothing there is executable.
    /// Ask after the fetch.
    pub fn code_version(&self, at: GuestAddr) -> u64 {
        let Ok(mapping) = self.resolve(at) else { return 0 };
        let Some(table) = self.table(at.0) else { return 0 };
        if !mapping.perms.contains(Perms::EXECUTE) {
            return 0;
        }
        let space = match self.state.space {
            Some(space) if !at.is_kernel_half() => u64::from(space.0),
            _ => 0xffff,
        };
        self.frames.version(mapping.frame.0).max(table.exec_stamp) << 16 | space
    }

    /// A number that changes whenever any [`code_version`](Self::code_version) may have changed.
    #[inline(always)]
    pub fn code_epoch(&self) -> u64 {
        self.frames.code_epoch
    }
}
