//! Queues: a list of entries with threads that serve it, no more at a time than the queue allows.
//! Source: `ifs/using-kernel-queues` and the pages of the routines.

use events::KeptKind;
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ke::KQUEUE};
use nt_macros::export;

use crate::{CallResult, Flow, Kernel, Stop, Wait, exports, frame, ke::DispatcherType};

exports![
    KeInitializeQueue,
    KeInsertQueue,
    KeInsertHeadQueue,
    KeRemoveQueue,
    KeRundownQueue,
    KeReadStateQueue
];

/// Offset of `LIST_ENTRY.Blink`.
const BLINK: u64 = 8;

/// Initialises an empty queue; 0 allows as many threads as there are processors.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-keinitializequeue")]
fn KeInitializeQueue(k: &mut Kernel, queue: GuestAddr, count: u32) -> CallResult<()> {
    k.initialize_kept(queue, KeptKind::Dispatcher)?;
    let processors = u32::try_from(k.cores.len()).unwrap_or(u32::MAX);
    k.init_dispatcher(queue, DispatcherType::Queue, KQUEUE::SIZE_BYTES, 0)?;
    for field in [KQUEUE::EntryListFlink, KQUEUE::ThreadListFlink] {
        let head = queue.add(field.offset_bytes);
        k.write_scalar(head, head.0)?;
        k.write_scalar(head.add(BLINK), head.0)?;
    }
    k.set(queue, KQUEUE::CurrentCount, 0)?;
    k.set(queue, KQUEUE::MaximumCount, if count == 0 { processors } else { count })
}

/// Adds an entry at the tail; returns how many there were.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-keinsertqueue")]
fn KeInsertQueue(k: &mut Kernel, queue: GuestAddr, entry: GuestAddr) -> CallResult<i32> {
    insert(k, queue, entry, KQUEUE::EntryListBlink.offset_bytes)
}

/// Adds an entry at the head; returns how many there were.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-keinsertheadqueue")]
fn KeInsertHeadQueue(k: &mut Kernel, queue: GuestAddr, entry: GuestAddr) -> CallResult<i32> {
    insert(k, queue, entry, KQUEUE::EntryListFlink.offset_bytes)
}

/// Takes the first entry, or waits for one. The value is the entry, or a status in its place.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-keremovequeue")]
fn KeRemoveQueue(
    k: &mut Kernel,
    queue: GuestAddr,
    mode: u8,
    timeout: GuestAddr,
) -> CallResult<Flow> {
    require(k, queue)?;
    let due_100ns = k.timeout(timeout)?;
    k.check_wait_irql(due_100ns, "ntifs/nf-ntifs-keremovequeue")?;
    // The thread is through with the entry it took before.
    let before = k.current_thread().queue.replace(queue);
    if let Some(before) = before {
        leave(k, before)?;
    }
    k.current_thread().is_user_wait = mode != 0;
    // A user APC ends a wait of user mode: STATUS_USER_APC is among the documented values.
    let is_alertable = mode != 0;
    let wait = Wait { objects: vec![queue], is_all: false, due_100ns, is_alertable };
    Ok(Flow::wait(wait, Removed { queue }))
}

/// Takes all entries away and ends the waits of its threads; returns the first entry, or null.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-kerundownqueue")]
fn KeRundownQueue(k: &mut Kernel, queue: GuestAddr) -> CallResult<GuestAddr> {
    require(k, queue)?;
    let head = queue.add(KQUEUE::EntryListFlink.offset_bytes);
    let first = GuestAddr(k.get(queue, KQUEUE::EntryListFlink)?);
    let last = GuestAddr(k.get(queue, KQUEUE::EntryListBlink)?);
    k.write_scalar(head, head.0)?;
    k.write_scalar(head.add(BLINK), head.0)?;
    k.set(queue, KQUEUE::SignalState, 0)?;
    let waits = |thread: &&super::Thread| {
        thread.wait.as_ref().is_some_and(|(wait, _)| wait.objects == [queue])
    };
    let waiting: Vec<_> = k.ke.threads.values().filter(waits).map(|thread| thread.id).collect();
    for id in waiting {
        k.wake(id, NtStatus::STATUS_ABANDONED)?;
    }
    for thread in k.ke.threads.values_mut() {
        if thread.queue == Some(queue) {
            thread.queue = None;
        }
    }
    if first == head {
        return Ok(GuestAddr::NULL);
    }
    // What is left is a ring without a head.
    k.write_scalar(first.add(BLINK), last.0)?;
    k.write_scalar(last, first.0)?;
    Ok(first)
}

