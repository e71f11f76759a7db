//! An executive resource must be deleted before its memory is freed.

use events::{EventKind, LockFault, LockMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;

declare_rule! {
    /// Raised when pool is freed in which an executive resource is still initialised.
    pub static RESOURCE_NOT_DELETED = {
        id: "lock::resource_not_deleted",
        severity: Severity::Violation,
        title: "memory freed with an executive resource in it",
        explain: include_str!("resource_not_deleted.md"),
        fix: "call ExDeleteResourceLite before the memory goes",
        windows: "the list of all resources leads into freed memory; bug check 0xC4 (0xD2) \
            under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-exinitializeresourcelite",
            "ddi/wdm/nf-wdm-exdeleteresourcelite",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
    }
}

/// Hears that the memory of a resource is given back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResourceNotDeleted;

impl Monitor for ResourceNotDeleted {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockFault]
    }

    fn lock_fault(&mut self, fault: &LockFault, at: Moment<'_>, out: &mut Findings) {
        if !matches!(fault.misuse, LockMisuse::NotDeleted) {
            return;
        }
        let routine = words::routine(at);
        let message = format!("{routine} frees memory in which an executive resource lives");
        let finding = out.report(&RESOURCE_NOT_DELETED, message);
        words::acquisition(finding, fault.lock, fault.acquired, at);
    }
}
