//! Windows kernel drivers in Rust, safe where it can be.
//!
//! A driver is a `no_std` crate of type `staticlib` with one function named `DriverEntry`. Dispatch
//! routines are safe functions: [`Irp`] is an owned request that can only be turned into a
//! [`Completed`] answer, so a routine that forgets to complete it does not compile. Touching user
//! memory is a safe call that returns a status ([`user_memory`]).
//!
//! What the kernel exports is declared here, against `ntoskrnl.exe`; no kit is needed.

#![no_std]
// UNSAFETY: this crate is the border between Rust and the kernel's C interface.

mod abi;
mod debug_print;
mod device;
mod driver;
mod irp;
mod load_cell;
mod pool;
mod runtime;
mod status;
mod thread;
mod unicode_string;
pub mod user_memory;

pub use debug_print::print;
pub use device::{
    Device, DeviceObject, DeviceParameters, create_symbolic_link, delete_symbolic_link,
};
pub use driver::{Dispatch, DriverObject, MajorFunction};
pub use irp::{Completed, Irp, MappedBuffer, SystemBuffer};
pub use load_cell::LoadCell;
pub use pool::PoolUnits;
pub use status::NtStatus;
pub use thread::Thread;
pub use unicode_string::{UnicodeString, encode_utf16};
