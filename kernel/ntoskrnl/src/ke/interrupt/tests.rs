//! Interrupts in the middle of guest code.

use choice_tape::Deviation;
use events::{Event, INTERRUPT_DELAY, INTERRUPT_PROCESSOR, SHARED_INTERRUPT};
use guest_memory::{Accessor, GuestAddr};
use nt_abi::NtStatus;

use crate::{
    CallResult, Flow, GuestCall, Kernel,
    testing::{
        block, bug_check_code, call_by_name, flow_of, kernel_of, kernel_on, recorded, result_of,
        run_call, take_events, with_threads,
    },
};

/// A routine put together from pieces of machine code.
pub(crate) fn routine(k: &mut Kernel, pieces: &[Vec<u8>]) -> u64 {
    let at = call_by_name(k, "ExAllocatePoolWithTag", &[0, 512, 0x6564_6f43]).unwrap();
    k.memory.write(Accessor::Machine, GuestAddr(at), &pieces.concat()).unwrap();
    at
}

/// Appends the IRQL plus a number to a list, as `irql_recorder` does.
pub(crate) fn record(list: u64, number: u8) -> Vec<u8> {
    let mut bytes = vec![0x48, 0xba];
    bytes.extend(list.to_le_bytes());
    bytes.extend([0x0f, 0xb6, 0x0a, 0xfe, 0x02, 0x44, 0x0f, 0x20, 0xc0, 0x04, number]);
    bytes.extend([0x88, 0x44, 0x0a, 0x01]);
    bytes
}

/// Loops so often: `mov ecx, n; dec ecx; jnz`.
pub(crate) fn delay(count: u32) -> Vec<u8> {
    [vec![0xb9], count.to_le_bytes().to_vec(), vec![0xff, 0xc9, 0x75, 0xfc]].concat()
}

/// `mov eax, level; mov cr8, rax`.
pub(crate) fn level(irql: u8) -> Vec<u8> {
    vec![0xb8, irql, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc0]
}

/// `mov eax, value; ret`.
pub(crate) fn ret(value: u8) -> Vec<u8> {
    vec![0xb8, value, 0, 0, 0, 0xc3]
}

const CLI: u8 = 0xfa;
const STI: u8 = 0xfb;

/// Connects a routine at a level; the interrupt object.
pub(crate) fn connect(k: &mut Kernel, routine: u64, vector: u64, irql: u64) -> u64 {
    connect_as(k, routine, vector, (irql, irql), 0xff, 0)
}

fn connect_as(
    k: &mut Kernel,
    routine: u64,
    vector: u64,
    (irql, synchronize): (u64, u64),
    processors: u64,
    lock: u64,
) -> u64 {
    let into = block(k, &[0; 8]);
    let arguments = [into, routine, 7, lock, vector, irql, synchronize, 1, 0, processors, 0];
    assert_eq!(call_by_name(k, "IoConnectInterrupt", &arguments), Ok(0));
    k.read_scalar(GuestAddr(into)).unwrap()
}

/// Runs guest code as the service of a thread.
pub(crate) fn run(k: &mut Kernel, thread: events::ThreadId, code: u64) -> CallResult<Option<u64>> {
    let call = GuestCall::helper(GuestAddr(code), Vec::new());
    k.begin(thread, move |_| Ok(Flow::Call(call, Vec::new())))?;
    result_of(k, thread)
}

fn list(k: &mut Kernel) -> u64 {
    block(k, &[0; 0x40])
}

#[test]
fn an_interrupt_comes_between_two_instructions_of_a_thread() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
    connect_as(&mut k, isr, 0x51, (5, 6), 1, 0);
    let waits = routine(&mut k, &[record(list, 0x20), delay(5000), record(list, 0x30), ret(9)]);
    k.expect_interrupt(0x51, 1000);
    assert_eq!(run(&mut k, thread, waits), Ok(Some(9)));
    // At the level at which its routine is synchronized, not at that of the vector.
    assert_eq!(recorded(&mut k, list), [0x20, 0x16, 0x30]);
    assert_eq!(k.ke.claimed_interrupts(), 1);
    // What it interrupted goes on as if nothing had been.
    assert_eq!(k.irql().0, 0);
    k.expect_interrupt(0x77, 0);
    run_call(&mut k, thread, "KeFlushQueuedDpcs", &[]).unwrap();
    assert_eq!(k.ke.claimed_interrupts(), 1, "nothing is connected to that vector");
}

