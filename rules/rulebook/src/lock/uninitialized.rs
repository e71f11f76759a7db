//! A lock must be initialised before it is used.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a lock is used that was never initialised, or that was deleted.
    pub static UNINITIALIZED = {
        id: "lock::uninitialized",
        severity: Severity::Violation,
        title: "lock used before it was initialised",
        explain: include_str!("uninitialized.md"),
        fix: "initialise the lock before anything can use it",
        windows: "the first acquisition may never end, or bug check 0xC4 (0x1002) under Driver \
            Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-keinitializespinlock",
            "ddi/wdm/nf-wdm-exinitializefastmutex",
            "ddi/wdm/nf-wdm-exinitializeresourcelite",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
    }
}

/// Hears that a lock was never initialised.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uninitialized;

impl Monitor for Uninitialized {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::NotInitialized) {
            return;
        }
        let (lock, routine) = (words::name(fault.lock), words::routine(at));
        let message = format!("{routine} gets {lock}, which was never initialised");
        let finding = out.report(&UNINITIALIZED, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
