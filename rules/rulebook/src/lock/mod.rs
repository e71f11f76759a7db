//! Rules about locks.

mod acquired_twice;
mod apcs_enabled;
pub mod deadlock;
mod freed_while_held;
mod held_at_return;
mod in_paged_memory;
pub mod order_cycle;
mod released_at_wrong_irql;
mod released_by_another;
mod released_in_other_form;
mod released_not_held;
mod resource_not_deleted;
mod uninitialized;
mod words;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&acquired_twice::ACQUIRED_TWICE, || Box::new(acquired_twice::AcquiredTwice)),
    Entry::monitored(&apcs_enabled::APCS_ENABLED, || Box::new(apcs_enabled::ApcsEnabled)),
    Entry::monitored(&deadlock::DEADLOCK, || Box::new(deadlock::Deadlock)),
    Entry::monitored(&freed_while_held::FREED_WHILE_HELD, || {
        Box::new(freed_while_held::FreedWhileHeld)
    }),
    Entry::monitored(&held_at_return::HELD_AT_RETURN, || Box::new(held_at_return::HeldAtReturn)),
    Entry::monitored(&in_paged_memory::IN_PAGED_MEMORY, || {
        Box::new(in_paged_memory::InPagedMemory)
    }),
    Entry::monitored(&order_cycle::ORDER_CYCLE, || Box::new(order_cycle::OrderCycle)),
    Entry::monitored(&released_at_wrong_irql::RELEASED_AT_WRONG_IRQL, || {
        Box::new(released_at_wrong_irql::ReleasedAtWrongIrql)
    }),
    Entry::monitored(&released_by_another::RELEASED_BY_ANOTHER, || {
        Box::new(released_by_another::ReleasedByAnother)
    }),
    Entry::monitored(&released_in_other_form::RELEASED_IN_OTHER_FORM, || {
        Box::new(released_in_other_form::ReleasedInOtherForm)
    }),
    Entry::monitored(&released_not_held::RELEASED_NOT_HELD, || {
        Box::new(released_not_held::ReleasedNotHeld)
    }),
    Entry::monitored(&resource_not_deleted::RESOURCE_NOT_DELETED, || {
        Box::new(resource_not_deleted::ResourceNotDeleted)
    }),
    Entry::monitored(&uninitialized::UNINITIALIZED, || Box::new(uninitialized::Uninitialized)),
];
