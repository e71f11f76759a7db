//! A dispatcher object must be initialised before it is used.

use events::{EventKind, KeptFault, KeptKind, KeptObject};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a driver waits for, signals or sets what is no initialised dispatcher object.
    pub static NOT_INITIALIZED = {
        id: "wait::not_initialized",
        severity: Severity::Violation,
        title: "dispatcher object used before it was initialised",
        explain: include_str!("not_initialized.md"),
        fix: "call the routine that initialises it once, before the first use",
        windows: "bug check 0xA: the kernel follows its list of waiters at DISPATCH_LEVEL",
        contract: &[
            "kernel/introduction-to-kernel-dispatcher-objects",
            "ddi/wdm/nf-wdm-kewaitforsingleobject",
            "ddi/wdm/nf-wdm-keinitializeevent",
        ],
        since: "0.1.0",
    }
}

/// Judges what is used as a dispatcher object.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NotInitialized;

impl Monitor for NotInitialized {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::KeptObject]
    }

    fn kept_object(&mut self, object: &KeptObject, _at: Moment<'_>, out: &mut Findings) {
        let is_dispatcher = matches!(object.kind, KeptKind::Dispatcher | KeptKind::Timer);
        if !is_dispatcher || object.fault != KeptFault::NotInitialized {
            return;
        }
        let at_address = object.at;
        let message = format!("no dispatcher object stands at {at_address}");
        out.report(&NOT_INITIALIZED, message);
    }
}
