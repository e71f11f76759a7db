//! Ke: processors, threads, dispatcher objects, waits, IRQL, spin locks, DPCs, timers, exceptions.

pub mod thread;

mod affinity;
mod apc;
mod apc_region;
mod broadcast;
mod bug_check;
mod c_specific_handler;
pub(crate) mod device_queue;
mod dispatcher;
mod dpc;
mod epilogue;
mod event;
mod ex_timer;
mod exception;
mod fast_mutex;
mod guarded_mutex;
mod interrupt;
mod interrupt_lock;
mod irql;
mod kept;
mod lock_events;
pub(crate) mod mutex;
mod order;
mod privileged;
mod processor;
mod processor_change;
mod queue;
mod scheduler;
mod semaphore;
pub(crate) mod spin_lock;
mod suspend;
mod time;
mod timer;
mod unwind;
mod wait;

use std::collections::VecDeque;

use events::{Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::structures::ke::{KAPC, KDPC, KTIMER};
use saved::{Saved, SavedMap, kept};

use crate::Kernel;

pub use apc_region::RegionDepth;
pub use dispatcher::DispatcherType;
pub(crate) use dpc::{flush as flush_dpcs, initialize_dpc};
pub(crate) use interrupt::Connection;
pub use interrupt::{InterruptLine, LineKind};
pub(crate) use lock_events::Wish;
pub(crate) use processor::DATA;
pub use processor::start;
pub(crate) use spin_lock::Request as SpinLockRequest;
pub use thread::{SpinState, Thread, ThreadState};

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    affinity::EXPORTS,
    apc::EXPORTS,
    apc_region::EXPORTS,
    broadcast::EXPORTS,
    bug_check::EXPORTS,
    c_specific_handler::EXPORTS,
    device_queue::EXPORTS,
    dpc::EXPORTS,
    event::EXPORTS,
    ex_timer::EXPORTS,
    fast_mutex::EXPORTS,
    guarded_mutex::EXPORTS,
    interrupt_lock::EXPORTS,
    irql::EXPORTS,
    mutex::EXPORTS,
    processor::EXPORTS,
    processor_change::EXPORTS,
    queue::EXPORTS,
    scheduler::EXPORTS,
    semaphore::EXPORTS,
    spin_lock::EXPORTS,
    time::EXPORTS,
    timer::EXPORTS,
    wait::EXPORTS,
];

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        /// Every thread, by number.
        pub threads: SavedMap<ThreadId, Thread>,
        /// Threads that could run, in order.
        ready: Saved<VecDeque<ThreadId>>,
        /// For each processor the thread that runs DPCs while nothing else does.
        pub idle_threads: Saved<Vec<ThreadId>>,
        /// How many threads spin.
        pub(crate) spinning: usize,
        /// Counts waits, so that waiters are served in order.
        next_wait: u64,
        /// Queued DPCs of each processor, first to run first.
        dpcs: Saved<dpc::Queues>,
        /// Spin locks that are held.
        spin_locks: SavedMap<GuestAddr, spin_lock::Holder>,
        /// Fast and guarded mutexes that are held.
        fast_mutexes: SavedMap<GuestAddr, fast_mutex::Owner>,
        /// Mutexes that are owned: by whom, and since when.
        mutexes: SavedMap<GuestAddr, mutex::Owner>,
        /// Set timers by due time and order of setting, with the processor that set them.
        timers: SavedMap<(u64, u64), timer::Armed>,
        next_timer: u64,
        /// Waits that time out: when, and whose.
        due_waits: SavedMap<(u64, ThreadId), ()>,
        /// Timers that the system allocated.
        ex_timers: SavedMap<GuestAddr, ex_timer::ExTimer>,
        /// Interrupts of devices.
        interrupts: Saved<interrupt::Interrupts>,
        /// A routine that all processors are called to.
        broadcast: Saved<Option<broadcast::Broadcast>>,
        /// Counts that headers of the WDK let drivers keep without a lock: where, how many bytes.
        unordered_counts: SavedMap<GuestAddr, u64>,
        /// Callbacks about processors, by handle.
        processor_callbacks: SavedMap<GuestAddr, processor_change::Registration>,
    }
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
        self.threads.values().find(|thread| thread.object == object && !object.is_null())
    }

    /// Set timers and queued APCs of the driver whose image this is: those that stand in it,
    /// and those whose routine does. What of them, and since when.
    pub(crate) fn left_in(
        k: &Kernel,
        base: GuestAddr,
        size_bytes: u64,
    ) -> Vec<(&'static str, Seq)> {
        let is_inside = |at: GuestAddr| at.0.wrapping_sub(base.0) < size_bytes;
        let word = |at: GuestAddr| {
            let mut bytes = [0; 8];
            // Memory that was given back is judged where it was.
            let read = k.memory.read(guest_memory::Accessor::Machine, at, &mut bytes);
            read.map_or(GuestAddr::NULL, |()| GuestAddr(u64::from_le_bytes(bytes)))
        };
        let routine_of_dpc = |dpc: GuestAddr| word(dpc.add(KDPC::DeferredRoutine.offset_bytes));
        let is_dpc_left = |dpc: GuestAddr| is_inside(dpc) || is_inside(routine_of_dpc(dpc));
        let is_timer_left = |timer: GuestAddr| {
            let dpc = word(timer.add(KTIMER::Dpc.offset_bytes));
            is_inside(timer) || (!dpc.is_null() && is_dpc_left(dpc))
        };
        let is_apc_left = |apc: GuestAddr| {
            let routines = [KAPC::KernelRoutine, KAPC::RundownRoutine, KAPC::NormalRoutine];
            is_inside(apc) || routines.iter().any(|r| is_inside(word(apc.add(r.offset_bytes))))
        };
        let timers = k.ke.set_timers().filter(|&(at, _)| is_timer_left(at));
        let mut left: Vec<_> = timers.map(|(_, since)| ("timer", since)).collect();
        let apcs = k.ke.threads.values().flat_map(|thread| thread.apcs.all());
        left.extend(apcs.filter(|&(at, _)| is_apc_left(at)).map(|(_, since)| ("APC", since)));
        left
    }

    /// Whether the address lies in the guard page of a kernel stack.
    pub fn is_stack_guard(&self, at: GuestAddr) -> bool {
        let below = |low: GuestAddr| at < low && low.0 - at.0 <= guest_memory::PAGE_BYTES;
        self.threads.values().any(|thread| below(thread.stack_low))
    }
}
