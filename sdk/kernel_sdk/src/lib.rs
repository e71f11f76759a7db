//! Windows kernel drivers in Rust, safe where it can be.
//!
//! A driver is a `no_std` crate of type `staticlib` with one function named `DriverEntry`. Dispatch
//! routines are safe functions: [`Irp`] is an owned request that can only be turned into a
//! [`Completed`] answer, so a routine that forgets to complete it does not compile. Touching user
//! memory is a safe call that returns a status ([`user_memory`]).
//!
//! What the kernel provides for concurrency follows three ideas. A lock owns what it protects and
//! is released by its guard ([`SpinLock`], [`FastMutex`], [`Mutex`], [`Resource`]). What the
//! kernel links into its lists lies in non-paged pool and does not move ([`NonPaged`]), and its
//! destructor ends what is going on ([`Timer`], [`Dpc`], [`SystemThread`]). And every callback
//! gets the level that it runs at ([`PassiveLevel`], [`DispatchLevel`]), which a wait asks for.
//! `sdk/kernel_sdk/misuse` shows what therefore does not compile.
//!
//! What the kernel exports is declared here, against `ntoskrnl.exe`; no kit is needed.

#![no_std]
// UNSAFETY: this crate is the border between Rust and the kernel's C interface.

mod abi;
mod debug_print;
mod device;
mod dpc;
mod driver;
mod driver_state;
mod entry;
mod event;
mod fast_mutex;
mod interrupt;
mod irp;
mod level;
mod load_cell;
mod mutex;
mod non_paged;
mod pool;
mod queue;
mod resource;
mod runtime;
mod semaphore;
mod spin_lock;
mod status;
mod system_thread;
mod thread;
mod unicode_string;
pub mod user_memory;
mod wait;
mod work_item;

pub use debug_print::print;
pub use device::{
    Device, DeviceObject, DeviceParameters, create_symbolic_link, delete_symbolic_link,
};
pub use dpc::{Dpc, DpcRoutine, Timer};
pub use driver::{Dispatch, DriverObject, MajorFunction};
pub use driver_state::{DriverState, StateRef};
pub use entry::Start;
#[doc(hidden)]
pub use entry::enter;
pub use event::Event;
pub use fast_mutex::{FastMutex, FastMutexGuard};
pub use interrupt::{Interrupt, InterruptParameters, InterruptRoutine};
pub use irp::{Completed, Irp, MappedBuffer, SystemBuffer};
pub use level::{
    ApcsDisabled, DeviceLevel, DispatchLevel, Irql, Level, MayWait, PassiveLevel, at_dispatch,
};
pub use load_cell::LoadCell;
pub use mutex::{Mutex, MutexGuard};
pub use non_paged::{NonPaged, Shared};
pub use pool::PoolUnits;
pub use queue::{Queue, QueueNode};
pub use resource::{ReadGuard, Resource, WriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use spin_lock::{QueuedSpinLock, SpinGuard, SpinLock};
pub use status::NtStatus;
pub use system_thread::{StopRequest, SystemThread, ThreadRoutine};
pub use thread::Thread;
pub use unicode_string::{UnicodeString, encode_utf16};
pub use wait::{Waitable, sleep, wait_any};
pub use work_item::{WorkItem, WorkRoutine};
