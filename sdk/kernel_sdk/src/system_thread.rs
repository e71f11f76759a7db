//! System threads, and waiting for their end.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-pscreatesystemthread>

use core::{ffi::c_void, ptr, ptr::NonNull};

use crate::{
    abi::{
        KERNEL_MODE, ObfDereferenceObject,
        synchronization::{
            OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, ObReferenceObjectByHandle, PsCreateSystemThread,
            PsTerminateSystemThread, PsThreadType, THREAD_ALL_ACCESS, ZwClose,
        },
    },
    event::Event,
    level::{PassiveLevel, assert_passive},
    non_paged::{NonPaged, Shared},
    status::NtStatus,
    wait::{sealed::Object, wait_for},
};

/// What a thread does with its context, which it owns, until it is asked to stop.
pub type ThreadRoutine<T> = fn(T, &StopRequest, &mut PassiveLevel);

/// A thread of this driver.
///
/// Dropping it asks it to stop and waits for its end. It waits for the thread *object*, because an
/// event that the thread sets says nothing about the instructions after it, and the image must
/// stay until the last one.
pub struct SystemThread {
    thread: NonNull<c_void>,
    stop: StopRequest,
}

// SAFETY: a counted reference to an object of the kernel.
unsafe impl Send for SystemThread {}
// SAFETY: as above.
unsafe impl Sync for SystemThread {}

/// Signaled when a thread shall end. A thread waits for it, alone or beside other objects.
pub struct StopRequest(Shared<Event>);

impl Object for StopRequest {
    fn object(&self) -> *mut c_void {
        self.0.object()
    }
}

struct Start<T> {
    routine: ThreadRoutine<T>,
    context: T,
    stop: StopRequest,
}

impl SystemThread {
    /// Starts a thread in the system process.
    pub fn spawn<T: Send + 'static>(
        context: T,
        routine: ThreadRoutine<T>,
        _level: &mut PassiveLevel,
    ) -> Result<Self, NtStatus> {
        let stop = Shared::new(Event::notification()?)?;
        let theirs = StopRequest(stop.clone());
        let start = NonPaged::new(Start { routine, context, stop: theirs })?.into_raw();
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: 0,
            ObjectName: ptr::null(),
            Attributes: OBJ_KERNEL_HANDLE,
            SecurityDescriptor: ptr::null(),
            SecurityQualityOfService: ptr::null(),
        };
        let mut handle = 0;
        // SAFETY: all pointers are valid for the call; `begin` is made for this type of context.
        let status = unsafe {
            PsCreateSystemThread(
                &raw mut handle,
                THREAD_ALL_ACCESS,
                &raw const attributes,
                0,
                ptr::null_mut(),
                begin::<T>,
                start.as_ptr().cast::<c_void>(),
            )
        };
        if let Err(status) = status.ok() {
            // SAFETY: there is no thread that could own the block.
            drop(unsafe { NonPaged::from_raw(start) });
            return Err(status);
        }
        Ok(Self { thread: object_of(handle), stop: StopRequest(stop) })
    }

    /// Waits until the thread has ended by itself.
    pub fn join(self, _level: &mut PassiveLevel) {
        // SAFETY: our reference keeps the object; at PASSIVE_LEVEL a wait is allowed.
        unsafe { wait_for(self.thread.as_ptr(), None) };
    }

    /// Asks the thread to stop, and waits until it has ended.
    pub fn stop(self, _level: &mut PassiveLevel) {
        drop(self);
    }
}

/// Trades the only handle of a new thread for a reference to its object.
fn object_of(handle: usize) -> NonNull<c_void> {
    let mut object = ptr::null_mut();
    // SAFETY: the kernel fills the variable before it loads a driver.
    let kind = unsafe { *PsThreadType };
    // SAFETY: the handle is a kernel handle, which no program can close.
    let status = unsafe {
        ObReferenceObjectByHandle(
            handle,
            THREAD_ALL_ACCESS,
            kind,
            KERNEL_MODE,
            &raw mut object,
            ptr::null_mut(),
        )
    };
    // SAFETY: ours, and closed once.
    unsafe { ZwClose(handle) };
    // Without the object nobody could wait for the thread, and its code must not go away. A new
    // kernel handle of the right type with full access gives no other answer.
    assert!(status.is_success(), "a new thread has an object");
    NonNull::new(object).expect("a new thread has an object")
}

extern "system" fn begin<T: Send + 'static>(context: *mut c_void) {
    if let Some(start) = NonNull::new(context.cast::<Start<T>>()) {
        // SAFETY: `spawn` gave up the ownership of the block.
        let start = unsafe { NonPaged::from_raw(start) }.into_inner();
        // SAFETY: system threads start at PASSIVE_LEVEL.
        let mut level = unsafe { PassiveLevel::assume() };
        (start.routine)(start.context, &start.stop, &mut level);
    }
    // SAFETY: a system thread of this driver; nothing on its stack owns anything any more.
    unsafe { PsTerminateSystemThread(NtStatus::SUCCESS) };
}

impl Drop for SystemThread {
    fn drop(&mut self) {
        assert_passive();
        self.stop.0.signal();
        // SAFETY: our reference keeps the object; at PASSIVE_LEVEL a wait is allowed.
        unsafe { wait_for(self.thread.as_ptr(), None) };
        // SAFETY: gives back our reference.
        unsafe { ObfDereferenceObject(self.thread.as_ptr()) };
    }
}
