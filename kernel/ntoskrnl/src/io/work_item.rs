//! Work items: routines that run on a system thread and keep their device or driver object.

use events::{BlockKind, EntryPoint, Event, Resource, ResourceTaken, Seq, WorkItemFault};
use guest_memory::{AccessKind, GuestAddr};
use nt_macros::export;

use super::unload;
use crate::{
    CallResult, Flow, GuestCall, Kernel, Stop,
    ex::{self, WorkQueue, WorkerInvalid, worker_invalid},
    exports, frame, mm,
    ob::{self, ObjectType},
};

exports![
    IoAllocateWorkItem,
    IoFreeWorkItem,
    IoInitializeWorkItem,
    IoUninitializeWorkItem,
    IoSizeofWorkItem,
    IoQueueWorkItem,
    IoQueueWorkItemEx,
];

/// Length of an `IO_WORKITEM`. Opaque: drivers ask `IoSizeofWorkItem`.
const WORK_ITEM_BYTES: u32 = 0x60;

/// What the kernel knows of a work item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkItem {
    /// The device or driver object it was made for.
    owner: GuestAddr,
    /// Whose memory it is in.
    place: Place,
    /// It was queued and its routine was not called yet.
    is_queued: bool,
    /// When it was made.
    made: Seq,
    /// The driver that has to free it, and when it was allocated; `None` for its own memory.
    to_free: Option<(GuestAddr, Seq)>,
}

/// When the work items were allocated that a driver has not freed.
pub(crate) fn not_freed(k: &Kernel, driver: GuestAddr) -> Vec<Seq> {
    let items = k.io.work_items.values().filter_map(|item| item.to_free);
    items.filter(|&(of, _)| of == driver).map(|(_, made)| made).collect()
}

/// Whose memory a work item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `IoAllocateWorkItem`.
    Allocated,
    /// The driver's own, `IoInitializeWorkItem`.
    Drivers,
}

/// A routine to call.
#[derive(Clone, Copy, Debug)]
struct Queued {
    item: GuestAddr,
    routine: GuestAddr,
    context: u64,
    /// `IO_WORKITEM_ROUTINE_EX` gets the item too.
    is_extended: bool,
}

/// Allocates a work item for a device or driver object.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioallocateworkitem")]
fn IoAllocateWorkItem(k: &mut Kernel, owner: GuestAddr) -> CallResult<GuestAddr> {
    check_owner(k, owner, GuestAddr::NULL)?;
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let size_bytes = u64::from(WORK_ITEM_BYTES);
    let item = mm::allocate_kernel(k, BlockKind::KernelPool, size_bytes, 16)?;
    let made = k.emit(Event::ResourceTaken(ResourceTaken { resource: Resource::WorkItem }))?;
    let driver = k.io.devices.get(&owner).map_or(owner, |device| device.driver);
    let to_free = Some((driver, made));
    let work_item = WorkItem { owner, place: Place::Allocated, is_queued: false, made, to_free };
    k.io.work_items.insert(item, work_item);
    Ok(item)
}

/// A work item belongs to a device or driver object.
fn check_owner(k: &mut Kernel, owner: GuestAddr, item: GuestAddr) -> CallResult<()> {
    match ob::claimed(k, owner)? {
        ObjectType::Device | ObjectType::Driver => Ok(()),
        _ => Err(worker_invalid(WorkerInvalid::Object, item, owner.0)),
    }
}

/// Initialises a work item in memory of the driver's own, `IoSizeofWorkItem` bytes long.
#[export(irql = .., ddi = "wdm/nf-wdm-ioinitializeworkitem")]
fn IoInitializeWorkItem(k: &mut Kernel, owner: GuestAddr, item: GuestAddr) -> CallResult<()> {
    check_owner(k, owner, item)?;
    if k.io.work_items.get(&item).is_some_and(|known| known.is_queued) {
        return Err(Stop::unsupported("IoInitializeWorkItem on a queued work item"));
    }
    k.fill(item, 0, u64::from(WORK_ITEM_BYTES))?;
    let made = k.emit(Event::ResourceTaken(ResourceTaken { resource: Resource::WorkItem }))?;
    let place = Place::Drivers;
    let work_item = WorkItem { owner, place, is_queued: false, made, to_free: None };
    k.io.work_items.insert(item, work_item);
    Ok(())
}

