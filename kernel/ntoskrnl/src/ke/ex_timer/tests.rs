//! Timers that the system allocates.

use choice_tape::Deviation;
use events::{CREATION_FAILURE, Event, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ex::EXT_DELETE_PARAMETERS};

use crate::{
    Kernel,
    ke::interrupt::tests::{delay, record, ret, routine},
    testing::{
        block, call_by_name, kernel, kernel_of, kernel_on, recorded, run_call, take_events,
        with_threads,
    },
};

const MILLISECOND_100NS: i64 = 10_000;
const NOTIFICATION: u64 = 1 << 31;

fn relative(ms: i64) -> u64 {
    (-ms * MILLISECOND_100NS).cast_unsigned()
}

fn allocate(k: &mut Kernel, callback: u64, attributes: u64) -> u64 {
    call_by_name(k, "ExAllocateTimer", &[callback, 7, attributes]).unwrap()
}

fn set(k: &mut Kernel, timer: u64, due: u64, period: u64) -> u64 {
    call_by_name(k, "ExSetTimer", &[timer, due, period, 0]).unwrap()
}

fn wait(k: &mut Kernel, thread: ThreadId, timer: u64, timeout: u64) -> Option<u64> {
    run_call(k, thread, "KeWaitForSingleObject", &[timer, 0, 0, 0, timeout]).unwrap()
}

#[test]
fn a_timer_is_waited_for_like_any_other() {
    let mut k = kernel();
    let thread = with_threads(&mut k, 1)[0];
    let zero = block(&mut k, &[0; 8]);
    let timeout = Some(u64::from(NtStatus::STATUS_TIMEOUT.0));
    // A synchronization timer lets one wait through, a notification timer every one.
    for (attributes, second) in [(0, timeout), (NOTIFICATION, Some(0)), (4, timeout), (8, timeout)]
    {
        let timer = allocate(&mut k, 0, attributes);
        assert_eq!(set(&mut k, timer, relative(2), 0), 0);
        assert_eq!(set(&mut k, timer, relative(3), 0), 1);
        let before = k.interrupt_time_100ns();
        assert_eq!(wait(&mut k, thread, timer, 0), Some(0));
        assert!(k.interrupt_time_100ns() >= before + 29_000);
        assert_eq!(wait(&mut k, thread, timer, zero), second);
        assert_eq!(call_by_name(&mut k, "ExCancelTimer", &[timer, 0]), Ok(0));
        set(&mut k, timer, relative(1), 0);
        assert_eq!(call_by_name(&mut k, "ExCancelTimer", &[timer, 0]), Ok(1));
        assert_eq!(call_by_name(&mut k, "ExDeleteTimer", &[timer, 1, 1, 0]), Ok(0));
        // It is gone.
        assert!(call_by_name(&mut k, "ExCancelTimer", &[timer, 0]).is_err());
    }
}

#[test]
fn a_period_is_in_units_of_100ns_and_the_callback_gets_the_timer() {
    let mut k = kernel();
    let thread = with_threads(&mut k, 1)[0];
    let seen = block(&mut k, &[0; 24]);
    // mov rax, seen; inc qword [rax]; mov [rax+8], rcx; mov [rax+16], rdx; ret
    let mut bytes = vec![0x48, 0xb8];
    bytes.extend(seen.to_le_bytes());
    bytes.extend([0x48, 0xff, 0, 0x48, 0x89, 0x48, 8, 0x48, 0x89, 0x50, 16, 0xc3]);
    let callback = routine(&mut k, &[bytes]);
    let timer = allocate(&mut k, callback, 0);
    set(&mut k, timer, relative(1), 25_000);
    let pause = block(&mut k, &relative(10).to_le_bytes());
    run_call(&mut k, thread, "KeDelayExecutionThread", &[0, 0, pause]).unwrap();
    // At 1, 3.5, 6 and 8.5 ms.
    let at = |k: &mut Kernel, offset: u64| k.read_scalar::<u64>(GuestAddr(seen + offset)).unwrap();
    assert_eq!([0, 8, 16].map(|offset| at(&mut k, offset)), [4, timer, 7]);
    assert_eq!(call_by_name(&mut k, "ExDeleteTimer", &[timer, 1, 1, 0]), Ok(1));
    run_call(&mut k, thread, "KeDelayExecutionThread", &[0, 0, pause]).unwrap();
    assert_eq!(at(&mut k, 0), 4);
}

fn delete_parameters(k: &mut Kernel, callback: u64) -> u64 {
    let at = GuestAddr(block(k, &[0; 0x18]));
    k.set(at, EXT_DELETE_PARAMETERS::DeleteCallback, callback).unwrap();
    at.0
}

