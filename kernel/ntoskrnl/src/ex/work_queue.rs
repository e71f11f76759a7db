//! Work queues: what system worker threads have to do, and `ExQueueWorkItem`.
//!
//! Work of other components stands here too, as a frame. Which threads do it is the business of the
//! component that has threads.

use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::ex::WORK_QUEUE_ITEM};
use nt_macros::export;

use crate::{CallResult, Flow, Frame, GuestCall, Kernel, Stop, exports, frame};

exports![ExQueueWorkItem];

/// `WORK_QUEUE_TYPE`. Source: `wdm/ne-wdm-_work_queue_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkQueue {
    Critical,
    Delayed,
    HyperCritical,
    Normal,
    Background,
    RealTime,
    SuperCritical,
    /// `CustomPriorityWorkQueue` and a priority.
    Custom(i32),
}

/// `CustomPriorityWorkQueue`.
const CUSTOM_PRIORITY: u32 = 32;
/// Priorities of threads lie below.
const PRIORITIES: u32 = 32;

impl WorkQueue {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Critical,
            1 => Self::Delayed,
            2 => Self::HyperCritical,
            3 => Self::Normal,
            4 => Self::Background,
            5 => Self::RealTime,
            6 => Self::SuperCritical,
            _ => {
                let priority = number.checked_sub(CUSTOM_PRIORITY)?;
                let is_priority = (1..PRIORITIES).contains(&priority);
                Self::Custom(is_priority.then(|| priority.cast_signed())?)
            }
        })
    }

    /// Priority of the thread that does the work.
    pub(crate) fn priority(self) -> i32 {
        match self {
            Self::Background => 7,
            Self::Normal => 8,
            Self::Delayed => 12,
            Self::Critical => 13,
            Self::SuperCritical => 14,
            Self::HyperCritical => 15,
            Self::RealTime => 18,
            Self::Custom(priority) => priority,
        }
    }

    /// The queue of a driver's number; anything else is bug check 0xE4.
    pub(crate) fn of_driver(number: u32, item: GuestAddr) -> CallResult<Self> {
        Self::from_number(number)
            .ok_or_else(|| worker_invalid(WorkerInvalid::QueueType, item, u64::from(number)))
    }
}

/// Why a work item stops the machine. Source: "Bug Check 0xE4: WORKER_INVALID".
#[derive(Clone, Copy, Debug)]
pub(crate) enum WorkerInvalid {
    QueuedAgain = 1,
    FreedWhileQueued = 2,
    Object = 3,
    NotInitialized = 5,
    QueueType = 6,
    Routine = 7,
}

/// Bug check 0xE4.
pub(crate) fn worker_invalid(why: WorkerInvalid, item: GuestAddr, detail: u64) -> Stop {
    Stop::bug_check(0xe4, [why as u64, item.0, detail, 0])
}

/// Work for a system worker thread.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Where it is queued.
    pub(crate) queue: WorkQueue,
    /// What starts it.
    pub(crate) routine: Box<dyn Frame>,
}

/// Queues work, behind what has the same or a higher priority, and wakes who does it.
pub(crate) fn queue_work(
    k: &mut Kernel,
    queue: WorkQueue,
    routine: impl Frame + 'static,
) -> CallResult<()> {
    let is_lower = |work: &Work| work.queue.priority() < queue.priority();
    let at = k.ex.work.iter().position(is_lower).unwrap_or(k.ex.work.len());
    k.ex.work.insert(at, Work { queue, routine: Box::new(routine) });
    k.ex.wake_worker.map_or(Ok(()), |wake| wake(k))
}

/// Whether there is work.
pub(crate) fn has_work(k: &Kernel) -> bool {
    !k.ex.work.is_empty()
}

/// Takes the next piece of work.
pub(crate) fn take_work(k: &mut Kernel) -> Option<Work> {
    k.ex.work.pop_front()
}

/// Priority of the next piece of work.
pub(crate) fn next_priority(k: &Kernel) -> Option<i32> {
    k.ex.work.front().map(|work| work.queue.priority())
}

/// Queues a work item for a system worker thread. Nothing keeps the driver's image until its
/// routine has returned.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exqueueworkitem")]
fn ExQueueWorkItem(k: &mut Kernel, item: GuestAddr, queue: u32) -> CallResult<()> {
    // `ExInitializeWorkItem` makes the link null, and so does the thread that takes the item.
    let link = k.get(item, WORK_QUEUE_ITEM::ListFlink)?;
    if link != 0 || k.ex.queued_items.contains(&item) {
        return Err(worker_invalid(WorkerInvalid::QueuedAgain, item, 0));
    }
    let queue = WorkQueue::of_driver(queue, item)?;
    k.set(item, WORK_QUEUE_ITEM::ListFlink, item.0)?;
    k.set(item, WORK_QUEUE_ITEM::ListBlink, item.0)?;
    k.ex.queued_items.insert(item);
    k.order_release(item);
    queue_work(k, queue, Start { item })
}