/// Ends the use of a work item in memory of the driver's own.
#[export(irql = .., ddi = "wdm/nf-wdm-iouninitializeworkitem")]
fn IoUninitializeWorkItem(k: &mut Kernel, item: GuestAddr) -> CallResult<()> {
    give_back(k, item, Place::Drivers)
}

/// Frees a work item.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iofreeworkitem")]
fn IoFreeWorkItem(k: &mut Kernel, item: GuestAddr) -> CallResult<()> {
    give_back(k, item, Place::Allocated)?;
    mm::free_kernel(k, item);
    Ok(())
}

/// Forgets a work item that is not queued.
fn give_back(k: &mut Kernel, item: GuestAddr, place: Place) -> CallResult<()> {
    let Some(&known) = k.io.work_items.get(&item) else {
        k.allow(AccessKind::Write, item, u64::from(WORK_ITEM_BYTES))?;
        return Err(Stop::unsupported("giving back a work item that nobody made"));
    };
    if known.is_queued {
        return Err(worker_invalid(WorkerInvalid::FreedWhileQueued, item, 0));
    }
    if known.place != place {
        let (is_allocated, made) = (known.place == Place::Allocated, known.made);
        k.emit(Event::WorkItemFault(WorkItemFault { is_allocated, made }))?;
        return Err(Stop::unsupported("giving back a work item with the other pair's routine"));
    }
    k.io.work_items.remove(&item);
    Ok(())
}

/// Returns the length of a work item.
#[export(irql = .., ddi = "wdm/nf-wdm-iosizeofworkitem")]
fn IoSizeofWorkItem(_: &mut Kernel) -> u32 {
    WORK_ITEM_BYTES
}

/// Queues a routine for a system worker thread; the object stays until it returns.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioqueueworkitem")]
fn IoQueueWorkItem(
    k: &mut Kernel,
    item: GuestAddr,
    routine: GuestAddr,
    queue: u32,
    context: u64,
) -> CallResult<()> {
    enqueue(k, queue, Queued { item, routine, context, is_extended: false })
}

/// The same with a routine that gets the work item.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioqueueworkitemex")]
fn IoQueueWorkItemEx(
    k: &mut Kernel,
    item: GuestAddr,
    routine: GuestAddr,
    queue: u32,
    context: u64,
) -> CallResult<()> {
    enqueue(k, queue, Queued { item, routine, context, is_extended: true })
}

fn enqueue(k: &mut Kernel, queue: u32, call: Queued) -> CallResult<()> {
    let Queued { item, routine, .. } = call;
    // Memory that is no work item is touched first.
    k.allow(AccessKind::Write, item, u64::from(WORK_ITEM_BYTES))?;
    let Some(work_item) = k.io.work_items.get_mut(&item) else {
        return Err(worker_invalid(WorkerInvalid::NotInitialized, item, 0));
    };
    if work_item.is_queued {
        return Err(worker_invalid(WorkerInvalid::QueuedAgain, item, 0));
    }
    if routine.is_null() {
        return Err(worker_invalid(WorkerInvalid::Routine, item, routine.0));
    }
    let owner = work_item.owner;
    let queue = WorkQueue::of_driver(queue, item)?;
    ob::referenceable(k, owner)?;
    ob::reference(k, owner);
    if let Some(work_item) = k.io.work_items.get_mut(&item) {
        work_item.is_queued = true;
    }
    k.order_release(item);
    ex::queue_work(k, queue, call)
}

