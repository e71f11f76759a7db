//! Pool must be given back before the driver is gone.

use events::{EventKind, LeftBehind, Resource};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised for each pool block of a driver that is still allocated after it was unloaded.
    pub static LEAKED_AT_UNLOAD = {
        id: "pool::leaked_at_unload",
        severity: Severity::Violation,
        title: "pool block leaked at unload",
        explain: include_str!("leaked_at_unload.md"),
        fix: "free the block in the Unload routine, or where its owner goes away",
        windows: "the memory is lost until the next boot; bug check 0xC4 (0x62) under Driver \
            Verifier",
        contract: &[
            "kernel/unload-routine-functionality",
            "devtest/pool-tracking",
            "debugger/bug-check-0xc4--driver-verifier-detected-violation",
        ],
        since: "0.1.0",
    }
}

/// Judges the pool blocks that are left at unload.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LeakedAtUnload;

impl Monitor for LeakedAtUnload {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LeftBehind]
    }

    fn left_behind(&mut self, left: &LeftBehind, at: Moment<'_>, out: &mut Findings) {
        let Resource::Pool { size_bytes, tag } = &left.resource else { return };
        let when = describe::gone(left);
        let tag = describe::tag(*tag);
        let verb = if *size_bytes == 1 { "is" } else { "are" };
        let size = describe::bytes(*size_bytes);
        let message = format!("{size} with tag {tag} {verb} never freed ({when})");
        let finding = out.report(&LEAKED_AT_UNLOAD, message);
        describe::taken_at(finding, left, at);
    }
}
