//! Neighbours as a driver meets them, case by case.

use choice_tape::{Deviation, Tape};
use events::{FILTER_ABOVE, LOWER_DRIVER};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql,
    constants::{IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_READ, io::DO_BUFFERED_IO},
    structures::{
        io::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP},
        ke::KTIMER,
    },
};

use super::{before_open, leave_driver};
use crate::{
    GuestCall, Kernel, ex,
    io::{
        attach,
        irp::{IrpKind, entry},
        request::Draft,
        test_driver::{create_device, driver, mark_pending, set_completion_routine},
    },
    ob::PreviousMode,
    testing::{Progress, call_by_name, carry_on, drive},
};

const PENDING: u64 = 0x103;
const COMPLETED: u64 = 0xffff_f802_0000_1000;

fn answer(k: &mut Kernel, kind: choice_tape::ChoiceKind, answer: u32) {
    k.tape = Tape::new([Deviation { kind: kind.number, ordinal: 0, answer }]);
}

/// A device with a filter above it.
fn filtered(flags: u32) -> (Kernel, GuestAddr, GuestAddr) {
    let (mut k, driver) = driver();
    let device = create_device(&mut k, driver, "");
    let before = k.get(device, DEVICE_OBJECT::Flags).unwrap();
    k.set(device, DEVICE_OBJECT::Flags, before | flags).unwrap();
    answer(&mut k, FILTER_ABOVE, 1);
    before_open(&mut k, device, PreviousMode::User).unwrap();
    (k, driver, device)
}

/// Sends a request to the top of the device's stack; whether its driver was called before the
/// filter returned, and what the sender got.
fn send(k: &mut Kernel, device: GuestAddr, major: u8, code: u32) -> (bool, Progress, Draft) {
    let top = attach::top_of(k, device).unwrap();
    let kind = IrpKind::Request;
    let draft = Draft::new(k, top, major, kind, PreviousMode::User).unwrap();
    draft.request(k).is_synchronous = false;
    if major == IRP_MJ_DEVICE_CONTROL {
        k.set(draft.location, IO_STACK_LOCATION::DeviceIoControl_IoControlCode, code).unwrap();
    }
    let mut was_called = false;
    let flow = draft.send(k);
    let progress = carry_on(k, flow, &mut |k, call| {
        was_called = true;
        complete(k, call)
    });
    (was_called, progress.unwrap(), draft)
}

/// A dispatch routine that completes at once.
fn complete(k: &mut Kernel, call: &GuestCall) -> u64 {
    drive(k, "IofCompleteRequest", &[call.arguments[1], 0], &mut |_, _| 0).unwrap();
    0
}

#[test]
fn a_filter_is_attached_as_filters_are() {
    let (mut k, driver, device) = filtered(DO_BUFFERED_IO);
    let top = attach::top_of(&mut k, device).unwrap();
    assert_ne!(top, device);
    assert_eq!(k.get(top, DEVICE_OBJECT::StackSize), Ok(2));
    assert_ne!(k.get(top, DEVICE_OBJECT::Flags).unwrap() & DO_BUFFERED_IO, 0);
    assert_ne!(k.get(top, DEVICE_OBJECT::DriverObject), Ok(driver.0));
    // One is enough.
    answer(&mut k, FILTER_ABOVE, 1);
    before_open(&mut k, device, PreviousMode::User).unwrap();
    assert_eq!(attach::top_of(&mut k, device), Ok(top));
    leave_driver(&mut k, driver).unwrap();
    assert_eq!(attach::top_of(&mut k, device), Ok(device));
}

#[test]
fn nobody_is_there_unless_the_tape_says_so() {
    let (mut k, driver) = driver();
    let device = create_device(&mut k, driver, "");
    before_open(&mut k, device, PreviousMode::User).unwrap();
    assert_eq!(attach::top_of(&mut k, device), Ok(device));
    assert_eq!(k.tape.asked(FILTER_ABOVE), 1);
    // An open by the kernel is none of user mode's.
    before_open(&mut k, device, PreviousMode::Kernel).unwrap();
    assert_eq!(k.tape.asked(FILTER_ABOVE), 1);
}

