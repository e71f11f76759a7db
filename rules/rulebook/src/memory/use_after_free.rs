//! Memory that was given back must not be touched.

use events::{EventKind, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver touches a block after it gave it back.
    pub static USE_AFTER_FREE = {
        id: "memory::use_after_free",
        severity: Severity::Violation,
        title: "freed memory touched",
        explain: include_str!("use_after_free.md"),
        fix: "free the block after its last use, and forget the pointer (`P = NULL`) at the same \
            place",
        windows: "whoever owns the memory now is read or corrupted; under Driver Verifier with \
            special pool bug check 0xD5 or 0xCC",
        contract: &[
            "ddi/wdm/nf-wdm-exfreepoolwithtag",
            "devtest/special-pool",
            "debugger/bug-check-0xd5--driver-page-fault-in-freed-special-pool",
        ],
        since: "0.1.0",
    }
}

/// Watches faults inside blocks that were given back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UseAfterFree;

impl Monitor for UseAfterFree {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::AfterFree
            && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&USE_AFTER_FREE, describe::place(fault));
            describe::block_history(finding, fault.near.as_ref());
        }
    }
}
