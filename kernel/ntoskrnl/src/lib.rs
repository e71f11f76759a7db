//! The hostile kernel: what `ntoskrnl.exe` offers a driver.
//!
//! One module per NT component, in the order in which they may use each other: `rtl ke ex mm ob se
//! ps cm io`. The modules before them are the frame every component stands in: how an export is
//! declared (`export`), how it gets its arguments (`call`), how it goes on after guest code or a
//! wait (`flow`), and the kernel itself (`kernel`).
//!
//! No guest state lives on a host stack: an export that must call the guest or wait returns a
//! [`Flow`] with frames.

extern crate self as ntoskrnl;

mod access;
mod activations;
mod call;
mod entry_call;
mod export;
mod export_call;
mod flow;
mod guest_exit;
mod kernel;
#[cfg(test)]
mod lock_testing;
pub mod map;
mod points;
mod preempt;
mod registers;
mod run_loop;
mod snapshot;
mod standstill;
mod tail_jump;
#[cfg(test)]
mod testing;
mod turn;

pub mod rtl;

pub mod ke;

pub mod ex;

pub mod mm;

pub mod ob;

pub mod ps;

pub mod io;

pub use call::{BugCheck, CallResult, Exception, FromArg, GuestPtr, IntoFlow, Stop, VarArgs};
pub use export::{DataExport, Export, ExportTable, Module, TrapTarget};
pub use flow::{Activation, Flow, Frame, GuestCall, Spin, Wait};
pub use kernel::{Call, Config, Core, FailedCall, Kernel, LoadedImage, MAX_PROCESSORS, TraceEntry};
pub use points::Points;
pub use run_loop::Rest;
pub use snapshot::KernelSnapshot;
pub use turn::Turn;

/// Every export of the image, in order of component.
pub fn exports() -> Vec<&'static [Export]> {
    vec![rtl::EXPORTS, ke::EXPORTS, ex::EXPORTS, mm::EXPORTS, ob::EXPORTS, ps::EXPORTS, io::EXPORTS]
        .into_iter()
        .flat_map(|component| component.iter().copied())
        .collect()
}

/// Every variable of the image, in order of component.
pub fn data_exports() -> Vec<&'static [DataExport]> {
    vec![ke::DATA, mm::DATA, ps::DATA, io::DATA]
}
