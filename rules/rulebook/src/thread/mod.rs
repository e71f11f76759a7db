//! Rules about the threads of a driver.

mod alive_at_unload;
mod mutex_abandoned;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&alive_at_unload::ALIVE_AT_UNLOAD, || {
        Box::new(alive_at_unload::AliveAtUnload)
    }),
    Entry::monitored(&mutex_abandoned::MUTEX_ABANDONED, || {
        Box::new(mutex_abandoned::MutexAbandoned)
    }),
];
