//! Driver objects, and how a driver is loaded.

use std::collections::BTreeMap;

use events::{BlockKind, EntryPoint};
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_COUNT,
        io::{DO_DEVICE_INITIALIZING, DRVO_INITIALIZED, DRVO_LEGACY_DRIVER, IO_TYPE_DRIVER},
    },
    structures::{
        UNICODE_STRING,
        io::{DEVICE_OBJECT, DRIVER_EXTENSION, DRIVER_OBJECT},
    },
};

use super::{device, dispatch, left_behind, unload};
use crate::{
    CallResult, Flow, GuestCall, Kernel, frame, mm,
    ob::{self, Name, ObjectType},
};

/// What the kernel knows of a driver beside its object.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Its service name.
    pub name: Name,
    /// Where its image is.
    pub base: GuestAddr,
    /// `SizeOfImage`.
    pub size_bytes: u64,
    /// How far it is.
    pub state: DriverState,
    /// It went while others kept it: what it owns is looked at when they are done.
    pub(crate) is_due: Option<left_behind::Occasion>,
    /// Extensions by the identification address of their owner.
    pub(crate) extensions: BTreeMap<GuestAddr, GuestAddr>,
    /// Blocks that live as long as the object.
    blocks: Vec<GuestAddr>,
}

/// How far a driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverState {
    /// DriverEntry runs.
    Starting,
    /// DriverEntry succeeded.
    Started,
    /// It is to be unloaded when its devices are closed.
    UnloadPending,
    /// Its unload routine runs.
    Unloading,
    /// Unloaded, or DriverEntry failed.
    Gone,
}

/// Path under which hardware describes itself. Source: `wdm/ns-wdm-_driver_object`,
/// `HardwareDatabase`.
const HARDWARE_DATABASE: &str = r"\REGISTRY\MACHINE\HARDWARE\DESCRIPTION\SYSTEM";
/// Path of the services' keys.
const SERVICES: &str = r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services";

/// Loads the driver whose image is mapped: calls its DriverEntry. On a system thread.
///
/// The value is what DriverEntry returned.
pub(crate) fn load(
    k: &mut Kernel,
    name: &Name,
    (base, size_bytes): (GuestAddr, u64),
    entry: GuestAddr,
) -> CallResult<Flow> {
    let object = create(k, name, (base, size_bytes), entry)?;
    let path = Name::new(r"\Driver").join(name);
    if ob::insert(k, object, &path, None).is_err() {
        let status = NtStatus::STATUS_IMAGE_ALREADY_LOADED;
        return ob::dereference(k, object)?.then(k, ob::Answer(status));
    }
    ob::make_permanent(k, object);
    let mut blocks = Vec::new();
    write_string(k, &mut blocks, object.add(DRIVER_OBJECT::DriverName.offset_bytes), &path)?;
    if let Some(driver) = k.io.drivers.get_mut(&object) {
        driver.blocks.append(&mut blocks);
    }
    // The path is good until DriverEntry returns: `wdm/nc-wdm-driver_initialize`.
    let registry_path = Name::new(SERVICES).join(name);
    let size = UNICODE_STRING::SIZE_BYTES;
    let string = mm::allocate_kernel(k, BlockKind::KernelPool, size, 16)?;
    blocks.push(string);
    write_string(k, &mut blocks, string, &registry_path)?;
    let call = GuestCall::entry(entry, vec![object.0, string.0], EntryPoint::DriverEntry);
    Ok(Flow::call(call, Entered { object, blocks }))
}

