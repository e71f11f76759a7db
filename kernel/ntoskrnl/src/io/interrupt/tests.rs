//! The forms of `IoConnectInterruptEx`.

use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    structures::io::{
        IO_CONNECT_INTERRUPT_PARAMETERS as PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS,
        IO_INTERRUPT_MESSAGE_INFO, IO_INTERRUPT_MESSAGE_INFO_ENTRY,
    },
};

use crate::{
    Kernel,
    io::test_driver,
    ke::{InterruptLine, LineKind},
    testing::{block, call_by_name},
};

const ROUTINE: u64 = 0xffff_f802_0000_0900;
const FALLBACK: u64 = 0xffff_f802_0000_0a00;

/// Parameters of a form, and where the connection context goes.
fn parameters(k: &mut Kernel, version: u32, device: GuestAddr) -> (GuestAddr, GuestAddr) {
    let into = GuestAddr(block(k, &[0; 8]));
    let at = GuestAddr(block(k, &[0; 0x50]));
    k.set(at, PARAMETERS::Version, version).unwrap();
    k.set(at, PARAMETERS::PhysicalDeviceObject, device.0).unwrap();
    k.set(at, PARAMETERS::InterruptObject, into.0).unwrap();
    k.set(at, PARAMETERS::ServiceRoutine, ROUTINE).unwrap();
    (at, into)
}

fn connect(k: &mut Kernel, parameters: GuestAddr) -> NtStatus {
    let status = call_by_name(k, "IoConnectInterruptEx", &[parameters.0]).unwrap();
    NtStatus(u32::try_from(status).unwrap())
}

fn line(vector: u32, irql: u8, kind: LineKind) -> InterruptLine {
    let irql = Irql(irql);
    InterruptLine { vector, irql, kind, raised_by_port: None, latency_100ns: 0 }
}

fn disconnect(k: &mut Kernel, version: u32, context: u64) {
    let at = GuestAddr(block(k, &[0; 0x10]));
    k.set(at, IO_DISCONNECT_INTERRUPT_PARAMETERS::Version, version).unwrap();
    k.set(at, IO_DISCONNECT_INTERRUPT_PARAMETERS::ConnectionContext, context).unwrap();
    assert_eq!(call_by_name(k, "IoDisconnectInterruptEx", &[at.0]), Ok(0));
}

#[test]
fn the_version_and_the_device_are_checked_first() {
    let (mut k, device) = test_driver::device();
    for version in [0, 5] {
        let (at, _) = parameters(&mut k, version, device);
        assert_eq!(connect(&mut k, at), NtStatus::STATUS_INVALID_PARAMETER_1);
    }
    for version in 1..=4 {
        let (at, _) = parameters(&mut k, version, GuestAddr::NULL);
        assert_eq!(connect(&mut k, at), NtStatus::STATUS_INVALID_PARAMETER);
    }
}

#[test]
fn a_fully_specified_interrupt_is_one_of_the_device() {
    let (mut k, device) = test_driver::device();
    for (version, group, is_found) in [(1, 0, true), (1, 3, true), (4, 0, true), (4, 3, false)] {
        let (at, into) = parameters(&mut k, version, device);
        k.set(at, PARAMETERS::Vector, 0x51).unwrap();
        k.set(at, PARAMETERS::Irql, 5).unwrap();
        k.set(at, PARAMETERS::SynchronizeIrql, 6).unwrap();
        assert_eq!(connect(&mut k, at), NtStatus::STATUS_INVALID_PARAMETER_10);
        k.set(at, PARAMETERS::ProcessorEnableMask, 1).unwrap();
        // The group counts in the form that names it.
        k.set(at, PARAMETERS::Group, group).unwrap();
        let status = connect(&mut k, at);
        if !is_found {
            assert_eq!(status, NtStatus::STATUS_INVALID_PARAMETER_10);
            continue;
        }
        assert_eq!(status, NtStatus::STATUS_SUCCESS);
        let object: u64 = k.read_scalar(into).unwrap();
        assert_eq!(k.ke.interrupt(GuestAddr(object)).unwrap().connection.synchronize_irql, Irql(6));
        disconnect(&mut k, version, object);
        assert!(!k.ke.is_connected(0x51));
    }
    // Where interrupts are declared, another vector belongs to nobody.
    k.declare_line(line(0x61, 6, LineKind::Line));
    let (at, _) = parameters(&mut k, 1, device);
    k.set(at, PARAMETERS::Vector, 0x51).unwrap();
    k.set(at, PARAMETERS::ProcessorEnableMask, 1).unwrap();
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_NOT_FOUND);
}

