//! A caller must not choose the I/O port.

use events::{EventKind, Privileged, PrivilegedSink};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a value from a request arrives as the port of an `in` or `out` instruction, as
    /// what is written there, or in bus configuration space.
    pub static PORT_IO = {
        id: "exposure::port_io",
        severity: Severity::Exposure,
        title: "caller reaches I/O ports",
        explain: include_str!("port_io.md"),
        fix: "offer the few operations that the client needs instead of the port, and let only \
            administrators open the device (`IoCreateDeviceSecure`)",
        windows: "no bug check: the caller talks to hardware as the kernel does, and can reset the \
            machine, or change firmware and disks",
        contract: &[
            "kernel/security-issues-for-i-o-control-codes",
            "kernel/controlling-device-access",
        ],
        since: "0.1.0",
    }
}

/// Watches operations whose operands came from a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PortIo;

impl Monitor for PortIo {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Privileged]
    }

    fn privileged(&mut self, operation: &Privileged, at: Moment<'_>, out: &mut Findings) {
        if matches!(operation.sink, PrivilegedSink::Port | PrivilegedSink::BusData)
            && !operation.marks.is_empty()
        {
            describe::exposure(out, &PORT_IO, operation, at);
        }
    }
}
