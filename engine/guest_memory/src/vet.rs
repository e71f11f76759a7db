//! The checks: who may touch which byte, and what objects first.
//!
//! Byte by byte in address order, reasons of the page come before the byte's state. A watch is
//! looked at only when nothing else objects to any byte of the access, so that the owner is never
//! shown an access that fails.
#![expect(clippy::indexing_slicing, reason = "offsets lie in a page")]

use crate::{
    AccessKind, Accessor, ByteState, GuestAddr, GuestMemory, Mapping, Objection, Perms, Reason,
    frames::PAGE,
};

/// The part of an access that lies in one page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) frame: u32,
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

impl GuestMemory {
    /// Answers for every byte of the range, in address order.
    pub(crate) fn vet(
        &self,
        who: Accessor,
        kind: AccessKind,
        at: GuestAddr,
        size_bytes: u64,
        granted: bool,
    ) -> Result<(), Objection> {
        let objection =
            |byte, reason| Objection { address: at, size_bytes, kind, at: byte, reason };
        let mut watched = None;
        let mut page = at;
        let mut rest = size_bytes;
        while rest > 0 {
            let low = offset_of(page.0);
            let len = usize::try_from(rest).unwrap_or(PAGE).min(PAGE - low);
            let high = low + len;
            let mapping = self.resolve(page).map_err(|reason| objection(page, reason))?;
            if who != Accessor::Machine {
                if let Some(reason) = self.page_objection(mapping, who, kind) {
                    return Err(objection(page, reason));
                }
                if let Some((offset, reason)) = self.byte_objection(mapping, low, high) {
                    return Err(objection(page.add((offset - low) as u64), reason));
                }
                if mapping.perms.contains(Perms::WATCHED) {
                    watched.get_or_insert(page);
                }
            }
            page = page.add(len as u64);
            rest -= len as u64;
        }
        match watched {
            Some(byte) if !granted => Err(objection(byte, Reason::Watched)),
            _ => Ok(()),
        }
    }

    /// The bytes of an access inside of one page to which nothing objects, not even a watch;
    /// `None` says nothing.
    #[inline]
    pub(crate) fn plain_piece(
        &self,
        who: Accessor,
        kind: AccessKind,
        at: GuestAddr,
        len: usize,
    ) -> Option<Piece> {
        let offset = offset_of(at.0);
        if len > PAGE - offset {
            return None;
        }
        let mapping = self.resolve(at).ok()?;
        let is_plain = who == Accessor::Machine
            || (!mapping.perms.contains(Perms::WATCHED)
                && self.page_objection(mapping, who, kind).is_none()
                && self.byte_objection(mapping, offset, offset + len).is_none());
        is_plain.then_some(Piece { frame: mapping.frame.0, offset, len })
    }

    /// What objects to every byte of a page. Bounds and watches are not its matter.
    pub(crate) fn page_objection(
        &self,
        mapping: Mapping,
        who: Accessor,
        kind: AccessKind,
    ) -> Option<Reason> {
        let perms = mapping.perms;
        let needed = match kind {
            AccessKind::Read => Perms::READ,
            AccessKind::Write => Perms::WRITE,
            AccessKind::Execute => Perms::EXECUTE,
        };
        let is_user_page = perms.contains(Perms::USER);
        let is_for_ring = match who {
            Accessor::User => is_user_page,
            Accessor::Supervisor => kind != AccessKind::Execute || !is_user_page,
            Accessor::Machine => true,
        };
        if !perms.contains(needed) || !is_for_ring {
            return Some(Reason::NotPermitted { perms });
        }
        let is_off_limits = perms.contains(Perms::PAGEABLE) && !self.state.is_pageable_allowed;
        is_off_limits.then_some(Reason::Pageable)
    }

    /// The first byte of `low..high` outside the bounds or in an untouchable state.
    fn byte_objection(&self, mapping: Mapping, low: usize, high: usize) -> Option<(usize, Reason)> {
        let (first, end) = (usize::from(mapping.low), usize::from(mapping.high));
        if low < first || low >= end {
            return Some((low, Reason::OutsideBounds));
        }
        let states = &self.frames.bytes(mapping.frame.0).state[low..high.min(end)];
        if let Some(index) = first_untouchable(states) {
            let state = ByteState(states[index]);
            return Some((low + index, Reason::Untouchable { state }));
        }
        (high > end).then_some((end, Reason::OutsideBounds))
    }
}

/// The first byte whose state forbids touching it.
pub(crate) fn first_untouchable(states: &[u8]) -> Option<usize> {
    const STRIDE: usize = 64;
    let mut start = 0;
    for chunk in states.chunks(STRIDE) {
        // Adding 2 puts the touchable states below all others; without an early exit this is vector
        // code.
        let highest = chunk.iter().fold(0, |highest, state| state.wrapping_add(2).max(highest));
        if highest > 2 {
            let index = chunk.iter().position(|state| !ByteState(*state).is_touchable());
            return index.map(|index| start + index);
        }
        start += chunk.len();
    }
    None
}

/// The first byte that is not plainly touchable and defined.
pub(crate) fn first_not_plain(states: &[u8]) -> Option<usize> {
    first_where(states, |state| state != 0)
}

/// The first state that is special; defined bytes never are.
pub(crate) fn first_where(states: &[u8], is_special: impl Fn(u8) -> bool) -> Option<usize> {
    const STRIDE: usize = 256;
    let mut start = 0;
    for chunk in states.chunks(STRIDE) {
        // Without an early exit the compiler makes vector code of this.
        let any = chunk.iter().fold(0, |any, state| any | state);
        if any != 0
            && let Some(index) = chunk.iter().position(|state| is_special(*state))
        {
            return Some(start + index);
        }
        start += chunk.len();
    }
    None
}

#[inline]
pub(crate) fn offset_of(at: u64) -> usize {
    (at & 0xfff) as usize
}

#[inline]
pub(crate) fn slice(page: &[u8; PAGE], piece: Piece) -> &[u8] {
    &page[piece.offset..piece.offset + piece.len]
}

#[inline]
pub(crate) fn slice_mut(page: &mut [u8; PAGE], piece: Piece) -> &mut [u8] {
    &mut page[piece.offset..piece.offset + piece.len]
}
