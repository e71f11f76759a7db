//! Rules about timers.

mod alive_at_unload;
mod gone_while_set;
mod in_pageable_memory;
mod initialized_while_set;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&alive_at_unload::ALIVE_AT_UNLOAD, || {
        Box::new(alive_at_unload::AliveAtUnload)
    }),
    Entry::monitored(&gone_while_set::GONE_WHILE_SET, || Box::new(gone_while_set::GoneWhileSet)),
    Entry::monitored(&initialized_while_set::INITIALIZED_WHILE_SET, || {
        Box::new(initialized_while_set::InitializedWhileSet)
    }),
    Entry::monitored(&in_pageable_memory::IN_PAGEABLE_MEMORY, || {
        Box::new(in_pageable_memory::InPageableMemory)
    }),
];
