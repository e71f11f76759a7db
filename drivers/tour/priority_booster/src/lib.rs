//! Sets a thread to any priority from 1 to 31, which programs cannot do by themselves.
//!
//! **It has the flaw that its successor `priority_booster_guarded` fixes**: the control code is
//! METHOD_NEITHER, so the request carries the caller's own pointer, and this driver reads through
//! it, several times, without probing, without capturing, without a handler.

// UNSAFETY: the unmangled name of the entry point; and the flaw, which needs it.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DriverObject, Irp, MajorFunction, NtStatus,
    Thread, UnicodeString, create_symbolic_link, debug_print, delete_symbolic_link, unicode_string,
};

/// `CTL_CODE(0x8000, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS)`
const IOCTL_PRIORITY_BOOSTER_SET_PRIORITY: u32 = 0x8000_2003;

/// What the client sends; both sides know this layout.
#[repr(C)]
struct ThreadData {
    thread_id: u32,
    priority: i32,
}

/// Called by the kernel when the driver is loaded.
#[unsafe(no_mangle)]
pub extern "system" fn DriverEntry(driver: &DriverObject, _path: &UnicodeString<'_>) -> NtStatus {
    driver.set_unload(unload);
    driver.set_dispatch(MajorFunction::Create, create_close);
    driver.set_dispatch(MajorFunction::Close, create_close);
    driver.set_dispatch(MajorFunction::DeviceControl, device_control);

    let name = unicode_string!("\\Device\\PriorityBooster");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = match Device::create(driver, parameters) {
        Ok(device) => device,
        Err(status) => {
            debug_print!("Failed to create device object (0x{:08X})\n", status.number());
            return status;
        }
    };
    let link = unicode_string!("\\??\\PriorityBooster");
    if let Err(status) = create_symbolic_link(&link, &name) {
        debug_print!("Failed to create symbolic link (0x{:08X})\n", status.number());
        return status;
    }
    device.keep();
    NtStatus::SUCCESS
}

extern "system" fn unload(driver: &DriverObject) {
    delete_symbolic_link(&unicode_string!("\\??\\PriorityBooster"));
    driver.delete_devices();
}

extern "system" fn create_close(_device: &DeviceObject, irp: Irp) -> Completed {
    irp.complete(NtStatus::SUCCESS, 0)
}

extern "system" fn device_control(_device: &DeviceObject, irp: Irp) -> Completed {
    let status = match irp.io_control_code() {
        IOCTL_PRIORITY_BOOSTER_SET_PRIORITY => set_priority(&irp),
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    irp.complete(status, 0)
}

fn set_priority(irp: &Irp) -> NtStatus {
    if irp.input_bytes() < size_of::<ThreadData>() {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    let data = irp.type3_input().0 as *const ThreadData;
    if data.is_null() {
        return NtStatus::INVALID_PARAMETER;
    }
    // SAFETY: none. The pointer is the caller's, and this is the flaw that the driver shows.
    let priority = unsafe { (*data).priority };
    if !(1..=31).contains(&priority) {
        return NtStatus::INVALID_PARAMETER;
    }
    // SAFETY: none, as above.
    let thread = match Thread::by_id(unsafe { (*data).thread_id }) {
        Ok(thread) => thread,
        Err(status) => return status,
    };
    // SAFETY: none, as above; and what is read here need not be what was checked.
    thread.set_priority(unsafe { (*data).priority });
    // SAFETY: none, as above.
    let thread_id = unsafe { (*data).thread_id };
    // SAFETY: none, as above.
    let priority = unsafe { (*data).priority };
    debug_print!("Thread Priority change for {thread_id} to {priority} succeeded!\n");
    NtStatus::SUCCESS
}
