//! Checked access for kernel services, and moving bytes with their definedness.
#![expect(clippy::indexing_slicing, reason = "offsets lie in a page, and each part in its buffer")]

use crate::{
    AccessKind, Accessor, ByteState, GuestAddr, GuestMemory, Mapping, Objection,
    frames::PAGE,
    vet::{Piece, first_where, offset_of, slice},
};

/// Checked access for kernel services. All or nothing: an objection means that nothing was read or
/// written.
impl GuestMemory {
    /// Checks without touching. A watch objects here too, but only when nothing else does: a
    /// service that has looked may repeat the access as [`Accessor::Machine`].
    pub fn check(
        &self,
        who: Accessor,
        kind: AccessKind,
        at: GuestAddr,
        size_bytes: u64,
    ) -> Result<(), Objection> {
        self.vet(who, kind, at, size_bytes, false)
    }

    /// Reads bytes, defined or not.
    pub fn read(&self, who: Accessor, at: GuestAddr, into: &mut [u8]) -> Result<(), Objection> {
        if let Some(piece) = self.plain_piece(who, AccessKind::Read, at, into.len()) {
            into.copy_from_slice(slice(&self.frames.bytes(piece.frame).data, piece));
            return Ok(());
        }
        self.vet(who, AccessKind::Read, at, into.len() as u64, false)?;
        self.peek(at, into);
        Ok(())
    }

    /// Writes defined bytes.
    pub fn write(&mut self, who: Accessor, at: GuestAddr, bytes: &[u8]) -> Result<(), Objection> {
        if let Some(piece) = self.plain_piece(who, AccessKind::Write, at, bytes.len()) {
            self.frames.data_mut(piece).copy_from_slice(bytes);
            self.frames.define(piece);
            return Ok(());
        }
        self.vet(who, AccessKind::Write, at, bytes.len() as u64, false)?;
        self.poke(at, bytes);
        Ok(())
    }

    /// Copies bytes with their definedness; the ranges may overlap (memmove). The source is checked
    /// first.
    pub fn copy(
        &mut self,
        to: (Accessor, GuestAddr),
        from: (Accessor, GuestAddr),
        size_bytes: u64,
    ) -> Result<(), Objection> {
        self.vet(from.0, AccessKind::Read, from.1, size_bytes, false)?;
        self.vet(to.0, AccessKind::Write, to.1, size_bytes, false)?;
        let len = host_len(size_bytes);
        let mut bytes = vec![0; len];
        let mut masks = vec![0; len];
        self.peek(from.1, &mut bytes);
        self.peek_masks(from.1, &mut masks);
        self.poke(to.1, &bytes);
        self.poke_masks(to.1, &masks);
        Ok(())
    }

    /// Fills with a defined byte.
    pub fn fill(
        &mut self,
        who: Accessor,
        at: GuestAddr,
        byte: u8,
        size_bytes: u64,
    ) -> Result<(), Objection> {
        self.vet(who, AccessKind::Write, at, size_bytes, false)?;
        self.each_piece(at, host_len(size_bytes), |memory, _, piece| {
            memory.frames.data_mut(piece).fill(byte);
            memory.frames.define(piece);
        });
        Ok(())
    }

    /// The bytes of the page around `at`, as [`Accessor::Machine`] reads them.
    pub fn page_bytes(&self, at: GuestAddr) -> Option<&[u8; PAGE]> {
        let mapping = self.resolve(at).ok()?;
        Some(&self.frames.bytes(mapping.frame.0).data)
    }

    /// Returns the first byte of the range with an undefined bit, and how many bytes of the range
    /// have one. Unmapped pages have none.
    pub fn undefined(&self, at: GuestAddr, size_bytes: u64) -> Option<(GuestAddr, u64)> {
        let last = at.0.saturating_add(size_bytes.checked_sub(1)?);
        let mut found: Option<(GuestAddr, u64)> = None;
        let mut next = Some(at.0);
        while let Some(from) = next.filter(|from| *from <= last) {
            let Some((page, mapping)) = self.next_page(from, last) else { break };
            let low = from.max(page);
            let high = last.min(page + 4095);
            let frame = self.frames.bytes(mapping.frame.0);
            let states = &frame.state[offset_of(low)..=offset_of(high)];
            let is_undefined = |state: u8| state >= ByteState::PARTLY_DEFINED.0;
            if let Some(first) = first_where(states, is_undefined) {
                let rest = states[first..].iter().filter(|state| is_undefined(**state));
                let (_, count) = found.get_or_insert((GuestAddr(low + first as u64), 0));
                *count += rest.count() as u64;
            }
            next = page.checked_add(4096);
        }
        found
    }