#[test]
fn a_line_is_found_by_the_device() {
    let (mut k, device) = test_driver::device();
    let (at, into) = parameters(&mut k, 2, device);
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_NOT_FOUND);
    k.declare_line(line(0x61, 6, LineKind::Line));
    // The wished level counts where it is higher.
    for (wished, irql) in [(0, 6), (4, 6), (9, 9)] {
        k.set(at, PARAMETERS::SynchronizeIrql, wished).unwrap();
        assert_eq!(connect(&mut k, at), NtStatus::STATUS_SUCCESS);
        let object: u64 = k.read_scalar(into).unwrap();
        let interrupt = k.ke.interrupt(GuestAddr(object)).unwrap().connection;
        assert_eq!((interrupt.vector, interrupt.irql), (0x61, Irql(6)));
        assert_eq!(interrupt.synchronize_irql, Irql(irql));
        assert_eq!(interrupt.routine, GuestAddr(ROUTINE));
        disconnect(&mut k, 2, object);
    }
    k.declare_line(line(0x71, 7, LineKind::Message));
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_INVALID_DEVICE_REQUEST);
}

#[test]
fn messages_have_a_table_and_lines_a_fallback() {
    let (mut k, device) = test_driver::device();
    let (at, into) = parameters(&mut k, 3, device);
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_NOT_FOUND);
    k.declare_line(line(0x61, 6, LineKind::Line));
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_NOT_FOUND);
    k.set(at, PARAMETERS::FallBackServiceRoutine, FALLBACK).unwrap();
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_SUCCESS);
    assert_eq!(k.get(at, PARAMETERS::Version), Ok(2));
    let object: u64 = k.read_scalar(into).unwrap();
    assert_eq!(k.ke.interrupt(GuestAddr(object)).unwrap().connection.routine, GuestAddr(FALLBACK));
    disconnect(&mut k, 2, object);
    for (vector, irql) in [(0x71, 7), (0x81, 8)] {
        k.declare_line(line(vector, irql, LineKind::Message));
    }
    k.set(at, PARAMETERS::Version, 3).unwrap();
    assert_eq!(connect(&mut k, at), NtStatus::STATUS_SUCCESS);
    assert_eq!(k.get(at, PARAMETERS::Version), Ok(3));
    let table = GuestAddr(k.read_scalar(into).unwrap());
    assert_eq!(k.get(table, IO_INTERRUPT_MESSAGE_INFO::UnifiedIrql), Ok(8));
    assert_eq!(k.get(table, IO_INTERRUPT_MESSAGE_INFO::MessageCount), Ok(2));
    for (number, vector) in [(0, 0x71), (1, 0x81)] {
        let bytes = IO_INTERRUPT_MESSAGE_INFO_ENTRY::SIZE_BYTES * u64::from(number);
        let entry = table.add(IO_INTERRUPT_MESSAGE_INFO::SIZE_BYTES + bytes);
        assert_eq!(k.get(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::Vector), Ok(vector));
        let object =
            GuestAddr(k.get(entry, IO_INTERRUPT_MESSAGE_INFO_ENTRY::InterruptObject).unwrap());
        let interrupt = k.ke.interrupt(object).unwrap().connection;
        assert_eq!((interrupt.message, interrupt.synchronize_irql), (Some(number), Irql(8)));
    }
    disconnect(&mut k, 3, table.0);
    assert!(!k.ke.is_connected(0x71) && !k.ke.is_connected(0x81));
}
