//! The driver object: what the kernel calls in a driver.

use core::cell::UnsafeCell;

use crate::{
    abi::{DRIVER_OBJECT, IoDeleteDevice},
    device::DeviceObject,
    irp::{Completed, Irp},
};

/// A routine that answers requests.
pub type Dispatch = extern "system" fn(&DeviceObject, Irp) -> Completed;

/// The routine that undoes `DriverEntry`.
pub(crate) type Unload = extern "system" fn(&DriverObject);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MajorFunction {
    Create = 0x00,
    Close = 0x02,
    Read = 0x03,
    Write = 0x04,
    DeviceControl = 0x0E,
}

/// The kernel's object for this loaded driver.
#[repr(transparent)]
pub struct DriverObject(UnsafeCell<DRIVER_OBJECT>);

impl DriverObject {
    /// Registers what to call before the driver is unloaded.
    pub fn set_unload(&self, unload: Unload) {
        // SAFETY: the kernel reads the field later, on request of the same driver.
        unsafe { (*self.0.get()).DriverUnload = Some(unload) };
    }

    /// Registers the routine for one kind of request.
    pub fn set_dispatch(&self, major: MajorFunction, dispatch: Dispatch) {
        let index = major as usize;
        // SAFETY: as above; every major function is below the 28 of the table.
        unsafe { (*self.0.get()).MajorFunction[index] = Some(dispatch) };
    }

    /// Deletes every device of the driver. For use in the unload routine.
    pub fn delete_devices(&self) {
        loop {
            // SAFETY: the kernel keeps the list; deleting a device takes it off.
            let device = unsafe { (*self.0.get()).DeviceObject };
            if device.is_null() {
                return;
            }
            // SAFETY: the device is alive, because it is on the list, and belongs to this driver.
            unsafe { IoDeleteDevice(device) };
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut DRIVER_OBJECT {
        self.0.get()
    }
}
