//! Rules about asynchronous procedure calls.

mod alive_at_unload;
mod gone_while_queued;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&gone_while_queued::GONE_WHILE_QUEUED, || {
        Box::new(gone_while_queued::GoneWhileQueued)
    }),
    Entry::monitored(&alive_at_unload::ALIVE_AT_UNLOAD, || {
        Box::new(alive_at_unload::AliveAtUnload)
    }),
];
