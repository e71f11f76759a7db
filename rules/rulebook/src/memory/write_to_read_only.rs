//! Read-only memory must not be written.

use events::{EventKind, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver writes to memory that is mapped without write permission.
    pub static WRITE_TO_READ_ONLY = {
        id: "memory::write_to_read_only",
        severity: Severity::Violation,
        title: "read-only memory written",
        explain: include_str!("write_to_read_only.md"),
        fix: "put the data into a writable section (no `const` cast away), or map the buffer for \
            writing",
        windows: "bug check 0xBE",
        contract: &[
            "debugger/bug-check-0xbe--attempted-write-to-readonly-memory",
        ],
        since: "0.1.0",
    }
}

/// Watches stores to mappings without write permission.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteToReadOnly;

impl Monitor for WriteToReadOnly {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::WriteToReadOnly
            && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&WRITE_TO_READ_ONLY, describe::place(fault));
            describe::block_history(finding, fault.near.as_ref());
        }
    }
}
