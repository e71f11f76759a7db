//! Rules about deferred procedure calls.

mod gone_while_queued;
mod in_pageable_memory;
mod not_initialized;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&in_pageable_memory::IN_PAGEABLE_MEMORY, || {
        Box::new(in_pageable_memory::InPageableMemory)
    }),
    Entry::monitored(&gone_while_queued::GONE_WHILE_QUEUED, || {
        Box::new(gone_while_queued::GoneWhileQueued)
    }),
    Entry::monitored(&not_initialized::NOT_INITIALIZED, || {
        Box::new(not_initialized::NotInitialized)
    }),
];
