//! Handle tables: one per process, one for the kernel.

use std::collections::BTreeMap;

use events::{Event, Resource, ResourceTaken, Seq};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, constants::io::OBJ_KERNEL_HANDLE};

use super::{ObjectType, PreviousMode, namespace, object};
use crate::{CallResult, FromArg, Kernel, Stop};

/// A handle as a driver holds it. Never an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

impl Handle {
    /// `NtCurrentProcess()`.
    pub const CURRENT_PROCESS: Self = Self(u64::MAX);
    /// `NtCurrentThread()`.
    pub const CURRENT_THREAD: Self = Self(u64::MAX - 1);
    /// Bits of a handle that is good in every process.
    const KERNEL: u64 = 0xffff_ffff_8000_0000;

    /// Whether it is one of the kernel's.
    pub fn is_kernel_handle(self) -> bool {
        self.0 & Self::KERNEL == Self::KERNEL && self < Self::CURRENT_THREAD
    }

    /// Its place in a table. The two low bits are the owner's to use.
    fn index(self) -> u32 {
        let value = if self.is_kernel_handle() { self.0 & !Self::KERNEL } else { self.0 };
        let index = value >> 2;
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

impl FromArg for Handle {
    fn from_arg(k: &mut Kernel, index: usize) -> CallResult<Self> {
        u64::from_arg(k, index).map(Self)
    }
}

/// One handle.
#[derive(Clone, Copy, Debug)]
pub struct HandleEntry {
    /// What it refers to.
    pub object: GuestAddr,
    /// Access it grants.
    pub granted: u32,
    /// `OBJ_XXX`.
    pub attributes: u32,
    /// Driver code that asked for it; null for user mode or the kernel.
    pub who: GuestAddr,
    /// When it was opened.
    pub opened: Seq,
}

/// A handle in some table.
#[derive(Clone, Copy, Debug)]
pub struct OpenHandle {
    /// Its value.
    pub handle: Handle,
    /// What it is.
    pub entry: HandleEntry,
}

/// The handles of a process, or of the kernel.
#[derive(Clone, Debug, Default)]
pub struct HandleTable {
    entries: BTreeMap<u32, HandleEntry>,
    /// The last index handed out. Closed ones are not used again, so that a stale handle stays
    /// invalid.
    last: u32,
}

/// Handles in one table at most. Source: 2^24 on Windows.
const MOST_HANDLES: u32 = 1 << 24;

impl HandleTable {
    fn insert(&mut self, entry: HandleEntry) -> CallResult<u32> {
        if self.last >= MOST_HANDLES {
            return Err(Stop::Limit { what: format!("{MOST_HANDLES} handles") });
        }
        self.last += 1;
        self.entries.insert(self.last, entry);
        Ok(self.last)
    }
}

/// The table that a handle value means now.
fn table(k: &mut Kernel, handle: Handle) -> &mut HandleTable {
    let process = current_process(k);
    if handle.is_kernel_handle() || process.is_none() || process == k.ob.system_process {
        return &mut k.ob.kernel_handles;
    }
    k.ob.handles.entry(process.unwrap_or_default()).or_default()
}

/// The `EPROCESS` body of the current thread's process.
pub(crate) fn current_process(k: &Kernel) -> Option<GuestAddr> {
    k.core().thread.map(|id| k.ke.thread(id).process)
}

/// Opens a handle to an object and references it.
pub fn create_handle(
    k: &mut Kernel,
    object: GuestAddr,
    granted: u32,
    attributes: u32,
) -> CallResult<Handle> {
    let who = object::asked_by(k);
    let opened = match who.is_null() {
        false => {
            let resource = Resource::Handle(describe(k, object));
            k.emit(Event::ResourceTaken(ResourceTaken { resource }))?
        }
        true => k.last_seq,
    };
    let entry = HandleEntry { object, granted, attributes, who, opened };
    let kernel = match attributes & OBJ_KERNEL_HANDLE {
        0 => 0,
        _ => Handle::KERNEL,
    };
    let index = table(k, Handle(kernel)).insert(entry)?;
    let body = object::object_mut(k, object);
    body.handle_count += 1;
    body.pointer_count += 1;
    Ok(Handle(kernel | (u64::from(index) << 2)))
}

/// Opens a handle to an object in the table of this process, whoever runs now.
pub fn create_handle_of(
    k: &mut Kernel,
    process: GuestAddr,
    object: GuestAddr,
    granted: u32,
) -> CallResult<Handle> {
    let (who, opened) = (GuestAddr::NULL, k.last_seq);
    let entry = HandleEntry { object, granted, attributes: 0, who, opened };
    let index = k.ob.handles.entry(process).or_default().insert(entry)?;
    let body = object::object_mut(k, object);
    body.handle_count += 1;
    body.pointer_count += 1;
    Ok(Handle(u64::from(index) << 2))
}

/// Duplicates a handle of a process for another one, with the same access: `DuplicateHandle`.
pub fn duplicate(
    k: &mut Kernel,
    (from, handle): (GuestAddr, Handle),
    to: GuestAddr,
) -> CallResult<Result<Handle, NtStatus>> {
    let table = k.ob.handles.get(&from);
    let Some(&entry) = table.and_then(|table| table.entries.get(&handle.index())) else {
        return Ok(Err(NtStatus::STATUS_INVALID_HANDLE));
    };
    let index = k.ob.handles.entry(to).or_default().insert(entry)?;
    let body = object::object_mut(k, entry.object);
    body.handle_count += 1;
    body.pointer_count += 1;
    Ok(Ok(Handle(u64::from(index) << 2)))
}

/// What an object is, for a report: its type, and its path if it has one.
pub fn describe(k: &Kernel, object: GuestAddr) -> String {
    let kind = object::object(k, object).kind;
    match namespace::path_of(k, object) {
        Some(path) => format!("{kind} {path}"),
        None => kind.to_string(),
    }
}

/// What a handle refers to, for a caller of this mode.
pub fn entry(k: &mut Kernel, handle: Handle, mode: PreviousMode) -> Result<HandleEntry, NtStatus> {
    if handle.is_kernel_handle() && mode == PreviousMode::User {
        return Err(NtStatus::STATUS_INVALID_HANDLE);
    }
    let entry = table(k, handle).entries.get(&handle.index()).copied();
    entry.ok_or(NtStatus::STATUS_INVALID_HANDLE)
}

/// Takes a handle out of its table. The references it held stay with the caller.
pub(crate) fn take(
    k: &mut Kernel,
    handle: Handle,
    mode: PreviousMode,
) -> Result<HandleEntry, NtStatus> {
    entry(k, handle, mode)?;
    table(k, handle).entries.remove(&handle.index()).ok_or(NtStatus::STATUS_INVALID_HANDLE)
}

/// The object behind a handle or a pseudo handle, with a new reference, and the access granted.
pub fn reference_by_handle(
    k: &mut Kernel,
    handle: Handle,
    desired: u32,
    kind: Option<ObjectType>,
    mode: PreviousMode,
) -> Result<HandleEntry, NtStatus> {
    let found = match (handle, k.core().thread) {
        (Handle::CURRENT_PROCESS, Some(id)) => pseudo(k.ke.thread(id).process),
        (Handle::CURRENT_THREAD, Some(id)) => pseudo(k.ke.thread(id).object),
        _ => entry(k, handle, mode)?,
    };
    let Some(object) = k.ob.objects.get_mut(&found.object) else {
        return Err(NtStatus::STATUS_INVALID_HANDLE);
    };
    if kind.is_some_and(|kind| kind != object.kind) {
        return Err(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    }
    if mode == PreviousMode::User && desired & !found.granted != 0 {
        return Err(NtStatus::STATUS_ACCESS_DENIED);
    }
    object.pointer_count += 1;
    Ok(found)
}

/// `STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0xffff`: all of a process or thread.
const PSEUDO_HANDLE_ACCESS: u32 = 0x001f_ffff;

fn pseudo(object: GuestAddr) -> HandleEntry {
    HandleEntry {
        object,
        granted: PSEUDO_HANDLE_ACCESS,
        attributes: 0,
        who: GuestAddr::NULL,
        opened: Seq(0),
    }
}

/// Kernel handles that code inside an address range opened. Those in the table of a caller's
/// process are the caller's, who closes them or exits.
pub fn opened_by(k: &Kernel, base: GuestAddr, size_bytes: u64) -> Vec<OpenHandle> {
    let open = |(&index, &entry): (&u32, &HandleEntry)| OpenHandle {
        handle: Handle(Handle::KERNEL | (u64::from(index) << 2)),
        entry,
    };
    let mut all: Vec<OpenHandle> = k.ob.kernel_handles.entries.iter().map(open).collect();
    all.retain(|open| open.entry.who.0.wrapping_sub(base.0) < size_bytes);
    all
}

/// Handle values of a process's own table.
pub(crate) fn values(k: &Kernel, process: GuestAddr) -> Vec<Handle> {
    let Some(table) = k.ob.handles.get(&process) else { return Vec::new() };
    table.entries.keys().map(|&index| Handle(u64::from(index) << 2)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Handle, HandleEntry, HandleTable};
    use events::Seq;
    use guest_memory::GuestAddr;

    #[test]
    fn kernel_handles_have_their_high_bits_set() {
        assert!(Handle(0xffff_ffff_8000_0004).is_kernel_handle());
        assert!(!Handle(4).is_kernel_handle());
        assert!(!Handle::CURRENT_PROCESS.is_kernel_handle());
        assert!(!Handle::CURRENT_THREAD.is_kernel_handle());
        assert_eq!(Handle(0xffff_ffff_8000_0007).index(), 1);
        assert_eq!(Handle(0x1_0000_0004).index(), 0x4000_0001);
    }

    #[test]
    fn the_first_handle_is_4_and_closed_ones_stay_invalid() {
        let object = GuestAddr(0x1000);
        let who = GuestAddr::NULL;
        let entry = HandleEntry { object, granted: 0, attributes: 0, who, opened: Seq(1) };
        let mut table = HandleTable::default();
        assert_eq!(table.insert(entry), Ok(1));
        table.entries.remove(&1);
        assert_eq!(table.insert(entry), Ok(2));
    }
}
