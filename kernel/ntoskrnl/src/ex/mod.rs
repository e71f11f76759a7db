//! Ex: pool, lookaside lists, interlocked lists, executive locks, raising exceptions, work
//! queues.

pub mod pool;

mod gate;
mod interlocked_list;
mod lookaside;
mod push_lock;
mod raise;
mod reader_writer_spin_lock;
mod resource;
mod rundown;
mod sequenced_list;
mod shared_lock;
mod work_queue;

use std::collections::{BTreeSet, VecDeque};

use guest_memory::GuestAddr;
use saved::{Saved, SavedMap, kept};

pub(crate) use work_queue::{
    WorkQueue, WorkerInvalid, check_return, has_work, next_priority, queue_work, take_work,
    worker_invalid,
};

use crate::{CallResult, Kernel};

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    pool::EXPORTS,
    lookaside::EXPORTS,
    sequenced_list::EXPORTS,
    interlocked_list::EXPORTS,
    raise::EXPORTS,
    reader_writer_spin_lock::EXPORTS,
    resource::EXPORTS,
    push_lock::EXPORTS,
    rundown::EXPORTS,
    work_queue::EXPORTS,
];

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        /// Gates that nobody waits at.
        gates: Saved<Vec<GuestAddr>>,
        /// Executive resources that are initialised.
        resources: Saved<BTreeSet<GuestAddr>>,
        /// Owners and waiters of executive resources and push locks.
        shared_locks: SavedMap<GuestAddr, shared_lock::SharedLock>,
        /// Reader/writer spin locks that are held or waited for.
        reader_writer_locks: SavedMap<GuestAddr, reader_writer_spin_lock::Holders>,
        /// Owners of run-down references who wait for its end.
        rundowns: SavedMap<GuestAddr, gate::Gate>,
        /// Wakes a worker thread; of the component that has threads.
        pub(crate) wake_worker: Option<fn(&mut Kernel) -> CallResult<()>>,
        /// Work for system worker threads, what comes next first.
        work: Saved<VecDeque<work_queue::Work>>,
        /// Work items of `ExQueueWorkItem` that are queued.
        queued_items: Saved<BTreeSet<GuestAddr>>,
    }
}
