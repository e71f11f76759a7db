//! Pageable memory must not be touched at `DISPATCH_LEVEL` or above.

use events::{EventKind, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver touches paged pool, a pageable section or user memory at
    /// `DISPATCH_LEVEL` or above.
    pub static PAGEABLE_TOUCHED_AT_DISPATCH = {
        id: "irql::pageable_touched_at_dispatch",
        severity: Severity::Violation,
        title: "pageable memory touched at raised IRQL",
        explain: include_str!("pageable_touched_at_dispatch.md"),
        fix: "use non-paged memory, or copy the data before raising the IRQL",
        windows: "bug check 0xD1 (0xA from kernel code) whenever the page is out",
        contract: &[
            "kernel/managing-hardware-priorities",
            "kernel/when-should-code-and-data-be-pageable-",
            "debugger/bug-check-0xd1--driver-irql-not-less-or-equal",
        ],
        since: "0.1.0",
    }
}

/// Watches pageable memory at raised IRQL.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PageableTouchedAtDispatch;

impl Monitor for PageableTouchedAtDispatch {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) != FaultClass::PageableTooHigh {
            return;
        }
        let place = describe::place(fault);
        let irql = at.origin.irql;
        let finding = out.report(&PAGEABLE_TOUCHED_AT_DISPATCH, format!("{place} at {irql}"));
        describe::irql_history(finding, at);
        describe::block_history(finding, fault.near.as_ref());
    }
}
