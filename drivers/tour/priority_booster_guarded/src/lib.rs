//! The successor of `priority_booster`: same device, same protocol, without its flaw.
//!
//! The caller's structure is probed, captured once into a local copy, and both under a handler. A
//! bad pointer is the caller's problem and gets STATUS_ACCESS_VIOLATION.

// UNSAFETY: none but the unmangled name of the entry point.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DriverObject, Irp, MajorFunction, NtStatus,
    Thread, UnicodeString, create_symbolic_link, debug_print, delete_symbolic_link, unicode_string,
    user_memory::{UserAddress, copy_from_user},
};

/// `CTL_CODE(0x8000, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS)`
const IOCTL_PRIORITY_BOOSTER_SET_PRIORITY: u32 = 0x8000_2003;

/// What the client sends: both fields are 32 bits, little endian.
struct ThreadData {
    thread_id: u32,
    priority: i32,
}

impl ThreadData {
    const BYTES: usize = 8;
    const ALIGNMENT: u32 = 4;

    /// Takes one private copy of what the caller's pointer shows now.
    fn capture(from: UserAddress) -> Result<Self, NtStatus> {
        let mut bytes = [0; Self::BYTES];
        copy_from_user(&mut bytes, from, Self::ALIGNMENT)
            .map_err(|_exception_code| NtStatus::ACCESS_VIOLATION)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok(Self {
            thread_id: u32::from_le_bytes([a, b, c, d]),
            priority: i32::from_le_bytes([e, f, g, h]),
        })
    }
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
    let result = match irp.io_control_code() {
        IOCTL_PRIORITY_BOOSTER_SET_PRIORITY => set_priority(&irp),
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    };
    irp.complete(result.err().unwrap_or(NtStatus::SUCCESS), 0)
}

fn set_priority(irp: &Irp) -> Result<(), NtStatus> {
    if irp.input_bytes() < ThreadData::BYTES {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let from = irp.type3_input();
    if from.is_null() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let data = ThreadData::capture(from)?;
    if !(1..=31).contains(&data.priority) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let thread = Thread::by_id(data.thread_id)?;
    thread.set_priority(data.priority);
    debug_print!("Thread Priority change for {} to {} succeeded!\n", data.thread_id, data.priority);
    Ok(())
}
