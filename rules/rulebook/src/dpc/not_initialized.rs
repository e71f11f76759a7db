//! A DPC must be initialised before it is queued.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a DPC is queued, or given to a timer, that was never initialised.
    pub static NOT_INITIALIZED = {
        id: "dpc::not_initialized",
        severity: Severity::Violation,
        title: "DPC used before it was initialised",
        explain: include_str!("not_initialized.md"),
        fix: "call `KeInitializeDpc` once before the first use",
        windows: "the kernel calls whatever address stands in the object: bug check 0xD1, \
            0xFC or 0xA",
        contract: &[
            "ddi/wdm/nf-wdm-keinsertqueuedpc",
            "ddi/wdm/nf-wdm-keinitializedpc",
        ],
        since: "0.1.0",
    }
}

/// Judges what is queued as a DPC.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NotInitialized;

impl Monitor for NotInitialized {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        if object.kind != KeptKind::Dpc || !matches!(object.fault, KeptFault::NotInitialized) {
            return;
        }
        let at_address = object.at;
        out.report(&NOT_INITIALIZED, format!("no DPC stands at {at_address}"));
    }
}
