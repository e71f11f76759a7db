//! A region must be entered before it is left.

use events::{EntryPoint, EventKind, RegionFault, RegionMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a thread leaves a critical or guarded region that it did not enter.
    pub static LEFT_NOT_ENTERED = {
        id: "region::left_not_entered",
        severity: Severity::Violation,
        title: "critical or guarded region left that was not entered",
        explain: include_str!("left_not_entered.md"),
        fix: "call the leaving routine once for each call of the entering one",
        windows: "bug check 0x1 on the way back to user mode; 0xC4 (0x3E) under Driver Verifier",
        contract: &[
            "kernel/critical-regions-and-guarded-regions",
            "ddi/ntddk/nf-ntddk-keentercriticalregion",
            "debugger/bug-check-0x1--apc-index-mismatch",
        ],
        since: "0.1.0",
    }
}

/// Judges what leaves a region.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeftNotEntered;

impl Monitor for LeftNotEntered {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::RegionFault]
    }

    fn region_fault(&mut self, fault: &RegionFault, _at: Moment<'_>, out: &mut Findings) {
        let what = match fault.misuse {
            RegionMisuse::NotEntered => "the thread is in".to_owned(),
            RegionMisuse::LeftForCaller(entry) if is_judged(entry) => {
                format!("{} left, for its caller,", describe::entry(entry))
            }
            _ => return,
        };
        let region = describe::region(fault.region);
        let message = match fault.misuse {
            RegionMisuse::NotEntered => format!("{what} no region of this kind: {region}"),
            _ => format!("{what} {region}"),
        };
        out.report(&LEFT_NOT_ENTERED, message);
    }
}

/// Routines that the kernel calls by themselves. What others do (a lock routine of a cancel-safe
/// queue) may be one half of a pair by contract.
fn is_judged(entry: EntryPoint) -> bool {
    !matches!(
        entry,
        EntryPoint::ExceptionFilter | EntryPoint::TerminationHandler | EntryPoint::Callback(_)
    )
}
