//! A pool block must be freed with its own tag.

use events::{EventKind, PoolFree, PoolFreeOutcome};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when the tag passed to a free is not that of the allocation.
    pub static WRONG_TAG = {
        id: "pool::wrong_tag",
        severity: Severity::Violation,
        title: "pool block freed with another tag",
        explain: include_str!("wrong_tag.md"),
        fix: "pass the tag of the allocation; one constant per kind of block helps",
        windows: "bug check 0xC2 with parameter 1 = 0x0A",
        contract: &[
            "ddi/wdm/nf-wdm-exfreepoolwithtag",
            "debugger/bug-check-0xc2--bad-pool-caller",
        ],
        since: "0.1.0",
    }
}

/// Compares the tag of a free with that of the allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WrongTag;

impl Monitor for WrongTag {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::PoolFree]
    }

    fn pool_free(&mut self, free: &PoolFree, _: Moment<'_>, out: &mut Findings) {
        if let PoolFreeOutcome::WrongTag(block) = &free.outcome {
            let given = describe::tag(free.tag);
            let message = format!("{} freed with tag {given}", describe::block(block));
            let finding = out.report(&WRONG_TAG, message);
            describe::history_of(finding, block);
        }
    }
}
