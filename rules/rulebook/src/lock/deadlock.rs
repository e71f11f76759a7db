//! Processors must not wait for each other for ever.

use events::{EventKind, Hang};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a processor spins for a lock that nobody can ever release.
    pub static DEADLOCK = {
        id: "lock::deadlock",
        severity: Severity::Violation,
        title: "processors wait for each other",
        explain: include_str!("deadlock.md"),
        fix: "take the locks in one order everywhere, or try the second one and start again",
        windows: "the processors spin until bug check 0x133",
        contract: &[
            "kernel/preventing-errors-and-deadlocks-while-using-spin-locks",
            "debugger/bug-check-0x133-dpc-watchdog-violation",
        ],
        since: "0.1.0",
    }
}

/// Watches hangs: the kernel has shown that no processor, timer, DPC or caller can go on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadlock;

impl Monitor for Deadlock {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::Hang]
    }

    fn hang(&mut self, hang: &Hang, _: Moment<'_>, out: &mut Findings) {
        let message = "spins for a lock whose holder can never go on";
        let finding = out.report(&DEADLOCK, message);
        finding.note_if(hang.holder.map(|(_, acquired)| acquired), "the lock was acquired here");
    }
}
