//! What compiled Rust expects to find without a standard library.

use core::{ffi::c_void, panic::PanicInfo};

use crate::abi::KeBugCheckEx;

/// Bug check code of a panic: "RUST" in ASCII. There is nobody to unwind to in the kernel.
const RUST_PANIC: u32 = 0x5255_5354;

/// Named by every object file that computes with floating point.
#[unsafe(no_mangle)]
static _fltused: i32 = 0;

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    // The compiler makes calls of these; only the declaration is needed.
    #![expect(dead_code, reason = "called by generated code")]
    fn memcpy(to: *mut c_void, from: *const c_void, size_bytes: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, size_bytes: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: i32, size_bytes: usize) -> *mut c_void;
    fn memcmp(a: *const c_void, b: *const c_void, size_bytes: usize) -> i32;
    fn __chkstk();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, core::panic::Location::line);
    // SAFETY: stops the machine; nothing runs afterwards.
    unsafe { KeBugCheckEx(RUST_PANIC, line as usize, 0, 0, 0) }
}