frame!(Queued, |this, k, _| {
    let Queued { item, routine, context, is_extended } = this;
    let Some(work_item) = k.io.work_items.get_mut(&item) else { return Ok(Flow::Return(0)) };
    // From here on the item may be freed or queued again.
    work_item.is_queued = false;
    let owner = work_item.owner;
    k.order_acquire(item);
    // `IO_WORKITEM_ROUTINE(DeviceObject, Context)`, `IO_WORKITEM_ROUTINE_EX(IoObject, Context,
    // IoWorkItem)`.
    let mut arguments = vec![owner.0, context];
    if is_extended {
        arguments.push(item.0);
    }
    let call = GuestCall::entry(routine, arguments, EntryPoint::WorkItem);
    Ok(Flow::call(call, Worked { owner, routine, context }))
});

/// The routine returned; the object need not stay for it any more.
#[derive(Clone, Debug)]
struct Worked {
    owner: GuestAddr,
    routine: GuestAddr,
    context: u64,
}

frame!(Worked, |this, k, _| {
    ex::check_return(k, this.routine, this.context)?;
    let device = k.io.devices.get(&this.owner);
    let driver = device.map_or(this.owner, |device| device.driver);
    unload::note_use(k, driver);
    ob::dereference(k, this.owner)
});

#[cfg(test)]
mod tests {
    use events::Event;
    use guest_memory::GuestAddr;
    use nt_abi::structures::io::DEVICE_OBJECT;

    use crate::{
        GuestCall, Kernel, Stop, ex,
        io::{service, test_driver},
        ob,
        testing::{Progress, block, call_by_name, carry_on, take_events},
    };

    const ROUTINE: u64 = 0xffff_f802_0000_1000;

    /// Does the next piece of work; the calls of the driver's routine.
    fn work(k: &mut Kernel) -> Vec<Vec<u64>> {
        let Some(work) = ex::take_work(k) else { return Vec::new() };
        let mut calls = Vec::new();
        let mut guest = |_: &mut Kernel, call: &GuestCall| {
            assert_eq!(call.target.0, ROUTINE);
            calls.push(call.arguments.clone());
            0
        };
        let flow = work.routine.resume(k, 0);
        assert!(matches!(carry_on(k, flow, &mut guest).unwrap(), Progress::Done(_)));
        calls
    }

