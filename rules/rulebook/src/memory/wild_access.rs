//! An address that nobody gave to the driver must not be touched.

use events::{EventKind, ExceptionEscape, FaultOutcome, MemoryFault, PoolFree, PoolFreeOutcome};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver touches an address at which there is no memory of the driver or for the
    /// driver.
    pub static WILD_ACCESS = {
        id: "memory::wild_access",
        severity: Severity::Violation,
        title: "access to an address that belongs to nothing",
        explain: include_str!("wild_access.md"),
        fix: "find out where the pointer comes from: it was never set, computed wrongly, or taken \
            from a caller",
        windows: "bug check 0x50 (or 0x1E, 0x3B, 0x7E with STATUS_ACCESS_VIOLATION for an address \
            in the lower half); 0xC2 if it was passed to a free",
        contract: &[
            "debugger/bug-check-0x50--page-fault-in-nonpaged-area",
            "debugger/bug-check-0xc2--bad-pool-caller",
            "kernel/accessing-user-space-memory",
        ],
        since: "0.1.0",
        yields_to: &[
            "exposure::arbitrary_kernel_write",
            "user_buffer::unprobed_pointer",
            "user_buffer::unguarded_access",
        ],
    }
}

/// Watches faults at addresses that belong to nothing, and frees of such addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WildAccess;

impl Monitor for WildAccess {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault, EventKind::ExceptionEscape, EventKind::PoolFree]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::Wild && fault.outcome != FaultOutcome::Exception
        {
            let finding = out.report(&WILD_ACCESS, describe::place(fault));
            describe::block_history(finding, fault.near.as_ref());
        }
    }

    fn exception_escape(&mut self, escape: &ExceptionEscape, at: Moment<'_>, out: &mut Findings) {
        if let Some((address, kind)) = escape.access
            && FaultClass::of_escape(escape, at) == Some(FaultClass::Wild)
        {
            let what = describe::verb(kind);
            out.report(
                &WILD_ACCESS,
                format!("{what} {address}, and no handler takes the exception"),
            );
        }
    }

    fn pool_free(&mut self, free: &PoolFree, _: Moment<'_>, out: &mut Findings) {
        if let PoolFreeOutcome::NotABlock(near) = &free.outcome {
            let message = format!("{} was freed, but no pool block starts there", free.address);
            let finding = out.report(&WILD_ACCESS, message);
            describe::block_history(finding, near.as_ref());
        }
    }
}
