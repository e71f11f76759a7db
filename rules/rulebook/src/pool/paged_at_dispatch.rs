//! Paged pool must not be allocated or freed at `DISPATCH_LEVEL` or above.

use events::{EventKind, PoolAllocate, PoolFree, PoolFreeOutcome};
use nt_abi::Irql;
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use crate::describe;

declare_rule! {
    /// Raised when a driver asks for paged pool, or frees it, while the IRQL is `DISPATCH_LEVEL` or
    /// higher.
    pub static PAGED_AT_DISPATCH = {
        id: "pool::paged_at_dispatch",
        severity: Severity::Violation,
        title: "paged pool allocated or freed at raised IRQL",
        explain: include_str!("paged_at_dispatch.md"),
        fix: "use non-paged pool (`POOL_FLAG_NON_PAGED`), or allocate and free before raising the \
            IRQL",
        windows: "bug check 0xC4 (0x01 or 0x11) under Driver Verifier, otherwise 0xC2 (0x08 or \
            0x09), or 0xA when a page is out",
        contract: &[
            "ddi/wdm/nf-wdm-exallocatepool2",
            "ddi/wdm/nf-wdm-exallocatepoolwithtag",
            "devtest/wdm-irqlexallocatepool",
        ],
        since: "0.1.0",
    }
}

/// Watches paged pool at raised IRQL.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PagedAtDispatch;

impl Monitor for PagedAtDispatch {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::PoolAllocate, EventKind::PoolFree]
    }

    fn pool_allocate(&mut self, request: &PoolAllocate, at: Moment<'_>, out: &mut Findings) {
        let irql = at.origin.irql;
        if !request.is_paged || irql <= Irql::APC_LEVEL {
            return;
        }
        let size = describe::bytes(request.size_bytes);
        let message = format!("{size} of paged pool, asked for at {irql}");
        describe::irql_history(out.report(&PAGED_AT_DISPATCH, message), at);
    }

    fn pool_free(&mut self, free: &PoolFree, at: Moment<'_>, out: &mut Findings) {
        if let PoolFreeOutcome::PagedTooHigh(block) = &free.outcome {
            let irql = at.origin.irql;
            let what = describe::block(block);
            let finding = out.report(&PAGED_AT_DISPATCH, format!("{what} freed at {irql}"));
            describe::history_of(finding, block);
            describe::irql_history(finding, at);
        }
    }
}
