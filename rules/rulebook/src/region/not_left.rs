//! A region must be left as often as it was entered.

use events::{EntryPoint, EventKind, RegionFault, RegionMisuse};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a routine of a driver returns, or a thread ends, in a critical or guarded
    /// region that it entered.
    pub static NOT_LEFT = {
        id: "region::not_left",
        severity: Severity::Violation,
        title: "critical or guarded region not left",
        explain: include_str!("not_left.md"),
        fix: "leave the region on every path out of the routine",
        windows: "bug check 0x1 on the way back to user mode; 0x20 when a thread ends; 0xC4 \
            (0xC5) under Driver Verifier",
        contract: &[
            "kernel/critical-regions-and-guarded-regions",
            "ddi/ntddk/nf-ntddk-keentercriticalregion",
            "debugger/bug-check-0x1--apc-index-mismatch",
        ],
        since: "0.1.0",
    }
}

/// Compares the depth in regions before and after each routine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NotLeft;

impl Monitor for NotLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::RegionFault]
    }

    fn region_fault(&mut self, fault: &RegionFault, _at: Moment<'_>, out: &mut Findings) {
        let what = match fault.misuse {
            RegionMisuse::NotLeft(entry) if is_judged(entry) => {
                format!("{} returns in", describe::entry(entry))
            }
            RegionMisuse::ThreadEnded => "the thread ends in".to_owned(),
            _ => return,
        };
        let region = describe::region(fault.region);
        let message = format!("{what} {region} that it entered");
        out.report(&NOT_LEFT, message).note_if(fault.entered, "the region was entered here");
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
