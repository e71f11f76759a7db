//! Raising exceptions, the previous mode, and the two clocks' time zones.

use guest_memory::GuestAddr;
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{CallResult, Flow, Kernel, Stop, exports};

exports![
    ExRaiseStatus,
    ExRaiseAccessViolation,
    ExRaiseDatatypeMisalignment,
    ExGetPreviousMode,
    ExSystemTimeToLocalTime,
    ExLocalTimeToSystemTime,
];

/// Raises an exception with a status.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-exraisestatus")]
fn ExRaiseStatus(_k: &mut Kernel, status: NtStatus) -> CallResult<Flow> {
    Err(Stop::raise(status))
}

/// Raises `STATUS_ACCESS_VIOLATION`.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-exraiseaccessviolation")]
fn ExRaiseAccessViolation(_k: &mut Kernel) -> CallResult<Flow> {
    Err(Stop::raise(NtStatus::STATUS_ACCESS_VIOLATION))
}

/// Raises `STATUS_DATATYPE_MISALIGNMENT`.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-exraisedatatypemisalignment")]
fn ExRaiseDatatypeMisalignment(_k: &mut Kernel) -> CallResult<Flow> {
    Err(Stop::raise(NtStatus::STATUS_DATATYPE_MISALIGNMENT))
}

/// The mode of the current thread before it entered the kernel: `KernelMode` 0, `UserMode` 1.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exgetpreviousmode")]
fn ExGetPreviousMode(k: &mut Kernel) -> CallResult<u8> {
    Ok(u8::from(!k.current_thread().is_system))
}

/// Converts to the time zone of the machine, which is UTC.
#[export(irql = .., ddi = "wdm/nf-wdm-exsystemtimetolocaltime")]
fn ExSystemTimeToLocalTime(k: &mut Kernel, from: GuestAddr, to: GuestAddr) -> CallResult<()> {
    k.copy(to, from, 8)
}

/// Converts from the time zone of the machine, which is UTC.
#[export(irql = .., ddi = "wdm/nf-wdm-exlocaltimetosystemtime")]
fn ExLocalTimeToSystemTime(k: &mut Kernel, from: GuestAddr, to: GuestAddr) -> CallResult<()> {
    k.copy(to, from, 8)
}
