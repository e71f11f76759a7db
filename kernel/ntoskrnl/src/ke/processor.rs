//! Processor control regions, the shared page, and what identifies a processor.

use events::ThreadId;
use guest_memory::{Accessor, ByteState, GuestAddr, Perms};
use nt_abi::structures::ke::{KPCR, KUSER_SHARED_DATA};
use nt_macros::export;

use crate::{CallResult, DataExport, Kernel, Stop, exports, ke::Thread, map, rtl::NT_VERSION};

exports![
    KeQueryActiveProcessors,
    KeQueryActiveProcessorCount,
    KeQueryActiveProcessorCountEx,
    KeGetCurrentProcessorNumberEx,
];

/// The variables of the component.
pub(crate) const DATA: &[DataExport] = &[
    DataExport {
        name: "KeNumberProcessors",
        size_bytes: 1,
        init: |k, at| {
            let count = u8::try_from(k.cores.len()).unwrap_or(u8::MAX);
            k.write_scalar(at, count)
        },
        ddi: "wdm/nf-wdm-kequeryactiveprocessorcount",
    },
    DataExport {
        name: "NtBuildNumber",
        size_bytes: 4,
        // The top bits say whether the build is free (0xF) or checked (0xC).
        init: |k, at| k.write_scalar(at, 0xf000_0000 | NT_VERSION.2),
        ddi: "wdm/nf-wdm-rtlgetversion",
    },
];

/// Maps the shared page and the control region of every processor. Called once, before anything
/// runs.
pub fn start(k: &mut Kernel) -> CallResult<()> {
    let zero = |k: &mut Kernel, at: GuestAddr, size_bytes: u64, perms: Perms| {
        let mapped = k.memory.map(at, size_bytes, perms, ByteState::DEFINED, 0);
        mapped.map_err(|error| Stop::Limit { what: error.to_string() })
    };
    zero(k, map::SHARED_USER_DATA, guest_memory::PAGE_BYTES, Perms::READ | Perms::WATCHED)?;
    let (major, minor, build) = NT_VERSION;
    k.poke(map::SHARED_USER_DATA, KUSER_SHARED_DATA::NtMajorVersion, major);
    k.poke(map::SHARED_USER_DATA, KUSER_SHARED_DATA::NtMinorVersion, minor);
    k.poke(map::SHARED_USER_DATA, KUSER_SHARED_DATA::NtBuildNumber, build);
    // NtProductWinNt.
    k.poke(map::SHARED_USER_DATA, KUSER_SHARED_DATA::NtProductType, 1);
    let count = u32::try_from(k.cores.len()).unwrap_or(u32::MAX);
    k.poke(map::SHARED_USER_DATA, KUSER_SHARED_DATA::ActiveProcessorCount, count);
    for index in 0..k.cores.len() {
        let at = map::PROCESSOR_CONTROL.add(index as u64 * 0x1_0000);
        zero(k, at, KPCR::SIZE_BYTES, Perms::READ | Perms::WRITE)?;
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        k.poke(at, KPCR::Self_, at.0);
        k.poke(at, KPCR::CurrentPrcb, at.0 + 0x180);
        k.poke(at, KPCR::PrcbNumber, number);
        k.poke(at, KPCR::ProcessorNumber, u16::try_from(index).unwrap_or(u16::MAX));
        if let Some(core) = k.cores.get_mut(index) {
            core.control = at;
        }
    }
    Ok(())
}

impl Kernel {
    /// Writes a field of a structure that the kernel itself mapped.
    pub(crate) fn poke<T: nt_abi::Scalar>(
        &mut self,
        base: GuestAddr,
        field: nt_abi::Field<T>,
        value: T,
    ) {
        let bytes = value.to_u64().to_le_bytes();
        let at = base.add(field.offset_bytes);
        let written = self.memory.write(Accessor::Machine, at, bytes.split_at(T::SIZE_BYTES).0);
        written.expect("the kernel's own structures are mapped");
    }

    /// Shows the current thread where `KeGetCurrentThread` reads it: gs:[188h].
    pub(crate) fn show_current_thread(&mut self, thread: ThreadId) {
        let object = self.ke.thread(thread).object;
        let control = self.core().control;
        self.poke(control, KPCR::CurrentThread, object.0);
    }

    /// The current thread.
    pub(crate) fn current_thread(&mut self) -> &mut Thread {
        let id = self.core().thread.expect("driver code runs on a thread");
        self.ke.thread_mut(id)
    }

    /// The `ETHREAD` body of the current thread.
    pub fn current_thread_object(&self) -> GuestAddr {
        self.core().thread.map_or(GuestAddr::NULL, |id| self.ke.thread(id).object)
    }
}

fn mask(k: &Kernel) -> u64 {
    (1 << k.cores.len()) - 1
}

/// Returns a mask of the processors.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryactiveprocessors",
    irql_note = "any level since Windows Vista")]
fn KeQueryActiveProcessors(k: &mut Kernel) -> u64 {
    mask(k)
}

/// Returns how many processors there are, and a mask of them.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryactiveprocessorcount")]
fn KeQueryActiveProcessorCount(k: &mut Kernel, active: GuestAddr) -> CallResult<u32> {
    if !active.is_null() {
        let mask = mask(k);
        k.write_scalar(active, mask)?;
    }
    Ok(u32::try_from(k.cores.len()).unwrap_or(u32::MAX))
}

/// Returns how many processors a group has; group 0 has them all.
#[export(irql = .., ddi = "wdm/nf-wdm-kequeryactiveprocessorcountex")]
fn KeQueryActiveProcessorCountEx(k: &mut Kernel, group: u16) -> u32 {
    /// `ALL_PROCESSOR_GROUPS`.
    const ALL: u16 = 0xffff;
    if group == 0 || group == ALL { u32::try_from(k.cores.len()).unwrap_or(u32::MAX) } else { 0 }
}

/// Returns the number of the current processor, and group and number if asked (`PROCESSOR_NUMBER`).
#[export(irql = .., ddi = "wdm/nf-wdm-kegetcurrentprocessornumberex")]
fn KeGetCurrentProcessorNumberEx(k: &mut Kernel, to: GuestAddr) -> CallResult<u32> {
    let index = u32::from(k.core().index);
    if !to.is_null() {
        k.write_scalar(to, 0u16)?;
        k.write_scalar(to.add(2), k.core().index)?;
        k.write_scalar(to.add(3), 0u8)?;
    }
    Ok(index)
}
