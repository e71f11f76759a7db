//! Ke: processors, threads, dispatcher objects, waits, IRQL, spin locks, DPCs, timers, exceptions.

pub mod thread;

mod apc_region;
mod bug_check;
mod c_specific_handler;
mod dispatcher;
mod dpc;
mod event;
mod exception;
mod fast_mutex;
mod irql;
mod mutex;
mod privileged;
mod processor;
mod scheduler;
mod semaphore;
mod spin_lock;
mod time;
mod timer;
mod unwind;
mod wait;

use std::collections::{BTreeMap, VecDeque};

use events::ThreadId;
use guest_memory::GuestAddr;

pub use dispatcher::DispatcherType;
pub(crate) use processor::DATA;
pub use processor::start;
pub use thread::{Thread, ThreadState};

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    apc_region::EXPORTS,
    bug_check::EXPORTS,
    c_specific_handler::EXPORTS,
    dpc::EXPORTS,
    event::EXPORTS,
    fast_mutex::EXPORTS,
    irql::EXPORTS,
    mutex::EXPORTS,
    processor::EXPORTS,
    scheduler::EXPORTS,
    semaphore::EXPORTS,
    spin_lock::EXPORTS,
    time::EXPORTS,
    timer::EXPORTS,
    wait::EXPORTS,
];

/// State of the component.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every thread, by number.
    pub threads: BTreeMap<ThreadId, Thread>,
    /// Threads that could run, in order.
    ready: VecDeque<ThreadId>,
    /// The thread that runs DPCs while nothing else does.
    pub idle_thread: Option<ThreadId>,
    /// Counts waits, so that waiters are served in order.
    next_wait: u64,
    /// Queued DPCs, first to run first.
    dpcs: VecDeque<GuestAddr>,
    /// Set timers by due time and order of setting.
    timers: BTreeMap<(u64, u64), GuestAddr>,
    next_timer: u64,
}

impl State {
    /// A thread that exists.
    pub fn thread(&self, id: ThreadId) -> &Thread {
        self.threads.get(&id).expect("thread numbers name threads")
    }

    /// A thread that exists.
    pub fn thread_mut(&mut self, id: ThreadId) -> &mut Thread {
        self.threads.get_mut(&id).expect("thread numbers name threads")
    }

    /// The thread behind an `ETHREAD` body.
    pub fn thread_at(&self, object: GuestAddr) -> Option<&Thread> {
        self.threads.values().find(|thread| thread.object == object)
    }

    /// Whether the address lies in the guard page of a kernel stack.
    pub fn is_stack_guard(&self, at: GuestAddr) -> bool {
        let below = |low: GuestAddr| at < low && low.0 - at.0 <= guest_memory::PAGE_BYTES;
        self.threads.values().any(|thread| below(thread.stack_low))
    }
}
