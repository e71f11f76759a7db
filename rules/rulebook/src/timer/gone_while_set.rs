//! The memory of a timer must stay while it is set.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the memory of a timer is given back, or its stack frame left, while it is set.
    pub static GONE_WHILE_SET = {
        id: "timer::gone_while_set",
        severity: Severity::Violation,
        title: "memory of a timer given back while it is set",
        explain: include_str!("gone_while_set.md"),
        fix: "call `KeCancelTimer` before the memory goes",
        windows: "bug check 0xC7 (0x0): a timer in freed memory; under Driver Verifier 0xC4 (0x15)",
        contract: &[
            "kernel/timer-objects-and-dpcs",
            "ddi/wdm/nf-wdm-kesettimer",
            "debugger/bug-check-0xc7--timer-or-dpc-invalid",
        ],
        since: "0.1.0",
    }
}

/// Judges the memory of timers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GoneWhileSet;

impl Monitor for GoneWhileSet {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Timer
            || !matches!(object.fault, KeptFault::Freed | KeptFault::OnReturnedStack)
        {
            return;
        }
        let how = describe::kept_loss(object.fault);
        let finding = out.report(&GONE_WHILE_SET, format!("{how} with a timer in it that is set"));
        finding.note_if(object.since, "the timer was set here");
    }
}
