//! Interrupts must be disconnected before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each interrupt that is connected to a routine of a driver that was unloaded, or
    /// whose `DriverEntry` failed.
    pub static INTERRUPT_LEFT = {
        id: "unload::interrupt_left",
        severity: Severity::Violation,
        title: "interrupt still connected at unload",
        explain: include_str!("interrupt_left.md"),
        fix: "call `IoDisconnectInterruptEx` or `IoDisconnectInterrupt` before the driver goes, \
            and on the error paths of `DriverEntry`",
        windows: "the next interrupt on the vector runs code that is gone: bug check 0xCE, or a \
            page fault at DIRQL",
        contract: &[
            "kernel/unload-routine-functionality",
            "kernel/removing-an-isr",
            "ddi/wdm/nf-wdm-iodisconnectinterrupt",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InterruptLeft;

impl Monitor for InterruptLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Interrupt(vector) = left.resource else { return };
        let when = describe::gone(left);
        let message = format!("the interrupt of vector {vector:#x} is still connected ({when})");
        describe::taken_at(out.report(&INTERRUPT_LEFT, message), left, at);
    }
}
