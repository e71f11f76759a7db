//! A caller must not choose the model-specific register.

use events::{EventKind, Privileged, PrivilegedSink};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a value from a request arrives as the register of `rdmsr` or `wrmsr`, or as the
    /// value written.
    pub static MSR = {
        id: "exposure::msr",
        severity: Severity::Exposure,
        title: "caller reaches model-specific registers",
        explain: include_str!("msr.md"),
        fix: "read the one register that is needed, named in the driver, and let only \
            administrators open the device",
        windows: "no bug check: by writing the system call entry point (register 0xC0000082) the \
            caller runs code in kernel mode",
        contract: &[
            "kernel/security-issues-for-i-o-control-codes",
            "kernel/controlling-device-access",
        ],
        since: "0.1.0",
    }
}

/// Watches operations whose operands came from a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Msr;

impl Monitor for Msr {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Privileged]
    }

    fn privileged(&mut self, operation: &Privileged, at: Moment<'_>, out: &mut Findings) {
        if operation.sink == PrivilegedSink::Msr && !operation.marks.is_empty() {
            describe::exposure(out, &MSR, operation, at);
        }
    }
}
