//! Rules about the end of a system that no other rule explains. A suspicion that nothing comes of
//! explains nothing, so both are judged last.

mod called;
mod raised;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&called::CALLED, || Box::new(called::Called)),
    Entry::monitored(&raised::RAISED, || Box::new(raised::Raised)),
];

/// The routines by which a driver stops the system itself.
const BY_DRIVER: [&str; 2] = ["KeBugCheck", "KeBugCheckEx"];
