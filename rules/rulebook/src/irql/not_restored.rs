//! A routine of the driver must return at the IRQL at which it was called.

use events::{EntryPoint, EntryReturn, EventKind};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when an entry point of a driver returns at another IRQL than it was called at.
    pub static NOT_RESTORED = {
        id: "irql::not_restored",
        severity: Severity::Violation,
        title: "routine returned at another IRQL",
        explain: include_str!("not_restored.md"),
        fix: "lower the IRQL, or release the lock, on every path out of the routine",
        windows: "bug check 0x4A on the way back to user mode, or 0xC9 (0x12) under Driver \
            Verifier",
        contract: &[
            "kernel/managing-hardware-priorities",
            "devtest/wdm-irqlreturn",
            "debugger/bug-check-0x4a--irql-gt-zero-at-system-service",
        ],
        since: "0.1.0",
    }
}

/// Compares the IRQL before and after each of the driver's routines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NotRestored;

impl Monitor for NotRestored {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::EntryReturn]
    }

    fn entry_return(&mut self, returned: &EntryReturn, at: Moment<'_>, out: &mut Findings) {
        let (before, after) = (returned.irql_before, returned.irql_after);
        // A cancel routine is called at DISPATCH_LEVEL and lowers to `Irp->CancelIrql` itself.
        let lowers = matches!(returned.entry, EntryPoint::CancelRoutine { .. }) && after < before;
        if before == after || lowers {
            return;
        }
        let name = describe::entry(returned.entry);
        let message = format!("{name} was called at {before} and returns at {after}");
        describe::irql_history(out.report(&NOT_RESTORED, message), at);
    }
}
