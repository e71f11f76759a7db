//! Rules about touches of memory.

mod execute_data;
mod null_dereference;
mod out_of_bounds;
mod stack_overflow;
mod uninitialized_use;
mod use_after_free;
mod wild_access;
mod write_to_read_only;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&out_of_bounds::OUT_OF_BOUNDS, || Box::new(out_of_bounds::OutOfBounds)),
    Entry::monitored(&use_after_free::USE_AFTER_FREE, || Box::new(use_after_free::UseAfterFree)),
    Entry::monitored(&wild_access::WILD_ACCESS, || Box::new(wild_access::WildAccess)),
    Entry::monitored(&null_dereference::NULL_DEREFERENCE, || {
        Box::new(null_dereference::NullDereference)
    }),
    Entry::monitored(&write_to_read_only::WRITE_TO_READ_ONLY, || {
        Box::new(write_to_read_only::WriteToReadOnly)
    }),
    Entry::monitored(&stack_overflow::STACK_OVERFLOW, || Box::new(stack_overflow::StackOverflow)),
    Entry::monitored(&execute_data::EXECUTE_DATA, || Box::new(execute_data::ExecuteData)),
    Entry::monitored(&uninitialized_use::UNINITIALIZED_USE, || {
        Box::new(uninitialized_use::UninitializedUse::default())
    }),
];
