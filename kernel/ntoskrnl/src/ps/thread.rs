//! Threads as objects.

use events::{Seq, ThreadId};
use guest_memory::GuestAddr;

use crate::{
    CallResult, Flow, Kernel,
    ke::{DispatcherType, Thread, ThreadState},
    mm,
    ob::{self, ObjectType},
};

/// Length of an `ETHREAD`. Opaque: no driver may look inside.
const ETHREAD_BYTES: u64 = 0x8e0;

/// Creates a thread with a kernel stack. It is idle until it is given a service.
pub fn create_thread(k: &mut Kernel, process: GuestAddr, is_system: bool) -> CallResult<ThreadId> {
    let object = ob::create(k, ObjectType::Thread, ETHREAD_BYTES)?;
    k.init_dispatcher(object, DispatcherType::Thread, ETHREAD_BYTES, 0)?;
    let stack = mm::allocate_stack(k)?;
    let tid = k.ps.next_id();
    k.ps.threads += 1;
    let id = ThreadId(k.ps.threads);
    let thread = Thread::new(id, (object, process), tid, stack, is_system);
    k.ke.threads.insert(id, thread);
    Ok(id)
}

/// A thread of a driver has ended: its stack goes, and what kept its object and its driver.
pub fn thread_ended(k: &mut Kernel, id: ThreadId) -> CallResult<()> {
    let thread = k.ke.thread_mut(id);
    if thread.start.is_none() {
        return Ok(());
    }
    let (object, stack_low) = (thread.object, thread.stack_low);
    let kept = thread.keeps.take();
    mm::free_stack(k, stack_low);
    // The thread is gone: whoever deletes the objects is a system thread.
    ob::dereference_later(k, object)?;
    if let Some(kept) = kept {
        ob::dereference_later(k, kept)?;
    }
    Ok(())
}

/// The delete procedure of the type: the address may stand for another object from now on.
pub(super) fn delete(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    if let Some(id) = k.ke.thread_at(object).map(|thread| thread.id) {
        k.ke.thread_mut(id).object = GuestAddr::NULL;
    }
    Ok(Flow::Return(0))
}

/// Threads that a driver created to run code of its image, that have not ended and that nothing
/// keeps the image for; with the moment of their creation.
pub fn running_in(k: &Kernel, base: GuestAddr, size_bytes: u64) -> Vec<Seq> {
    let is_inside = |at: GuestAddr| at.0.wrapping_sub(base.0) < size_bytes;
    let alive =
        k.ke.threads
            .values()
            .filter(|thread| thread.state != ThreadState::Terminated && thread.keeps.is_none());
    let starts = alive.filter_map(|thread| thread.start);
    starts.filter(|&(routine, _)| is_inside(routine)).map(|(_, created)| created).collect()
}
