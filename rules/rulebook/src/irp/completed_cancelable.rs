//! A request must not be cancelable any more when it is completed.

use events::{EventKind, IrpComplete};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver completes an IRP whose cancel routine is still set.
    pub static COMPLETED_CANCELABLE = {
        id: "irp::completed_cancelable",
        severity: Severity::Violation,
        title: "request completed with its cancel routine set",
        explain: include_str!("completed_cancelable.md"),
        fix: "take the cancel routine off with `IoSetCancelRoutine(Irp, NULL)` first, and leave \
              the request to it where that returns NULL",
        windows: "bug check 0x48 or a second completion if it is cancelled then; 0xC9 under \
                  Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-iosetcancelroutine",
            "kernel/introduction-to-cancel-routines",
            "debugger/bug-check-0xc9--driver-verifier-iomanager-violation",
        ],
        since: "0.1.0",
    }
}

/// Watches completions of requests that can be cancelled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompletedCancelable;

impl Monitor for CompletedCancelable {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrpComplete]
    }

    fn irp_complete(&mut self, complete: &IrpComplete, at: Moment<'_>, out: &mut Findings) {
        // A second completion is the worse mistake, and has a rule of its own.
        if !complete.has_cancel_routine || complete.earlier.is_some() {
            return;
        }
        let what = describe::irp(complete.irp, at);
        let status = complete.status;
        out.report(
            &COMPLETED_CANCELABLE,
            format!("{what} with {status}, while its cancel routine may still be called"),
        );
    }
}
