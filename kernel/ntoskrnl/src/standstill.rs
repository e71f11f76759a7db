//! Threads that wait while nothing else can run.

use events::{Event, SleepingThread, Standstill, ThreadId};

use crate::{CallResult, Kernel, ke::Thread};

impl Kernel {
    /// Shows who waits now that nothing can run: a wait that neither a time out nor an APC ends
    /// ends only by what another thread does.
    pub(crate) fn report_standstill(&mut self) -> CallResult<()> {
        let threads = self.ke.threads.values();
        let sleeping: Vec<SleepingThread> =
            threads.filter_map(|thread| self.sleeping(thread)).collect();
        if sleeping.len() > 1 {
            self.emit(Event::Standstill(Standstill { sleeping }))?;
        }
        Ok(())
    }

    fn sleeping(&self, thread: &Thread) -> Option<SleepingThread> {
        let (wait, _) = thread.wait.as_ref()?;
        let is_for_all = wait.is_all || wait.objects.len() == 1;
        let can_be_woken = wait.is_alertable || thread.is_user_wait || wait.due_100ns.is_some();
        if !is_for_all || can_be_woken {
            return None;
        }
        let joined = wait.objects.iter().filter_map(|&object| self.ke.thread_at(object));
        let joins: Vec<ThreadId> = joined.map(|thread| thread.id).collect();
        Some(SleepingThread { thread: thread.id, objects: wait.objects.clone(), joins })
    }
}
