//! Rules about dispatcher objects and waits.

mod in_pageable_memory;
mod not_initialized;
mod object_gone;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&in_pageable_memory::IN_PAGEABLE_MEMORY, || {
        Box::new(in_pageable_memory::InPageableMemory)
    }),
    Entry::monitored(&not_initialized::NOT_INITIALIZED, || {
        Box::new(not_initialized::NotInitialized)
    }),
    Entry::monitored(&object_gone::OBJECT_GONE, || Box::new(object_gone::ObjectGone)),
];
