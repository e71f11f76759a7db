//! Data must not be executed.

use events::{EventKind, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the processor fetches an instruction from memory without execute permission.
    pub static EXECUTE_DATA = {
        id: "memory::execute_data",
        severity: Severity::Violation,
        title: "data executed as code",
        explain: include_str!("execute_data.md"),
        fix: "call through a pointer that was set to a routine; do not build code in data",
        windows: "bug check 0xFC; 0x50 or 0xD1 if nothing is mapped there",
        contract: &[
            "kernel/no-execute-nonpaged-pool",
            "debugger/bug-check-0xfc---attempted-execute-of-noexecute-memory",
        ],
        since: "0.1.0",
    }
}

/// Watches instruction fetches from memory that is not code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExecuteData;

impl Monitor for ExecuteData {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::ExecuteData
            && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&EXECUTE_DATA, format!("jump to {}", fault.objection.at));
            describe::block_history(finding, fault.near.as_ref());
        }
    }
}
