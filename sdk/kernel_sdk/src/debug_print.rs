//! Lines for the kernel debugger.

use core::{
    ffi::CStr,
    fmt::{Arguments, Result, Write},
};

use crate::abi::DbgPrint;

/// `DbgPrint` sends at most 512 bytes at a time.
const LINE_BYTES: usize = 512;

/// Collects a line and its terminator; what does not fit is cut off.
struct Line {
    bytes: [u8; LINE_BYTES],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> Result {
        for byte in text.bytes() {
            // The last byte stays zero.
            if self.used < LINE_BYTES - 1
                && let Some(place) = self.bytes.get_mut(self.used)
            {
                *place = byte;
                self.used += 1;
            }
        }
        Ok(())
    }
}

/// Prints formatted text; see [`debug_print!`](crate::debug_print).
pub fn print(text: Arguments<'_>) {
    const FORMAT: &CStr = c"%s";
    let mut line = Line { bytes: [0; LINE_BYTES], used: 0 };
    if line.write_fmt(text).is_ok() {
        // SAFETY: the format takes one terminated string.
        unsafe { DbgPrint(FORMAT.as_ptr(), line.bytes.as_ptr()) };
    }
}

/// Prints to the kernel debugger, formatted as by `format!`. No newline is added.
#[macro_export]
macro_rules! debug_print {
    ($($argument:tt)*) => { $crate::print(::core::format_args!($($argument)*)) };
}
