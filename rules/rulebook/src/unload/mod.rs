//! Rules about what a driver must give back.

mod device_left;
mod handle_left;
mod link_left;
mod work_item_left;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&device_left::DEVICE_LEFT, || Box::new(device_left::DeviceLeft)),
    Entry::monitored(&link_left::LINK_LEFT, || Box::new(link_left::LinkLeft)),
    Entry::monitored(&handle_left::HANDLE_LEFT, || Box::new(handle_left::HandleLeft)),
    Entry::monitored(&work_item_left::WORK_ITEM_LEFT, || Box::new(work_item_left::WorkItemLeft)),
];
