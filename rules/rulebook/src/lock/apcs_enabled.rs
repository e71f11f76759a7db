//! Some locks must be acquired with APCs disabled.

use events::{EventKind, LockKind, LockRequest};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

use super::words;
use crate::describe;

declare_rule! {
    /// Raised when a thread that can be suspended acquires a lock without disabling APCs.
    pub static APCS_ENABLED = {
        id: "lock::apcs_enabled",
        severity: Severity::Violation,
        title: "lock acquired with normal kernel APCs enabled",
        explain: include_str!("apcs_enabled.md"),
        fix: "call KeEnterCriticalRegion before the lock is acquired and KeLeaveCriticalRegion \
            after its release",
        windows: "a suspended thread keeps the lock: everybody else hangs; bug check 0xC4 \
            (0x37, 0xEA) under Driver Verifier",
        contract: &[
            "ddi/wdm/nf-wdm-exacquireresourceexclusivelite",
            "ddi/wdm/nf-wdm-keacquireguardedmutexunsafe",
            "ddi/wdm/nf-wdm-exacquirepushlockexclusive",
            "devtest/wdm-withincriticalregion",
        ],
        since: "0.1.0",
    }
}

/// Compares what the routine asks for with the state of its caller.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ApcsEnabled;

impl Monitor for ApcsEnabled {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::LockRequest]
    }

    fn lock_request(&mut self, request: &LockRequest, at: Moment<'_>, out: &mut Findings) {
        // System threads cannot be suspended by anybody but the system. The unsafe routines of fast
        // mutexes have it as a condition of their IRQL limit.
        let is_judged = request.is_user_thread && request.lock.kind != LockKind::FastMutex;
        if request.are_apcs_disabled || !is_judged {
            return;
        }
        let (lock, routine) = (words::name(request.lock), words::routine(at));
        let message = format!("{routine} acquires {lock} while APCs are enabled");
        describe::request_history(out.report(&APCS_ENABLED, message), at);
    }
}
