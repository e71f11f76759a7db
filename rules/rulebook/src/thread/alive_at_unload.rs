//! A system thread must end before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each system thread of a driver that has not ended when the driver is gone.
    pub static ALIVE_AT_UNLOAD = {
        id: "thread::alive_at_unload",
        severity: Severity::Violation,
        title: "system thread running when the driver is unloaded",
        explain: include_str!("alive_at_unload.md"),
        fix: "tell the thread to end, and wait for the thread object in Unload",
        windows: "bug check 0xCE, or 0x50, as soon as the thread goes on",
        contract: &[
            "ddi/wdm/nf-wdm-pscreatesystemthread",
            "kernel/unload-routine-functionality",
            "debugger/bug-check-0xce--driver-unloaded-without-cancelling-pending-operations",
        ],
        since: "0.1.0",
    }
}

/// Judges threads at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AliveAtUnload;

impl Monitor for AliveAtUnload {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        if left.resource != Resource::Running("system thread") {
            return;
        }
        let when = describe::gone(left);
        let finding = out.report(&ALIVE_AT_UNLOAD, format!("the thread has not ended ({when})"));
        describe::taken_at(finding, left, at);
    }
}
