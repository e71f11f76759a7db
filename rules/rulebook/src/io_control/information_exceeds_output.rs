//! `IoStatus.Information` must not exceed the output buffer.

use events::{EventKind, TransferMethod, TransferOut};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a buffered request completes with more bytes in `IoStatus.Information` than the
    /// caller has room for.
    pub static INFORMATION_EXCEEDS_OUTPUT = {
        id: "io_control::information_exceeds_output",
        severity: Severity::Violation,
        title: "Information exceeds the output buffer",
        explain: include_str!("information_exceeds_output.md"),
        fix: "set `Information` to the number of bytes really written, at most the output length",
        windows: "the I/O manager copies that many bytes: kernel memory behind the system buffer \
            goes to the caller, over whatever lies behind the caller's buffer",
        contract: &[
            "kernel/buffer-descriptions-for-i-o-control-codes",
            "kernel/failure-to-check-the-size-of-buffers",
            "ddi/wdm/ns-wdm-_io_status_block",
        ],
        since: "0.1.0",
    }
}

/// Compares `Information` with the output buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InformationExceedsOutput;

impl Monitor for InformationExceedsOutput {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::TransferOut]
    }

    fn transfer_out(&mut self, transfer: &TransferOut, at: Moment<'_>, out: &mut Findings) {
        // Without an output buffer, or after an error, the I/O manager copies nothing.
        let is_copied = transfer.method == TransferMethod::Buffered
            && transfer.output_bytes > 0
            && !transfer.status.is_error();
        if !is_copied || transfer.information <= transfer.output_bytes {
            return;
        }
        let message = format!(
            "{} of output {} announced, but the caller has room for {}",
            describe::bytes(transfer.information),
            if transfer.information == 1 { "is" } else { "are" },
            transfer.output_bytes
        );
        let finding = out.report(&INFORMATION_EXCEEDS_OUTPUT, message);
        let record = at.ledgers.irp(transfer.irp);
        if let Some((seq, ip, _)) = record.and_then(|record| record.completed) {
            finding.at(seq, ip);
        }
    }
}
