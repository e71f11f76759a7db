//! What a driver does must not stop the system.

use events::{BugCheckRaised, EventKind};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::BY_DRIVER;
use crate::describe;

declare_rule! {
    /// Raised when the kernel stops with a bug check that no other rule explains.
    pub static RAISED = {
        id: "bug_check::raised",
        severity: Severity::Violation,
        title: "system stopped by a bug check",
        explain: include_str!("raised.md"),
        fix: "see the page of the bug check for what it says about the driver",
        windows: "the bug check that is named",
        contract: &["debugger/bug-check-code-reference2"],
        since: "0.1.0",
    }
}

/// Watches bug checks that the kernel raises.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raised;

impl Monitor for Raised {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::BugCheckRaised]
    }

    fn bug_check_raised(&mut self, check: &BugCheckRaised, at: Moment<'_>, out: &mut Findings) {
        let is_own = at.origin.export.is_some_and(|export| BY_DRIVER.contains(&export));
        if is_own {
            return;
        }
        let message = match at.origin.export {
            Some(export) => format!("`{export}` ends in bug check {:#04X}", check.code),
            None => format!("ends in bug check {:#04X}", check.code),
        };
        describe::request_history(out.report(&RAISED, message).last_resort(), at);
    }
}
