//! Rules about I/O request packets.

mod completed_cancelable;
mod completed_twice;
mod never_completed;
mod pending_not_marked;
mod status_mismatch;
mod touched_after_completion;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&completed_twice::COMPLETED_TWICE, || {
        Box::new(completed_twice::CompletedTwice)
    }),
    Entry::monitored(&completed_cancelable::COMPLETED_CANCELABLE, || {
        Box::new(completed_cancelable::CompletedCancelable)
    }),
    Entry::monitored(&touched_after_completion::TOUCHED_AFTER_COMPLETION, || {
        Box::new(touched_after_completion::TouchedAfterCompletion)
    }),
    Entry::monitored(&status_mismatch::STATUS_MISMATCH, || {
        Box::new(status_mismatch::StatusMismatch)
    }),
    Entry::monitored(&never_completed::NEVER_COMPLETED, || {
        Box::new(never_completed::NeverCompleted::default())
    }),
    Entry::monitored(&pending_not_marked::PENDING_NOT_MARKED, || {
        Box::new(pending_not_marked::PendingNotMarked)
    }),
];
