//! Only a lock that is held can be released.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a lock is released that is free.
    pub static RELEASED_NOT_HELD = {
        id: "lock::released_not_held",
        severity: Severity::Violation,
        title: "lock released that nobody holds",
        explain: include_str!("released_not_held.md"),
        fix: "release a lock once for each time it was acquired",
        windows: "bug check 0x10, 0xE3 or 0x162, or 0xC4 (0x1007) under Driver Verifier; else \
            the next owner loses the lock",
        contract: &[
            "ddi/wdm/nf-wdm-kereleasespinlock",
            "devtest/wdm-spinlockrelease",
            "debugger/bug-check-0x10--spin-lock-not-owned",
            "debugger/bug-check-0xe3--resource-not-owned",
            "kernel/run-down-protection",
        ],
        since: "0.1.0",
    }
}

/// Hears that a lock cannot be released for this reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReleasedNotHeld;

impl Monitor for ReleasedNotHeld {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::NotHeld) {
            return;
        }
        let (lock, routine) = (words::name(fault.lock), words::routine(at));
        let message = format!("{routine} releases {lock}, which nobody holds");
        let finding = out.report(&RELEASED_NOT_HELD, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
