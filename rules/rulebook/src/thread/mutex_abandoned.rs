//! A thread must release its mutexes before it ends.

use events::{EventKind, MutexAbandon};
use verifier::{Findings, Moment, Monitor, Severity, declare_rule};

declare_rule! {
    /// Raised when a thread ends that owns a mutex.
    pub static MUTEX_ABANDONED = {
        id: "thread::mutex_abandoned",
        severity: Severity::Violation,
        title: "thread ended that owns a mutex",
        explain: include_str!("mutex_abandoned.md"),
        fix: "call `KeReleaseMutex` as often as the wait succeeded, on every path",
        windows: "bug check 0x4000008A (THREAD_TERMINATE_HELD_MUTEX)",
        contract: &[
            "ddi/wdm/nf-wdm-keinitializemutex",
            "kernel/introduction-to-mutex-objects",
            "debugger/bug-check-0x4000008a--thread-terminate-held-mutex",
        ],
        since: "0.1.0",
    }
}

/// Judges the end of threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MutexAbandoned;

impl Monitor for MutexAbandoned {
    fn hears(&self) -> &'static [EventKind] {
        &[EventKind::MutexAbandon]
    }

    fn mutex_abandon(&mut self, abandon: &MutexAbandon, _at: Moment<'_>, out: &mut Findings) {
        let mutex = abandon.mutex;
        out.report(&MUTEX_ABANDONED, format!("the mutex at {mutex} is still owned"));
    }
}