/// A worker thread takes the item.
#[derive(Clone, Debug)]
struct Start {
    item: GuestAddr,
}

frame!(Start, |this, k, _| {
    let item = this.item;
    k.ex.queued_items.remove(&item);
    k.order_acquire(item);
    let routine = GuestAddr(k.get(item, WORK_QUEUE_ITEM::WorkerRoutine)?);
    let parameter = k.get(item, WORK_QUEUE_ITEM::Parameter)?;
    // From here on the item may be freed or queued again.
    k.set(item, WORK_QUEUE_ITEM::ListFlink, 0)?;
    let call = GuestCall::entry(routine, vec![parameter], EntryPoint::WorkItem);
    Ok(Flow::call(call, Returned { routine, parameter }))
});

/// The routine of a work item returned.
#[derive(Clone, Debug)]
struct Returned {
    routine: GuestAddr,
    parameter: u64,
}

frame!(Returned, |this, k, _| {
    check_return(k, this.routine, this.parameter)?;
    Ok(Flow::Return(0))
});

/// A worker thread goes on at `PASSIVE_LEVEL` only: WORKER_THREAD_RETURNED_AT_BAD_IRQL.
pub(crate) fn check_return(k: &mut Kernel, routine: GuestAddr, parameter: u64) -> CallResult<()> {
    let irql = k.irql();
    match irql {
        Irql::PASSIVE_LEVEL => Ok(()),
        _ => Err(Stop::bug_check(0xe1, [routine.0, u64::from(irql.0), parameter, 0])),
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use super::{Work, take_work};
    use crate::{
        GuestCall, Kernel, Stop,
        testing::{Progress, block, call_by_name, carry_on, kernel},
    };

    const ROUTINE: u64 = 0xffff_f802_0000_1000;

    /// What `ExInitializeWorkItem` makes of it.
    fn item(k: &mut Kernel, parameter: u64) -> u64 {
        let item = block(k, &[0; 0x20]);
        k.write_scalar(GuestAddr(item + 0x10), ROUTINE).unwrap();
        k.write_scalar(GuestAddr(item + 0x18), parameter).unwrap();
        item
    }

    /// Does the next piece of work; arguments of the driver's routine.
    fn work(k: &mut Kernel) -> Option<Vec<u64>> {
        let Work { routine, .. } = take_work(k)?;
        let mut arguments = Vec::new();
        let mut guest = |_: &mut Kernel, call: &GuestCall| {
            arguments.clone_from(&call.arguments);
            0
        };
        let flow = routine.resume(k, 0);
        let done = carry_on(k, flow, &mut guest).unwrap();
        assert!(matches!(done, Progress::Done(0)));
        Some(arguments)
    }

    fn reason(result: Result<u64, Stop>) -> (u32, u64) {
        match result {
            Err(Stop::BugCheck(check)) => (check.code, check.parameters[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_item_runs_once_with_its_parameter_and_may_be_queued_again() {
        let mut k = kernel();
        let item = item(&mut k, 77);
        for _ in 0..2 {
            assert_eq!(call_by_name(&mut k, "ExQueueWorkItem", &[item, 1]), Ok(0));
            assert_eq!(work(&mut k), Some(vec![77]));
            assert_eq!(work(&mut k), None);
        }
    }

    #[test]
    fn an_item_is_in_one_queue_once() {
        let mut k = kernel();
        let item = item(&mut k, 0);
        call_by_name(&mut k, "ExQueueWorkItem", &[item, 1]).unwrap();
        assert_eq!(reason(call_by_name(&mut k, "ExQueueWorkItem", &[item, 0])), (0xe4, 1));
        let uninitialised = block(&mut k, &[0xee; 0x20]);
        let result = call_by_name(&mut k, "ExQueueWorkItem", &[uninitialised, 0]);
        assert_eq!(reason(result), (0xe4, 1));
    }

    #[test]
    fn every_queue_type_is_served_by_priority() {
        let mut k = kernel();
        // Background, normal, delayed, custom priority 12, critical, hypercritical, real time.
        let cases = [(4, 6), (3, 5), (1, 3), (32 + 12, 4), (0, 2), (2, 1), (5, 0)];
        for (queue, place) in cases {
            let item = item(&mut k, place);
            assert_eq!(call_by_name(&mut k, "ExQueueWorkItem", &[item, queue]), Ok(0), "{queue}");
        }
        for place in 0..7 {
            assert_eq!(work(&mut k), Some(vec![place]));
        }
        for queue in [7, 8, 31, 32, 64, u64::from(u32::MAX)] {
            let item = item(&mut k, 0);
            let result = call_by_name(&mut k, "ExQueueWorkItem", &[item, queue]);
            assert_eq!(reason(result), (0xe4, 6), "{queue}");
        }
    }
}
