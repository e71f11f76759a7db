//! A caller must not choose the value of a control register.

use events::{EventKind, Privileged, PrivilegedSink};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a value from a request arrives in a control register.
    pub static CONTROL_REGISTER = {
        id: "exposure::control_register",
        severity: Severity::Exposure,
        title: "caller reaches control registers",
        explain: include_str!("control_register.md"),
        fix: "do not offer control registers; change a single bit in the driver if it is really \
            needed",
        windows: "no bug check at first: protection is switched off (CR0.WP, CR4.SMEP), or the \
            machine crashes (CR3); PatchGuard stops it with 0x109 later",
        contract: &[
            "kernel/security-issues-for-i-o-control-codes",
            "kernel/controlling-device-access",
        ],
        since: "0.1.0",
    }
}

/// Watches operations whose operands came from a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ControlRegister;

impl Monitor for ControlRegister {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Privileged]
    }

    fn privileged(&mut self, operation: &Privileged, at: Moment<'_>, out: &mut Findings) {
        if operation.sink == PrivilegedSink::ControlRegister && !operation.marks.is_empty() {
            describe::exposure(out, &CONTROL_REGISTER, operation, at);
        }
    }
}
