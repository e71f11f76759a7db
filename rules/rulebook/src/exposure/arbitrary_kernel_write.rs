//! A caller must not choose the kernel address of a store.

use events::{EventKind, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a value from a request is used as the kernel address of a store.
    pub static ARBITRARY_KERNEL_WRITE = {
        id: "exposure::arbitrary_kernel_write",
        severity: Severity::Exposure,
        title: "caller writes to a kernel address of its choice",
        explain: include_str!("arbitrary_kernel_write.md"),
        fix: "never take addresses from a caller; hand out numbers (handles, indexes) and look the \
            address up",
        windows: "no bug check if the address is good: the caller changes kernel memory at will; \
            0x50 or 0xBE otherwise",
        contract: &[
            "kernel/security-issues-for-i-o-control-codes",
            "kernel/controlling-device-access",
            "kernel/errors-in-referencing-user-space-addresses",
        ],
        since: "0.1.0",
    }
}

/// Watches stores to kernel addresses that stood in a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ArbitraryKernelWrite;

impl Monitor for ArbitraryKernelWrite {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MemoryFault]
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::WriteToCallersAddress {
            let finding = out.report(&ARBITRARY_KERNEL_WRITE, describe::callers_address(fault));
            describe::follows_mark(finding, fault, at);
        }
    }
}