#[test]
fn a_processor_at_or_above_the_level_takes_none() {
    for (irql, expected) in [(5, [0x25, 0x35, 0x15]), (4, [0x24, 0x15, 0x34])] {
        let mut k = kernel_on(1);
        let thread = with_threads(&mut k, 1)[0];
        let list = list(&mut k);
        let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
        connect(&mut k, isr, 0x51, 5);
        let pieces =
            [level(irql), record(list, 0x20), delay(5000), record(list, 0x30), level(0), ret(0)];
        let raised = routine(&mut k, &pieces);
        k.expect_interrupt(0x51, 1000);
        run(&mut k, thread, raised).unwrap();
        assert_eq!(recorded(&mut k, list), expected);
    }
}

#[test]
fn a_processor_that_shuts_interrupts_out_takes_none() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
    connect(&mut k, isr, 0x51, 5);
    let pieces = [vec![CLI], delay(5000), record(list, 0x20), vec![STI], delay(9), ret(0)];
    let shut = routine(&mut k, &pieces);
    k.expect_interrupt(0x51, 1000);
    run(&mut k, thread, shut).unwrap();
    assert_eq!(recorded(&mut k, list), [0x20, 0x15]);
}

#[test]
fn a_higher_interrupt_comes_inside_a_lower_one() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let low = routine(&mut k, &[record(list, 0x10), delay(5000), record(list, 0x20), ret(1)]);
    let high = routine(&mut k, &[record(list, 0x30), ret(1)]);
    connect(&mut k, low, 0x51, 5);
    connect(&mut k, high, 0x81, 8);
    k.expect_interrupt(0x51, 10);
    k.expect_interrupt(0x81, 1000);
    // The same vector again waits until the routine has returned.
    k.expect_interrupt(0x51, 2000);
    let rest = routine(&mut k, &[delay(20_000), ret(0)]);
    run(&mut k, thread, rest).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x38, 0x25, 0x15, 0x25]);
}

#[test]
fn routines_of_one_vector_are_asked_until_one_claims_it() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let answers = [(0x10, 0), (0x20, 1), (0x30, 1)];
    let objects = answers.map(|(number, answer)| {
        let isr = routine(&mut k, &[record(list, number), ret(answer)]);
        connect(&mut k, isr, 0x51, 5)
    });
    let nothing = routine(&mut k, &[ret(0)]);
    k.expect_interrupt(0x51, 0);
    run(&mut k, thread, nothing).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x25]);
    // Who is inactive or disconnected is not asked.
    let parameters = block(&mut k, &[0; 16]);
    k.write_scalar(GuestAddr(parameters + 8), objects[0]).unwrap();
    call_by_name(&mut k, "IoReportInterruptInactive", &[parameters]).unwrap();
    assert_eq!(call_by_name(&mut k, "IoDisconnectInterrupt", &[objects[1]]), Ok(0));
    k.expect_interrupt(0x51, 0);
    run(&mut k, thread, nothing).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x25, 0x35]);
    call_by_name(&mut k, "IoReportInterruptActive", &[parameters]).unwrap();
    k.expect_interrupt(0x51, 0);
    run(&mut k, thread, nothing).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x25, 0x35, 0x15, 0x35]);
    assert_eq!(k.ke.claimed_interrupts(), 3);
    for object in [objects[0], objects[2]] {
        assert_eq!(call_by_name(&mut k, "IoDisconnectInterrupt", &[object]), Ok(0));
    }
    assert!(!k.ke.is_connected(0x51));
    // The object is gone: what uses it touches memory that was given back.
    assert!(call_by_name(&mut k, "IoDisconnectInterrupt", &[objects[0]]).is_err());
}

#[test]
fn a_routine_queues_a_dpc_that_runs_when_it_has_returned() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let dpc_routine = routine(&mut k, &[record(list, 0x20), ret(0)]);
    let dpc = block(&mut k, &[0; 0x40]);
    call_by_name(&mut k, "KeInitializeDpc", &[dpc, dpc_routine, 0]).unwrap();
    let insert = k.exports.find("ntoskrnl.exe", "KeInsertQueueDpc").unwrap();
    // sub rsp, 28h; mov rcx, dpc; mov rax, KeInsertQueueDpc; call rax; add rsp, 28h
    let mut queue = vec![0x48, 0x83, 0xec, 0x28, 0x48, 0xb9];
    queue.extend(dpc.to_le_bytes());
    queue.extend([0x48, 0xb8]);
    queue.extend(insert.0.to_le_bytes());
    queue.extend([0xff, 0xd0, 0x48, 0x83, 0xc4, 0x28]);
    let isr = routine(&mut k, &[record(list, 0x10), queue, record(list, 0x30), ret(1)]);
    connect(&mut k, isr, 0x51, 5);
    let waits = routine(&mut k, &[delay(5000), record(list, 0x40), ret(0)]);
    k.expect_interrupt(0x51, 1000);
    run(&mut k, thread, waits).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x35, 0x22, 0x40]);
}

