//! Sections: `\Device\PhysicalMemory` and views of it in processes.

use events::PrivilegedSink;
use guest_memory::{GuestAddr, PAGE_BYTES, Perms};
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{
    CallResult, Flow, GuestPtr, Kernel, Stop, exports, mm,
    ob::{self, Handle, Name, ObjectAttributes, ObjectType, PreviousMode},
};

exports![ZwOpenSection, ZwMapViewOfSection, ZwUnmapViewOfSection];

/// Length of a section's body. Opaque: nothing in it is documented.
const SECTION_BYTES: u64 = 0x40;
/// Views start at multiples of this in their section. Source: `wdm/nf-wdm-zwmapviewofsection`.
const GRANULARITY_BYTES: u64 = 0x1_0000;

/// `PAGE_XXX` protections.
const PAGE_READONLY: u32 = 0x02;
const PAGE_READWRITE: u32 = 0x04;
const PAGE_EXECUTE_READ: u32 = 0x20;
const PAGE_EXECUTE_READWRITE: u32 = 0x40;
/// `PAGE_NOCACHE` and `PAGE_WRITECOMBINE`.
const CACHE_BITS: u32 = 0x600;

/// Creates the section of physical memory. Called once, after `ob::start`.
pub(super) fn start(k: &mut Kernel) -> CallResult<()> {
    let section = ob::create(k, ObjectType::Section, SECTION_BYTES)?;
    let named = ob::insert(k, section, &Name::new(r"\Device\PhysicalMemory"), None);
    assert!(named.is_ok(), "the name space is fresh");
    Ok(())
}

/// Opens a section by name.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-zwopensection")]
fn ZwOpenSection(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
) -> CallResult<NtStatus> {
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(status),
    };
    match ob::find(k, &attributes, ObjectType::Section) {
        Ok(found) => {
            let handle = ob::create_handle(k, found, desired, attributes.attributes)?;
            k.write_scalar(into.at, handle.0)?;
            Ok(NtStatus::STATUS_SUCCESS)
        }
        Err(status) => Ok(status),
    }
}

/// Maps a view of physical memory into the current process.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-zwmapviewofsection",
    limits = "the current process, no requested address"
)]
#[expect(clippy::too_many_arguments, reason = "the signature is the documented one")]
fn ZwMapViewOfSection(
    k: &mut Kernel,
    section: Handle,
    process: Handle,
    base: GuestPtr<u64>,
    _zero_bits: u64,
    _commit_bytes: u64,
    offset: GuestPtr<u64>,
    view_bytes: GuestPtr<u64>,
    _inherit: u32,
    _allocation_type: u32,
    protection: u32,
) -> CallResult<NtStatus> {
    match ob::entry(k, section, PreviousMode::Kernel) {
        Ok(entry) if ob::object(k, entry.object).kind == ObjectType::Section => {}
        Ok(_) => return Ok(NtStatus::STATUS_OBJECT_TYPE_MISMATCH),
        Err(status) => return Ok(status),
    }
    if process != Handle::CURRENT_PROCESS {
        return Err(Stop::unsupported("ZwMapViewOfSection into another process"));
    }
    if k.read_scalar::<u64>(base.at)? != 0 {
        return Err(Stop::unsupported("ZwMapViewOfSection at a requested address"));
    }
    let wanted = if offset.at.is_null() { 0 } else { k.read_scalar::<u64>(offset.at)? };
    let wanted_bytes = k.read_scalar::<u64>(view_bytes.at)?;
    let operands = vec![wanted, wanted_bytes];
    k.expose(PrivilegedSink::PhysicalMemory, "ZwMapViewOfSection", false, operands)?;
    let perms = match protection & !CACHE_BITS {
        PAGE_READONLY => Perms::READ,
        PAGE_READWRITE => Perms::READ | Perms::WRITE,
        PAGE_EXECUTE_READ => Perms::READ | Perms::EXECUTE,
        PAGE_EXECUTE_READWRITE => Perms::READ | Perms::WRITE | Perms::EXECUTE,
        _ => return Ok(NtStatus::STATUS_INVALID_PAGE_PROTECTION),
    };
    let start = wanted - wanted % GRANULARITY_BYTES;
    let whole_bytes = wanted_bytes
        .checked_add(wanted - start)
        .and_then(|bytes| bytes.checked_next_multiple_of(PAGE_BYTES));
    let Some(whole_bytes) = whole_bytes.filter(|_| wanted_bytes != 0) else {
        return Ok(NtStatus::STATUS_INVALID_VIEW_SIZE);
    };
    let Some(frames) = mm::bus_frames(k, start, whole_bytes)? else {
        return Ok(NtStatus::STATUS_INVALID_VIEW_SIZE);
    };
    let Some(space) = k.memory.space() else {
        return Err(Stop::unsupported("ZwMapViewOfSection into the system process"));
    };
    let (at, _) = mm::reserve_user(k, whole_bytes)?;
    if k.memory.map_frames(at, &frames, 0, whole_bytes, perms | Perms::USER).is_err() {
        return Ok(NtStatus::STATUS_NO_MEMORY);
    }
    k.ps.views.insert((space, at), whole_bytes / PAGE_BYTES);
    k.write_scalar(base.at, at.0)?;
    k.write_scalar(view_bytes.at, whole_bytes)?;
    if !offset.at.is_null() {
        k.write_scalar(offset.at, start)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Unmaps the view around an address.
#[export(
    irql = PASSIVE_LEVEL,
    ddi = "wdm/nf-wdm-zwunmapviewofsection",
    limits = "the current process"
)]
fn ZwUnmapViewOfSection(k: &mut Kernel, process: Handle, at: GuestAddr) -> CallResult<Flow> {
    if process != Handle::CURRENT_PROCESS {
        return Err(Stop::unsupported("ZwUnmapViewOfSection in another process"));
    }
    let status = |status: NtStatus| Ok(Flow::Return(u64::from(status.0)));
    let Some(space) = k.memory.space() else { return status(NtStatus::STATUS_NOT_MAPPED_VIEW) };
    let found = k.ps.views.range(..=(space, at)).next_back().map(|(key, pages)| (*key, *pages));
    match found {
        Some(((of, start), pages)) if of == space && at.0 - start.0 < pages * PAGE_BYTES => {
            k.ps.views.remove(&(space, start));
            k.memory.unmap(start, pages * PAGE_BYTES);
            status(NtStatus::STATUS_SUCCESS)
        }
        _ => status(NtStatus::STATUS_NOT_MAPPED_VIEW),
    }
}

