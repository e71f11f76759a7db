//! A timer must not be initialised while it is set.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a timer is initialised again while it is set.
    pub static INITIALIZED_WHILE_SET = {
        id: "timer::initialized_while_set",
        severity: Severity::Violation,
        title: "timer initialised while it is set",
        explain: include_str!("initialized_while_set.md"),
        fix: "initialise it once; to set it anew call `KeSetTimer` again",
        windows: "the list of timers is corrupt: bug check 0xC7, 0x139 (3) or 0xA some time later",
        contract: &[
            "kernel/timer-objects-and-dpcs",
            "ddi/wdm/nf-wdm-keinitializetimer",
        ],
        since: "0.1.0",
    }
}

/// Judges the second initialisation of timers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InitializedWhileSet;

impl Monitor for InitializedWhileSet {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Timer || !matches!(object.fault, KeptFault::Initialized) {
            return;
        }
        let finding = out.report(&INITIALIZED_WHILE_SET, "the timer is set");
        finding.note_if(object.since, "the timer was set here");
    }
}
