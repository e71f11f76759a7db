//! How the kernel enters a driver: each callback gets the level it is called at.

use core::ptr::NonNull;

use crate::{
    device::DeviceObject,
    driver::{DriverObject, MajorFunction},
    irp::{Completed, Irp},
    level::{Irql, PassiveLevel},
    status::NtStatus,
    unicode_string::UnicodeString,
};

/// What a driver does when it is loaded.
pub type Start = fn(&DriverObject, &UnicodeString<'_>, &mut PassiveLevel) -> Result<(), NtStatus>;

/// Defines `DriverEntry`, which calls a function of type [`Start`](crate::Start).
#[macro_export]
macro_rules! driver_entry {
    ($start:path) => {
        /// Called by the kernel when the driver is loaded.
        #[unsafe(no_mangle)]
        pub extern "system" fn DriverEntry(
            driver: &$crate::DriverObject,
            path: &$crate::UnicodeString<'_>,
        ) -> $crate::NtStatus {
            // SAFETY: this is the entry point.
            unsafe { $crate::enter(driver, path, $start) }
        }
    };
}

/// Serves [`driver_entry!`](crate::driver_entry).
///
/// # Safety
///
/// Called by `DriverEntry` only.
#[doc(hidden)]
pub unsafe fn enter(driver: &DriverObject, path: &UnicodeString<'_>, start: Start) -> NtStatus {
    // SAFETY: DriverEntry is called at PASSIVE_LEVEL.
    let mut level = unsafe { PassiveLevel::assume() };
    start(driver, path, &mut level).err().unwrap_or(NtStatus::SUCCESS)
}

impl DriverObject {
    /// Registers what to call before the driver is unloaded. A function, or a closure that
    /// captures nothing.
    pub fn on_unload<F>(&self, routine: F)
    where
        F: Fn(&Self, &mut PassiveLevel) + Copy + 'static,
    {
        let _ = function(routine);
        self.set_unload(unload::<F>);
    }

    /// Registers what to call for one kind of request. A function, or a closure that captures
    /// nothing.
    ///
    /// A request of a program arrives at `PASSIVE_LEVEL`. One that a filter sends at a higher
    /// level fails, because the routine may wait.
    pub fn on<F>(&self, major: MajorFunction, routine: F)
    where
        F: Fn(&DeviceObject, Irp, &mut PassiveLevel) -> Completed + Copy + 'static,
    {
        let _ = function(routine);
        self.set_dispatch(major, dispatch::<F>);
    }
}

extern "system" fn unload<F>(driver: &DriverObject)
where
    F: Fn(&DriverObject, &mut PassiveLevel) + Copy + 'static,
{
    // SAFETY: `on_unload` was given a value of the type.
    let routine = unsafe { known::<F>() };
    // SAFETY: the unload routine is called at PASSIVE_LEVEL.
    let mut level = unsafe { PassiveLevel::assume() };
    routine(driver, &mut level);
}

extern "system" fn dispatch<F>(device: &DeviceObject, irp: Irp) -> Completed
where
    F: Fn(&DeviceObject, Irp, &mut PassiveLevel) -> Completed + Copy + 'static,
{
    if Irql::current() != Irql::PASSIVE_LEVEL {
        return irp.complete(NtStatus::UNSUCCESSFUL, 0);
    }
    // SAFETY: `on` was given a value of the type.
    let routine = unsafe { known::<F>() };
    // SAFETY: asked for above; one level per callback.
    let mut level = unsafe { PassiveLevel::assume() };
    routine(device, irp, &mut level)
}

/// Keeps nothing of a function but its type.
const fn function<F: Copy>(routine: F) -> F {
    const { assert!(size_of::<F>() == 0, "the kernel keeps no captured values") };
    routine
}

/// The function that a type names.
///
/// # Safety
///
/// A value of the type was given to [`function`].
unsafe fn known<F: Copy>() -> F {
    let place = NonNull::<F>::dangling();
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: the value has no bytes, and one like it exists.
    unsafe { place.read() }
}
