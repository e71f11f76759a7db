//! The input length must be checked before the input is used.

use events::{EventKind, FaultOutcome, IrpId, MemoryFault, UndefinedDecision};
use guest_memory::GuestAddr;
use verifier::{Confirmation, FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver reads bytes of the system buffer that the caller did not pass.
    pub static INPUT_LENGTH_UNCHECKED = {
        id: "io_control::input_length_unchecked",
        severity: Severity::Violation,
        title: "input used beyond its length",
        explain: include_str!("input_length_unchecked.md"),
        fix: "compare `Parameters.DeviceIoControl.InputBufferLength` with the size of the \
            structure first",
        windows: "old pool decides what the driver does; bug check 0x50 or 0x19 if the access \
            leaves the pool block",
        contract: &[
            "kernel/failure-to-check-the-size-of-buffers",
            "kernel/failure-to-validate-variable-length-buffers",
            "kernel/buffer-descriptions-for-i-o-control-codes",
        ],
        since: "0.1.0",
    }
}

/// Suspects per request: a loop over a buffer decides at a few places, not at a thousand.
const MAX_SUSPECTS: usize = 8;

/// Watches reads behind the input, and decisions made on what lies there.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputLengthUnchecked {
    /// The request that is suspected now, and the instructions that decided on its tail.
    suspected: Option<(IrpId, Vec<GuestAddr>)>,
}

impl Monitor for InputLengthUnchecked {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault, EventKind::UndefinedDecision]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        let is_mine = FaultClass::of(fault, at) == FaultClass::InputBeyondEnd;
        if is_mine && fault.outcome != FaultOutcome::Exception {
            let finding = out.report(&INPUT_LENGTH_UNCHECKED, describe::place(fault));
            describe::request_history(finding, at);
        }
    }

    fn undefined_decision(
        &mut self,
        decision: &UndefinedDecision,
        at: Moment<'_>,
        out: &mut Findings,
    ) {
        let Some(irp) = at.ledgers.current_irp(at.origin.thread) else { return };
        let Some(ordinal) = at.ledgers.irp(irp).and_then(|record| record.tail) else { return };
        let suspected = match &mut self.suspected {
            Some((suspected, places)) if *suspected == irp => places,
            other => &mut other.insert((irp, Vec::new())).1,
        };
        if suspected.contains(&at.origin.ip) || suspected.len() >= MAX_SUSPECTS {
            return;
        }
        suspected.push(at.origin.ip);
        let what = describe::decided(decision);
        let message = format!("{what} depends on bytes behind the caller's input");
        let finding = out.report(&INPUT_LENGTH_UNCHECKED, message).once_per_function();
        describe::request_history(finding, at);
        finding.confirm(Confirmation::DiffersByTail { ordinal });
    }
}