#[test]
fn execution_is_synchronized_at_the_level_of_the_routine() {
    let mut k = kernel_on(2);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
    let object = connect_as(&mut k, isr, 0x51, (5, 7), 0b11, 0);
    let section = routine(&mut k, &[record(list, 0x20), delay(5000), record(list, 0x30), ret(1)]);
    // The interrupt comes at the other processor, and waits for the lock.
    let other = Deviation { kind: INTERRUPT_PROCESSOR.number, ordinal: 0, answer: 1 };
    k.tape = choice_tape::Tape::new([other]);
    k.expect_interrupt(0x51, 1000);
    let value = run_call(&mut k, thread, "KeSynchronizeExecution", &[object, section, 0]);
    assert_eq!(value, Ok(Some(1)));
    assert_eq!(recorded(&mut k, list), [0x27, 0x37, 0x17]);
    k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
    let acquire = "KeAcquireInterruptSpinLock";
    k.set_irql(nt_abi::Irql(6));
    assert_eq!(call_by_name(&mut k, acquire, &[object]), Ok(6));
    assert_eq!(k.irql().0, 7);
    assert_eq!(call_by_name(&mut k, "KeReleaseInterruptSpinLock", &[object, 6]), Ok(0));
    assert_eq!(k.irql().0, 6);
    // Not held any more.
    let again = call_by_name(&mut k, "KeReleaseInterruptSpinLock", &[object, 6]);
    assert_eq!(bug_check_code(again), 0x10);
    // From above, the routine would lower.
    k.set_irql(nt_abi::Irql(8));
    take_events(&mut k);
    for (name, arguments) in [(acquire, &[object][..]), ("KeSynchronizeExecution", &[object, 0, 0])]
    {
        assert_eq!(bug_check_code(call_by_name(&mut k, name, arguments)), 0x09);
        let is_limit = |event: &Event| matches!(event, Event::LimitBroken(l) if l.limit.max.0 == 7);
        assert!(take_events(&mut k).iter().any(is_limit), "{name}");
    }
}

#[test]
fn disconnecting_waits_for_the_routine() {
    let mut k = kernel_on(2);
    let threads = with_threads(&mut k, 2);
    let list = list(&mut k);
    let isr = routine(&mut k, &[record(list, 0x10), delay(20_000), record(list, 0x20), ret(1)]);
    let object = connect_as(&mut k, isr, 0x51, (5, 5), 0b10, 0);
    k.expect_interrupt(0x51, 0);
    // Some time passes before the call, and less than the routine takes.
    let busy = routine(&mut k, &[delay(5000), ret(0)]);
    let call = GuestCall::helper(GuestAddr(busy), Vec::new());
    k.begin(threads[0], move |_| Ok(Flow::Call(call, vec![Box::new(Disconnect { object })])))
        .unwrap();
    result_of(&mut k, threads[0]).unwrap();
    assert_eq!(recorded(&mut k, list), [0x15, 0x25]);
    assert_eq!(k.ke.thread(threads[0]).result, Some(2), "the routine had returned");
}

/// Disconnects, and returns one more than how many interrupts had been claimed by then.
#[derive(Clone, Debug)]
struct Disconnect {
    object: u64,
}
crate::frame!(Disconnect, |this, k, _| {
    flow_of(k, "IoDisconnectInterrupt", &[this.object])?.then(k, HowMany)
});

#[derive(Clone, Debug)]
struct HowMany;
crate::frame!(HowMany, |_, k, _| {
    // Claimed when the routine has returned, not before.
    Ok(Flow::Return(k.ke.claimed_interrupts() + 1))
});

#[test]
fn a_lock_of_the_driver_is_shared_by_its_interrupts() {
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let lock = block(&mut k, &[0; 8]);
    call_by_name(&mut k, "KeInitializeSpinLock", &[lock]).unwrap();
    let isr = routine(&mut k, &[ret(1)]);
    let [first, second] =
        [0x51, 0x61].map(|vector| connect_as(&mut k, isr, vector, (5, 6), 1, lock));
    k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
    assert_eq!(call_by_name(&mut k, "KeAcquireInterruptSpinLock", &[first]), Ok(0));
    assert_eq!(k.read_scalar(GuestAddr(lock)), Ok(1u64));
    let again = call_by_name(&mut k, "KeAcquireInterruptSpinLock", &[second]);
    assert_eq!(bug_check_code(again), 0x0f);
}

