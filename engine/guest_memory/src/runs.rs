//! Long copies and fills with exact partial progress, as repeated string instructions need them.

use crate::{
    AccessKind, Accessor, GuestAddr, GuestMemory, PAGE_BYTES,
    vet::{Piece, first_not_plain, first_untouchable, offset_of, slice},
};

/// Longest unit, in bytes.
const UNIT_MAX: usize = 16;

impl GuestMemory {
    /// Copies up to `count` units of `unit_bytes` (1 to 16) upwards, one after the other as `rep
    /// movs` does, from the second address to the first. Stops before the first unit that has a
    /// byte objected to, a source byte with an undefined bit, or a target byte in a page from which
    /// code was fetched. Returns the number of units copied; of the others no byte has changed.
    pub fn copy_units(
        &mut self,
        who: Accessor,
        (to, from): (GuestAddr, GuestAddr),
        count: u64,
        unit_bytes: u64,
    ) -> u64 {
        self.note_run(from, count.saturating_mul(unit_bytes), false);
        self.note_run(to, count.saturating_mul(unit_bytes), true);
        let mut done = 0;
        while done < count {
            let (source, target) = (from.add(done * unit_bytes), to.add(done * unit_bytes));
            let mut units = count - done;
            // A target shortly above the source repeats the pattern between them.
            let gap = target.0.wrapping_sub(source.0);
            if gap != 0 {
                units = units.min((gap / unit_bytes).max(1));
            }
            let read = self.run_piece(who, AccessKind::Read, source, (units, unit_bytes));
            let Some(read) = read else { break };
            let units = (read.len as u64).div_ceil(unit_bytes);
            let write = self.run_piece(who, AccessKind::Write, target, (units, unit_bytes));
            let Some(write) = write else { break };
            let len = whole_units(read.len.min(write.len), unit_bytes);
            if len == 0 {
                // The unit lies across pages, or is followed by an objection.
                if !self.copy_unit(who, (target, source), unit_bytes) {
                    break;
                }
                done += 1;
                continue;
            }
            let (read, write) = (Piece { len, ..read }, Piece { len, ..write });
            if read.frame == write.frame {
                self.copy_within(read, write, unit_bytes);
            } else {
                self.frames.copy_between(read, write);
            }
            done += len as u64 / unit_bytes;
        }
        done
    }

    /// Stores up to `count` defined copies of `unit` (1 to 16 bytes) one behind the other, as `rep
    /// stos` does. Stops before the first that has a byte objected to or a byte in a page from
    /// which code was fetched. Returns the number of units stored; of the others no byte has
    /// changed.
    pub fn fill_units(&mut self, who: Accessor, at: GuestAddr, unit: &[u8], count: u64) -> u64 {
        let unit_bytes = unit.len() as u64;
        self.note_run(at, count.saturating_mul(unit_bytes), true);
        let mut done = 0;
        while done < count {
            let target = at.add(done * unit_bytes);
            let piece = self.run_piece(who, AccessKind::Write, target, (count - done, unit_bytes));
            let Some(piece) = piece else { break };
            let len = whole_units(piece.len, unit_bytes);
            if len == 0 {
                if self.holds_code(target, unit_bytes) || self.write(who, target, unit).is_err() {
                    break;
                }
                done += 1;
                continue;
            }
            let piece = Piece { len, ..piece };
            let data = self.frames.data_mut(piece);
            match unit {
                [byte] => data.fill(*byte),
                _ => data.chunks_exact_mut(unit.len()).for_each(|part| part.copy_from_slice(unit)),
            }
            self.frames.define(piece);
            done += len as u64 / unit_bytes;
        }
        done
    }

    /// Copies one unit, all or nothing.
    fn copy_unit(
        &mut self,
        who: Accessor,
        (to, from): (GuestAddr, GuestAddr),
        unit_bytes: u64,
    ) -> bool {
        let (mut unit, mut undefined) = ([0; UNIT_MAX], [0; UNIT_MAX]);
        let len = offset_of(unit_bytes);
        let (Some(unit), Some(masks)) = (unit.get_mut(..len), undefined.get_mut(..len)) else {
            return false;
        };
        self.load_slow(who, from, unit, masks, false).is_ok()
            && masks.iter().all(|mask| *mask == 0)
            && !self.holds_code(to, unit_bytes)
            && self.write(who, to, unit).is_ok()
    }

    /// Copies plain bytes inside one frame, unit after unit even if two mappings make the ranges
    /// overlap.
    fn copy_within(&mut self, from: Piece, to: Piece, unit_bytes: u64) {
        let is_repeating = from.offset < to.offset && to.offset < from.offset + from.len;
        let step = if is_repeating {
            whole_units(to.offset - from.offset, unit_bytes).max(offset_of(unit_bytes))
        } else {
            from.len
        };
        self.frames.data_mut(to);
        let Some(page) = self.frames.bytes.get_mut(to.frame as usize) else { return };
        for moved in (0..to.len).step_by(step.max(1)) {
            let first = from.offset + moved;
            let count = step.min(to.len - moved);
            page.data.copy_within(first..first + count, to.offset + moved);
        }
        self.frames.define(to);
    }

    /// The bytes from `at` on, in one page, that nothing objects to, that are defined if they are
    /// read, and in no code if they are written; `None` if there is none.
    fn run_piece(
        &mut self,
        who: Accessor,
        kind: AccessKind,
        at: GuestAddr,
        (count, unit_bytes): (u64, u64),
    ) -> Option<Piece> {
        let mut size_bytes = count.saturating_mul(unit_bytes).min(PAGE_BYTES - at.page_offset());
        let plain = self.plain_frame(who, kind, at.0);
        let frame = match plain {
            Some(frame) => frame,
            None => {
                // A watch is found only when nothing else objects, so there may be a second round.
                while let Err(objection) = self.check(who, kind, at, size_bytes) {
                    size_bytes = objection.at.0.wrapping_sub(at.0);
                }
                self.mapping(at)?.frame.0
            }
        };
        if kind == AccessKind::Write && self.frames.has_code(frame) {
            return None;
        }
        let piece =
            Piece { frame, offset: offset_of(at.0), len: usize::try_from(size_bytes).ok()? };
        let states = slice(&self.frames.bytes(frame).state, piece);
        let len = match kind {
            AccessKind::Read => first_not_plain(states),
            // Checked already, and the machine may write to untouchable bytes.
            _ if plain.is_none() => None,
            _ => first_untouchable(states),
        };
        let len = len.unwrap_or(piece.len);
        (len > 0).then_some(Piece { len, ..piece })
    }
}

fn whole_units(len: usize, unit_bytes: u64) -> usize {
    let unit_bytes = offset_of(unit_bytes);
    len / unit_bytes * unit_bytes
}
