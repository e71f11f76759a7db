//! References to objects must be given back before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each reference to an object that a driver took by pointer and that is not given
    /// back when it was unloaded, or when its `DriverEntry` failed.
    pub static REFERENCE_LEFT = {
        id: "unload::reference_left",
        severity: Severity::Violation,
        title: "object reference left at unload",
        explain: include_str!("reference_left.md"),
        fix: "call `ObDereferenceObject` once for each reference, when its pointer is done with",
        windows: "no bug check: the object is never freed; a process or a thread of which one is \
            held stays after its end, and a file is never closed",
        contract: &[
            "kernel/life-cycle-of-an-object",
            "ddi/wdm/nf-wdm-obreferenceobjectbyhandle",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReferenceLeft;

impl Monitor for ReferenceLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Reference(name) = &left.resource else { return };
        let when = describe::gone(left);
        let name = describe::named(name);
        let message = format!("a reference to {name} is not given back ({when})");
        let finding = out.report(&REFERENCE_LEFT, message);
        describe::taken_at(finding, left, at);
    }
}
