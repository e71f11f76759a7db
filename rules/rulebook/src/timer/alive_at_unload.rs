//! A timer must be cancelled before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each timer that is set when a driver is gone, if it stands in the image or
    /// calls a DPC there.
    pub static ALIVE_AT_UNLOAD = {
        id: "timer::alive_at_unload",
        severity: Severity::Violation,
        title: "timer set when the driver is unloaded",
        explain: include_str!("alive_at_unload.md"),
        fix: "call `KeCancelTimer` in Unload, and on the error paths of `DriverEntry`",
        windows: "bug check 0xCE, or 0xC7 (0x2), when the timer expires in memory that is gone",
        contract: &[
            "kernel/unload-routine-functionality",
            "ddi/wdm/nf-wdm-kecanceltimer",
            "debugger/bug-check-0xce--driver-unloaded-without-cancelling-pending-operations",
        ],
        since: "0.1.0",
    }
}

/// Judges timers at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AliveAtUnload;

impl Monitor for AliveAtUnload {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        if left.resource != Resource::Running("timer") {
            return;
        }
        let when = describe::gone(left);
        let finding = out.report(&ALIVE_AT_UNLOAD, format!("a timer is still set ({when})"));
        describe::taken_at(finding, left, at);
    }
}
