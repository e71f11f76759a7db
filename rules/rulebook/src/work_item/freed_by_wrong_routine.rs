//! A work item is given back by the routine that matches its making.

use events::{EventKind, WorkItemFault};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a work item is given back by the routine of the other pair.
    pub static FREED_BY_WRONG_ROUTINE = {
        id: "work_item::freed_by_wrong_routine",
        severity: Severity::Violation,
        title: "work item given back by the wrong routine",
        explain: include_str!("freed_by_wrong_routine.md"),
        fix: "pair `IoAllocateWorkItem` with `IoFreeWorkItem`, and `IoInitializeWorkItem` with \
            `IoUninitializeWorkItem`",
        windows: "memory of the driver's own is freed as if it came from `IoAllocateWorkItem`, or \
            that of an allocated item is lost",
        contract: &["ddi/wdm/nf-wdm-iofreeworkitem", "ddi/wdm/nf-wdm-iouninitializeworkitem"],
        since: "0.1.0",
    }
}

/// Hears of work items that are given back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreedByWrongRoutine;

impl Monitor for FreedByWrongRoutine {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::WorkItemFault]
    }

    fn work_item_fault(&mut self, fault: &WorkItemFault, _: Moment<'_>, out: &mut Findings) {
        let (message, made) = match fault.is_allocated {
            true => ("a work item that was allocated is only uninitialised", "allocated here"),
            false => ("a work item in memory of the driver's own is freed", "initialised here"),
        };
        out.report(&FREED_BY_WRONG_ROUTINE, message).note(fault.made, made);
    }
}