/// Returns how many entries there are.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-kereadstatequeue",
    irql_note = "the page names no limit; that of the other routines of a queue")]
fn KeReadStateQueue(k: &mut Kernel, queue: GuestAddr) -> CallResult<i32> {
    k.get(queue, KQUEUE::SignalState)
}

/// The wait for an entry is over.
#[derive(Clone, Debug)]
struct Removed {
    queue: GuestAddr,
}
frame!(Removed, |this, k, status| {
    if let Some(entry) = k.current_thread().queue_entry.take() {
        return Ok(Flow::Return(entry.0));
    }
    // Without an entry the thread is at work all the same.
    if k.current_thread().queue == Some(this.queue) {
        enter(k, this.queue)?;
    }
    Ok(Flow::Return(status))
});

fn require(k: &mut Kernel, queue: GuestAddr) -> CallResult<()> {
    match k.require_dispatcher(queue)? {
        DispatcherType::Queue => Ok(()),
        _ => Err(k.not_initialized(queue, KeptKind::Dispatcher)),
    }
}

/// Links an entry before or after the head of the list.
fn insert(k: &mut Kernel, queue: GuestAddr, entry: GuestAddr, end: u64) -> CallResult<i32> {
    require(k, queue)?;
    let head = queue.add(KQUEUE::EntryListFlink.offset_bytes);
    let neighbour = GuestAddr(k.read_scalar(queue.add(end))?);
    let (flink, blink) = match end == KQUEUE::EntryListFlink.offset_bytes {
        true => (neighbour, head),
        false => (head, neighbour),
    };
    k.write_scalar(entry, flink.0)?;
    k.write_scalar(entry.add(BLINK), blink.0)?;
    k.write_scalar(blink, entry.0)?;
    k.write_scalar(flink.add(BLINK), entry.0)?;
    let before = k.get(queue, KQUEUE::SignalState)?;
    k.signal(queue, before.wrapping_add(1))?;
    Ok(before)
}

/// One thread more is at work for the queue.
fn enter(k: &mut Kernel, queue: GuestAddr) -> CallResult<()> {
    let count = k.get(queue, KQUEUE::CurrentCount)?;
    k.set(queue, KQUEUE::CurrentCount, count.wrapping_add(1))
}

/// One thread less is at work for the queue: another one may begin.
fn leave(k: &mut Kernel, queue: GuestAddr) -> CallResult<()> {
    let count = k.get(queue, KQUEUE::CurrentCount)?;
    k.set(queue, KQUEUE::CurrentCount, count.saturating_sub(1))?;
    k.wake_waiters(queue)
}

impl Kernel {
    /// Gives the first entry of a queue to a thread.
    pub(crate) fn take_queue_entry(
        &mut self,
        queue: GuestAddr,
        thread: GuestAddr,
    ) -> CallResult<()> {
        let entry = GuestAddr(self.get(queue, KQUEUE::EntryListFlink)?);
        let next = GuestAddr(self.read_scalar(entry)?);
        let head = queue.add(KQUEUE::EntryListFlink.offset_bytes);
        self.write_scalar(head, next.0)?;
        self.write_scalar(next.add(BLINK), head.0)?;
        let state = self.get(queue, KQUEUE::SignalState)?;
        self.set(queue, KQUEUE::SignalState, state.wrapping_sub(1))?;
        enter(self, queue)?;
        let Some(id) = self.ke.thread_at(thread).map(|thread| thread.id) else {
            return Err(Stop::unsupported("a queue served by what is no thread"));
        };
        self.ke.thread_mut(id).queue_entry = Some(entry);
        Ok(())
    }

