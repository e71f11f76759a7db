//! Work items: routines that run later, once, on a thread of the system.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/system-worker-threads>

use core::{ffi::c_void, mem, ptr, ptr::NonNull};

use crate::{
    abi::synchronization::{
        DELAYED_WORK_QUEUE, IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItemEx,
    },
    device::DeviceObject,
    level::{Level, PassiveLevel},
    non_paged::NonPaged,
    status::NtStatus,
};

/// What a work item does with its context, which it owns.
pub type WorkRoutine<T> = fn(T, &mut PassiveLevel);

/// A work item with its context. Queuing consumes it; it frees itself when it runs.
///
/// The I/O manager keeps the device, and with it the driver, until the routine has returned.
pub struct WorkItem<T: Send + 'static> {
    item: NonNull<c_void>,
    work: NonPaged<Work<T>>,
}

struct Work<T> {
    routine: WorkRoutine<T>,
    context: T,
}

// SAFETY: an item that is not queued belongs to its owner alone.
unsafe impl<T: Send> Send for WorkItem<T> {}

impl<T: Send + 'static> WorkItem<T> {
    /// Allocates an item for a device.
    pub fn new(
        device: &DeviceObject,
        context: T,
        routine: WorkRoutine<T>,
    ) -> Result<Self, NtStatus> {
        let work = NonPaged::new(Work { routine, context })?;
        // SAFETY: the device lives.
        let item = unsafe { IoAllocateWorkItem(device.as_ptr().cast::<c_void>()) };
        let item = NonNull::new(item).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        Ok(Self { item, work })
    }

    /// Hands the item to a thread of the system.
    pub fn queue(self, _level: &mut impl Level) {
        let item = self.item.as_ptr();
        // SAFETY: `self` is forgotten, so the context has one owner, the routine below.
        let work = unsafe { ptr::read(&raw const self.work) };
        mem::forget(self);
        let context = work.into_raw().as_ptr().cast::<c_void>();
        // SAFETY: the item is not queued, and never again: it is consumed.
        unsafe { IoQueueWorkItemEx(item, run::<T>, DELAYED_WORK_QUEUE, context) };
    }
}

extern "system" fn run<T: Send + 'static>(
    _device: *mut c_void,
    context: *mut c_void,
    item: *mut c_void,
) {
    // SAFETY: dequeued before the call, and never used again.
    unsafe { IoFreeWorkItem(item) };
    let Some(work) = NonNull::new(context.cast::<Work<T>>()) else { return };
    // SAFETY: `queue` gave up the ownership of the block.
    let work = unsafe { NonPaged::from_raw(work) }.into_inner();
    // SAFETY: the threads of the system call work items at PASSIVE_LEVEL.
    let mut level = unsafe { PassiveLevel::assume() };
    (work.routine)(work.context, &mut level);
}

impl<T: Send + 'static> Drop for WorkItem<T> {
    fn drop(&mut self) {
        // SAFETY: never queued, because that forgets it.
        unsafe { IoFreeWorkItem(self.item.as_ptr()) };
    }
}
