//! Bug checks that a driver asks for.

use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![KeBugCheck, KeBugCheckEx];

/// Brings the system down.
#[export(irql = .., ddi = "ntddk/nf-ntddk-kebugcheck")]
fn KeBugCheck(_: &mut Kernel, code: u32) -> CallResult<()> {
    Err(Stop::bug_check(code, [0; 4]))
}

/// Brings the system down, with parameters.
#[export(irql = .., ddi = "wdm/nf-wdm-kebugcheckex")]
fn KeBugCheckEx(_: &mut Kernel, code: u32, p1: u64, p2: u64, p3: u64, p4: u64) -> CallResult<()> {
    Err(Stop::bug_check(code, [p1, p2, p3, p4]))
}
