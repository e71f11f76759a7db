//! User memory must be touched inside `__try`.

use events::{EventKind, ExceptionEscape, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when an access to the caller's memory faults and the exception leaves the driver.
    pub static UNGUARDED_ACCESS = {
        id: "user_buffer::unguarded_access",
        severity: Severity::Violation,
        title: "user memory touched without an exception handler",
        explain: include_str!("unguarded_access.md"),
        fix: "put every access to user memory inside `__try`, or use buffered or direct I/O",
        windows: "bug check 0x3B or 0x1E with STATUS_ACCESS_VIOLATION whenever the caller passes a \
            bad address, or frees the memory in time",
        contract: &[
            "kernel/using-neither-buffered-nor-direct-i-o",
            "kernel/errors-in-referencing-user-space-addresses",
            "kernel/handling-exceptions",
        ],
        since: "0.1.0",
        yields_to: &[
            "exposure::arbitrary_kernel_write",
        ],
    }
}

/// Watches exceptions on user memory that leave the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnguardedAccess;

impl Monitor for UnguardedAccess {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::ExceptionEscape, EventKind::MemoryFault]
    }

    fn exception_escape(&mut self, escape: &ExceptionEscape, at: Moment<'_>, out: &mut Findings) {
        if describe::is_of_probe(escape) {
            let routine = escape.raised_by.unwrap_or_default();
            let code = escape.code;
            let message = format!("`{routine}` raises {code}, and no handler takes the exception");
            let finding = out.report(&UNGUARDED_ACCESS, message).once_per_function();
            describe::request_history(finding, at);
            return;
        }
        let Some((_, kind)) = escape.access else { return };
        if FaultClass::of_escape(escape, at) != Some(FaultClass::CallersBuffer) {
            return;
        }
        let what = describe::verb(kind);
        let message = format!("{what} the caller's memory, and no handler takes the exception");
        let finding = out.report(&UNGUARDED_ACCESS, message).once_per_function();
        describe::request_history(finding, at);
        finding.fact(if escape.is_provoked {
            "in this run another thread of the caller unmapped the page just before the access"
        } else {
            "the caller passed an address at which nothing is mapped"
        });
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        let is_fatal = matches!(fault.outcome, FaultOutcome::BugCheck(_));
        if is_fatal && FaultClass::of(fault, at) == FaultClass::CallersBuffer {
            let place = describe::place(fault);
            let irql = at.origin.irql;
            let message = format!("{place}; at {irql} no handler can take the exception");
            let finding = out.report(&UNGUARDED_ACCESS, message).once_per_function();
            describe::request_history(finding, at);
        }
    }
}
