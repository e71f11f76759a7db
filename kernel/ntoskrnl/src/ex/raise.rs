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
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-exraiseaccessviolation",
    irql_note = "the remarks limit it no further")]
fn ExRaiseAccessViolation(_k: &mut Kernel) -> CallResult<Flow> {
    Err(Stop::raise(NtStatus::STATUS_ACCESS_VIOLATION))
}

/// Raises `STATUS_DATATYPE_MISALIGNMENT`.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-exraisedatatypemisalignment",
    irql_note = "the remarks limit it no further")]
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

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::{
        Stop,
        testing::{block, call_by_name, kernel},
    };

    #[test]
    fn raising_raises() {
        let mut k = kernel();
        for (name, status) in [
            ("ExRaiseAccessViolation", NtStatus::STATUS_ACCESS_VIOLATION),
            ("ExRaiseDatatypeMisalignment", NtStatus::STATUS_DATATYPE_MISALIGNMENT),
            ("ExRaiseStatus", NtStatus::STATUS_INVALID_PARAMETER),
        ] {
            let argument = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
            assert_eq!(call_by_name(&mut k, name, &[argument]), Err(Stop::raise(status)), "{name}");
        }
    }

    #[test]
    fn the_time_zone_is_utc() {
        let mut k = kernel();
        let from = block(&mut k, &133_485_408_000_000_000_u64.to_le_bytes());
        for name in ["ExSystemTimeToLocalTime", "ExLocalTimeToSystemTime"] {
            let to = block(&mut k, &[0; 8]);
            call_by_name(&mut k, name, &[from, to]).unwrap();
            let time = k.read_scalar::<u64>(GuestAddr(to));
            assert_eq!(time, Ok(133_485_408_000_000_000), "{name}");
        }
    }
}
