//! Rules about what a driver must give back.

mod callback_left;
mod completion_routine_left;
mod device_left;
mod handle_left;
mod interrupt_left;
mod link_left;
mod reference_left;
mod work_item_left;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&completion_routine_left::COMPLETION_ROUTINE_LEFT, || {
        Box::new(completion_routine_left::CompletionRoutineLeft)
    }),
    Entry::monitored(&device_left::DEVICE_LEFT, || Box::new(device_left::DeviceLeft)),
    Entry::monitored(&link_left::LINK_LEFT, || Box::new(link_left::LinkLeft)),
    Entry::monitored(&handle_left::HANDLE_LEFT, || Box::new(handle_left::HandleLeft)),
    Entry::monitored(&reference_left::REFERENCE_LEFT, || Box::new(reference_left::ReferenceLeft)),
    Entry::monitored(&work_item_left::WORK_ITEM_LEFT, || Box::new(work_item_left::WorkItemLeft)),
    Entry::monitored(&interrupt_left::INTERRUPT_LEFT, || Box::new(interrupt_left::InterruptLeft)),
    Entry::monitored(&callback_left::CALLBACK_LEFT, || Box::new(callback_left::CallbackLeft)),
];
