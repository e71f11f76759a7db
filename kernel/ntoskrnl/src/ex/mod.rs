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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use guest_memory::GuestAddr;

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

/// State of the component.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Gates that nobody waits at.
    gates: Vec<GuestAddr>,
    /// Executive resources that are initialised.
    resources: BTreeSet<GuestAddr>,
    /// Owners and waiters of executive resources and push locks.
    shared_locks: BTreeMap<GuestAddr, shared_lock::SharedLock>,
    /// Reader/writer spin locks that are held or waited for.
    reader_writer_locks: BTreeMap<GuestAddr, reader_writer_spin_lock::Holders>,
    /// Owners of run-down references who wait for its end.
    rundowns: BTreeMap<GuestAddr, gate::Gate>,
    /// Wakes a worker thread; of the component that has threads.
    pub(crate) wake_worker: Option<fn(&mut Kernel) -> CallResult<()>>,
    /// Work for system worker threads, what comes next first.
    work: VecDeque<work_queue::Work>,
    /// Work items of `ExQueueWorkItem` that are queued.
    queued_items: BTreeSet<GuestAddr>,
}
