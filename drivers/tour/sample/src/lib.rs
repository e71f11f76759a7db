//! The smallest driver: prints when it comes and goes, and keeps a copy of its registry path.

// UNSAFETY: none but the unmangled name of the entry point.

#![no_std]

use core::fmt::{Display, Formatter, Result, Write};

use kernel_sdk::{DriverObject, LoadCell, NtStatus, PoolUnits, UnicodeString, debug_print};

const TAG: [u8; 4] = *b"Smpl";

/// From `DriverEntry` to unload.
static REGISTRY_PATH: LoadCell<PoolUnits> = LoadCell::new();

/// Called by the kernel when the driver is loaded.
#[unsafe(no_mangle)]
pub extern "system" fn DriverEntry(driver: &DriverObject, path: &UnicodeString<'_>) -> NtStatus {
    driver.set_unload(unload);
    let copy = match PoolUnits::copy(path.units(), TAG) {
        Ok(copy) => copy,
        Err(status) => return status,
    };
    debug_print!("Copied registry path: {}\n", Utf16(copy.units()));
    // The cell is empty: the entry point runs once per load.
    drop(REGISTRY_PATH.put(copy));
    debug_print!("Sample driver initialized successfully\n");
    NtStatus::SUCCESS
}

extern "system" fn unload(_driver: &DriverObject) {
    debug_print!("Sample driver Unload called\n");
    drop(REGISTRY_PATH.take());
}

/// Shows UTF-16 units.
struct Utf16<'a>(&'a [u16]);

impl Display for Utf16<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        char::decode_utf16(self.0.iter().copied())
            .try_for_each(|unit| f.write_char(unit.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}
