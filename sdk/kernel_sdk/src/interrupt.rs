//! Interrupts: a routine that runs when the device asks for it, and the data that it shares with
//! the rest of the driver.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/using-critical-sections>

use core::{cell::UnsafeCell, ffi::c_void, ptr};

use crate::{
    abi::synchronization::{
        IoConnectInterrupt, IoDisconnectInterrupt, KINTERRUPT, KeSynchronizeExecution,
        LEVEL_SENSITIVE, SynchronizeRoutine,
    },
    level::{DeviceLevel, Irql, Level, assert_passive},
    non_paged::NonPaged,
    status::NtStatus,
};

/// What an interrupt service routine does with the data of its device; true if its device raised
/// the interrupt.
pub type InterruptRoutine<T> = fn(&mut T, &mut DeviceLevel) -> bool;

/// How an interrupt reaches the processor.
#[derive(Clone, Copy, Debug)]
pub struct InterruptParameters {
    pub vector: u32,
    pub irql: Irql,
    /// Whether other devices use the same line.
    pub is_shared: bool,
    /// Processors on which it may occur.
    pub processors: usize,
}

/// A connected interrupt, and what its routine works on.
///
/// Dropping it disconnects the routine and waits until it does not run any more.
pub struct Interrupt<T: Send + 'static> {
    object: *mut KINTERRUPT,
    handler: NonPaged<Handler<T>>,
}

struct Handler<T> {
    routine: InterruptRoutine<T>,
    value: UnsafeCell<T>,
}

// SAFETY: the spin lock of the interrupt object lets one processor at a time at the value.
unsafe impl<T: Send> Sync for Handler<T> {}
// SAFETY: the kernel synchronises access to the object; see `Handler` for the value.
unsafe impl<T: Send> Send for Interrupt<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Interrupt<T> {}

impl<T: Send + 'static> Interrupt<T> {
    /// Connects a routine. From here on it may be called at any time.
    pub fn connect(
        parameters: InterruptParameters,
        value: T,
        routine: InterruptRoutine<T>,
    ) -> Result<Self, NtStatus> {
        assert_passive();
        let handler = NonPaged::new(Handler { routine, value: UnsafeCell::new(value) })?;
        let context = ptr::from_ref(&*handler).cast_mut().cast::<c_void>();
        let mut object = ptr::null_mut();
        let InterruptParameters { vector, irql, is_shared, processors } = parameters;
        // SAFETY: at PASSIVE_LEVEL; the context stays until the destructor below has disconnected
        // the routine, which is made for this type of value.
        let status = unsafe {
            IoConnectInterrupt(
                &raw mut object,
                service::<T>,
                context,
                ptr::null_mut(),
                vector,
                irql.0,
                irql.0,
                LEVEL_SENSITIVE,
                u8::from(is_shared),
                processors,
                0,
            )
        };
        status.ok()?;
        Ok(Self { object, handler })
    }

    /// Calls `work` with the data at the level of the interrupt, while the routine runs nowhere.
    pub fn with<R>(
        &self,
        _level: &mut impl Level,
        work: impl FnOnce(&mut T, &mut DeviceLevel) -> R,
    ) -> R {
        let mut section = Section { handler: &*self.handler, work: Some(work), result: None };
        let context = (&raw mut section).cast::<c_void>();
        // SAFETY: connected; the level proves an IRQL up to DISPATCH_LEVEL; `synchronized` is made
        // for this type of section, which stays until the routine returns.
        unsafe { KeSynchronizeExecution(self.object, synchronized_for(&section), context) };
        section.result.expect("the kernel calls the routine once")
    }
}

/// What a synchronized section needs.
struct Section<'a, T, W, R> {
    handler: &'a Handler<T>,
    work: Option<W>,
    result: Option<R>,
}

/// Names the routine for a section's type.
fn synchronized_for<T, W: FnOnce(&mut T, &mut DeviceLevel) -> R, R>(
    _section: &Section<'_, T, W, R>,
) -> SynchronizeRoutine {
    synchronized::<T, W, R>
}

extern "system" fn synchronized<T, W: FnOnce(&mut T, &mut DeviceLevel) -> R, R>(
    context: *mut c_void,
) -> u8 {
    // SAFETY: `with` passes its section and waits.
    let section = unsafe { &mut *context.cast::<Section<'_, T, W, R>>() };
    // SAFETY: the kernel holds the spin lock of the interrupt.
    let value = unsafe { &mut *section.handler.value.get() };
    // SAFETY: the kernel calls this at the level of the interrupt.
    let mut level = unsafe { DeviceLevel::assume() };
    section.result = section.work.take().map(|work| work(value, &mut level));
    1
}

extern "system" fn service<T: Send + 'static>(
    _interrupt: *mut KINTERRUPT,
    context: *mut c_void,
) -> u8 {
    // SAFETY: the owner disconnects this routine before it frees the handler.
    let handler = unsafe { &*context.cast::<Handler<T>>() };
    // SAFETY: the kernel holds the spin lock of the interrupt.
    let value = unsafe { &mut *handler.value.get() };
    // SAFETY: the kernel calls this at the level of the interrupt.
    let mut level = unsafe { DeviceLevel::assume() };
    u8::from((handler.routine)(value, &mut level))
}

impl<T: Send + 'static> Drop for Interrupt<T> {
    fn drop(&mut self) {
        assert_passive();
        // SAFETY: connected, at PASSIVE_LEVEL. The handler is dropped afterwards.
        unsafe { IoDisconnectInterrupt(self.object) };
    }
}
