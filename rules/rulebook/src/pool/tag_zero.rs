//! Pool must be asked for with a tag.

use events::{EventKind, PoolAllocate};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver asks for pool with a tag of 0.
    pub static TAG_ZERO = {
        id: "pool::tag_zero",
        severity: Severity::Violation,
        title: "pool allocated with tag 0",
        explain: include_str!("tag_zero.md"),
        fix: "pass a tag of one to four printable characters that names the driver",
        windows: "bug check 0xC2 with parameter 1 = 0x9B under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-exallocatepool2",
            "ddi/wdm/nf-wdm-exallocatepoolwithtag",
            "debugger/bug-check-0xc2--bad-pool-caller",
        ],
        since: "0.1.0",
    }
}

/// Watches the tag of pool requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TagZero;

impl Monitor for TagZero {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::PoolAllocate]
    }

    fn pool_allocate(&mut self, request: &PoolAllocate, _: Moment<'_>, out: &mut Findings) {
        if request.tag == 0 {
            out.report(&TAG_ZERO, format!("{} asked for", describe::bytes(request.size_bytes)));
        }
    }
}
