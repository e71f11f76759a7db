//! Handles must be closed before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each handle that a driver opened and that is open after it was unloaded, or after
    /// its `DriverEntry` failed.
    pub static HANDLE_LEFT = {
        id: "unload::handle_left",
        severity: Severity::Violation,
        title: "handle left open at unload",
        explain: include_str!("handle_left.md"),
        fix: "call `ZwClose` for each handle when it is no longer needed",
        windows: "the object stays alive until the next boot, or the process ends; a registry hive \
            or a volume may not be unloadable",
        contract: &[
            "kernel/object-handles",
            "ddi/ntifs/nf-ntifs-ntclose",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HandleLeft;

impl Monitor for HandleLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Handle(name) = &left.resource else { return };
        let when = describe::gone(left);
        let name = describe::named(name);
        let finding =
            out.report(&HANDLE_LEFT, format!("a handle to {name} is still open ({when})"));
        describe::taken_at(finding, left, at);
    }
}
