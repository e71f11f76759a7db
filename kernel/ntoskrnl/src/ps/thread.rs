//! Threads as objects.

use events::ThreadId;
use guest_memory::GuestAddr;

use crate::{
    CallResult, Kernel,
    ke::{DispatcherType, Thread},
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
