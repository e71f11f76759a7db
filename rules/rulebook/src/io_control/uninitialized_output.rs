//! Memory that was never written must not go to the caller.

use events::{EventKind, TransferOut};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when bytes that the driver never wrote are copied to user mode.
    pub static UNINITIALIZED_OUTPUT = {
        id: "io_control::uninitialized_output",
        severity: Severity::Violation,
        title: "uninitialized kernel memory copied to the caller",
        explain: include_str!("uninitialized_output.md"),
        fix: "zero the output first (`RtlZeroMemory`), padding included, and set `Information` to \
            what was written",
        windows: "no bug check: old kernel memory, with addresses and secrets of others, goes to \
            the caller",
        contract: &[
            "kernel/failure-to-initialize-output-buffers",
            "kernel/buffer-descriptions-for-i-o-control-codes",
        ],
        since: "0.1.0",
    }
}

/// Watches undefined bytes on their way to the caller.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UninitializedOutput;

impl Monitor for UninitializedOutput {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::TransferOut]
    }

    fn transfer_out(&mut self, transfer: &TransferOut, at: Moment<'_>, out: &mut Findings) {
        let Some((undefined_bytes, first)) = transfer.undefined else { return };
        let announced = transfer.information;
        let output = describe::bytes(announced);
        let verb = if undefined_bytes == 1 { "was" } else { "were" };
        let message = format!(
            "{undefined_bytes} of the {output} of output {verb} never written, \
             the first at offset {first}"
        );
        let finding = out.report(&UNINITIALIZED_OUTPUT, message);
        let record = at.ledgers.irp(transfer.irp);
        if let Some((seq, ip, _)) = record.and_then(|record| record.completed) {
            finding.at(seq, ip);
        }
    }
}
