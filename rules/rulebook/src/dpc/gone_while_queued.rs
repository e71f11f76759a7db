//! The memory of a DPC must stay while it is queued.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the memory of a DPC is given back, or its stack frame left, while it is
    /// queued.
    pub static GONE_WHILE_QUEUED = {
        id: "dpc::gone_while_queued",
        severity: Severity::Violation,
        title: "memory of a DPC given back while it is queued",
        explain: include_str!("gone_while_queued.md"),
        fix: "take it off the queue with `KeRemoveQueueDpc`, or wait with `KeFlushQueuedDpcs`",
        windows: "bug check 0xC7 (0x1): a DPC in freed memory",
        contract: &[
            "kernel/introduction-to-dpc-objects",
            "ddi/wdm/nf-wdm-keinsertqueuedpc",
            "debugger/bug-check-0xc7--timer-or-dpc-invalid",
        ],
        since: "0.1.0",
    }
}

/// Judges the memory of DPCs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GoneWhileQueued;

impl Monitor for GoneWhileQueued {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Dpc
            || !matches!(object.fault, KeptFault::Freed | KeptFault::OnReturnedStack)
        {
            return;
        }
        let how = describe::kept_loss(object.fault);
        let finding =
            out.report(&GONE_WHILE_QUEUED, format!("{how} with a DPC in it that is queued"));
        finding.note_if(object.since, "the DPC was queued here");
    }
}
