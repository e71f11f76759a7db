//! Rules about the end of a system that no other rule explains.

mod called;
mod raised;

use verifier::Findings;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&called::CALLED, || Box::new(called::Called)),
    Entry::monitored(&raised::RAISED, || Box::new(raised::Raised)),
];

/// The routines by which a driver stops the system itself.
const BY_DRIVER: [&str; 2] = ["KeBugCheck", "KeBugCheckEx"];

/// Whether a rule has told already what went wrong in this run.
fn is_explained(findings: &Findings) -> bool {
    !findings.as_slice().is_empty()
}
