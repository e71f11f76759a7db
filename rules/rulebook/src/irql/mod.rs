//! Rules about interrupt request levels.

mod export_above_limit;
mod not_restored;
mod pageable_touched_at_dispatch;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&export_above_limit::EXPORT_ABOVE_LIMIT, || {
        Box::new(export_above_limit::ExportAboveLimit)
    }),
    Entry::monitored(&not_restored::NOT_RESTORED, || Box::new(not_restored::NotRestored)),
    Entry::monitored(&pageable_touched_at_dispatch::PAGEABLE_TOUCHED_AT_DISPATCH, || {
        Box::new(pageable_touched_at_dispatch::PageableTouchedAtDispatch)
    }),
];
