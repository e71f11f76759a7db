//! A pool block must not be freed twice.

use events::{EventKind, PoolFree, PoolFreeOutcome};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver frees a block that it freed before.
    pub static DOUBLE_FREE = {
        id: "pool::double_free",
        severity: Severity::Violation,
        title: "pool block freed twice",
        explain: include_str!("double_free.md"),
        fix: "free a block at one place, and set the pointer to null there",
        windows: "bug check 0xC2 (0x06 or 0x07), or 0xC4 (0x13 or 0x14) under Driver Verifier; the \
            second owner of the memory if it was reused",
        contract: &[
            "ddi/wdm/nf-wdm-exfreepoolwithtag",
            "debugger/bug-check-0xc2--bad-pool-caller",
        ],
        since: "0.1.0",
    }
}

/// Watches frees of blocks that were freed before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DoubleFree;

impl Monitor for DoubleFree {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::PoolFree]
    }

    fn pool_free(&mut self, free: &PoolFree, _: Moment<'_>, out: &mut Findings) {
        if let PoolFreeOutcome::AlreadyFreed(block) = &free.outcome {
            let finding = out.report(&DOUBLE_FREE, format!("{} again", describe::block(block)));
            describe::history_of(finding, block);
        }
    }
}
