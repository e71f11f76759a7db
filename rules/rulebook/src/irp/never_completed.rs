//! Every request must be completed in the end.

use events::{EventKind, IrpStuck, Standstill};
use verifier::{Findings, Moment, Monitor, Severity, circle, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a request survives cancel, cleanup of its file object and a fair run to rest.
    pub static NEVER_COMPLETED = {
        id: "irp::never_completed",
        severity: Severity::Violation,
        title: "request never completed",
        explain: include_str!("never_completed.md"),
        fix: "complete the IRP on every path; if it waits, give it a cancel routine or complete it \
            in IRP_MJ_CLEANUP",
        windows: "the caller's thread or process cannot end, and the driver cannot be unloaded \
            until the next boot; bug check 0xC9 (0x226) under Driver Verifier if nothing was \
            marked pending",
        contract: &[
            "kernel/completing-irps",
            "kernel/canceling-irps",
            "kernel/irp-mj-cleanup",
        ],
        since: "0.1.0",
    }
}

/// Judges requests that nothing completes any more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NeverCompleted {
    /// Threads wait for each other: a request that one of them serves is a consequence of that.
    is_deadlocked: bool,
}

impl Monitor for NeverCompleted {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::IrpStuck, EventKind::Standstill]
    }

    fn standstill(&mut self, standstill: &Standstill, at: Moment<'_>, _: &mut Findings) {
        self.is_deadlocked |= circle(at.ledgers.locks(), standstill).is_some();
    }

    fn irp_stuck(&mut self, stuck: &IrpStuck, at: Moment<'_>, out: &mut Findings) {
        let record = at.ledgers.irp(stuck.irp);
        let returned = record.and_then(|record| record.returned);
        if self.is_deadlocked && returned.is_none() {
            return;
        }
        let what = describe::request(stuck.major, stuck.control_code);
        let message = match stuck.is_cancel_missed {
            true => format!(
                "{what} was cancelled before its cancel routine was set, and is still not complete"
            ),
            false => format!("{what} is still not complete after cancel, cleanup and rest"),
        };
        let finding = out.report(&NEVER_COMPLETED, message);
        if let Some((seq, ip)) = returned {
            finding.at(seq, ip);
        }
    }
}
