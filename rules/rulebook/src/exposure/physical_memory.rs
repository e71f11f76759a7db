//! A caller must not choose the physical address.

use events::{EventKind, Privileged, PrivilegedSink};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a value from a request arrives as the physical address or length of a mapping.
    pub static PHYSICAL_MEMORY = {
        id: "exposure::physical_memory",
        severity: Severity::Exposure,
        title: "caller reaches physical memory",
        explain: include_str!("physical_memory.md"),
        fix: "map only the ranges of the resources that the device was assigned, and let only \
            administrators open the device",
        windows: "no bug check: the caller reads and writes any memory, including that of the \
            kernel",
        contract: &[
            "kernel/security-issues-for-i-o-control-codes",
            "kernel/controlling-device-access",
            "kernel/security-issues-for-section-objects-and-views",
        ],
        since: "0.1.0",
    }
}

/// Watches operations whose operands came from a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhysicalMemory;

impl Monitor for PhysicalMemory {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Privileged]
    }

    fn privileged(&mut self, operation: &Privileged, at: Moment<'_>, out: &mut Findings) {
        if operation.sink == PrivilegedSink::PhysicalMemory && !operation.marks.is_empty() {
            describe::exposure(out, &PHYSICAL_MEMORY, operation, at);
        }
    }
}
