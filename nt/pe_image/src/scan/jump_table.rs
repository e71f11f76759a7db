//! Jump tables: which index leads where.

use std::collections::BTreeMap;

use super::state::Derived;
use crate::bytes::{slice_at, u32_at};

/// Longest table that is followed; compilers make long ones of dense cases only.
const ENTRY_LIMIT: u32 = 4096;

/// A jump through a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct JumpTable {
    /// Its 32-bit entries.
    pub(super) table: u32,
    /// The bytes that choose the entry, where there are two steps.
    pub(super) bytes: Option<u32>,
    /// What the entries are distances from.
    pub(super) place: u32,
    /// What chooses.
    pub(super) index: Derived,
    /// The highest index.
    pub(super) last: u32,
    /// Where all others go.
    pub(super) other_rva: u32,
}

impl JumpTable {
    /// Returns the root value and the target of each entry that is not the default.
    pub(super) fn cases(&self, image: &[u8]) -> Vec<(u32, u32)> {
        let target = |position: u32| {
            let entry = match self.bytes {
                Some(bytes) => {
                    let byte = slice_at(image, bytes.checked_add(position)?, 1)?;
                    u32::from(*byte.first()?)
                }
                None => position,
            };
            let distance = u32_at(image, self.table.checked_add(entry.checked_mul(4)?)?)?;
            Some(self.place.wrapping_add(distance))
        };
        let positions = 0..=self.last.min(ENTRY_LIMIT);
        let targets: Vec<u32> = positions.map_while(target).collect();
        let hole_rva = self.hole_target(&targets);
        let cases = (0_u32..).zip(targets);
        let is_case =
            |&(_, target): &(u32, u32)| target != self.other_rva && Some(target) != hole_rva;
        cases.filter(is_case).map(|(at, target)| (self.index.root_for(at), target)).collect()
    }

    /// Finds where the holes of the table lead, if that is not where values beyond it go: codes
    /// far away from the others may be tested in between.
    ///
    /// Control codes are at least four apart, unless they differ in the transfer method alone. So
    /// where each entry is the next number, most entries are holes.
    fn hole_target(&self, targets: &[u32]) -> Option<u32> {
        if self.index.root_for(1) != self.index.root_for(0).wrapping_add(1) {
            return None;
        }
        let mut counts = BTreeMap::new();
        for target in targets {
            *counts.entry(*target).or_insert(0_usize) += 1;
        }
        let (target, count) = counts.into_iter().max_by_key(|&(_, count)| count)?;
        (count >= 3 && count * 2 > targets.len()).then_some(target)
    }
}
