//! Rules about critical and guarded regions.

mod left_not_entered;
mod not_left;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&not_left::NOT_LEFT, || Box::new(not_left::NotLeft)),
    Entry::monitored(&left_not_entered::LEFT_NOT_ENTERED, || {
        Box::new(left_not_entered::LeftNotEntered)
    }),
];
