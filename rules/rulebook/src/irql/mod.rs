//! Rules about interrupt request levels.

mod export_above_limit;
mod lower_raises;
mod not_restored;
mod pageable_touched_at_dispatch;
mod raise_lowers;

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
    Entry::monitored(&raise_lowers::RAISE_LOWERS, || Box::new(raise_lowers::RaiseLowers)),
    Entry::monitored(&lower_raises::LOWER_RAISES, || Box::new(lower_raises::LowerRaises)),
];