/// Creates and fills a driver object.
pub(super) fn create(
    k: &mut Kernel,
    name: &Name,
    (base, size_bytes): (GuestAddr, u64),
    entry: GuestAddr,
) -> CallResult<GuestAddr> {
    let size = DRIVER_OBJECT::SIZE_BYTES;
    let object = ob::create(k, ObjectType::Driver, size)?;
    let mut blocks = Vec::new();
    k.set(object, DRIVER_OBJECT::Type, IO_TYPE_DRIVER)?;
    k.set(object, DRIVER_OBJECT::Size, i16::try_from(size).unwrap_or(i16::MAX))?;
    k.set(object, DRIVER_OBJECT::Flags, DRVO_LEGACY_DRIVER)?;
    k.set(object, DRIVER_OBJECT::DriverStart, base.0)?;
    k.set(object, DRIVER_OBJECT::DriverSize, u32::try_from(size_bytes).unwrap_or(u32::MAX))?;
    k.set(object, DRIVER_OBJECT::DriverInit, entry.0)?;
    let nothing = dispatch::invalid_device_request_address(k);
    for major in 0..IRP_MJ_COUNT as u64 {
        let slot = object.add(DRIVER_OBJECT::MajorFunction.offset_bytes + 8 * major);
        k.write_scalar(slot, nothing.0)?;
    }
    let extension = mm::allocate_kernel(k, BlockKind::Object, DRIVER_EXTENSION::SIZE_BYTES, 16)?;
    blocks.push(extension);
    k.set(extension, DRIVER_EXTENSION::DriverObject, object.0)?;
    let key = extension.add(DRIVER_EXTENSION::ServiceKeyName.offset_bytes);
    write_string(k, &mut blocks, key, name)?;
    k.set(object, DRIVER_OBJECT::DriverExtension, extension.0)?;
    let size = UNICODE_STRING::SIZE_BYTES;
    let database = mm::allocate_kernel(k, BlockKind::Object, size, 16)?;
    blocks.push(database);
    write_string(k, &mut blocks, database, &Name::new(HARDWARE_DATABASE))?;
    k.set(object, DRIVER_OBJECT::HardwareDatabase, database.0)?;
    let state = DriverState::Starting;
    let extensions = BTreeMap::new();
    let driver =
        Driver { name: name.clone(), base, size_bytes, state, is_due: None, extensions, blocks };
    k.io.drivers.insert(object, driver);
    Ok(object)
}

/// Writes a `UNICODE_STRING` with a buffer of its own, terminated although nobody may rely on that.
fn write_string(
    k: &mut Kernel,
    blocks: &mut Vec<GuestAddr>,
    at: GuestAddr,
    text: &Name,
) -> CallResult<()> {
    let buffer = mm::allocate_kernel(k, BlockKind::KernelPool, text.size_bytes() + 2, 16)?;
    blocks.push(buffer);
    ob::write_name(k, at, buffer, text)?;
    let room = u16::try_from(text.size_bytes() + 2).unwrap_or(u16::MAX);
    k.set(at, UNICODE_STRING::MaximumLength, room)
}

/// DriverEntry returned.
#[derive(Clone, Debug)]
struct Entered {
    object: GuestAddr,
    blocks: Vec<GuestAddr>,
}

frame!(Entered, |this, k, value| {
    for &block in &this.blocks {
        mm::free_kernel(k, block);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of rax")]
    let status = NtStatus(value as u32);
    if status.is_success() {
        ready_devices(k, this.object)?;
        unload::note_start(k, this.object);
        let flags = k.get(this.object, DRIVER_OBJECT::Flags)?;
        k.set(this.object, DRIVER_OBJECT::Flags, flags | DRVO_INITIALIZED)?;
        set_state(k, this.object, DriverState::Started);
        return Ok(Flow::Return(u64::from(status.0)));
    }
    let occasion = left_behind::Occasion::EntryFailed;
    left_behind::report(k, this.object, occasion)?.then(k, Failed { object: this.object, status })
});

/// DriverEntry failed, and what it left behind was reported.
#[derive(Clone, Debug)]
struct Failed {
    object: GuestAddr,
    status: NtStatus,
}

frame!(Failed, |this, k, _| {
    set_state(k, this.object, DriverState::Gone);
    ob::make_temporary(k, this.object);
    ob::dereference(k, this.object)?.then(k, ob::Answer(this.status))
});

/// Devices made in DriverEntry are ready when it returns. Source: `wdm/nf-wdm-iocreatedevice`,
/// remarks on `DO_DEVICE_INITIALIZING`.
fn ready_devices(k: &mut Kernel, driver: GuestAddr) -> CallResult<()> {
    for device in device::of_driver(k, driver) {
        let flags = k.get(device, DEVICE_OBJECT::Flags)?;
        k.set(device, DEVICE_OBJECT::Flags, flags & !DO_DEVICE_INITIALIZING)?;
    }
    Ok(())
}

/// Moves a driver on.
pub(crate) fn set_state(k: &mut Kernel, object: GuestAddr, state: DriverState) {
    if let Some(driver) = k.io.drivers.get_mut(&object) {
        driver.state = state;
    }
}

/// The delete procedure of the type.
pub(crate) fn delete(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    if let Some(occasion) = k.io.drivers.get(&object).and_then(|driver| driver.is_due) {
        left_behind::report_owned(k, object, occasion)?;
    }
    if let Some(driver) = k.io.drivers.remove(&object) {
        for block in driver.blocks.into_iter().chain(driver.extensions.into_values()) {
            mm::free_kernel(k, block);
        }
    }
    Ok(Flow::Return(0))
}
