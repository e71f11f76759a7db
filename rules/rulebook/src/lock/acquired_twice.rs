//! A lock without recursion must not be acquired by its owner.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a lock without recursion is acquired by who holds it already.
    pub static ACQUIRED_TWICE = {
        id: "lock::acquired_twice",
        severity: Severity::Violation,
        title: "lock acquired by its owner again",
        explain: include_str!("acquired_twice.md"),
        fix: "release the lock before it is acquired again, or pass on that it is held",
        windows: "the thread or processor hangs for ever; bug check 0xF, or 0xC4 (0x1000) under \
            Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-keacquirespinlock",
            "kernel/preventing-errors-and-deadlocks-while-using-spin-locks",
            "kernel/fast-mutexes-and-guarded-mutexes",
            "ddi/wdm/nf-wdm-exacquireresourceexclusivelite",
            "ddi/wdm/nf-wdm-exacquirespinlockshared",
        ],
        since: "0.1.0",
    }
}

/// Hears that a lock cannot be acquired for this reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AcquiredTwice;

impl Monitor for AcquiredTwice {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::AlreadyHeld) {
            return;
        }
        let (lock, routine) = (words::name(fault.lock), words::routine(at));
        let message = format!("{routine} waits for {lock}, which its caller holds");
        let finding = out.report(&ACQUIRED_TWICE, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
