//! Who runs next. One processor for now: round robin among ready threads, highest priority first.

use events::ThreadId;
use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, exports,
    ke::{State, ThreadState},
};

exports![KeSetPriorityThread, KeQueryPriorityThread];

impl State {
    /// Makes a thread ready.
    pub(crate) fn make_ready(&mut self, id: ThreadId) {
        self.thread_mut(id).state = ThreadState::Ready;
        self.ready.push_back(id);
    }

    /// Takes the next thread to run.
    pub(crate) fn next_ready(&mut self) -> Option<ThreadId> {
        let best = self.ready.iter().map(|&id| self.thread(id).priority).max()?;
        let index = self.ready.iter().position(|&id| self.thread(id).priority == best)?;
        self.ready.remove(index)
    }

    /// Whether another thread could run.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl Kernel {
    /// Ends the current thread's quantum: if another thread is ready, this one goes behind it.
    pub(crate) fn end_quantum(&mut self) {
        let Some(id) = self.core().thread else { return };
        if self.ke.has_ready() {
            self.put_away(ThreadState::Ready);
            self.ke.ready.push_back(id);
        }
    }

    /// The current thread ends; who waits for it goes on.
    pub(crate) fn end_thread(&mut self) -> CallResult<()> {
        let Some(id) = self.core().thread else {
            return Err(Stop::unsupported("the end of a thread without one"));
        };
        self.put_away(ThreadState::Terminated);
        let thread = self.ke.thread_mut(id);
        thread.state = ThreadState::Terminated;
        thread.activations.clear();
        thread.result = Some(0);
        let object = thread.object;
        self.signal(object, 1)
    }
}

/// Sets the run-time priority of a thread; returns the old one.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-kesetprioritythread")]
fn KeSetPriorityThread(k: &mut Kernel, thread: GuestAddr, priority: i32) -> CallResult<i32> {
    let Some(id) = k.ke.thread_at(thread).map(|t| t.id) else {
        return Err(Stop::unsupported("KeSetPriorityThread on something that is no thread"));
    };
    // "Priority: LOW_REALTIME_PRIORITY .. HIGH_PRIORITY" and below; 0 is the zero page thread's,
    // above 31 there is
    // nothing: the kernel does not check, and the scheduler's tables end there.
    if !(1..=31).contains(&priority) {
        return Err(Stop::unsupported(format!("KeSetPriorityThread with priority {priority}")));
    }
    Ok(std::mem::replace(&mut k.ke.thread_mut(id).priority, priority))
}

/// Returns the current priority of a thread.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-kequeryprioritythread")]
fn KeQueryPriorityThread(k: &mut Kernel, thread: GuestAddr) -> CallResult<Flow> {
    match k.ke.thread_at(thread) {
        Some(thread) => Ok(Flow::Return(u64::from(thread.priority.unsigned_abs()))),
        None => Err(Stop::unsupported("KeQueryPriorityThread on something that is no thread")),
    }
}
