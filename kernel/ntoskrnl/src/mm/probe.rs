//! Probing user memory, and where it ends.

use guest_memory::{AccessKind, Accessor, GuestAddr, PAGE_BYTES, Reason};
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{CallResult, DataExport, Exception, Kernel, Stop, exports, map};

exports![ProbeForRead, ProbeForWrite, MmIsAddressValid];

/// The variables of the component.
pub(crate) const DATA: &[DataExport] = &[
    DataExport {
        name: "MmHighestUserAddress",
        size_bytes: 8,
        init: |k, at| k.write_scalar(at, map::USER_PROBE_ADDRESS.0 - 1),
        ddi: "wdm/nf-wdm-probeforread",
    },
    DataExport {
        name: "MmUserProbeAddress",
        size_bytes: 8,
        init: |k, at| k.write_scalar(at, map::USER_PROBE_ADDRESS.0),
        ddi: "wdm/nf-wdm-probeforread",
    },
    DataExport {
        name: "MmSystemRangeStart",
        size_bytes: 8,
        init: |k, at| k.write_scalar(at, SYSTEM_RANGE_START),
        ddi: "wdm/nf-wdm-probeforread",
    },
];

const SYSTEM_RANGE_START: u64 = 0xffff_8000_0000_0000;

/// Raises unless the range lies in the user half and is aligned. Touches nothing.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-probeforread")]
fn ProbeForRead(k: &mut Kernel, at: GuestAddr, size_bytes: u64, align: u32) -> CallResult<()> {
    probe_range(k, AccessKind::Read, at, size_bytes, align)
}

/// Raises unless the range lies in the user half, is aligned, and every page of it can be written.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-probeforwrite")]
fn ProbeForWrite(k: &mut Kernel, at: GuestAddr, size_bytes: u64, align: u32) -> CallResult<()> {
    probe_range(k, AccessKind::Write, at, size_bytes, align)?;
    let mut here = at;
    while size_bytes != 0 && here < at.add(size_bytes) {
        k.touch_user(AccessKind::Write, here, 1)?;
        here = here.page().add(PAGE_BYTES);
    }
    Ok(())
}

fn probe_range(
    _k: &mut Kernel,
    kind: AccessKind,
    at: GuestAddr,
    size_bytes: u64,
    align: u32,
) -> CallResult<()> {
    if size_bytes == 0 {
        return Ok(());
    }
    if align != 0 && at.0 & u64::from(align - 1) != 0 {
        return Err(Stop::raise(NtStatus::STATUS_DATATYPE_MISALIGNMENT));
    }
    let end = at.0.checked_add(size_bytes);
    if end.is_none_or(|end| end > map::USER_PROBE_ADDRESS.0) {
        return Err(access_violation(at, kind, false));
    }
    Ok(())
}

/// Whether reading or writing the address would cause no page fault now.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-mmisaddressvalid")]
fn MmIsAddressValid(k: &mut Kernel, at: GuestAddr) -> CallResult<bool> {
    let is_mapped = k.memory.mapping(at).is_some();
    if !is_mapped && (map::TRAPS.0..map::IMAGES).contains(&at) {
        // Windows has its image there; a false would be a lie.
        return Err(Stop::unsupported("looking for the image of the kernel in memory"));
    }
    Ok(is_mapped)
}

impl Kernel {
    /// Touches user memory as a routine does that raises when it cannot: no fact about a fault,
    /// since the routine promises the exception. The page may be gone by a choice of the run.
    pub(crate) fn touch_user(
        &mut self,
        kind: AccessKind,
        at: GuestAddr,
        size_bytes: u64,
    ) -> CallResult<()> {
        match self.memory.check(Accessor::User, kind, at, size_bytes) {
            Ok(()) => Ok(()),
            Err(objection) if objection.reason == Reason::Watched => self.watched(&objection),
            Err(objection) => {
                let is_provoked = self.mm.provoked.contains(&objection.at.page());
                Err(access_violation(objection.at, kind, is_provoked))
            }
        }
    }
}

/// The exception of a routine that promises one.
pub(crate) fn access_violation(at: GuestAddr, kind: AccessKind, is_provoked: bool) -> Stop {
    let code = NtStatus::STATUS_ACCESS_VIOLATION;
    Stop::Exception(Exception { code, access: Some((at, kind)), is_provoked })
}

#[cfg(test)]
mod tests {
    use guest_memory::{ByteState, GuestAddr, Perms};

    use crate::{
        Stop, mm,
        testing::{call_by_name, kernel},
    };

    #[test]
    fn probes_raise_as_documented() {
        let mut k = kernel();
        let space = k.memory.create_space().unwrap();
        k.memory.set_space(Some(space));
        let user = mm::map_user(&mut k, 0x1800).unwrap().0;
        let read_only = 0x5_0000;
        let perms = Perms::READ | Perms::USER;
        k.memory.map(GuestAddr(read_only), 4096, perms, ByteState::DEFINED, 0).unwrap();
        let top = 0x7fff_ffff_0000;
        let cases = [
            // Address, length, alignment, read, write.
            (user, 0x1800, 1, "", ""),
            (user, 0x1801, 1, "", "c0000005"),
            (user + 1, 4, 4, "80000002", "80000002"),
            (user + 1, 0, 4, "", ""),
            (0, 0, 1, "", ""),
            (0, 8, 1, "", "c0000005"),
            (0x1_0000, 8, 1, "", "c0000005"),
            (read_only, 8, 1, "", "c0000005"),
            (top - 8, 8, 1, "", "c0000005"),
            (top - 8, 9, 1, "c0000005", "c0000005"),
            (user, u64::MAX, 1, "c0000005", "c0000005"),
            (0xffff_8000_0000_0000, 8, 1, "c0000005", "c0000005"),
            (0xffff_8000_0000_0000, 0, 1, "", ""),
        ];
        for (at, size_bytes, align, read, write) in cases {
            for (name, expected) in [("ProbeForRead", read), ("ProbeForWrite", write)] {
                let raised = match call_by_name(&mut k, name, &[at, size_bytes, align]) {
                    Ok(_) => String::new(),
                    Err(Stop::Exception(exception)) => format!("{:x}", exception.code.0),
                    other => panic!("{other:?}"),
                };
                assert_eq!(raised, expected, "{name} {at:x} {size_bytes:x} {align}");
            }
        }
    }
}
