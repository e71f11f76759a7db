//! What the engine tells memory about stacks and code.

use crate::{
    GuestAddr, GuestMemory, PAGE_BYTES, Perms,
    vet::{Piece, offset_of},
};

impl GuestMemory {
    /// Makes a stack range undefined again, keeping the values of its bytes. Bytes that are not
    /// touchable, not in the bounds or not writable stay as they are. Hot: it runs at almost every
    /// guest call.
    #[inline]
    pub fn forget(&mut self, at: u64, size_bytes: u64) {
        let entry = self.tlb.entry(self.plane, at);
        let offset = at.wrapping_sub(entry.write);
        if (1..=PAGE_BYTES).contains(&size_bytes)
            && offset <= PAGE_BYTES - size_bytes
            && self.frames.bytes.get(entry.write_frame as usize).is_some()
        {
            let frame = entry.write_frame;
            let len = offset_of(size_bytes - 1) + 1;
            self.frames.forget(Piece { frame, offset: offset_of(offset), len });
            return;
        }
        self.forget_slow(at, size_bytes);
    }

    #[cold]
    fn forget_slow(&mut self, at: u64, size_bytes: u64) {
        let Some(tail) = size_bytes.checked_sub(1) else { return };
        // The guest chooses the length, so the work is bounded by what is mapped.
        let last = at.saturating_add(tail);
        let mut next = Some(at);
        while let Some(from) = next.filter(|from| *from <= last) {
            let Some((page, mapping)) = self.next_page(from, last) else { break };
            let low = from.max(page);
            if mapping.perms.contains(Perms::WRITE) {
                let (low, high) = (offset_of(low), offset_of(last.min(page + 4095)));
                let low = low.max(usize::from(mapping.low));
                let end = (high + 1).min(usize::from(mapping.high));
                let len = end.saturating_sub(low);
                self.frames.mark_dirty(mapping.frame.0);
                self.frames.forget(Piece { frame: mapping.frame.0, offset: low.min(end), len });
            }
            next = page.checked_add(PAGE_BYTES);
        }
    }

    /// Returns whether instructions were fetched from a page of the range (of at most a page), so
    /// that a store to it may change code.
    pub fn holds_code(&self, at: GuestAddr, size_bytes: u64) -> bool {
        let holds = |at: GuestAddr| {
            self.resolve(at).is_ok_and(|mapping| self.frames.has_code(mapping.frame.0))
        };
        let last = at.add(size_bytes.max(1) - 1);
        holds(at) || (last.page() != at.page() && holds(last))
    }
}