#[test]
fn only_what_holds_no_address_of_the_caller_moves_to_another_thread() {
    let control = IRP_MJ_DEVICE_CONTROL;
    let cases = [
        (DO_BUFFERED_IO, IRP_MJ_READ, 0, true),
        (0, IRP_MJ_READ, 0, false),
        (0, control, 0x22_2000, true),
        (0, control, 0x22_2001, true),
        (0, control, 0x22_2002, true),
        (0, control, 0x22_2003, false),
        (DO_BUFFERED_IO, IRP_MJ_CREATE, 0, false),
    ];
    for (flags, major, code, is_moved) in cases {
        let (mut k, _, device) = filtered(flags);
        let (was_called, sent, draft) = send(&mut k, device, major, code);
        assert_eq!(was_called, !is_moved, "{flags:#x} {major} {code:#x}");
        assert_eq!(
            matches!(sent, Progress::Done(PENDING)),
            is_moved,
            "{flags:#x} {major} {code:#x}"
        );
        if is_moved {
            let work = ex::take_work(&mut k).expect("a worker passes it on");
            let flow = work.routine.resume(&mut k, 0);
            carry_on(&mut k, flow, &mut complete).unwrap();
        }
        assert!(entry(&mut k, draft.id).result.is_some(), "{major} {code:#x}");
    }
}

/// Two devices of a driver, the upper one attached while a lower driver is there or not; what the
/// upper one got from the attachment.
fn stacked(when: u32) -> (Kernel, [GuestAddr; 3]) {
    let (mut k, driver) = driver();
    let devices = [(); 2].map(|()| create_device(&mut k, driver, ""));
    answer(&mut k, LOWER_DRIVER, when);
    let arguments = [devices[1].0, devices[0].0];
    let between = call_by_name(&mut k, "IoAttachDeviceToDeviceStack", &arguments).unwrap();
    (k, [devices[0], GuestAddr(between), devices[1]])
}

#[test]
fn a_lower_driver_stands_between_and_leaves_with_the_one_above() {
    let (mut k, [low, between, _]) = stacked(0);
    assert_eq!(between, low);
    call_by_name(&mut k, "IoDetachDevice", &[low.0]).unwrap();
    let (mut k, [low, between, high]) = stacked(1);
    assert_ne!(between, low);
    assert_eq!(k.get(high, DEVICE_OBJECT::StackSize), Ok(3));
    call_by_name(&mut k, "IoDetachDevice", &[between.0]).unwrap();
    assert_eq!(attach::top_of(&mut k, low), Ok(low));
}

#[test]
fn a_lower_driver_pends_what_the_device_below_completes() {
    let mut routine_levels = Vec::new();
    for (when, levels_before_return) in [(1, 0), (2, 1)] {
        let (mut k, [low, between, high]) = stacked(when);
        let kind = IrpKind::Request;
        let draft = Draft::new(&mut k, high, IRP_MJ_READ, kind, PreviousMode::Kernel).unwrap();
        draft.request(&mut k).is_synchronous = false;
        let mut levels = Vec::new();
        let mut dispatch = |k: &mut Kernel, call: &GuestCall| -> u64 {
            let (device, irp) = (call.arguments[0], call.arguments[1]);
            if device == low.0 {
                return complete(k, call);
            }
            set_completion_routine(k, irp, (COMPLETED, 7), 0xe0);
            let returned = drive(k, "IofCallDriver", &[between.0, irp], &mut |k, call| {
                if call.target.0 == COMPLETED {
                    levels.push(k.irql());
                    let irp = GuestAddr(call.arguments[1]);
                    assert_eq!(k.get(irp, IRP::PendingReturned), Ok(1));
                    mark_pending(k, irp.0);
                    return 0;
                }
                complete(k, call)
            });
            assert_eq!(returned, Ok(PENDING));
            PENDING
        };
        let flow = draft.send(&mut k);
        let sent = carry_on(&mut k, flow, &mut dispatch).unwrap();
        assert!(matches!(sent, Progress::Done(PENDING)), "{when}");
        assert_eq!(levels.len(), levels_before_return, "{when}");
        if levels.is_empty() {
            // The DPC of its timer.
            k.idle_100ns += 20_000;
            k.expire_timers().unwrap();
            let dpc = k.io.neighbours.timer.add(KTIMER::SIZE_BYTES);
            assert_eq!(call_by_name(&mut k, "KeRemoveQueueDpc", &[dpc.0]), Ok(1));
            k.set_irql(Irql::DISPATCH_LEVEL);
            let mut routine = |k: &mut Kernel, call: &GuestCall| {
                levels.push(k.irql());
                mark_pending(k, call.arguments[1]);
                0
            };
            drive(&mut k, "(DPC of a lower driver)", &[dpc.0, 0, 0, 0], &mut routine).unwrap();
        } else {
            assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
        }
        assert!(entry(&mut k, draft.id).result.is_some(), "{when}");
        routine_levels.append(&mut levels);
    }
    assert_eq!(routine_levels, [Irql::DISPATCH_LEVEL; 2]);
}
