//! A kernel stack must not be overrun.

use events::{EventKind, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when driver code touches the guard below the kernel stack.
    pub static STACK_OVERFLOW = {
        id: "memory::stack_overflow",
        severity: Severity::Violation,
        title: "kernel stack overflow",
        explain: include_str!("stack_overflow.md"),
        fix: "move large locals to pool, and turn recursion into a loop",
        windows: "bug check 0x7F (double fault, parameter 8) or 0x2B",
        contract: &[
            "kernel/using-the-kernel-stack",
            "debugger/bug-check-0x7f--unexpected-kernel-mode-trap",
        ],
        since: "0.1.0",
    }
}

/// Watches the guard below a kernel stack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackOverflow;

impl Monitor for StackOverflow {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::StackOverflow
            && fault.outcome != FaultOutcome::Exception
        {
            out.report(&STACK_OVERFLOW, "the kernel stack has no room left");
        }
    }
}
