//! Configuration space of buses. The machine has one PCI bus, number 0 of segment 0, with nothing
//! on it.

use events::PrivilegedSink;
use guest_memory::GuestAddr;
use nt_macros::export;
use ntoskrnl::{CallResult, Kernel, exports};

exports![
    HalGetBusData,
    HalGetBusDataByOffset,
    HalSetBusData,
    HalSetBusDataByOffset,
    HalTranslateBusAddress,
];

/// `PCIConfiguration` of `BUS_DATA_TYPE`.
const PCI_CONFIGURATION: u32 = 4;
/// Vendor id where no device answers.
const PCI_INVALID_VENDORID: [u8; 2] = [0xff, 0xff];

/// Reads from the start of configuration space.
#[export(irql = .., ddi = "ntddk/nf-ntddk-halgetbusdatabyoffset")]
fn HalGetBusData(
    k: &mut Kernel,
    kind: u32,
    bus: u32,
    slot: u32,
    buffer: GuestAddr,
    length_bytes: u32,
) -> CallResult<u32> {
    read(k, "HalGetBusData", (kind, bus, slot), buffer, 0, length_bytes)
}

/// Reads from configuration space.
#[export(irql = .., ddi = "ntddk/nf-ntddk-halgetbusdatabyoffset")]
fn HalGetBusDataByOffset(
    k: &mut Kernel,
    kind: u32,
    bus: u32,
    slot: u32,
    buffer: GuestAddr,
    offset_bytes: u32,
    length_bytes: u32,
) -> CallResult<u32> {
    read(k, "HalGetBusDataByOffset", (kind, bus, slot), buffer, offset_bytes, length_bytes)
}

/// Writes to the start of configuration space.
#[export(irql = .., ddi = "ntddk/nf-ntddk-halsetbusdatabyoffset")]
fn HalSetBusData(
    k: &mut Kernel,
    kind: u32,
    bus: u32,
    slot: u32,
    buffer: GuestAddr,
    length_bytes: u32,
) -> CallResult<u32> {
    write(k, "HalSetBusData", (kind, bus, slot), buffer, 0, length_bytes)
}

/// Writes to configuration space.
#[export(irql = .., ddi = "ntddk/nf-ntddk-halsetbusdatabyoffset")]
fn HalSetBusDataByOffset(
    k: &mut Kernel,
    kind: u32,
    bus: u32,
    slot: u32,
    buffer: GuestAddr,
    offset_bytes: u32,
    length_bytes: u32,
) -> CallResult<u32> {
    write(k, "HalSetBusDataByOffset", (kind, bus, slot), buffer, offset_bytes, length_bytes)
}

/// Translates a bus address; on a PC, bus and system addresses are the same.
#[export(irql = .., ddi = "wdm/nc-wdm-translate_bus_address")]
fn HalTranslateBusAddress(
    k: &mut Kernel,
    _interface: u32,
    _bus: u32,
    address: u64,
    space: GuestAddr,
    translated: GuestAddr,
) -> CallResult<bool> {
    // The space, memory or ports, stays as it was given; it is read and written all the same.
    let given: u32 = k.read_scalar(space)?;
    k.write_scalar(space, given)?;
    k.write_scalar(translated, address)?;
    Ok(true)
}

/// Returns 0 for a bus that does not exist, and the length of the invalid vendor id for a slot
/// without device.
fn read(
    k: &mut Kernel,
    name: &'static str,
    (kind, bus, slot): (u32, u32, u32),
    buffer: GuestAddr,
    offset_bytes: u32,
    length_bytes: u32,
) -> CallResult<u32> {
    let operands = vec![u64::from(offset_bytes), u64::from(slot)];
    k.expose(PrivilegedSink::BusData, name, false, operands)?;
    if (kind, bus) != (PCI_CONFIGURATION, 0) {
        return Ok(0);
    }
    let length_bytes = length_bytes.min(2);
    let bytes = PCI_INVALID_VENDORID.split_at(if length_bytes == 2 { 2 } else { 1 }).0;
    if length_bytes != 0 {
        k.write(buffer, bytes)?;
    }
    Ok(length_bytes)
}

/// Reads the driver's bytes; no device takes one.
fn write(
    k: &mut Kernel,
    name: &'static str,
    (_kind, _bus, slot): (u32, u32, u32),
    buffer: GuestAddr,
    offset_bytes: u32,
    length_bytes: u32,
) -> CallResult<u32> {
    let mut operands = vec![u64::from(offset_bytes), u64::from(slot)];
    let bytes = k.read_vec(buffer, u64::from(length_bytes.min(0x1000)))?;
    let mut value = [0; 8];
    value.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
    operands.push(u64::from_le_bytes(value));
    k.expose(PrivilegedSink::BusData, name, true, operands)?;
    Ok(0)
}
