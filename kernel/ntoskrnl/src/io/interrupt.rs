//! Connecting interrupt service routines to interrupts, and disconnecting them.
//!
//! The driver's device and its interrupts are declared before the driver is loaded. Without any
//! declaration a fully specified connection is taken at its word; the other forms find no
//! interrupt.

use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    structures::io::{
        IO_CONNECT_INTERRUPT_PARAMETERS as PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS,
        IO_INTERRUPT_MESSAGE_INFO, IO_INTERRUPT_MESSAGE_INFO_ENTRY,
        IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    },
};
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, exports, frame,
    ke::{Connection, InterruptLine, LineKind},
    mm,
    ob::{self, ObjectType},
};

exports![
    IoConnectInterrupt,
    IoConnectInterruptEx,
    IoDisconnectInterrupt,
    IoDisconnectInterruptEx,
    IoReportInterruptActive,
    IoReportInterruptInactive,
];

/// Forms of a connection. Source: `wdm.h`.
const CONNECT_FULLY_SPECIFIED: u32 = 1;
const CONNECT_LINE_BASED: u32 = 2;
const CONNECT_MESSAGE_BASED: u32 = 3;
const CONNECT_FULLY_SPECIFIED_GROUP: u32 = 4;
/// `Latched` of `KINTERRUPT_MODE`: how messages are signalled.
const LATCHED: u32 = 1;

/// What stands at a connection context that is a table of messages: their interrupt objects.
pub(super) type MessageTables = std::collections::BTreeMap<GuestAddr, Vec<GuestAddr>>;

/// Registers an interrupt service routine for a vector.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioconnectinterrupt",
    limits = "no passive-level routines")]
fn IoConnectInterrupt(
    k: &mut Kernel,
    into: GuestAddr,
    routine: GuestAddr,
    context: u64,
    lock: GuestAddr,
    vector: u32,
    irql: u8,
    synchronize_irql: u8,
    _mode: u32,
    is_shared: bool,
    processors: u64,
    _floating_save: bool,
) -> CallResult<NtStatus> {
    if processors & all_processors(k) == 0 {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
    }
    let (irql, synchronize_irql) = device_levels(irql, synchronize_irql)?;
    let wish = Connection {
        vector,
        irql,
        synchronize_irql,
        routine,
        context,
        lock,
        processors,
        is_shared,
        message: None,
    };
    let object = k.connect_interrupt(wish)?;
    k.write_scalar(into, object.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Registers interrupt service routines by the form that `Version` names.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioconnectinterruptex",
    limits = "no passive-level routines")]
fn IoConnectInterruptEx(k: &mut Kernel, parameters: GuestAddr) -> CallResult<NtStatus> {
    let version = k.get(parameters, PARAMETERS::Version)?;
    if !(CONNECT_FULLY_SPECIFIED..=CONNECT_FULLY_SPECIFIED_GROUP).contains(&version) {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER_1);
    }
    let device = GuestAddr(k.get(parameters, PARAMETERS::PhysicalDeviceObject)?);
    if device.is_null() {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    if ob::claimed(k, device)? != ObjectType::Device {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    match version {
        CONNECT_LINE_BASED => connect_line(k, parameters, PARAMETERS::ServiceRoutine),
        CONNECT_MESSAGE_BASED => connect_messages(k, parameters),
        _ => connect_fully_specified(k, parameters, version),
    }
}

fn all_processors(k: &Kernel) -> u64 {
    (1 << k.cores.len()) - 1
}

/// The levels of a connection: a routine runs at a device level.
fn device_levels(irql: u8, synchronize_irql: u8) -> CallResult<(Irql, Irql)> {
    if irql == 0 || synchronize_irql == 0 {
        return Err(Stop::unsupported("an interrupt service routine at passive level"));
    }
    let levels = Irql::DIRQL_LOW..=Irql::CLOCK_LEVEL;
    let (irql, synchronize_irql) = (Irql(irql), Irql(synchronize_irql));
    if !levels.contains(&irql) || !levels.contains(&synchronize_irql) || synchronize_irql < irql {
        return Err(Stop::unsupported(format!(
            "an interrupt at IRQL {} with a routine at IRQL {}",
            irql.0, synchronize_irql.0
        )));
    }
    Ok((irql, synchronize_irql))
}

fn connect_fully_specified(
    k: &mut Kernel,
    parameters: GuestAddr,
    version: u32,
) -> CallResult<NtStatus> {
    let vector = k.get(parameters, PARAMETERS::Vector)?;
    let mut processors = k.get(parameters, PARAMETERS::ProcessorEnableMask)?;
    if version == CONNECT_FULLY_SPECIFIED_GROUP && k.get(parameters, PARAMETERS::Group)? != 0 {
        // There is one group.
        processors = 0;
    }
    if processors & all_processors(k) == 0 {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER_10);
    }
    let is_declared = |line: &InterruptLine| line.vector == vector;
    if !k.ke.lines().is_empty() && !k.ke.lines().iter().any(is_declared) {
        return Ok(NtStatus::STATUS_NOT_FOUND);
    }
    let levels = (k.get(parameters, PARAMETERS::Irql)?, synchronize_irql(k, parameters)?);
    let (irql, synchronize_irql) = device_levels(levels.0, levels.1)?;
    let is_shared = k.get(parameters, PARAMETERS::ShareVector)? != 0;
    let routine = GuestAddr(k.get(parameters, PARAMETERS::ServiceRoutine)?);
    let line = Part { vector, irql, synchronize_irql, processors, is_shared, message: None };
    let object = connect(k, parameters, routine, line)?;
    put(k, parameters, object)
}

