//! Rules about work items.

mod freed_by_wrong_routine;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] =
    &[Entry::monitored(&freed_by_wrong_routine::FREED_BY_WRONG_ROUTINE, || {
        Box::new(freed_by_wrong_routine::FreedByWrongRoutine)
    })];
