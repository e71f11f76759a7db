//! An IRP must be completed once.

use events::{EventKind, IrpComplete};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver calls `IoCompleteRequest` for an IRP that was completed before.
    pub static COMPLETED_TWICE = {
        id: "irp::completed_twice",
        severity: Severity::Violation,
        title: "IRP completed twice",
        explain: include_str!("completed_twice.md"),
        fix: "complete the IRP at one place, and do not touch it afterwards",
        windows: "bug check 0x44",
        contract: &[
            "ddi/wdm/nf-wdm-iocompleterequest",
            "devtest/wdm-doublecompletion",
            "debugger/bug-check-0x44--multiple-irp-complete-requests",
        ],
        since: "0.1.0",
    }
}

/// Watches completions of requests that are complete already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompletedTwice;

impl Monitor for CompletedTwice {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrpComplete]
    }

    fn irp_complete(&mut self, complete: &IrpComplete, at: Moment<'_>, out: &mut Findings) {
        let Some(earlier) = complete.earlier else { return };
        let what = describe::irp(complete.irp, at);
        let status = complete.status;
        out.report(&COMPLETED_TWICE, format!("{what} again, now with {status}"))
            .note(earlier, "completed here for the first time");
    }
}
