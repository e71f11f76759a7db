//! An exception must not leave the driver.

use events::{EventKind, ExceptionEscape};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when an exception other than by a touch of memory leaves a routine of the driver.
    pub static UNHANDLED = {
        id: "exception::unhandled",
        severity: Severity::Violation,
        title: "unhandled exception",
        explain: include_str!("unhandled.md"),
        fix: "handle the exception with `__try` and `__except` where it can be raised, or avoid \
            its cause",
        windows: "bug check 0x1E, 0x3B or 0x7E with the code of the exception",
        contract: &[
            "kernel/handling-exceptions",
            "debugger/bug-check-0x1e--kmode-exception-not-handled",
            "debugger/bug-check-0x3b--system-service-exception",
        ],
        since: "0.1.0",
    }
}

/// Watches exceptions that leave the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unhandled;

impl Monitor for Unhandled {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::ExceptionEscape]
    }

    fn exception_escape(&mut self, escape: &ExceptionEscape, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of_escape(escape, at).is_some() || describe::is_of_probe(escape) {
            return;
        }
        let message = format!("{} leaves the driver", describe::exception(escape.code));
        let finding = out.report(&UNHANDLED, message);
        describe::request_history(finding, at);
    }
}
