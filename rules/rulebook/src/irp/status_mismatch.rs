//! A dispatch routine must return the status it completed the request with.

use events::{EventKind, IrpReturn};
use nt_abi::NtStatus;
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a dispatch routine completes an IRP with one status and returns another, or
    /// marks it pending and does not return `STATUS_PENDING`.
    pub static STATUS_MISMATCH = {
        id: "irp::status_mismatch",
        severity: Severity::Violation,
        title: "returned status differs from the completed one",
        explain: include_str!("status_mismatch.md"),
        fix: "keep the status in one local variable, and use it for `IoStatus.Status` and for \
            `return`",
        windows: "the caller acts on the wrong status: it may wait forever or use a result that is \
            not there; bug check 0xC9 (0x224 or 0x23E) under Driver Verifier",
        contract: &[
            "kernel/when-to-complete-an-irp-in-a-dispatch-routine",
            "devtest/wdm-completerequeststatuscheck",
            "devtest/wdm-pendedcompletedrequest",
        ],
        since: "0.1.0",
    }
}

/// Compares what a dispatch routine returns with how it completed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StatusMismatch;

impl Monitor for StatusMismatch {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrpReturn]
    }

    fn irp_return(&mut self, irp: &IrpReturn, at: Moment<'_>, out: &mut Findings) {
        if irp.was_forwarded {
            return;
        }
        let returned = irp.returned;
        if irp.is_marked_pending {
            if returned != NtStatus::STATUS_PENDING {
                let message = format!("returned {returned} for a request that it marked pending");
                out.report(&STATUS_MISMATCH, message);
            }
            return;
        }
        // A STATUS_PENDING without the mark is a mistake with its own rule.
        if returned == NtStatus::STATUS_PENDING {
            return;
        }
        let Some(status) = irp.completed_with.filter(|status| *status != returned) else { return };
        let message = format!("completed with {status}, but the routine returned {returned}");
        let finding = out.report(&STATUS_MISMATCH, message);
        let record = at.ledgers.irp(irp.irp);
        if let Some((seq, ip, _)) = record.and_then(|record| record.completed) {
            finding.at(seq, ip);
        }
    }
}
