//! A driver should not stop the system.

use events::{BugCheckRaised, EventKind};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::BY_DRIVER;
use crate::describe;

declare_rule! {
    /// Raised when a driver calls `KeBugCheckEx` although no rule was broken before.
    pub static CALLED = {
        id: "bug_check::called",
        severity: Severity::Hazard,
        title: "driver stops the system",
        explain: include_str!("called.md"),
        fix: "handle the case and fail the request; a bug check is for a system that cannot go on",
        windows: "the bug check that the driver asks for",
        contract: &["ddi/wdm/nf-wdm-kebugcheckex"],
        since: "0.1.0",
    }
}

/// Watches bug checks that a driver asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Called;

impl Monitor for Called {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::BugCheckRaised]
    }

    fn bug_check_raised(&mut self, check: &BugCheckRaised, at: Moment<'_>, out: &mut Findings) {
        let is_own = at.origin.export.is_some_and(|export| BY_DRIVER.contains(&export));
        if !is_own {
            return;
        }
        let message = format!("asks for bug check {:#04X}", check.code);
        describe::request_history(out.report(&CALLED, message).last_resort(), at);
    }
}