    /// Sets the state of every byte of a mapped range, and with `fill` its value. Unmapped pages
    /// are skipped. Bytes in state `PARTLY_DEFINED` have all bits undefined.
    pub fn set_state(
        &mut self,
        at: GuestAddr,
        size_bytes: u64,
        state: ByteState,
        fill: Option<u8>,
    ) {
        let Some(tail) = size_bytes.checked_sub(1) else { return };
        let last = at.0.saturating_add(tail);
        let mut next = Some(at.0);
        while let Some(from) = next.filter(|from| *from <= last) {
            let Some((page, mapping)) = self.next_page(from, last) else { break };
            let low = from.max(page);
            let piece = Piece {
                frame: mapping.frame.0,
                offset: offset_of(low),
                len: offset_of(last.min(page + 4095)) + 1 - offset_of(low),
            };
            self.frames.set_states(piece, state);
            if let Some(fill) = fill {
                self.frames.data_mut(piece).fill(fill);
            }
            next = page.checked_add(4096);
        }
    }
}

/// Moving bytes after the checks. Unmapped bytes are skipped, which happens to no checked range.
impl GuestMemory {
    pub(crate) fn each_piece(
        &mut self,
        at: GuestAddr,
        size_bytes: usize,
        mut act: impl FnMut(&mut Self, usize, Piece),
    ) {
        let mut page = at;
        let mut done = 0;
        while done < size_bytes {
            let offset = offset_of(page.0);
            let len = (size_bytes - done).min(PAGE - offset);
            if let Ok(mapping) = self.resolve(page) {
                act(self, done, Piece { frame: mapping.frame.0, offset, len });
            }
            page = page.add(len as u64);
            done += len;
        }
    }

    pub(crate) fn peek(&self, at: GuestAddr, into: &mut [u8]) {
        let mut page = at;
        let mut rest = into;
        while !rest.is_empty() {
            let offset = offset_of(page.0);
            let len = rest.len().min(PAGE - offset);
            let (part, behind) = rest.split_at_mut(len);
            if let Ok(mapping) = self.resolve(page) {
                part.copy_from_slice(
                    &self.frames.bytes(mapping.frame.0).data[offset..offset + len],
                );
            }
            rest = behind;
            page = page.add(len as u64);
        }
    }

    /// Undefined bits; untouchable bytes count as undefined.
    pub(crate) fn peek_masks(&mut self, at: GuestAddr, into: &mut [u8]) {
        self.each_piece(at, into.len(), |memory, done, piece| {
            let states = slice(&memory.frames.bytes(piece.frame).state, piece);
            let masks = &mut into[done..done + piece.len];
            if states.iter().all(|state| *state == 0) {
                masks.fill(0);
                return;
            }
            for (index, (mask, state)) in masks.iter_mut().zip(states).enumerate() {
                *mask = match ByteState(*state) {
                    ByteState::DEFINED => 0,
                    ByteState::PARTLY_DEFINED => {
                        memory.frames.mask(piece.frame, piece.offset + index)
                    }
                    _ => 0xff,
                };
            }
        });
    }

    pub(crate) fn poke(&mut self, at: GuestAddr, bytes: &[u8]) {
        self.each_piece(at, bytes.len(), |memory, done, piece| {
            let part = &bytes[done..done + piece.len];
            memory.frames.data_mut(piece).copy_from_slice(part);
            memory.frames.define(piece);
        });
    }

    pub(crate) fn poke_masks(&mut self, at: GuestAddr, masks: &[u8]) {
        self.each_piece(at, masks.len(), |memory, done, piece| {
            for (index, mask) in masks[done..done + piece.len].iter().enumerate() {
                memory.frames.set_mask(piece.frame, piece.offset + index, *mask);
            }
        });
    }

    /// The first mapped page that overlaps `from..=last`.
    pub(crate) fn next_page(&self, from: u64, last: u64) -> Option<(u64, Mapping)> {
        if let Some(mapping) = self.tlb.walked(from).filter(|_| from <= last) {
            return Some((from & !0xfff, mapping));
        }
        let user_last = 0x7fff_ffff_ffff;
        let kernel_first = 0xffff_8000_0000_0000;
        if from <= user_last {
            let table = self.table(from);
            if let Some(found) = table.and_then(|t| t.next(from & !0xfff, last.min(user_last))) {
                return Some(found);
            }
        }
        let from = from.max(kernel_first);
        self.state.kernel.next(from & !0xfff, last).filter(|_| from <= last)
    }
}

/// The length of a range that was checked: it is mapped, so the limit on mapped pages bounds it.
fn host_len(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).expect("a mapped range fits in host memory")
}
