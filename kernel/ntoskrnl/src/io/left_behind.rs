//! What a driver leaves behind when it goes.

use events::{BlockKind, EntryPoint, Event, LeftBehind, Resource, Seq};
use guest_memory::GuestAddr;

use super::{callback_object, work_item};
use crate::{Activation, CallResult, Flow, Kernel, Stop, frame, ke, mm, ob, ps};

/// When the question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The unload routine returned.
    Unloaded,
    /// DriverEntry failed, so nobody will call the unload routine.
    EntryFailed,
}

/// Reports what the driver took and did not give back, when its DPCs have come to an end.
///
/// "The system automatically calls `KeFlushQueuedDpcs` before deallocating" the global variables of
/// a driver. Source: `wdm/nf-wdm-kecanceltimer`.
pub(crate) fn report(k: &mut Kernel, driver: GuestAddr, occasion: Occasion) -> CallResult<Flow> {
    ke::flush_dpcs(k)?.then(k, Flushed { driver, occasion })
}

/// The DPCs have come to an end.
#[derive(Clone, Debug)]
struct Flushed {
    driver: GuestAddr,
    occasion: Occasion,
}
frame!(Flushed, |this, k, _| {
    report_running(k, this.driver, this.occasion)?;
    report_held(k, this.driver, this.occasion)?;
    Ok(Flow::Return(0))
});

/// Reports what may still run code of the image: timers, APCs, threads, interrupts,
/// callbacks.
fn report_running(k: &mut Kernel, driver: GuestAddr, occasion: Occasion) -> CallResult<()> {
    let Some(entry) = k.io.drivers.get(&driver) else { return Ok(()) };
    let (base, size_bytes) = (entry.base, entry.size_bytes);
    if !is_kept(k, driver) && runs_completion_routine(k, base, size_bytes) {
        let is_after_unload = occasion == Occasion::Unloaded;
        let resource = Resource::CompletionRoutine;
        k.emit(Event::LeftBehind(LeftBehind { resource, taken: None, is_after_unload }))?;
    }
    let mut left = ke::State::left_in(k, base, size_bytes);
    left.extend(ps::running_in(k, base, size_bytes).into_iter().map(|s| ("system thread", s)));
    let left = left.into_iter().map(|(what, taken)| (Resource::Running(what), taken));
    let interrupts = k.ke.interrupts_left_in(base, size_bytes).into_iter();
    let interrupts = interrupts.map(|(vector, taken)| (Resource::Interrupt(vector), taken));
    let processors = k.ke.processor_callbacks_left_in(base, size_bytes).into_iter();
    let processors = processors.map(|taken| (Resource::Callback("processor change"), taken));
    let callbacks = callback_object::left_in(k, base, size_bytes).into_iter();
    let callbacks = callbacks.map(|taken| (Resource::Callback("callback object"), taken));
    let left: Vec<_> = left.chain(interrupts).chain(processors).chain(callbacks).collect();
    if left.is_empty() {
        return Ok(());
    }
    tell(k, left, occasion)?;
    // DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS: "a driver failed to cancel lookaside
    // lists, DPCs, worker threads, or other such items before unload".
    Err(Stop::bug_check(0xce, [base.0, 8, base.0, 0]))
}

/// Whether a completion routine of the image was called and has not returned, on whatever thread.
fn runs_completion_routine(k: &Kernel, base: GuestAddr, size_bytes: u64) -> bool {
    let mut activations = k.ke.threads.values().flat_map(|thread| &thread.activations);
    activations.any(|activation| match activation {
        Activation::Entry {
            entry: Some(EntryPoint::CompletionRoutine { .. }), routine, ..
        } => routine.0.wrapping_sub(base.0) < size_bytes,
        _ => false,
    })
}

/// Reports what it holds.
fn report_held(k: &mut Kernel, driver: GuestAddr, occasion: Occasion) -> CallResult<()> {
    let Some(entry) = k.io.drivers.get(&driver) else { return Ok(()) };
    let (base, size_bytes) = (entry.base, entry.size_bytes);
    let is_inside = |at: GuestAddr| at.0.wrapping_sub(base.0) < size_bytes;
    let mut left: Vec<(Resource, Seq)> = Vec::new();
    for (&at, device) in &k.io.devices {
        // One that waits for its last reference was deleted, as far as its driver can.
        if device.driver == driver && !device.is_delete_pending {
            let name = ob::path_of(k, at).map(|name| name.to_string());
            left.push((Resource::Device(name.unwrap_or_default()), device.created));
        }
    }
    for (name, _, link) in ob::dos_links(k) {
        let object = ob::object(k, link);
        if is_inside(object.who) {
            left.push((Resource::SymbolicLink(name.to_string()), object.created));
        }
    }
    tell(k, left, occasion)?;
    if is_kept(k, driver) {
        if let Some(entry) = k.io.drivers.get_mut(&driver) {
            entry.is_due = Some(occasion);
        }
        return Ok(());
    }
    report_owned(k, driver, occasion)
}

/// Whether work items, threads or requests keep the driver object: what they own is given back
/// when they are done.
///
/// "The system holds a reference to the device object while the work item is queued", and a thread
/// to its object while it runs. Source: "System Worker Threads", `wdm/nf-wdm-iocreatesystemthread`.
fn is_kept(k: &Kernel, driver: GuestAddr) -> bool {
    let devices = k.io.devices.values().filter(|d| d.driver == driver && !d.is_delete_pending);
    ob::object(k, driver).pointer_count > 1 + devices.count() as u64
}

/// Reports the handles, the references, the pool and the work items that it holds.
pub(crate) fn report_owned(
    k: &mut Kernel,
    driver: GuestAddr,
    occasion: Occasion,
) -> CallResult<()> {
    let Some(entry) = k.io.drivers.get(&driver) else { return Ok(()) };
    let (base, size_bytes) = (entry.base, entry.size_bytes);
    let mut left: Vec<(Resource, Seq)> = Vec::new();
    for open in ob::opened_by(k, base, size_bytes) {
        let what = ob::describe(k, open.entry.object);
        left.push((Resource::Handle(what), open.entry.opened));
    }
    for (object, taken) in ob::referenced_by(k, base, size_bytes) {
        left.push((Resource::Reference(ob::describe(k, object)), taken));
    }
    for block in mm::owned_by(k, base, size_bytes) {
        if BlockKind::from_u16(block.allocated.kind) == Some(BlockKind::Pool) {
            let (size_bytes, tag) = (block.size_bytes, block.allocated.tag);
            left.push((Resource::Pool { size_bytes, tag }, Seq(block.allocated.when)));
        }
    }
    left.extend(work_item::not_freed(k, driver).into_iter().map(|made| (Resource::WorkItem, made)));
    tell(k, left, occasion)
}

fn tell(k: &mut Kernel, left: Vec<(Resource, Seq)>, occasion: Occasion) -> CallResult<()> {
    let is_after_unload = occasion == Occasion::Unloaded;
    for (resource, taken) in left {
        let taken = Some(taken);
        k.emit(Event::LeftBehind(LeftBehind { resource, taken, is_after_unload }))?;
    }
    Ok(())
}
