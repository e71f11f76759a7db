//! Copies to and from user memory that return a status where C would need `__try`.
//!
//! Two assembly routines whose unwind data names `__C_specific_handler` with a scope table.
//! <https://learn.microsoft.com/cpp/build/exception-handling-x64>

use core::{arch::global_asm, ffi::c_void};

use crate::{
    abi::{__C_specific_handler, ProbeForRead, ProbeForWrite},
    status::NtStatus,
};

/// An address that came from a program: never dereferenced, only copied through this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct UserAddress(pub usize);

impl UserAddress {
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

unsafe extern "system" {
    /// Copies bytes; a fault at its copying instruction returns the exception code, else 0.
    fn guarded_copy(to: *mut u8, from: *const u8, size_bytes: usize) -> i32;
    /// Calls `routine(a, b, c)`; an exception inside returns its code, else 0. Nothing that it
    /// runs may own a destructor.
    fn guarded_call(a: usize, b: usize, c: usize, d: usize, routine: *const c_void) -> i32;
}

/// Labels 2 to 3 are guarded; the handler unwinds to label 4 with the exception code in `eax`.
///
/// Own one-only sections: the linker drops what a driver does not use, and its imports.
macro_rules! guarded {
    ($name:literal, $($line:literal,)*) => {
        global_asm!(
            concat!(".section .text,\"xr\",one_only,", $name),
            concat!(".p2align 4; .globl ", $name, "; .def ", $name, "; .scl 2; .type 32; .endef"),
            concat!(".seh_proc ", $name), concat!($name, ":"),
            $($line,)*
            ".seh_handler {handler}, @except", ".seh_handlerdata",
            // count; begin, end, EXCEPTION_EXECUTE_HANDLER, target
            ".long 1, 2b@IMGREL, 3b@IMGREL, 1, 4b@IMGREL",
            concat!(".section .text,\"xr\",one_only,", $name), ".seh_endproc", ".text",
            handler = sym __C_specific_handler,
        );
    };
}
guarded! { "guarded_copy",
    "push rdi", ".seh_pushreg rdi",
    "push rsi", ".seh_pushreg rsi",
    "sub rsp, 8", ".seh_stackalloc 8",
    ".seh_endprologue",
    "mov rdi, rcx",
    "mov rsi, rdx",
    "mov rcx, r8",
    "2:", "rep movsb", "3:",
    "xor eax, eax",
    "4:", "add rsp, 8",
    "pop rsi",
    "pop rdi",
    "ret",
}
// The return address must lie inside the guarded range: hence the `nop`.
guarded! { "guarded_call",
    "sub rsp, 40", ".seh_stackalloc 40",
    ".seh_endprologue",
    "2:", "call qword ptr [rsp + 80]", "nop", "3:",
    "xor eax, eax",
    "4:", "add rsp, 40",
    "ret",
}

/// Probes and copies a user range once. Fails with the code of the exception that either raised.
///
/// Call it at `PASSIVE_LEVEL` or `APC_LEVEL`, in the context of the process that owns the range.
pub fn copy_from_user(to: &mut [u8], from: UserAddress, alignment: u32) -> Result<(), NtStatus> {
    let probe: unsafe extern "system" fn(*const c_void, usize, u32) = ProbeForRead;
    // SAFETY: `ProbeForRead` takes an address, a length and an alignment, and owns nothing.
    check(unsafe {
        guarded_call(from.0, to.len(), alignment as usize, 0, probe as *const c_void)
    })?;
    // SAFETY: the access to the user range is guarded; `to` is valid for its whole length.
    check(unsafe { guarded_copy(to.as_mut_ptr(), from.0 as *const u8, to.len()) })
}

/// Probes a user range and copies to it. Fails with the code of the exception that either raised.
///
/// Call it at `PASSIVE_LEVEL` or `APC_LEVEL`, in the context of the process that owns the range.
pub fn copy_to_user(to: UserAddress, from: &[u8], alignment: u32) -> Result<(), NtStatus> {
    let probe: unsafe extern "system" fn(*mut c_void, usize, u32) = ProbeForWrite;
    // SAFETY: `ProbeForWrite` takes an address, a length and an alignment, and owns nothing.
    check(unsafe {
        guarded_call(to.0, from.len(), alignment as usize, 0, probe as *const c_void)
    })?;
    // SAFETY: the access to the user range is guarded; `from` is valid for its whole length.
    check(unsafe { guarded_copy(to.0 as *mut u8, from.as_ptr(), from.len()) })
}

/// Not a test of the sign: exception codes can be positive.
fn check(code: i32) -> Result<(), NtStatus> {
    if code == 0 { Ok(()) } else { Err(NtStatus::new(code.cast_unsigned())) }
}
