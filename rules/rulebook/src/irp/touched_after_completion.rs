//! A request must not be touched after its completion.

use events::{EventKind, FaultOutcome, MemoryFault, Seq};
use guest_memory::Near;
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver touches an IRP, its system buffer or its MDL after it completed the
    /// IRP.
    pub static TOUCHED_AFTER_COMPLETION = {
        id: "irp::touched_after_completion",
        severity: Severity::Violation,
        title: "request touched after its completion",
        explain: include_str!("touched_after_completion.md"),
        fix: "copy what is needed (the status, above all) to a local variable before \
            `IoCompleteRequest`",
        windows: "the memory of another request is read or changed; bug check 0xD5 or 0x50 under \
            Driver Verifier with special pool",
        contract: &[
            "ddi/wdm/nf-wdm-iocompleterequest",
            "kernel/when-to-complete-an-irp",
            "kernel/how-to-complete-an-irp-in-a-dispatch-routine",
        ],
        since: "0.1.0",
    }
}

/// Watches touches of what went away with a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TouchedAfterCompletion;

impl Monitor for TouchedAfterCompletion {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) != FaultClass::AfterCompletion
            || fault.outcome == FaultOutcome::Exception
        {
            return;
        }
        let finding = out.report(&TOUCHED_AFTER_COMPLETION, describe::place(fault));
        if let Some(Near::Inside { block, .. }) = fault.near
            && let Some(freed) = block.freed
        {
            let completed = at.ledgers.completion_before(Seq(freed.when));
            finding.note_if(completed, "the request was completed here");
        }
    }
}
