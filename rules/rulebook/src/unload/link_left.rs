//! Symbolic links must be deleted before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each symbolic link of a driver that exists after it was unloaded, or after its
    /// `DriverEntry` failed.
    pub static LINK_LEFT = {
        id: "unload::link_left",
        severity: Severity::Violation,
        title: "symbolic link left behind at unload",
        explain: include_str!("link_left.md"),
        fix: "call `IoDeleteSymbolicLink` in Unload, and on the error paths of `DriverEntry`",
        windows: "no bug check: the link leads nowhere, and the driver fails to load the next time \
            because the name is taken",
        contract: &[
            "kernel/non-pnp-driver-s-unload-routine",
            "ddi/wdm/nf-wdm-iodeletesymboliclink",
        ],
        since: "0.1.0",
    }
}

/// Judges what is left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkLeft;

impl Monitor for LinkLeft {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::SymbolicLink(name) = &left.resource else { return };
        let when = describe::gone(left);
        let name = describe::named(name);
        let finding =
            out.report(&LINK_LEFT, format!("the symbolic link {name} still exists ({when})"));
        describe::taken_at(finding, left, at);
    }
}
