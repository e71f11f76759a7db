//! A null pointer must not be followed.

use events::{EventKind, ExceptionEscape, FaultOutcome, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver touches the first 64 KiB of the address space and does not handle the
    /// exception.
    pub static NULL_DEREFERENCE = {
        id: "memory::null_dereference",
        severity: Severity::Violation,
        title: "null pointer followed",
        explain: include_str!("null_dereference.md"),
        fix: "check the pointer where it comes from: a routine that allocates, maps or looks \
            something up returns null when it fails, and a field is null until it is set",
        windows: "bug check 0x1E, 0x3B or 0x7E with STATUS_ACCESS_VIOLATION; 0xD1 at \
            DISPATCH_LEVEL or above",
        contract: &[
            "debugger/bug-check-0x3b--system-service-exception",
            "debugger/bug-check-0x7e--system-thread-exception-not-handled",
            "kernel/errors-in-referencing-user-space-addresses",
        ],
        since: "0.1.0",
        yields_to: &[
            "exposure::arbitrary_kernel_write",
            "user_buffer::unprobed_pointer",
            "user_buffer::unguarded_access",
            "io_control::input_length_unchecked",
        ],
    }
}

/// Watches touches of the first 64 KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NullDereference;

impl Monitor for NullDereference {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault, EventKind::ExceptionEscape]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::NullDereference
            && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&NULL_DEREFERENCE, describe::place(fault));
            describe::no_buffer_history(finding, at);
        }
    }

    fn exception_escape(&mut self, escape: &ExceptionEscape, at: Moment<'_>, out: &mut Findings) {
        if let Some((address, kind)) = escape.access
            && FaultClass::of_escape(escape, at) == Some(FaultClass::NullDereference)
        {
            let what = describe::verb(kind);
            let finding = out.report(
                &NULL_DEREFERENCE,
                format!("{what} {address}, and no handler takes the exception"),
            );
            describe::no_buffer_history(finding, at);
        }
    }
}
