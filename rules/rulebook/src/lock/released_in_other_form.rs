//! How a lock was acquired says how it is released.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when a lock is released or converted by a routine that does not fit how it is held.
    pub static RELEASED_IN_OTHER_FORM = {
        id: "lock::released_in_other_form",
        severity: Severity::Violation,
        title: "lock released by the routine of another form",
        explain: include_str!("released_in_other_form.md"),
        fix: "release each lock by the counterpart of the routine that acquired it",
        windows: "bug check 0xC4 (0x1009) under Driver Verifier; else IRQL, APC state or the \
            count of owners stay wrong",
        contract: &[
            "kernel/queued-spin-locks",
            "ddi/wdm/nf-wdm-exreleasefastmutex",
            "ddi/wdm/nf-wdm-exreleasefastmutexunsafe",
            "kernel/reader-writer-spin-locks",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
    }
}

/// Hears that a lock is held in another form.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReleasedInOtherForm;

impl Monitor for ReleasedInOtherForm {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::OtherForm | LockMisuse::BadNesting) {
            return;
        }
        let (lock, routine) = (words::name(fault.lock), words::routine(at));
        let held = words::how_held(fault.lock, at);
        let message = format!("{routine} does not fit {lock}{held}");
        let finding = out.report(&RELEASED_IN_OTHER_FORM, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
