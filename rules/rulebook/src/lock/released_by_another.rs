//! A lock belongs to the thread that acquired it.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a lock is released by a thread that does not own it.
    pub static RELEASED_BY_ANOTHER = {
        id: "lock::released_by_another",
        severity: Severity::Violation,
        title: "lock released by another thread",
        explain: include_str!("released_by_another.md"),
        fix: "release a lock in the thread that acquired it",
        windows: "STATUS_MUTANT_NOT_OWNED is raised, or bug check 0xE3 or 0x162, or 0xC4 \
            (0x1004) under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-kereleasemutex",
            "debugger/bug-check-0xe3--resource-not-owned",
            "debugger/bug-check-0x162--kernel-auto-boost-invalid-lock-release",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
    }
}

/// Hears that a lock is released by who does not hold it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReleasedByAnother;

impl Monitor for ReleasedByAnother {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::HeldByAnother) {
            return;
        }
        let (lock, routine) = (words::name(fault.lock), words::routine(at));
        let message = format!("{routine} releases {lock}, which another thread holds");
        let finding = out.report(&RELEASED_BY_ANOTHER, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