#[cfg(test)]
mod tests {
    use events::{Event, PrivilegedSink};
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::testing::{block, call_by_name, kernel, take_events, unicode_string};

    #[test]
    fn a_view_of_physical_memory_is_mapped_and_unmapped() {
        let mut k = kernel();
        let space = k.memory.create_space().unwrap();
        k.memory.set_space(Some(space));
        let name = unicode_string(&mut k, r"\Device\PhysicalMemory", 0);
        let mut attributes = [0; 0x30];
        attributes[0] = 0x30;
        attributes[0x10..0x18].copy_from_slice(&name.to_le_bytes());
        // A kernel handle, so that no process is needed.
        attributes[0x19] = 2;
        let attributes = block(&mut k, &attributes);
        let handle = block(&mut k, &[0; 8]);
        let opened = call_by_name(&mut k, "ZwOpenSection", &[handle, 6, attributes]);
        assert_eq!(opened, Ok(0));
        let section = k.read_scalar::<u64>(GuestAddr(handle)).unwrap();
        let base = block(&mut k, &[0; 8]);
        let offset = block(&mut k, &0xf_0123_u64.to_le_bytes());
        let size = block(&mut k, &0x10_u64.to_le_bytes());
        take_events(&mut k);
        let arguments = [section, u64::MAX, base, 0, 0, offset, size, 1, 0, 4];
        assert_eq!(call_by_name(&mut k, "ZwMapViewOfSection", &arguments), Ok(0));
        let heard = take_events(&mut k);
        let [Event::Privileged(privileged)] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!(privileged.sink, PrivilegedSink::PhysicalMemory);
        assert_eq!(privileged.operands, [0xf_0123, 0x10]);
        let view = k.read_scalar::<u64>(GuestAddr(base)).unwrap();
        assert_eq!(k.read_scalar::<u64>(GuestAddr(offset)), Ok(0xf_0000));
        assert_eq!(k.read_scalar::<u64>(GuestAddr(size)), Ok(0x1000));
        assert_eq!(k.read_scalar::<u32>(GuestAddr(view + 0x123)), Ok(u32::MAX));
        let unmap = "ZwUnmapViewOfSection";
        assert_eq!(call_by_name(&mut k, unmap, &[u64::MAX, view + 0x123]), Ok(0));
        let missing = u64::from(NtStatus::STATUS_NOT_MAPPED_VIEW.0);
        assert_eq!(call_by_name(&mut k, unmap, &[u64::MAX, view]), Ok(missing));
    }
}
