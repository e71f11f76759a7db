//! No completion routine runs when the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver is gone while one of its completion routines has not returned.
    pub static COMPLETION_ROUTINE_LEFT = {
        id: "unload::completion_routine_left",
        severity: Severity::Violation,
        title: "completion routine running when the driver is unloaded",
        explain: include_str!("completion_routine_left.md"),
        fix: "set the routine with `IoSetCompletionRoutineEx`, and complete the request where the \
            driver is kept: in a request, or in a work item of `IoQueueWorkItem`",
        windows: "bug check 0xCE or 0x50 when the routine goes on",
        contract: &[
            "ddi/wdm/nf-wdm-iosetcompletionroutineex",
            "debugger/bug-check-0xce--driver-unloaded-without-cancelling-pending-operations",
        ],
        since: "0.1.0",
    }
}

/// Judges what runs when the image goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompletionRoutineLeft;

impl Monitor for CompletionRoutineLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        if left.resource != Resource::CompletionRoutine {
            return;
        }
        let when = describe::gone(left);
        let message = format!("a completion routine has not returned ({when})");
        let finding = out.report(&COMPLETION_ROUTINE_LEFT, message);
        for (thread, called) in at.ledgers.completion_routines() {
            let text =
                format!("thread {} completes the request here, and the routine runs", thread.0);
            finding.note(called, text);
        }
    }
}