    /// A thread that serves a queue begins to wait for something else, or ends.
    pub(crate) fn stop_serving(&mut self, queue: Option<GuestAddr>) -> CallResult<()> {
        queue.map_or(Ok(()), |queue| leave(self, queue))
    }

    /// Such a thread goes on.
    pub(crate) fn resume_serving(&mut self, queue: Option<GuestAddr>) -> CallResult<()> {
        queue.map_or(Ok(()), |queue| enter(self, queue))
    }
}

#[cfg(test)]
mod tests {
    use nt_abi::NtStatus;

    use crate::testing::{block, call_by_name, kernel, result_of, run_call, with_threads};

    #[test]
    fn entries_go_in_and_out() {
        let mut k = kernel();
        let threads = with_threads(&mut k, 3);
        let queue = block(&mut k, &[0; 0x40]);
        let entries: Vec<u64> = (0..4).map(|_| block(&mut k, &[0; 0x10])).collect();
        call_by_name(&mut k, "KeInitializeQueue", &[queue, 1]).unwrap();
        assert_eq!(call_by_name(&mut k, "KeInsertQueue", &[queue, entries[0]]), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeInsertQueue", &[queue, entries[1]]), Ok(1));
        assert_eq!(call_by_name(&mut k, "KeInsertHeadQueue", &[queue, entries[2]]), Ok(2));
        let remove = |k: &mut _, thread: usize, timeout: u64| {
            run_call(k, threads[thread], "KeRemoveQueue", &[queue, 0, timeout]).unwrap()
        };
        assert_eq!(remove(&mut k, 0, 0), Some(entries[2]));
        // One thread at a time: the other waits although there are entries.
        assert_eq!(remove(&mut k, 1, 0), None);
        assert_eq!(remove(&mut k, 0, 0), None);
        assert_eq!(result_of(&mut k, threads[1]), Ok(Some(entries[0])));
        // Its own wait for something else lets another one work.
        let event = block(&mut k, &[0; 0x18]);
        call_by_name(&mut k, "KeInitializeEvent", &[event, 1, 0]).unwrap();
        let waits = run_call(&mut k, threads[1], "KeWaitForSingleObject", &[event, 0, 0, 0, 0]);
        assert_eq!(waits, Ok(None));
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(entries[1])));
        assert_eq!(call_by_name(&mut k, "KeReadStateQueue", &[queue]), Ok(0));
    }

    #[test]
    fn a_wait_ends_by_time_and_by_rundown() {
        let mut k = kernel();
        let threads = with_threads(&mut k, 1);
        let queue = block(&mut k, &[0; 0x40]);
        call_by_name(&mut k, "KeInitializeQueue", &[queue, 0]).unwrap();
        let soon = block(&mut k, &(-10_000_i64).to_le_bytes());
        let timed = run_call(&mut k, threads[0], "KeRemoveQueue", &[queue, 0, soon]);
        assert_eq!(timed, Ok(Some(u64::from(NtStatus::STATUS_TIMEOUT.0))));
        assert_eq!(run_call(&mut k, threads[0], "KeRemoveQueue", &[queue, 0, 0]), Ok(None));
        assert_eq!(call_by_name(&mut k, "KeRundownQueue", &[queue]), Ok(0));
        let abandoned = u64::from(NtStatus::STATUS_ABANDONED.0);
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(abandoned)));
        let entry = block(&mut k, &[0; 0x10]);
        call_by_name(&mut k, "KeInsertQueue", &[queue, entry]).unwrap();
        assert_eq!(call_by_name(&mut k, "KeRundownQueue", &[queue]), Ok(entry));
    }
}
