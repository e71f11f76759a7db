//! Device objects and the symbolic links that make them visible to programs.

use core::{cell::UnsafeCell, mem, ptr, ptr::NonNull};

use crate::{
    abi::{
        DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DO_DIRECT_IO, IoCreateDevice, IoCreateSymbolicLink,
        IoDeleteDevice, IoDeleteSymbolicLink,
    },
    driver::DriverObject,
    status::NtStatus,
    unicode_string::UnicodeString,
};

/// `FILE_DEVICE_UNKNOWN`
const FILE_DEVICE_UNKNOWN: u32 = 0x22;

/// A device that requests are sent to.
#[repr(transparent)]
pub struct DeviceObject(UnsafeCell<DEVICE_OBJECT>);

impl DeviceObject {
    pub(crate) fn as_ptr(&self) -> *mut DEVICE_OBJECT {
        self.0.get()
    }
}

/// How a device is created; the default is an unnamed one of unknown type.
#[derive(Clone, Copy)]
pub struct DeviceParameters<'a> {
    pub name: Option<&'a UnicodeString<'a>>,
    pub device_type: u32,
    pub characteristics: u32,
}

impl Default for DeviceParameters<'_> {
    fn default() -> Self {
        Self { name: None, device_type: FILE_DEVICE_UNKNOWN, characteristics: 0 }
    }
}

/// A new device, deleted when dropped; [`Device::keep`] hands it to the driver object.
pub struct Device(NonNull<DEVICE_OBJECT>);

impl Device {
    /// Creates a device without extension.
    pub fn create(
        driver: &DriverObject,
        parameters: DeviceParameters<'_>,
    ) -> Result<Self, NtStatus> {
        let name = parameters.name.map_or(ptr::null(), ptr::from_ref);
        let mut device = ptr::null_mut();
        // SAFETY: all pointers are valid for the call; the name is copied.
        let status = unsafe {
            IoCreateDevice(
                driver.as_ptr(),
                0,
                name,
                parameters.device_type,
                parameters.characteristics,
                0,
                &raw mut device,
            )
        };
        status.ok()?;
        NonNull::new(device).map(Self).ok_or(NtStatus::INSUFFICIENT_RESOURCES)
    }

    /// Reads and writes describe their buffer by an MDL from now on.
    pub fn use_direct_io(&mut self) {
        // SAFETY: no request can reach the device before `DriverEntry` has returned.
        unsafe { (*self.0.as_ptr()).Flags |= DO_DIRECT_IO };
    }

    /// Leaves the device to the driver object, whose unload routine deletes it.
    pub fn keep(self) {
        // SAFETY: as above; outside `DriverEntry` the driver itself must open the device.
        unsafe { (*self.0.as_ptr()).Flags &= !DO_DEVICE_INITIALIZING };
        mem::forget(self);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: created by us and handed to nobody.
        unsafe { IoDeleteDevice(self.0.as_ptr()) };
    }
}

/// Makes `target` reachable under the name `link`.
pub fn create_symbolic_link(
    link: &UnicodeString<'_>,
    target: &UnicodeString<'_>,
) -> Result<(), NtStatus> {
    // SAFETY: both strings are valid for the call and copied.
    unsafe { IoCreateSymbolicLink(link, target) }.ok()
}

/// Removes a link.
pub fn delete_symbolic_link(link: &UnicodeString<'_>) -> NtStatus {
    // SAFETY: the string is valid for the call.
    unsafe { IoDeleteSymbolicLink(link) }
}
