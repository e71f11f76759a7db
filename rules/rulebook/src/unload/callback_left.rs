//! Callbacks must be unregistered before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each callback that a driver registered and that is registered after it was
    /// unloaded, or after its `DriverEntry` failed.
    pub static CALLBACK_LEFT = {
        id: "unload::callback_left",
        severity: Severity::Violation,
        title: "callback still registered at unload",
        explain: include_str!("callback_left.md"),
        fix: "unregister the callback in Unload, and on the error paths of `DriverEntry`",
        windows: "the next call of it runs code that is gone: bug check 0xCE",
        contract: &[
            "kernel/unload-routine-functionality",
            "ddi/wdm/nf-wdm-kederegisterprocessorchangecallback",
            "kernel/using-a-driver-defined-callback-object",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallbackLeft;

impl Monitor for CallbackLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Callback(kind) = left.resource else { return };
        let when = describe::gone(left);
        let message = format!("a {kind} callback is still registered ({when})");
        describe::taken_at(out.report(&CALLBACK_LEFT, message), left, at);
    }
}
