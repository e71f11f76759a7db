//! Reads give zeros, writes vanish, and a control code tells how many bytes did so.

// UNSAFETY: none but the unmangled name of the entry point.

#![no_std]

use core::sync::atomic::{AtomicI64, Ordering};

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DriverObject, Irp, MajorFunction, NtStatus,
    UnicodeString, create_symbolic_link, debug_print, delete_symbolic_link, unicode_string,
};

/// `CTL_CODE(0x8000, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`
const IOCTL_ZERO_GET_STATS: u32 = 0x8000_2000;

static TOTAL_READ: AtomicI64 = AtomicI64::new(0);
static TOTAL_WRITTEN: AtomicI64 = AtomicI64::new(0);

/// Called by the kernel when the driver is loaded.
#[unsafe(no_mangle)]
pub extern "system" fn DriverEntry(driver: &DriverObject, _path: &UnicodeString<'_>) -> NtStatus {
    driver.set_unload(unload);
    driver.set_dispatch(MajorFunction::Create, create_close);
    driver.set_dispatch(MajorFunction::Close, create_close);
    driver.set_dispatch(MajorFunction::Read, read);
    driver.set_dispatch(MajorFunction::Write, write);
    driver.set_dispatch(MajorFunction::DeviceControl, device_control);
    match create_device(driver) {
        Ok(()) => NtStatus::SUCCESS,
        Err(status) => {
            debug_print!("Zero: failed to initialize (0x{:08X})\n", status.number());
            status
        }
    }
}

/// What fails half-way deletes the device: it is dropped.
fn create_device(driver: &DriverObject) -> Result<(), NtStatus> {
    let name = unicode_string!("\\Device\\Zero");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let mut device = Device::create(driver, parameters)?;
    device.use_direct_io();
    create_symbolic_link(&unicode_string!("\\??\\Zero"), &name)?;
    device.keep();
    Ok(())
}

extern "system" fn unload(driver: &DriverObject) {
    delete_symbolic_link(&unicode_string!("\\??\\Zero"));
    driver.delete_devices();
}

extern "system" fn create_close(_device: &DeviceObject, irp: Irp) -> Completed {
    irp.complete(NtStatus::SUCCESS, 0)
}

extern "system" fn read(_device: &DeviceObject, mut irp: Irp) -> Completed {
    let len_bytes = irp.transfer_bytes();
    if len_bytes == 0 {
        return irp.complete(NtStatus::INVALID_BUFFER_SIZE, 0);
    }
    match irp.mapped_buffer() {
        Ok(mut buffer) => buffer.fill(0),
        Err(status) => return irp.complete(status, 0),
    }
    count(&TOTAL_READ, len_bytes);
    irp.complete(NtStatus::SUCCESS, len_bytes)
}

extern "system" fn write(_device: &DeviceObject, irp: Irp) -> Completed {
    let len_bytes = irp.transfer_bytes();
    count(&TOTAL_WRITTEN, len_bytes);
    irp.complete(NtStatus::SUCCESS, len_bytes)
}

extern "system" fn device_control(_device: &DeviceObject, mut irp: Irp) -> Completed {
    let result = match irp.io_control_code() {
        IOCTL_ZERO_GET_STATS => get_stats(&mut irp),
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    };
    match result {
        Ok(information) => irp.complete(NtStatus::SUCCESS, information),
        Err(status) => irp.complete(status, 0),
    }
}

/// Answers with `ZeroStats { TotalRead: i64, TotalWritten: i64 }`.
fn get_stats(irp: &mut Irp) -> Result<usize, NtStatus> {
    let mut buffer = irp.system_buffer().ok_or(NtStatus::BUFFER_TOO_SMALL)?;
    let mut stats = [0; 16];
    let (read, written) = stats.split_at_mut(8);
    read.copy_from_slice(&TOTAL_READ.load(Ordering::SeqCst).to_le_bytes());
    written.copy_from_slice(&TOTAL_WRITTEN.load(Ordering::SeqCst).to_le_bytes());
    buffer.write_output(&stats)
}

fn count(total: &AtomicI64, len_bytes: usize) {
    // Lengths are 32 bits in a request.
    total.fetch_add(len_bytes.cast_signed() as i64, Ordering::SeqCst);
}
