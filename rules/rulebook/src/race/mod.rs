//! Rules about memory that several threads and processors share.

pub mod lost_update;
pub mod torn_value;
pub mod words;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::by_comparison(&lost_update::LOST_UPDATE),
    Entry::by_comparison(&torn_value::TORN_VALUE),
];
