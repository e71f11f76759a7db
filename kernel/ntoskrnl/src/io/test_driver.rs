//! What the component's tests start from: a driver with devices, and IRPs.

use guest_memory::GuestAddr;
use nt_abi::{
    constants::io::{DO_DEVICE_INITIALIZING, SL_PENDING_RETURNED},
    structures::io::{DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IRP},
};

use super::driver;
use crate::{
    Kernel,
    ob::Name,
    testing::{block, call_by_name, kernel, unicode_string},
};

/// Where the tests' dispatch routines stand: one for all major functions.
pub(crate) const DISPATCH: u64 = 0xffff_f802_0000_0800;

/// A kernel and a driver object whose dispatch routines are [`DISPATCH`].
pub(crate) fn driver() -> (Kernel, GuestAddr) {
    let mut k = kernel();
    let image = (GuestAddr(0xffff_f802_0000_0000), 0x4000);
    let driver = driver::create(&mut k, &Name::new("test"), image, GuestAddr::NULL).unwrap();
    driver::set_state(&mut k, driver, driver::DriverState::Started);
    for major in 0..28 {
        let slot = driver.add(DRIVER_OBJECT::MajorFunction.offset_bytes + 8 * major);
        k.write_scalar(slot, DISPATCH).unwrap();
    }
    (k, driver)
}

/// Creates a device, ready for requests.
pub(crate) fn create_device(k: &mut Kernel, driver: GuestAddr, name: &str) -> GuestAddr {
    let name = match name {
        "" => 0,
        name => unicode_string(k, name, 0),
    };
    let into = block(k, &[0; 8]);
    let arguments = [driver.0, 0, name, 0x22, 0x100, 0, into];
    assert_eq!(call_by_name(k, "IoCreateDevice", &arguments), Ok(0));
    let device = GuestAddr(k.read_scalar(GuestAddr(into)).unwrap());
    let flags = k.get(device, DEVICE_OBJECT::Flags).unwrap();
    k.set(device, DEVICE_OBJECT::Flags, flags & !DO_DEVICE_INITIALIZING).unwrap();
    device
}

/// A kernel with a driver and one device of it.
pub(crate) fn device() -> (Kernel, GuestAddr) {
    let (mut k, driver) = driver();
    let device = create_device(&mut k, driver, "");
    (k, device)
}

/// An IRP of a driver with this many stack locations.
pub(crate) fn irp(k: &mut Kernel, stack_size: u64) -> u64 {
    call_by_name(k, "IoAllocateIrp", &[stack_size, 0]).unwrap()
}

/// Three devices of one driver, one on top of the other, the lowest first.
pub(crate) fn stack() -> (Kernel, [GuestAddr; 3]) {
    let (mut k, driver) = driver();
    let devices = [(); 3].map(|()| create_device(&mut k, driver, ""));
    for (below, above) in devices.iter().zip(&devices[1..]) {
        let arguments = [above.0, devices[0].0];
        let found = call_by_name(&mut k, "IoAttachDeviceToDeviceStack", &arguments);
        assert_eq!(found, Ok(below.0));
    }
    (k, devices)
}

/// Where a stack location of an IRP keeps its completion routine: what `IoSetCompletionRoutine`
/// writes.
pub(crate) fn set_completion_routine(
    k: &mut Kernel,
    irp: u64,
    (routine, context): (u64, u64),
    control: u8,
) {
    let current = k.get(GuestAddr(irp), IRP::CurrentStackLocation).unwrap();
    let next = GuestAddr(current - IO_STACK_LOCATION::SIZE_BYTES);
    k.set(next, IO_STACK_LOCATION::CompletionRoutine, routine).unwrap();
    k.set(next, IO_STACK_LOCATION::Context, context).unwrap();
    k.set(next, IO_STACK_LOCATION::Control, control).unwrap();
}

/// What `IoMarkIrpPending` does.
pub(crate) fn mark_pending(k: &mut Kernel, irp: u64) {
    let current = GuestAddr(k.get(GuestAddr(irp), IRP::CurrentStackLocation).unwrap());
    let control = k.get(current, IO_STACK_LOCATION::Control).unwrap();
    k.set(current, IO_STACK_LOCATION::Control, control | SL_PENDING_RETURNED).unwrap();
}
