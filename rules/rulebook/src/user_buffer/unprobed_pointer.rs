//! A pointer from user mode must be probed.

use events::{CanaryTouch, EventKind, MemoryFault};
use verifier::{FaultClass, Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver reads or writes a kernel address that its unprivileged caller passed as
    /// a buffer.
    pub static UNPROBED_POINTER = {
        id: "user_buffer::unprobed_pointer",
        severity: Severity::Violation,
        title: "pointer from user mode used without a probe",
        explain: include_str!("unprobed_pointer.md"),
        fix: "call `ProbeForRead` or `ProbeForWrite` inside `__try` before the first touch, or use \
            buffered I/O",
        windows: "any program reads or overwrites kernel memory; bug check 0x50 or 0xBE if the \
            address is bad",
        contract: &[
            "kernel/using-neither-buffered-nor-direct-i-o",
            "kernel/errors-in-referencing-user-space-addresses",
            "ddi/wdm/nf-wdm-probeforread",
            "ddi/wdm/nf-wdm-probeforwrite",
        ],
        since: "0.1.0",
    }
}

/// Watches touches of the kernel address that a caller passed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnprobedPointer;

impl Monitor for UnprobedPointer {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::CanaryTouch, EventKind::MemoryFault]
    }

    fn canary_touch(&mut self, touch: &CanaryTouch, at: Moment<'_>, out: &mut Findings) {
        let what = describe::verb(touch.kind);
        let message = format!(
            "{what} {} of kernel memory at an address that the caller passed",
            describe::bytes(touch.size_bytes)
        );
        let finding = out.report(&UNPROBED_POINTER, message).once_per_function();
        describe::request_history(finding, at);
    }

    fn memory_fault(&mut self, fault: &MemoryFault, at: Moment<'_>, out: &mut Findings) {
        if FaultClass::of(fault, at) == FaultClass::ReadFromCallersAddress {
            let message = describe::callers_address(fault);
            let finding = out.report(&UNPROBED_POINTER, message).once_per_function();
            describe::follows_mark(finding, fault, at);
        }
    }
}
