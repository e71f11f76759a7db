//! Locks live in resident memory.

use events::{EventKind, LockKind, LockRequest};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;
use crate::describe;

declare_rule! {
    /// Raised when a lock is acquired that stands in pageable memory.
    pub static IN_PAGED_MEMORY = {
        id: "lock::in_paged_memory",
        severity: Severity::Violation,
        title: "lock in memory that may be paged out",
        explain: include_str!("in_paged_memory.md"),
        fix: "put the lock in non-paged pool, a device extension or a non-paged section",
        windows: "bug check 0xA or 0xD1 when the page is out; 0xC4 under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-keinitializespinlock",
            "ddi/wdm/nf-wdm-exinitializefastmutex",
            "ddi/wdm/nf-wdm-exinitializeresourcelite",
            "ddi/wdm/nf-wdm-keinitializemutex",
        ],
        since: "0.1.0",
    }
}

/// Looks at where the lock stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InPagedMemory;

impl Monitor for InPagedMemory {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockRequest]
    }

    fn lock_request(&mut self, request: &LockRequest, at: Moment<'_>, out: &mut Findings) {
        // The pages of push locks set no condition.
        if !request.is_pageable || request.lock.kind == LockKind::PushLock {
            return;
        }
        let (lock, routine) = (words::name(request.lock), words::routine(at));
        let message = format!("{routine} acquires {lock}, which may be paged out");
        describe::irql_history(out.report(&IN_PAGED_MEMORY, message), at);
    }
}
