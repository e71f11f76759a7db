//! Waiting for dispatcher objects.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kewaitforsingleobject>

use core::{ffi::c_void, ptr};

use crate::{
    abi::{
        KERNEL_MODE,
        synchronization::{
            EXECUTIVE, KeDelayExecutionThread, KeWaitForMultipleObjects, KeWaitForSingleObject,
            STATUS_TIMEOUT, WAIT_ANY,
        },
    },
    level::{Level, MayWait},
};

/// `THREAD_WAIT_OBJECTS`: for so many objects a thread has wait blocks of its own.
const THREAD_WAIT_OBJECTS: usize = 3;

/// A relative time in units of 100 ns, which the kernel writes as a negative number.
pub(crate) fn relative_100ns(time_ms: u32) -> i64 {
    -10_000 * i64::from(time_ms)
}

/// An object that threads wait for, and that nobody comes to own by waiting.
pub trait Waitable: sealed::Object {
    /// Waits until the object is signaled.
    fn wait(&self, _level: &mut impl MayWait)
    where
        Self: Sized,
    {
        // SAFETY: the object is initialised and lives; the level allows a wait.
        unsafe { wait_for(self.object(), None) };
    }

    /// Waits at most so long; says whether the object was signaled.
    fn wait_at_most(&self, time_ms: u32, _level: &mut impl MayWait) -> bool
    where
        Self: Sized,
    {
        // SAFETY: as above.
        unsafe { wait_for(self.object(), Some(relative_100ns(time_ms))) }
    }

    /// Takes the signal if it is there. Allowed everywhere: a zero timeout suspends nobody.
    fn try_wait(&self, _level: &mut impl Level) -> bool
    where
        Self: Sized,
    {
        // SAFETY: the object is initialised and lives; with a zero timeout DISPATCH_LEVEL is fine.
        unsafe { wait_for(self.object(), Some(0)) }
    }
}

impl<T: sealed::Object> Waitable for T {}

/// Waits until one of the objects is signaled, and returns its index.
pub fn wait_any<const COUNT: usize>(
    objects: [&dyn sealed::Object; COUNT],
    _level: &mut impl MayWait,
) -> usize {
    const { assert!(COUNT > 0 && COUNT <= THREAD_WAIT_OBJECTS, "a thread has three wait blocks") };
    let objects = objects.map(sealed::Object::object);
    // SAFETY: all objects are initialised and live; the level allows a wait.
    let status = unsafe {
        KeWaitForMultipleObjects(
            COUNT as u32,
            objects.as_ptr(),
            WAIT_ANY,
            EXECUTIVE,
            KERNEL_MODE,
            0,
            ptr::null(),
            ptr::null_mut(),
        )
    };
    // STATUS_WAIT_0 is zero: without a timeout and alerts, the status is the index.
    status.number() as usize
}

/// Lets time pass.
pub fn sleep(time_ms: u32, _level: &mut impl MayWait) {
    let interval = relative_100ns(time_ms);
    // SAFETY: the interval is valid for the call; the level allows a wait.
    unsafe { KeDelayExecutionThread(KERNEL_MODE, 0, &raw const interval) };
}

/// Waits without alerts; false when the time is over.
///
/// # Safety
///
/// `object` is an initialised dispatcher object that lives until the return. The IRQL is below
/// `DISPATCH_LEVEL`, or the timeout is zero.
pub(crate) unsafe fn wait_for(object: *mut c_void, timeout: Option<i64>) -> bool {
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: promised by the caller.
    let status = unsafe { KeWaitForSingleObject(object, EXECUTIVE, KERNEL_MODE, 0, timeout) };
    status != STATUS_TIMEOUT
}

pub(crate) mod sealed {
    use core::ffi::c_void;

    /// Holds a dispatcher object in non-paged memory.
    pub trait Object {
        fn object(&self) -> *mut c_void;
    }
}
