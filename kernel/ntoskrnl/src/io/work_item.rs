//! Work items: routines that run on a system thread and keep their device.

use events::{BlockKind, EntryPoint};
use guest_memory::GuestAddr;
use nt_macros::export;

use super::SystemWork;
use crate::{CallResult, Flow, GuestCall, Kernel, Stop, exports, frame, mm, ob};

exports![IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem, IoQueueWorkItemEx];

/// Length of an `IO_WORKITEM`. Opaque: nothing in it is documented.
const WORK_ITEM_BYTES: u64 = 0x40;

/// What the kernel knows of a work item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkItem {
    /// The device or driver object it was allocated for.
    owner: GuestAddr,
    /// It was queued and its routine was not called yet.
    is_queued: bool,
}

/// A routine to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    item: GuestAddr,
    routine: GuestAddr,
    context: u64,
    /// `IO_WORKITEM_ROUTINE_EX` gets the item too.
    is_extended: bool,
}

/// Allocates a work item for a device.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-ioallocateworkitem",
    limits = "never returns null"
)]
fn IoAllocateWorkItem(k: &mut Kernel, device: GuestAddr) -> CallResult<GuestAddr> {
    let item = mm::allocate_kernel(k, BlockKind::KernelPool, WORK_ITEM_BYTES, 16)?;
    k.io.work_items.insert(item, WorkItem { owner: device, is_queued: false });
    Ok(item)
}

/// The work item at a driver's pointer.
fn claimed(k: &mut Kernel, item: GuestAddr) -> CallResult<WorkItem> {
    if let Some(&found) = k.io.work_items.get(&item) {
        return Ok(found);
    }
    k.allow(guest_memory::AccessKind::Write, item, WORK_ITEM_BYTES)?;
    Err(Stop::unsupported("a work item that `IoAllocateWorkItem` did not allocate"))
}

/// Frees a work item.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iofreeworkitem")]
fn IoFreeWorkItem(k: &mut Kernel, item: GuestAddr) -> CallResult<()> {
    if claimed(k, item)?.is_queued {
        // "WORKER_INVALID: memory that contains a queued work item was freed".
        return Err(Stop::bug_check(WORKER_INVALID, [0, item.0, 0, 0]));
    }
    k.io.work_items.remove(&item);
    mm::free_kernel(k, item);
    Ok(())
}

const WORKER_INVALID: u32 = 0xe4;

fn queue(k: &mut Kernel, call: Queued) -> CallResult<()> {
    let work_item = claimed(k, call.item)?;
    if work_item.is_queued {
        // "A work item was queued that is queued already".
        return Err(Stop::bug_check(WORKER_INVALID, [1, call.item.0, 0, 0]));
    }
    ob::referenceable(k, work_item.owner)?;
    ob::reference(k, work_item.owner);
    k.io.work_items.insert(call.item, WorkItem { is_queued: true, ..work_item });
    k.io.system_work.push_back(SystemWork::WorkItem(call));
    Ok(())
}

/// Queues a routine for a system worker thread; the device stays until it returns.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioqueueworkitem")]
fn IoQueueWorkItem(
    k: &mut Kernel,
    item: GuestAddr,
    routine: GuestAddr,
    _queue: u32,
    context: u64,
) -> CallResult<()> {
    queue(k, Queued { item, routine, context, is_extended: false })
}

/// The same with a routine that gets the work item.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioqueueworkitemex")]
fn IoQueueWorkItemEx(
    k: &mut Kernel,
    item: GuestAddr,
    routine: GuestAddr,
    _queue: u32,
    context: u64,
) -> CallResult<()> {
    queue(k, Queued { item, routine, context, is_extended: true })
}

/// Calls the routine of a queued item. On a system thread.
pub(crate) fn run(k: &mut Kernel, call: Queued) -> CallResult<Flow> {
    let Queued { item, routine, context, is_extended } = call;
    let Some(work_item) = k.io.work_items.get_mut(&item) else { return Ok(Flow::Return(0)) };
    work_item.is_queued = false;
    let owner = work_item.owner;
    // `IO_WORKITEM_ROUTINE(DeviceObject, Context)`, `IO_WORKITEM_ROUTINE_EX(IoObject, Context,
    // IoWorkItem)`.
    let mut arguments = vec![owner.0, context];
    if is_extended {
        arguments.push(item.0);
    }
    let call = GuestCall::entry(routine, arguments, EntryPoint::WorkItem);
    Ok(Flow::call(call, Worked { owner }))
}

/// The routine returned.
#[derive(Clone, Debug)]
struct Worked {
    owner: GuestAddr,
}

frame!(Worked, |this, k, _| ob::dereference(k, this.owner));
