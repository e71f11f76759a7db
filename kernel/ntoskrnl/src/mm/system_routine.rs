//! `MmGetSystemRoutineAddress`.

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{CallResult, Kernel, exports};

exports![MmGetSystemRoutineAddress];

/// Names that Windows 10 exports, one per line, in order: documented routines and imports of real
/// drivers.
const KNOWN_ROUTINES: &str = include_str!("known_routines.txt");

/// Finds an export of the kernel or the HAL by name.
///
/// A name that Windows has but nobody models yet gets a trap: finding it is no mistake, and calling
/// it stops with its name. A null for it would tell the driver something false about the system.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "wdm/nf-wdm-mmgetsystemroutineaddress",
    irql_note = "the header allows APC_LEVEL",
    limits = "a name that is neither documented nor known from real drivers counts as absent"
)]
fn MmGetSystemRoutineAddress(k: &mut Kernel, name: GuestAddr) -> CallResult<GuestAddr> {
    let name = String::from_utf16_lossy(&k.unicode_string(name)?);
    for module in ["ntoskrnl.exe", "hal.dll"] {
        if let Some(at) = k.exports.find(module, &name) {
            return Ok(at);
        }
    }
    let is_known = KNOWN_ROUTINES.lines().any(|known| known == name);
    Ok(if is_known { k.exports.trap("ntoskrnl.exe", &name) } else { GuestAddr::NULL })
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use super::KNOWN_ROUTINES;
    use crate::{
        TrapTarget,
        testing::{call_by_name, kernel, unicode_string},
    };

    #[test]
    fn names_are_found_trapped_or_absent() {
        let mut k = kernel();
        for (name, expected) in [
            ("ExAllocatePoolWithTag", "export"),
            ("PsSetCreateProcessNotifyRoutineEx2", "trap"),
            ("exallocatepoolwithtag", "null"),
            ("NoSuchRoutine", "null"),
        ] {
            let text = unicode_string(&mut k, name, 0);
            let at = call_by_name(&mut k, "MmGetSystemRoutineAddress", &[text]).unwrap();
            let found = match k.exports.target(GuestAddr(at)) {
                Some(TrapTarget::Export(export)) if export.name == name => "export",
                Some(TrapTarget::Unmodelled(_)) => "trap",
                None if at == 0 => "null",
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        let names: Vec<&str> = KNOWN_ROUTINES.lines().collect();
        assert!(names.is_sorted() && names.len() > 1000);
    }
}
