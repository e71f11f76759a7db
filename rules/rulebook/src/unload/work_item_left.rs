//! Work items must be freed before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each work item that a driver allocated and did not free before it was gone.
    pub static WORK_ITEM_LEFT = {
        id: "unload::work_item_left",
        severity: Severity::Violation,
        title: "work item left behind at unload",
        explain: include_str!("work_item_left.md"),
        fix: "call `IoFreeWorkItem` when the item is no longer used, at the latest in Unload",
        windows: "no bug check: the memory is lost until the next boot",
        contract: &["ddi/wdm/nf-wdm-ioallocateworkitem", "kernel/system-worker-threads"],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkItemLeft;

impl Monitor for WorkItemLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        if left.resource != Resource::WorkItem {
            return;
        }
        let when = describe::gone(left);
        let finding = out.report(&WORK_ITEM_LEFT, format!("a work item is never freed ({when})"));
        describe::taken_at(finding, left, at);
    }
}