    fn reason(result: Result<u64, Stop>) -> (u32, u64) {
        match result {
            Err(Stop::BugCheck(check)) => (check.code, check.parameters[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_plain_routine_gets_device_and_context_the_extended_one_the_item_too() {
        let (mut k, device) = test_driver::device();
        let item = call_by_name(&mut k, "IoAllocateWorkItem", &[device.0]).unwrap();
        call_by_name(&mut k, "IoQueueWorkItem", &[item, ROUTINE, 1, 7]).unwrap();
        assert_eq!(work(&mut k), [[device.0, 7]]);
        call_by_name(&mut k, "IoQueueWorkItemEx", &[item, ROUTINE, 0, 8]).unwrap();
        assert_eq!(work(&mut k), [[device.0, 8, item]]);
        call_by_name(&mut k, "IoFreeWorkItem", &[item]).unwrap();
    }

    #[test]
    fn an_item_in_the_drivers_own_memory_is_initialised_first() {
        let (mut k, device) = test_driver::device();
        let size_bytes = call_by_name(&mut k, "IoSizeofWorkItem", &[]).unwrap();
        let item = block(&mut k, &vec![0xee; usize::try_from(size_bytes).unwrap()]);
        let queue = "IoQueueWorkItem";
        assert_eq!(reason(call_by_name(&mut k, queue, &[item, ROUTINE, 1, 7])), (0xe4, 5));
        call_by_name(&mut k, "IoInitializeWorkItem", &[device.0, item]).unwrap();
        call_by_name(&mut k, queue, &[item, ROUTINE, 1, 7]).unwrap();
        let early = call_by_name(&mut k, "IoUninitializeWorkItem", &[item]);
        assert_eq!(reason(early), (0xe4, 2));
        assert_eq!(work(&mut k), [[device.0, 7]]);
        call_by_name(&mut k, "IoUninitializeWorkItem", &[item]).unwrap();
        assert_eq!(reason(call_by_name(&mut k, queue, &[item, ROUTINE, 1, 7])), (0xe4, 5));
    }

    #[test]
    fn an_item_is_given_back_by_the_routine_of_its_pair() {
        let (mut k, device) = test_driver::device();
        let size_bytes = call_by_name(&mut k, "IoSizeofWorkItem", &[]).unwrap();
        let own = block(&mut k, &vec![0; usize::try_from(size_bytes).unwrap()]);
        call_by_name(&mut k, "IoInitializeWorkItem", &[device.0, own]).unwrap();
        let allocated = call_by_name(&mut k, "IoAllocateWorkItem", &[device.0]).unwrap();
        let cases = [("IoFreeWorkItem", own, false), ("IoUninitializeWorkItem", allocated, true)];
        for (routine, item, expected) in cases {
            take_events(&mut k);
            let result = call_by_name(&mut k, routine, &[item]);
            assert!(matches!(result, Err(Stop::Unsupported { .. })), "{result:?}");
            let is_allocated = take_events(&mut k).into_iter().find_map(|event| match event {
                Event::WorkItemFault(fault) => Some(fault.is_allocated),
                _ => None,
            });
            assert_eq!(is_allocated, Some(expected), "{routine}");
        }
        call_by_name(&mut k, "IoUninitializeWorkItem", &[own]).unwrap();
        call_by_name(&mut k, "IoFreeWorkItem", &[allocated]).unwrap();
    }

    #[test]
    fn misuse_is_bug_check_e4() {
        let (mut k, device) = test_driver::device();
        let item = call_by_name(&mut k, "IoAllocateWorkItem", &[device.0]).unwrap();
        let queue = "IoQueueWorkItem";
        assert_eq!(reason(call_by_name(&mut k, queue, &[item, 0, 1, 7])), (0xe4, 7));
        assert_eq!(reason(call_by_name(&mut k, queue, &[item, ROUTINE, 9, 7])), (0xe4, 6));
        call_by_name(&mut k, queue, &[item, ROUTINE, 1, 7]).unwrap();
        assert_eq!(reason(call_by_name(&mut k, queue, &[item, ROUTINE, 1, 7])), (0xe4, 1));
        assert_eq!(reason(call_by_name(&mut k, "IoFreeWorkItem", &[item])), (0xe4, 2));
    }

    #[test]
    fn a_queued_item_keeps_device_driver_and_image() {
        let (mut k, driver) = test_driver::driver();
        let device = test_driver::create_device(&mut k, driver, "");
        let item = call_by_name(&mut k, "IoAllocateWorkItem", &[device.0]).unwrap();
        call_by_name(&mut k, "IoQueueWorkItem", &[item, ROUTINE, 1, 7]).unwrap();
        call_by_name(&mut k, "IoDeleteDevice", &[device.0]).unwrap();
        // What the unload does at its end.
        ob::make_temporary(&mut k, driver);
        ob::dereference(&mut k, driver).unwrap();
        assert!(service::is_image_needed(&k, "test"));
        assert!(k.get(device, DEVICE_OBJECT::Type).is_ok());
        assert_eq!(work(&mut k), [[device.0, 7]]);
        assert!(!service::is_image_needed(&k, "test"));
        assert!(k.get(device, DEVICE_OBJECT::Type).is_err());
    }

    #[test]
    fn an_item_may_belong_to_a_driver_object_but_to_nothing_else() {
        let (mut k, driver) = test_driver::driver();
        let item = call_by_name(&mut k, "IoAllocateWorkItem", &[driver.0]).unwrap();
        call_by_name(&mut k, "IoQueueWorkItemEx", &[item, ROUTINE, 1, 7]).unwrap();
        assert_eq!(work(&mut k), [[driver.0, 7, item]]);
        let event = ob::create(&mut k, ob::ObjectType::Event, 0x18).unwrap();
        let place = GuestAddr(block(&mut k, &[0; 0x100]));
        let result = call_by_name(&mut k, "IoInitializeWorkItem", &[event.0, place.0]);
        assert_eq!(reason(result), (0xe4, 3));
    }
}
