//! User memory must be fetched once.
//!
//! A single run cannot break this rule. It names suspects, pairs of touches of the same bytes by
//! different instructions, and judges three runs of the same request: with the old bytes, with new
//! bytes from the start, and with bytes that change between the two touches.

use events::{NewBytes, UserBytesChange};
use guest_memory::AccessKind;
use verifier::{Fetch, Ledgers, Severity, declare_rule};

declare_rule! {
    /// Raised when a request ends in a way that neither the old nor the new bytes alone explain.
    pub static FETCHED_TWICE = {
        id: "user_buffer::fetched_twice",
        severity: Severity::Violation,
        title: "user memory fetched twice",
        explain: include_str!("fetched_twice.md"),
        fix: "copy the data once to memory of the driver, then check and use the copy",
        windows: "no bug check by itself: another thread of the caller changes the bytes between \
            check and use, and so gets around the check",
        contract: &["kernel/using-neither-buffered-nor-direct-i-o", "devtest/wdm-doublefetch"],
        since: "0.1.0",
    }
}

/// Two touches of the same user bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspect {
    /// The first.
    pub first: Fetch,
    /// The second.
    pub second: Fetch,
}

/// One way to change the bytes that both touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The change before the first touch: the request sees new bytes only.
    pub from_the_start: UserBytesChange,
    /// The change before the second touch.
    pub between: UserBytesChange,
}

/// Suspects per run; each costs up to eight runs for each field.
const MAX_SUSPECTS: usize = 64;
/// Fields of a block that are tried: the head of a structure.
const MAX_FIELDS: usize = 8;

/// Lists pairs of reads of the same bytes, by different instructions, for the same request.
pub fn suspects(ledgers: &Ledgers) -> Vec<Suspect> {
    let reads: Vec<&Fetch> = ledgers
        .fetches()
        .iter()
        .filter(|f| f.fetch.kind == AccessKind::Read && f.irp.is_some())
        .collect();
    let mut list: Vec<Suspect> = Vec::new();
    for (index, second) in reads.iter().enumerate() {
        // The first fetches of the bytes: whoever read them in between saw the same.
        let mut seen: Vec<(u64, u64)> = Vec::new();
        let earlier = reads.iter().take(index);
        for first in earlier.filter(|f| f.irp == second.irp && f.origin.ip != second.origin.ip) {
            let Some((start, length)) = overlap(first, second) else { continue };
            if seen.iter().any(|(s, l)| *s <= start && start + length <= s + l) {
                continue;
            }
            seen.push((start, length));
            let is_known = list.iter().any(|s| {
                s.first.origin.ip == first.origin.ip && s.second.origin.ip == second.origin.ip
            });
            if !is_known && list.len() < MAX_SUSPECTS {
                list.push(Suspect { first: **first, second: **second });
            }
        }
    }
    list
}

/// The bytes both touch: start address and length.
fn overlap(first: &Fetch, second: &Fetch) -> Option<(u64, u64)> {
    let (a, b) = (first.fetch.address.0, second.fetch.address.0);
    let end =
        a.saturating_add(first.fetch.size_bytes).min(b.saturating_add(second.fetch.size_bytes));
    let start = a.max(b);
    (start < end).then(|| (start, end - start))
}

/// Lists the changes worth trying on what a suspect touches twice.
pub fn changes(suspect: &Suspect) -> Vec<Change> {
    let Some((start, length)) = overlap(&suspect.first, &suspect.second) else {
        return Vec::new();
    };
    // A number as wide as the narrower touch: what the driver most likely reads there. Blocks are
    // structures, most of whose fields have four bytes.
    let widths = if length > 8 { [4; 4] } else { [8u32, 4, 2, 1] };
    let Some(size_bytes) = widths.into_iter().find(|s| u64::from(*s) <= length) else {
        return Vec::new();
    };
    let offset = |fetch: &Fetch| u32::try_from(start - fetch.fetch.address.0).ok();
    let (Some(first), Some(second)) = (offset(&suspect.first), offset(&suspect.second)) else {
        return Vec::new();
    };
    let fields = (0..length).step_by(size_bytes as usize).take(MAX_FIELDS);
    let fields = fields.filter_map(|field| u32::try_from(field).ok());
    fields
        .flat_map(|field| NewBytes::ALL.map(|to| (field, to)))
        .map(|(field, to)| Change {
            from_the_start: UserBytesChange { offset_bytes: first + field, size_bytes, to },
            between: UserBytesChange { offset_bytes: second + field, size_bytes, to },
        })
        .collect()
}

/// Judges the three runs: the one with a change in between must end unlike both others.
pub fn is_proof<T: PartialEq>(old: &T, new: &T, between: &T) -> bool {
    between != old && between != new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::{IrpId, NewBytes, Origin, UserFetch};
    use guest_memory::{AccessKind, GuestAddr};
    use verifier::Fetch;

    use super::{Suspect, changes, is_proof};

    fn fetch(address: u64, size_bytes: u64, ip: u64) -> Fetch {
        let fetch = UserFetch {
            address: GuestAddr(address),
            size_bytes,
            kind: AccessKind::Read,
            ordinal: 0,
        };
        let origin = Origin { ip: GuestAddr(ip), ..Origin::default() };
        Fetch { fetch, origin, irp: Some(IrpId(1)) }
    }

    #[test]
    fn changes_hit_the_same_bytes_in_both_touches() {
        let suspect = Suspect { first: fetch(0x1008, 4, 1), second: fetch(0x1000, 24, 2) };
        let list = changes(&suspect);
        assert_eq!(list.len(), NewBytes::ALL.len());
        for change in list {
            assert_eq!((change.from_the_start.offset_bytes, change.between.offset_bytes), (0, 8));
            assert_eq!((change.from_the_start.size_bytes, change.between.size_bytes), (4, 4));
        }
    }

    #[test]
    fn changes_of_a_block_hit_its_fields() {
        let suspect = Suspect { first: fetch(0x1000, 16, 1), second: fetch(0x1000, 64, 2) };
        let fields: BTreeSet<u32> =
            changes(&suspect).iter().map(|change| change.between.offset_bytes).collect();
        assert_eq!(fields, BTreeSet::from([0, 4, 8, 12]));
        let suspect = Suspect { first: fetch(0x1000, 64, 1), second: fetch(0x1000, 64, 2) };
        assert_eq!(changes(&suspect).len(), 8 * NewBytes::ALL.len());
    }

    #[test]
    fn only_an_outcome_of_its_own_is_proof() {
        assert!(is_proof(&1, &2, &3));
        assert!(!is_proof(&1, &2, &2));
        assert!(!is_proof(&1, &2, &1));
    }
}