#[test]
fn the_tape_delays_an_interrupt_and_shares_its_line() {
    // Without a word of the tape the interrupt comes at once, before the first instruction.
    for (answer, expected) in [(0, [0x15, 0x20]), (4096, [0x20, 0x15])] {
        let late = Deviation { kind: INTERRUPT_DELAY.number, ordinal: 0, answer };
        let mut k = kernel_of(1, [late].into_iter().filter(|late| late.answer > 0));
        let thread = with_threads(&mut k, 1)[0];
        let list = list(&mut k);
        let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
        connect(&mut k, isr, 0x51, 5);
        let marks = routine(&mut k, &[record(list, 0x20), delay(5000), ret(0)]);
        k.expect_interrupt(0x51, 0);
        run(&mut k, thread, marks).unwrap();
        assert_eq!(recorded(&mut k, list), expected);
    }
    let shared = Deviation { kind: SHARED_INTERRUPT.number, ordinal: 1, answer: 1 };
    let mut k = kernel_of(1, [shared]);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    let isr = routine(&mut k, &[record(list, 0x10), ret(0)]);
    let into = block(&mut k, &[0; 8]);
    let arguments = [into, isr, 0, 0, 0x51, 5, 5, 0, 1, 1, 0];
    call_by_name(&mut k, "IoConnectInterrupt", &arguments).unwrap();
    let query = k.exports.find("ntoskrnl.exe", "KeGetCurrentIrql").unwrap();
    let mut ask = vec![0x48, 0x83, 0xec, 0x28, 0x48, 0xb8];
    ask.extend(query.0.to_le_bytes());
    ask.extend([0xff, 0xd0, 0x48, 0x83, 0xc4, 0x28]);
    let calls = [ask.clone(), record(list, 0x20), ask, record(list, 0x30), ret(0)];
    let calls = routine(&mut k, &calls);
    run(&mut k, thread, calls).unwrap();
    assert_eq!(recorded(&mut k, list), [0x20, 0x15, 0x30]);
    assert_eq!(k.ke.claimed_interrupts(), 0);
}

#[test]
fn a_port_of_the_device_raises_its_interrupt() {
    use crate::ke::{InterruptLine, LineKind};
    let mut k = kernel_on(1);
    let thread = with_threads(&mut k, 1)[0];
    let list = list(&mut k);
    k.declare_line(InterruptLine {
        vector: 0x51,
        irql: nt_abi::Irql(5),
        kind: LineKind::Line,
        raised_by_port: Some(0x3f8),
        latency_100ns: 1000,
    });
    let isr = routine(&mut k, &[record(list, 0x10), ret(1)]);
    connect(&mut k, isr, 0x51, 5);
    // mov dx, port; out dx, al
    let out = |port: u16| {
        let [low, high] = port.to_le_bytes();
        vec![0x66, 0xba, low, high, 0xee]
    };
    let pieces = [out(0x3f9), delay(2000), out(0x3f8), record(list, 0x20), delay(2000)];
    let pieces = [&pieces[..], &[record(list, 0x30), ret(0)]].concat();
    let writes = routine(&mut k, &pieces);
    run(&mut k, thread, writes).unwrap();
    assert_eq!(recorded(&mut k, list), [0x20, 0x15, 0x30]);
}

#[test]
fn what_cannot_be_connected_has_a_status() {
    let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
    let resources = u64::from(NtStatus::STATUS_INSUFFICIENT_RESOURCES.0);
    let fail = Deviation { kind: events::CREATION_FAILURE.number, ordinal: 0, answer: 1 };
    let mut k = kernel_of(2, [fail]);
    let into = block(&mut k, &[0; 8]);
    let mut connect = |processors: u64| {
        let arguments = [into, 0x1000, 0, 0, 0x51, 5, 5, 0, 0, processors, 0];
        call_by_name(&mut k, "IoConnectInterrupt", &arguments)
    };
    assert_eq!(connect(0), Ok(invalid));
    // Processors that do not exist are none.
    assert_eq!(connect(0b1100), Ok(invalid));
    assert_eq!(connect(0b11), Ok(resources));
    assert_eq!(connect(0b11), Ok(0));
}
