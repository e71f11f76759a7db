//! `STATUS_PENDING` must be announced by `IoMarkIrpPending`.

use events::{EventKind, IrpReturn};
use nt_abi::NtStatus;
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a dispatch routine returns `STATUS_PENDING` for an IRP that it did not mark
    /// pending and did not pass down.
    pub static PENDING_NOT_MARKED = {
        id: "irp::pending_not_marked",
        severity: Severity::Violation,
        title: "STATUS_PENDING returned without IoMarkIrpPending",
        explain: include_str!("pending_not_marked.md"),
        fix: "call `IoMarkIrpPending` before the IRP is queued, then return `STATUS_PENDING`",
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
        &[EventKind::IrpReturn]
    }

    fn irp_return(&mut self, irp: &IrpReturn, at: Moment<'_>, out: &mut Findings) {
        let is_pending = irp.returned == NtStatus::STATUS_PENDING;
        if !is_pending || irp.is_marked_pending || irp.was_forwarded {
            return;
        }
        let what = describe::irp(Some(irp.irp), at);
        let finding = out.report(&PENDING_NOT_MARKED, format!("{what} was not marked pending"));
        finding.note_if(irp.completed, "completed here");
    }
}
