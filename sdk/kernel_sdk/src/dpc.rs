//! Deferred procedure calls, and timers that queue them.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/timer-objects-and-dpcs>

use core::{ffi::c_void, ptr};

use crate::{
    abi::synchronization::{
        KDPC, KTIMER, KeCancelTimer, KeFlushQueuedDpcs, KeInitializeDpc, KeInitializeTimer,
        KeInsertQueueDpc, KeReadStateTimer, KeRemoveQueueDpc, KeSetTimer, KeSetTimerEx,
    },
    level::{DispatchLevel, Level, assert_passive},
    non_paged::NonPaged,
    status::NtStatus,
    wait::{relative_100ns, sealed::Object},
};

/// What a DPC does with its context.
pub type DpcRoutine<T> = fn(&T, &mut DispatchLevel);

/// A routine that runs soon at `DISPATCH_LEVEL`.
///
/// Dropping it takes it off the queue and waits until it does not run any more.
pub struct Dpc<T: Send + Sync + 'static>(NonPaged<Call<T>>);

struct Call<T> {
    dpc: KDPC,
    routine: DpcRoutine<T>,
    context: T,
}

// SAFETY: the kernel synchronises all access to the object; the context may be shared.
unsafe impl<T: Send + Sync> Send for Call<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Call<T> {}

impl<T: Send + Sync + 'static> Call<T> {
    const fn new(context: T, routine: DpcRoutine<T>) -> Self {
        Self { dpc: KDPC::zeroed(), routine, context }
    }

    /// # Safety
    ///
    /// The call stays where it is until its DPC is neither queued nor running.
    unsafe fn initialize(&self) {
        // SAFETY: promised by the caller; `deferred` is made for this type of context.
        unsafe {
            KeInitializeDpc(self.dpc.as_ptr(), deferred::<T>, ptr::from_ref(self).cast::<c_void>())
        };
    }
}

extern "system" fn deferred<T: Send + Sync + 'static>(
    _dpc: *mut KDPC,
    context: *mut c_void,
    _first: *mut c_void,
    _second: *mut c_void,
) {
    // SAFETY: the owner of the call waits for the end of this routine before it frees it.
    let call = unsafe { &*context.cast::<Call<T>>() };
    // SAFETY: the kernel runs DPCs at DISPATCH_LEVEL.
    let mut level = unsafe { DispatchLevel::assume() };
    (call.routine)(&call.context, &mut level);
}

impl<T: Send + Sync + 'static> Dpc<T> {
    /// A DPC that is not queued yet.
    pub fn new(context: T, routine: DpcRoutine<T>) -> Result<Self, NtStatus> {
        let call = NonPaged::new(Call::new(context, routine))?;
        // SAFETY: the block does not move, and its destructor below flushes the DPC.
        unsafe { call.initialize() };
        Ok(Self(call))
    }

    /// Queues the routine; false if it is queued already.
    pub fn queue(&self) -> bool {
        // SAFETY: initialised; allowed at any IRQL.
        unsafe { KeInsertQueueDpc(self.0.dpc.as_ptr(), 0, 0) != 0 }
    }

    /// What the routine gets.
    pub fn context(&self) -> &T {
        &self.0.context
    }
}

impl<T: Send + Sync + 'static> Drop for Dpc<T> {
    fn drop(&mut self) {
        assert_passive();
        // SAFETY: initialised; allowed at any IRQL.
        unsafe { KeRemoveQueueDpc(self.0.dpc.as_ptr()) };
        // SAFETY: at PASSIVE_LEVEL. The routine may run on another processor.
        unsafe { KeFlushQueuedDpcs() };
    }
}

/// A timer that queues a DPC when it expires, and that threads can wait for.
///
/// Dropping it cancels it and flushes queued DPCs, in this order, so that the context lives longer
/// than the last call. The routine has no way to set the timer again: a periodic timer does.
pub struct Timer<T: Send + Sync + 'static>(NonPaged<Expiry<T>>);

struct Expiry<T> {
    timer: KTIMER,
    call: Call<T>,
}

// SAFETY: the kernel synchronises all access to the object; the context may be shared.
unsafe impl<T: Send + Sync> Send for Expiry<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Expiry<T> {}

impl<T: Send + Sync + 'static> Timer<T> {
    /// A timer that is not set yet.
    pub fn new(context: T, routine: DpcRoutine<T>) -> Result<Self, NtStatus> {
        let expiry = Expiry { timer: KTIMER::zeroed(), call: Call::new(context, routine) };
        let expiry = NonPaged::new(expiry)?;
        // SAFETY: the block is ours and does not move.
        unsafe { KeInitializeTimer(expiry.timer.as_ptr()) };
        // SAFETY: as above; the destructor below flushes the DPC.
        unsafe { expiry.call.initialize() };
        Ok(Self(expiry))
    }

    /// Sets the timer to expire once; true if it was set already.
    pub fn set(&self, due_ms: u32, _level: &mut impl Level) -> bool {
        let expiry = &*self.0;
        let due = relative_100ns(due_ms);
        // SAFETY: both objects are initialised and stay.
        unsafe { KeSetTimer(expiry.timer.as_ptr(), due, expiry.call.dpc.as_ptr()) != 0 }
    }

    /// Sets the timer to expire again and again; true if it was set already.
    pub fn set_periodic(&self, period_ms: u16, _level: &mut impl Level) -> bool {
        // A period of zero would mean a single expiry.
        let period_ms = period_ms.max(1);
        let expiry = &*self.0;
        let due = relative_100ns(u32::from(period_ms));
        let dpc = expiry.call.dpc.as_ptr();
        // SAFETY: both objects are initialised and stay.
        unsafe { KeSetTimerEx(expiry.timer.as_ptr(), due, i32::from(period_ms), dpc) != 0 }
    }

    /// Takes the timer off the queue; true if it was there. A call that was queued before may
    /// still come.
    pub fn cancel(&self, _level: &mut impl Level) -> bool {
        // SAFETY: initialised.
        unsafe { KeCancelTimer(self.0.timer.as_ptr()) != 0 }
    }

    /// Says whether the timer has expired since it was set.
    pub fn has_expired(&self, _level: &mut impl Level) -> bool {
        // SAFETY: initialised.
        unsafe { KeReadStateTimer(self.0.timer.as_ptr()) != 0 }
    }

    /// What the routine gets.
    pub fn context(&self) -> &T {
        &self.0.call.context
    }
}

impl<T: Send + Sync + 'static> Object for Timer<T> {
    fn object(&self) -> *mut c_void {
        self.0.timer.as_object()
    }
}

impl<T: Send + Sync + 'static> Drop for Timer<T> {
    fn drop(&mut self) {
        assert_passive();
        // SAFETY: initialised.
        unsafe { KeCancelTimer(self.0.timer.as_ptr()) };
        // SAFETY: at PASSIVE_LEVEL. Whatever the result above says, a DPC may be queued or running.
        unsafe { KeFlushQueuedDpcs() };
    }
}
