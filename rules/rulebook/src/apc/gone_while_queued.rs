//! The memory of an APC must stay while it is queued.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the memory of an APC is given back, or its stack frame left, while it is
    /// queued.
    pub static GONE_WHILE_QUEUED = {
        id: "apc::gone_while_queued",
        severity: Severity::Violation,
        title: "memory of an APC given back while it is queued",
        explain: include_str!("gone_while_queued.md"),
        fix: "free it in its kernel or rundown routine, or after `KeRemoveQueueApc` said TRUE",
        windows: "the thread follows its list into other memory: bug check 0xA, 0xD1 or 0x139 (3)",
        contract: &[
            "kernel/types-of-apcs",
            "kernel/waits-and-apcs",
        ],
        since: "0.1.0",
    }
}

/// Judges the memory of APCs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GoneWhileQueued;

impl Monitor for GoneWhileQueued {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Apc
            || !matches!(object.fault, KeptFault::Freed | KeptFault::OnReturnedStack)
        {
            return;
        }
        let how = describe::kept_loss(object.fault);
        let finding =
            out.report(&GONE_WHILE_QUEUED, format!("{how} with an APC in it that is queued"));
        finding.note_if(object.since, "the APC was queued here");
    }
}
