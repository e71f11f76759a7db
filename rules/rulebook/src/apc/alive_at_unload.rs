//! An APC must be delivered or removed before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each APC that is queued when a driver is gone, if it stands in the image or
    /// calls routines there.
    pub static ALIVE_AT_UNLOAD = {
        id: "apc::alive_at_unload",
        severity: Severity::Violation,
        title: "APC queued when the driver is unloaded",
        explain: include_str!("alive_at_unload.md"),
        fix: "call `KeRemoveQueueApc` in Unload",
        windows: "bug check 0xCE when the thread gets the APC, or ends",
        contract: &[
            "kernel/types-of-apcs",
            "kernel/unload-routine-functionality",
            "debugger/bug-check-0xce--driver-unloaded-without-cancelling-pending-operations",
        ],
        since: "0.1.0",
    }
}

/// Judges APCs at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AliveAtUnload;

impl Monitor for AliveAtUnload {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        if left.resource != Resource::Running("APC") {
            return;
        }
        let when = describe::gone(left);
        let finding = out.report(&ALIVE_AT_UNLOAD, format!("an APC is still queued ({when})"));
        describe::taken_at(finding, left, at);
    }
}