#[test]
fn a_deletion_waits_for_the_callback() {
    let mut k = kernel_on(2);
    let thread = with_threads(&mut k, 1)[0];
    let list = block(&mut k, &[0; 0x40]);
    let callback =
        routine(&mut k, &[record(list, 0x10), delay(20_000), record(list, 0x20), ret(0)]);
    let deleted = routine(&mut k, &[record(list, 0x30), ret(0)]);
    let parameters = delete_parameters(&mut k, deleted);
    let timer = allocate(&mut k, callback, NOTIFICATION);
    set(&mut k, timer, relative(1), 0);
    // Signalled; the callback has not begun, or runs.
    assert_eq!(wait(&mut k, thread, timer, 0), Some(0));
    let arguments = [timer, 1, 1, parameters];
    assert_eq!(run_call(&mut k, thread, "ExDeleteTimer", &arguments), Ok(Some(0)));
    assert_eq!(recorded(&mut k, list), [0x12, 0x22, 0x32]);
    assert!(k.ke.ex_timers.is_empty());
}

#[test]
fn a_deletion_that_does_not_cancel_comes_after_the_expiration() {
    let mut k = kernel();
    let thread = with_threads(&mut k, 1)[0];
    let list = block(&mut k, &[0; 0x40]);
    let callback = routine(&mut k, &[record(list, 0x10), ret(0)]);
    let deleted = routine(&mut k, &[record(list, 0x30), ret(0)]);
    let parameters = delete_parameters(&mut k, deleted);
    let pause = block(&mut k, &relative(30).to_le_bytes());
    for period in [0, 50_000] {
        let timer = allocate(&mut k, callback, 0);
        set(&mut k, timer, relative(5), period);
        assert_eq!(call_by_name(&mut k, "ExDeleteTimer", &[timer, 0, 0, parameters]), Ok(0));
        // Disabled: nothing has an effect any more.
        assert_eq!(set(&mut k, timer, relative(1), 0), 0);
        assert_eq!(call_by_name(&mut k, "ExCancelTimer", &[timer, 0]), Ok(0));
        assert_eq!(call_by_name(&mut k, "ExDeleteTimer", &[timer, 1, 0, 0]), Ok(0));
        run_call(&mut k, thread, "KeDelayExecutionThread", &[0, 0, pause]).unwrap();
        assert!(k.ke.ex_timers.is_empty());
    }
    // Once each, also the periodic one, and the deletion after it.
    assert_eq!(recorded(&mut k, list), [0x12, 0x32, 0x12, 0x32]);
    let plain = allocate(&mut k, 0, 0);
    set(&mut k, plain, relative(5), 0);
    assert_eq!(call_by_name(&mut k, "ExDeleteTimer", &[plain, 0, 0, 0]), Ok(0));
    run_call(&mut k, thread, "KeDelayExecutionThread", &[0, 0, pause]).unwrap();
    assert!(k.ke.ex_timers.is_empty());
}

#[test]
fn arguments_that_bug_check_are_reported() {
    let mut k = kernel();
    let plain = allocate(&mut k, 0, 0);
    let precise = allocate(&mut k, 0, 4);
    let parameters = block(&mut k, &[[0; 8], (-2_i64).to_le_bytes()].concat());
    let cases: [(&str, Vec<u64>, &str); 6] = [
        ("ExAllocateTimer", vec![0, 0, 12], "Attributes"),
        ("ExSetTimer", vec![precise, 5, 0, 0], "DueTime"),
        ("ExSetTimer", vec![plain, relative(1), 1 << 31, 0], "Period"),
        ("ExSetTimer", vec![plain, relative(1), u64::MAX, 0], "Period"),
        ("ExSetTimer", vec![plain, relative(1), 0, parameters], "NoWakeTolerance"),
        ("ExDeleteTimer", vec![plain, 0, 1, 0], "Cancel"),
    ];
    for (name, arguments, argument) in cases {
        take_events(&mut k);
        assert!(call_by_name(&mut k, name, &arguments).is_err(), "{name} {argument}");
        let said = take_events(&mut k).into_iter().find_map(|event| match event {
            Event::ArgumentOutOfRange(event) => Some((event.export, event.argument)),
            _ => None,
        });
        assert_eq!(said, Some((name, argument)));
    }
}

#[test]
fn an_allocation_may_fail() {
    let fail = Deviation { kind: CREATION_FAILURE.number, ordinal: 0, answer: 1 };
    let mut k = kernel_of(1, [fail]);
    assert_eq!(allocate(&mut k, 0, 0), 0);
    assert_ne!(allocate(&mut k, 0, 0), 0);
}