fn synchronize_irql(k: &mut Kernel, parameters: GuestAddr) -> CallResult<u8> {
    k.get(parameters, PARAMETERS::SynchronizeIrql)
}

/// What a connection does not take from the common members.
#[derive(Clone, Copy, Debug)]
struct Part {
    vector: u32,
    irql: Irql,
    synchronize_irql: Irql,
    processors: u64,
    is_shared: bool,
    message: Option<u32>,
}

fn connect(
    k: &mut Kernel,
    parameters: GuestAddr,
    routine: GuestAddr,
    part: Part,
) -> CallResult<GuestAddr> {
    let Part { vector, irql, synchronize_irql, processors, is_shared, message } = part;
    let context = k.get(parameters, PARAMETERS::ServiceContext)?;
    let lock = GuestAddr(k.get(parameters, PARAMETERS::SpinLock)?);
    k.connect_interrupt(Connection {
        vector,
        irql,
        synchronize_irql,
        routine,
        context,
        lock,
        processors,
        is_shared,
        message,
    })
}

/// Gives the driver its connection context.
fn put(k: &mut Kernel, parameters: GuestAddr, context: GuestAddr) -> CallResult<NtStatus> {
    let into = GuestAddr(k.get(parameters, PARAMETERS::InterruptObject)?);
    k.write_scalar(into, context.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// The declared interrupts of one kind.
fn lines(k: &Kernel, kind: LineKind) -> Vec<InterruptLine> {
    k.ke.lines().iter().filter(|line| line.kind == kind).copied().collect()
}

/// "The system uses this value only if it is greater than the maximum IRQL of the set".
fn level_of(k: &mut Kernel, parameters: GuestAddr, lines: &[InterruptLine]) -> CallResult<Irql> {
    let wished = Irql(synchronize_irql(k, parameters)?);
    Ok(lines.iter().map(|line| line.irql).fold(wished, Irql::max))
}

/// One routine for the device's line.
fn connect_line(
    k: &mut Kernel,
    parameters: GuestAddr,
    routine: nt_abi::Field<u64>,
) -> CallResult<NtStatus> {
    if !lines(k, LineKind::Message).is_empty() {
        return Ok(NtStatus::STATUS_INVALID_DEVICE_REQUEST);
    }
    let of_device = lines(k, LineKind::Line);
    let [line] = of_device.as_slice() else {
        if of_device.is_empty() {
            return Ok(NtStatus::STATUS_NOT_FOUND);
        }
        return Err(Stop::unsupported("CONNECT_LINE_BASED for a device with several lines"));
    };
    let level = level_of(k, parameters, &of_device)?;
    let (irql, synchronize_irql) = device_levels(line.irql.0, level.0)?;
    let routine = GuestAddr(k.get(parameters, routine)?);
    let processors = all_processors(k);
    let part = Part {
        vector: line.vector,
        irql,
        synchronize_irql,
        processors,
        // "Line-based PCI interrupts must be sharable."
        is_shared: true,
        message: None,
    };
    let object = connect(k, parameters, routine, part)?;
    put(k, parameters, object)
}

/// One routine for all messages of the device, or the other one for its line.
fn connect_messages(k: &mut Kernel, parameters: GuestAddr) -> CallResult<NtStatus> {
    let messages = lines(k, LineKind::Message);
    if messages.is_empty() {
        let fallback = k.get(parameters, PARAMETERS::FallBackServiceRoutine)?;
        if fallback == 0 {
            return Ok(NtStatus::STATUS_NOT_FOUND);
        }
        let status = connect_line(k, parameters, PARAMETERS::FallBackServiceRoutine)?;
        if status.is_success() {
            k.set(parameters, PARAMETERS::Version, CONNECT_LINE_BASED)?;
        }
        return Ok(status);
    }
    let routine = GuestAddr(k.get(parameters, PARAMETERS::ServiceRoutine)?);
    let synchronize_irql = level_of(k, parameters, &messages)?;
    let processors = all_processors(k);
    let entry_bytes = IO_INTERRUPT_MESSAGE_INFO_ENTRY::SIZE_BYTES;
    let size_bytes = IO_INTERRUPT_MESSAGE_INFO::SIZE_BYTES + entry_bytes * messages.len() as u64;
    let table = mm::allocate_kernel(k, events::BlockKind::KernelPool, size_bytes, 16)?;
    k.set(table, IO_INTERRUPT_MESSAGE_INFO::UnifiedIrql, synchronize_irql.0)?;
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    k.set(table, IO_INTERRUPT_MESSAGE_INFO::MessageCount, count)?;
    let mut entry = table.add(IO_INTERRUPT_MESSAGE_INFO::SIZE_BYTES);
    let mut objects = Vec::new();
    for (number, line) in (0u32..).zip(&messages) {
        let (irql, synchronize_irql) = device_levels(line.irql.0, synchronize_irql.0)?;
        let vector = line.vector;
        let message = Some(number);
        let part = Part { vector, irql, synchronize_irql, processors, is_shared: false, message };
        let object = connect(k, parameters, routine, part)?;
        k.set(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::TargetProcessorSet, processors)?;
        k.set(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::InterruptObject, object.0)?;
        k.set(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::Vector, vector)?;
        k.set(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::Irql, irql.0)?;
        k.set(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::Mode, LATCHED)?;
        objects.push(object);
        entry = entry.add(entry_bytes);
    }
    k.io.message_tables.insert(table, objects);
    put(k, parameters, table)
}

/// Unregisters an interrupt service routine; it has returned everywhere when this returns.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iodisconnectinterrupt")]
fn IoDisconnectInterrupt(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let objects = require(k, object)?;
    disconnect(k, objects)
}

/// Unregisters what `IoConnectInterruptEx` registered.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iodisconnectinterruptex")]
fn IoDisconnectInterruptEx(k: &mut Kernel, parameters: GuestAddr) -> CallResult<Flow> {
    k.get(parameters, IO_DISCONNECT_INTERRUPT_PARAMETERS::Version)?;
    let field = IO_DISCONNECT_INTERRUPT_PARAMETERS::ConnectionContext;
    let context = GuestAddr(k.get(parameters, field)?);
    let objects = require(k, context)?;
    if k.io.message_tables.remove(&context).is_some() {
        mm::free_kernel(k, context);
    }
    disconnect(k, objects)
}

/// The interrupt objects behind a driver's connection context.
fn require(k: &mut Kernel, context: GuestAddr) -> CallResult<Vec<GuestAddr>> {
    // One that was disconnected is gone.
    k.read_scalar::<u64>(context)?;
    if let Some(objects) = k.io.message_tables.get(&context) {
        return Ok(objects.clone());
    }
    match k.ke.interrupt(context) {
        Some(_) => Ok(vec![context]),
        None => Err(Stop::unsupported("a connection context that no connection gave")),
    }
}

/// Disconnects one after the other.
fn disconnect(k: &mut Kernel, mut objects: Vec<GuestAddr>) -> CallResult<Flow> {
    match objects.pop() {
        Some(object) => k.disconnect_interrupt(object)?.then(k, Disconnected { objects }),
        None => Ok(Flow::Return(0)),
    }
}

/// Those that are still connected.
#[derive(Clone, Debug)]
struct Disconnected {
    objects: Vec<GuestAddr>,
}
frame!(Disconnected, |this, k, _| disconnect(k, this.objects));

/// Makes a routine active again.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioreportinterruptactive")]
fn IoReportInterruptActive(k: &mut Kernel, parameters: GuestAddr) -> CallResult<()> {
    report(k, parameters, true)
}

/// Makes a routine inactive: interrupts are not expected until it is active again.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioreportinterruptinactive")]
fn IoReportInterruptInactive(k: &mut Kernel, parameters: GuestAddr) -> CallResult<()> {
    report(k, parameters, false)
}

fn report(k: &mut Kernel, parameters: GuestAddr, is_active: bool) -> CallResult<()> {
    let field = IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS::ConnectionContext;
    let context = GuestAddr(k.get(parameters, field)?);
    for object in require(k, context)? {
        k.ke.set_interrupt_active(object, is_active);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
