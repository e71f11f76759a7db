//! Rules about pool blocks.

mod double_free;
mod leaked_at_unload;
mod paged_at_dispatch;
mod tag_zero;
mod wrong_tag;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&double_free::DOUBLE_FREE, || Box::new(double_free::DoubleFree)),
    Entry::monitored(&wrong_tag::WRONG_TAG, || Box::new(wrong_tag::WrongTag)),
    Entry::monitored(&tag_zero::TAG_ZERO, || Box::new(tag_zero::TagZero)),
    Entry::monitored(&leaked_at_unload::LEAKED_AT_UNLOAD, || {
        Box::new(leaked_at_unload::LeakedAtUnload)
    }),
    Entry::monitored(&paged_at_dispatch::PAGED_AT_DISPATCH, || {
        Box::new(paged_at_dispatch::PagedAtDispatch)
    }),
];
