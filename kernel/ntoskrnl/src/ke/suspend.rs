//! Suspension of a thread by user mode.
//!
//! Whoever may open a thread may suspend it (`SuspendThread`). The kernel carries that out with a
//! normal kernel APC: the thread stops wherever such an APC can be delivered, inside a driver too,
//! and holds on to whatever it holds. Source: `kernel/types-of-apcs`, `kernel/disabling-apcs`.

use events::SUSPENSION;
use nt_abi::Irql;

use crate::{CallResult, Kernel, ke::ThreadState};

impl Kernel {
    /// Asks whether user mode suspends the current thread where it is; says whether it does. The
    /// thread goes on when nothing else can run any more.
    pub(crate) fn suspend_if_chosen(&mut self) -> CallResult<bool> {
        let is_low = self.irql() == Irql::PASSIVE_LEVEL;
        let thread = self.current_thread();
        // No region, no mutex: normal kernel APCs are delivered.
        let gets_apcs = thread.critical_regions == 0 && thread.guarded_regions == 0;
        let can_be = is_low && gets_apcs && !thread.is_system && !thread.is_ending;
        if !can_be || !self.is_contended() {
            return Ok(false);
        }
        // The same place beside other requests is another question.
        let beside = self.io.requests_under_way();
        let is_chosen = self.ask_here(SUSPENSION, 2, beside)? == 1;
        if is_chosen {
            self.trace(|_| "the thread is suspended".to_owned());
            self.current_thread().is_suspended = true;
            self.put_away(ThreadState::Waiting);
        }
        Ok(is_chosen)
    }

    /// Resumes the suspended threads; says whether there were any.
    pub(crate) fn resume_suspended(&mut self) -> bool {
        let suspended = self.ke.threads.values().filter(|thread| thread.is_suspended);
        let ids: Vec<_> = suspended.map(|thread| thread.id).collect();
        for &id in &ids {
            self.ke.thread_mut(id).is_suspended = false;
            self.ke.make_ready(id);
        }
        !ids.is_empty()
    }
}
