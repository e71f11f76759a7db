//! Memory outside a block must not be touched.

use events::{EventKind, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver, or a kernel routine acting for it, touches bytes before or behind a
    /// block, or outside a mapped buffer.
    pub static OUT_OF_BOUNDS = {
        id: "memory::out_of_bounds",
        severity: Severity::Violation,
        title: "access outside a memory block",
        explain: include_str!("out_of_bounds.md"),
        fix: "keep the access inside the block: check the offset and the length against its size \
            first",
        windows: "silent corruption of a neighbour, found later as bug check 0x19, 0xC5 or 0x139; \
            under Driver Verifier with special pool at once as 0xCD, 0xD6 or 0xC1",
        contract: &[
            "devtest/special-pool",
            "debugger/bug-check-0x19--bad-pool-header",
            "debugger/bug-check-0xc5--driver-corrupted-expool",
        ],
        since: "0.1.0",
    }
}

/// Watches faults beside blocks and outside the bytes of a mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutOfBounds;

impl Monitor for OutOfBounds {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::OutOfBounds
            && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&OUT_OF_BOUNDS, describe::place(fault));
            describe::block_history(finding, fault.near.as_ref());
        }
    }
}
