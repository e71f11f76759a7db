//! `STATUS_PENDING` must be announced by `IoMarkIrpPending`.

use events::{EventKind, IrpReturn, PendingLost};
use nt_abi::NtStatus;
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a dispatch routine returns `STATUS_PENDING` for an IRP that it did not mark
    /// pending, and neither did a lower driver or a completion routine for it.
    pub static PENDING_NOT_MARKED = {
        id: "irp::pending_not_marked",
        severity: Severity::Violation,
        title: "STATUS_PENDING returned without IoMarkIrpPending",
        explain: include_str!("pending_not_marked.md"),
        fix: "call `IoMarkIrpPending` before the IRP is queued, then return `STATUS_PENDING`; in a \
            completion routine, call it if `Irp->PendingReturned` is set",
        windows: "the caller waits forever or its completion is lost; bug check 0xC9 (0x23D) under \
            Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-iomarkirppending",
            "devtest/wdm-markirppending",
            "kernel/when-to-complete-an-irp-in-a-dispatch-routine",
        ],
        since: "0.1.0",
    }
}

/// Watches dispatch routines that return `STATUS_PENDING`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingNotMarked;

impl Monitor for PendingNotMarked {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrpReturn, EventKind::PendingLost]
    }

    fn irp_return(&mut self, irp: &IrpReturn, at: Moment<'_>, out: &mut Findings) {
        if irp.returned != NtStatus::STATUS_PENDING || irp.is_marked_pending {
            return;
        }
        // The mark of an IRP on its way is still to come: it travels up with the completion.
        if irp.was_forwarded && irp.completed.is_none() {
            return;
        }
        let what = describe::irp(Some(irp.irp), at);
        let message = match irp.was_forwarded {
            true => format!("{what} came back from the lower driver without the pending mark"),
            false => format!("{what} was not marked pending"),
        };
        out.report(&PENDING_NOT_MARKED, message).note_if(irp.completed, "completed here");
    }
    fn pending_lost(&mut self, lost: &PendingLost, at: Moment<'_>, out: &mut Findings) {
        let what = describe::irp(Some(lost.irp), at);
        let message = format!("{what} lost the pending mark on its way up");
        let returned = at.ledgers.irp(lost.irp).and_then(|irp| irp.returned);
        let finding = out.report(&PENDING_NOT_MARKED, message);
        finding.note(at.origin.seq, "it completes here, and no completion routine marks it");
        match returned.filter(|(seq, _)| *seq == lost.returned) {
            Some((seq, ip)) => finding.at(seq, ip),
            None => finding.note(lost.returned, "STATUS_PENDING was returned here"),
        };
    }
}
