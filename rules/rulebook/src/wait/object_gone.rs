//! The memory of a dispatcher object must stay while a thread waits.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the memory of a dispatcher object is given back while a thread waits for it.
    pub static OBJECT_GONE = {
        id: "wait::object_gone",
        severity: Severity::Violation,
        title: "memory of an object given back while a thread waits for it",
        explain: include_str!("object_gone.md"),
        fix: "let every wait end before the memory goes",
        windows: "the thread waits for ever, or bug check 0xA, 0xD1 or 0x139 (3) when the \
            kernel follows the list of waiters",
        contract: &[
            "kernel/introduction-to-kernel-dispatcher-objects",
            "ddi/wdm/nf-wdm-keinitializeevent",
        ],
        since: "0.1.0",
    }
}

/// Judges the memory of what threads wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ObjectGone;

impl Monitor for ObjectGone {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Dispatcher
            || !matches!(object.fault, KeptFault::Freed | KeptFault::OnReturnedStack)
        {
            return;
        }
        let how = describe::kept_loss(object.fault);
        out.report(&OBJECT_GONE, format!("{how} with an object in it that a thread waits for"));
    }
}
