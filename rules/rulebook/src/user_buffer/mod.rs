//! Rules about memory of the caller.

pub mod fetched_twice;
mod read_lock_written;
mod unguarded_access;
mod unprobed_pointer;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&unprobed_pointer::UNPROBED_POINTER, || {
        Box::new(unprobed_pointer::UnprobedPointer)
    }),
    Entry::monitored(&unguarded_access::UNGUARDED_ACCESS, || {
        Box::new(unguarded_access::UnguardedAccess)
    }),
    Entry::monitored(&read_lock_written::READ_LOCK_WRITTEN, || {
        Box::new(read_lock_written::ReadLockWritten)
    }),
    Entry::by_comparison(&fetched_twice::FETCHED_TWICE),
];
