//! Regions, mutexes, semaphores, spin locks, timers, DPCs, processors: what one thread sees.

use crate::program::{
    NT, Program,
    Step::{Call, Irql, Store},
    Value::{self, CountSecond, Data, Number, Result},
    run,
};

const NONE: Value = Number(0);
const OBJECT: Value = Data(0x100);
const PASSIVE: u8 = 0;
const DISPATCH: u8 = 2;

/// A relative time of so many milliseconds, as a LARGE_INTEGER.
fn milliseconds(count: i64) -> u64 {
    (count * -10_000).cast_unsigned()
}

#[test]
fn regions_disable_apcs_until_they_are_left() {
    let mut p = Program::default();
    p.is(false, "KeAreApcsDisabled", &[]);
    for (enter, leave) in [
        ("KeEnterCriticalRegion", "KeLeaveCriticalRegion"),
        ("KeEnterGuardedRegion", "KeLeaveGuardedRegion"),
    ] {
        p.call(enter, &[]);
        p.call(enter, &[]);
        p.is(true, "KeAreApcsDisabled", &[]);
        p.call(leave, &[]);
        p.is(true, "KeAreApcsDisabled", &[]);
        p.call(leave, &[]);
        p.is(false, "KeAreApcsDisabled", &[]);
    }
    p.run();
}

#[test]
fn a_mutex_counts_its_acquisitions() {
    let mut p = Program::default();
    let wait = [OBJECT, NONE, NONE, NONE, NONE];
    p.call("KeInitializeMutex", &[OBJECT, NONE]);
    p.long(1, "KeReadStateMutex", &[OBJECT]);
    p.long(0, "KeWaitForSingleObject", &wait);
    p.long(0, "KeReadStateMutex", &[OBJECT]);
    // "A mutex object ... KeWaitForSingleObject can acquire it recursively."
    p.long(0, "KeWaitForSingleObject", &wait);
    p.is(true, "KeAreApcsDisabled", &[]);
    let first = p.call("KeReleaseMutex", &[OBJECT, NONE]);
    p.long(0, "KeReadStateMutex", &[OBJECT]);
    // "If the return value is zero, the mutex has been released."
    p.long(0, "KeReleaseMutex", &[OBJECT, NONE]);
    p.long(1, "KeReadStateMutex", &[OBJECT]);
    p.is(false, "KeAreApcsDisabled", &[]);
    let results = p.run();
    assert_ne!(results.get(first).map(|state| state & 0xffff_ffff), Some(0));
}

#[test]
fn a_semaphore_returns_its_old_count() {
    let mut p = Program::default();
    p.call("KeInitializeSemaphore", &[OBJECT, Number(1), Number(5)]);
    p.long(1, "KeReadStateSemaphore", &[OBJECT]);
    p.long(1, "KeReleaseSemaphore", &[OBJECT, NONE, Number(3), NONE]);
    p.long(4, "KeReadStateSemaphore", &[OBJECT]);
    p.long(0, "KeWaitForSingleObject", &[OBJECT, NONE, NONE, NONE, NONE]);
    p.long(3, "KeReadStateSemaphore", &[OBJECT]);
    p.run();
}

#[test]
fn a_spin_lock_is_tested_and_tried() {
    let mut p = Program::default();
    let lock = Data(0x200);
    p.call("KeInitializeSpinLock", &[lock]);
    p.step(Irql(DISPATCH));
    p.is(true, "KeTestSpinLock", &[lock]);
    p.is(true, "KeTryToAcquireSpinLockAtDpcLevel", &[lock]);
    p.is(false, "KeTestSpinLock", &[lock]);
    p.is(false, "KeTryToAcquireSpinLockAtDpcLevel", &[lock]);
    p.call("KeReleaseSpinLockFromDpcLevel", &[lock]);
    p.is(true, "KeTestSpinLock", &[lock]);
    // The handle of a queued lock is three pointers.
    let handle = Data(0x240);
    p.call("KeAcquireInStackQueuedSpinLockAtDpcLevel", &[lock, handle]);
    p.is(false, "KeTestSpinLock", &[lock]);
    p.call("KeReleaseInStackQueuedSpinLockFromDpcLevel", &[handle]);
    p.is(true, "KeTestSpinLock", &[lock]);
    let irql = p.call("KeGetCurrentIrql", &[]);
    p.expect(irql, u32::from(DISPATCH));
    p.step(Irql(PASSIVE));
    p.run();
}

#[test]
fn a_fast_mutex_raises_or_not() {
    let mut p = Program::default();
    let mutex = OBJECT;
    p.step(Store(mutex, Number(1)));
    p.call("KeInitializeEvent", &[Data(0x118), Number(1), NONE]);
    p.is(true, "ExTryToAcquireFastMutex", &[mutex]);
    p.is(true, "KeGetCurrentIrql", &[]);
    p.call("ExReleaseFastMutex", &[mutex]);
    p.is(false, "KeGetCurrentIrql", &[]);
    p.call("KeEnterCriticalRegion", &[]);
    p.call("ExAcquireFastMutexUnsafe", &[mutex]);
    p.is(false, "KeGetCurrentIrql", &[]);
    p.is(false, "ExTryToAcquireFastMutex", &[mutex]);
    p.is(false, "KeGetCurrentIrql", &[]);
    p.call("ExReleaseFastMutexUnsafe", &[mutex]);
    p.call("KeLeaveCriticalRegion", &[]);
    p.is(true, "ExTryToAcquireFastMutex", &[mutex]);
    p.call("ExReleaseFastMutex", &[mutex]);
    p.run();
}

#[test]
fn a_timer_says_whether_it_was_set_and_has_expired() {
    let mut p = Program::default();
    let timer = OBJECT;
    p.call("KeInitializeTimerEx", &[timer, Number(1)]);
    p.is(false, "KeReadStateTimer", &[timer]);
    p.is(false, "KeSetTimer", &[timer, Number(milliseconds(50)), NONE]);
    p.is(true, "KeSetTimer", &[timer, Number(milliseconds(5)), NONE]);
    p.is(true, "KeCancelTimer", &[timer]);
    p.is(false, "KeCancelTimer", &[timer]);
    p.is(false, "KeReadStateTimer", &[timer]);
    p.is(false, "KeSetTimer", &[timer, Number(milliseconds(5)), NONE]);
    p.step(Store(Data(0), Number(milliseconds(20))));
    p.long(0, "KeDelayExecutionThread", &[NONE, NONE, Data(0)]);
    p.is(true, "KeReadStateTimer", &[timer]);
    // A synchronization timer is reset by the wait that it satisfies.
    p.long(0, "KeWaitForSingleObject", &[timer, NONE, NONE, NONE, NONE]);
    p.is(false, "KeReadStateTimer", &[timer]);
    p.run();
}

#[test]
fn a_periodic_timer_queues_its_dpc_again_and_again() {
    let mut p = Program::default();
    let (timer, dpc, counter) = (OBJECT, Data(0x180), Data(0x40));
    p.call("KeInitializeTimer", &[timer]);
    p.call("KeInitializeDpc", &[dpc, CountSecond, counter]);
    let set = [timer, Number(milliseconds(1)), Number(2), dpc];
    p.is(false, "KeSetTimerEx", &set);
    p.step(Store(Data(0), Number(milliseconds(100))));
    p.long(0, "KeDelayExecutionThread", &[NONE, NONE, Data(0)]);
    // "If the timer is periodic, KeCancelTimer always returns TRUE."
    p.is(true, "KeCancelTimer", &[timer]);
    p.call("KeFlushQueuedDpcs", &[]);
    let runs = p.load(counter);
    p.long(0, "KeDelayExecutionThread", &[NONE, NONE, Data(0)]);
    let later = p.load(counter);
    let results = p.run();
    let count = results.get(runs).copied().unwrap_or_default();
    assert!((10..=50).contains(&count), "100 ms, every 2 ms, but ticks are longer: {count}");
    assert_eq!(results.get(later), Some(&count));
}

#[test]
fn a_dpc_is_queued_once_and_can_be_taken_back() {
    const HIGH_IMPORTANCE: u64 = 2;
    let mut p = Program::default();
    let (dpc, counter) = (OBJECT, Data(0x40));
    p.call("KeInitializeDpc", &[dpc, CountSecond, counter]);
    p.call("KeSetImportanceDpc", &[dpc, Number(HIGH_IMPORTANCE)]);
    p.call("KeSetTargetProcessorDpc", &[dpc, NONE]);
    p.step(Irql(DISPATCH));
    p.is(true, "KeInsertQueueDpc", &[dpc, NONE, NONE]);
    p.is(false, "KeInsertQueueDpc", &[dpc, NONE, NONE]);
    p.is(true, "KeRemoveQueueDpc", &[dpc]);
    p.is(false, "KeRemoveQueueDpc", &[dpc]);
    p.step(Irql(PASSIVE));
    p.call("KeFlushQueuedDpcs", &[]);
    p.holds(counter, 0);
    p.is(true, "KeInsertQueueDpc", &[dpc, NONE, NONE]);
    p.call("KeFlushQueuedDpcs", &[]);
    p.holds(counter, 1);
    p.run();
}

#[test]
fn processors_are_counted_alike() {
    const ALL_PROCESSOR_GROUPS: u64 = 0xffff;
    let mut p = Program::default();
    let mask = p.call("KeQueryActiveProcessors", &[]);
    let count = p.call("KeQueryActiveProcessorCount", &[Data(0)]);
    let written = p.load(Data(0));
    let of_all = p.call("KeQueryActiveProcessorCountEx", &[Number(ALL_PROCESSOR_GROUPS)]);
    p.long(0, "KeQueryActiveProcessorCountEx", &[Number(7)]);
    p.call("KeSetSystemAffinityThread", &[Number(1)]);
    p.long(0, "KeGetCurrentProcessorNumberEx", &[Data(8)]);
    // PROCESSOR_NUMBER: group, number, reserved.
    p.holds(Data(8), 0);
    p.call("KeRevertToUserAffinityThread", &[]);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    let processors = at(count) & 0xffff_ffff;
    assert!(processors >= 1);
    assert_eq!(u64::from(at(mask).count_ones()), processors);
    assert_eq!(at(written), at(mask));
    assert_eq!(at(of_all) & 0xffff_ffff, processors);
}

#[test]
fn priorities_are_set_and_read() {
    let mut p = Program::default();
    let thread = p.call("PsGetCurrentThread", &[]);
    let before = p.call("KeQueryPriorityThread", &[Result(thread, 0)]);
    let old = p.call("KeSetPriorityThread", &[Result(thread, 0), Number(17)]);
    p.long(17, "KeQueryPriorityThread", &[Result(thread, 0)]);
    let results = p.run();
    assert_eq!(results.get(before), results.get(old));
}

#[test]
fn clocks_advance_together() {
    let mut p = Program::default();
    let frequency = Data(0);
    p.step(Store(Data(8), Number(milliseconds(100))));
    let tick = p.call("KeQueryTimeIncrement", &[]);
    let first = p.call("KeQueryPerformanceCounter", &[frequency]);
    let hertz = p.load(frequency);
    p.call("KeDelayExecutionThread", &[NONE, NONE, Data(8)]);
    let second = p.call("KeQueryPerformanceCounter", &[NONE]);
    p.call_of("hal.dll", "KeStallExecutionProcessor", &[Number(1000)]);
    let third = p.call("KeQueryPerformanceCounter", &[NONE]);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    let ticks = |from: usize, to: usize| (at(to) - at(from)) * 10_000_000 / at(hertz);
    assert_eq!(at(tick) & 0xffff_ffff, 156_250, "15.625 ms");
    assert!(ticks(first, second) >= 1_000_000, "100 ms");
    assert!(ticks(second, third) >= 10_000, "1 ms");
    assert!(ticks(second, third) < 100_000, "no more than that and the calls");
}

#[test]
fn a_bug_check_has_the_code_given() {
    let parameters = [Number(0xdead_0001), Number(0x11), Number(0x22), Number(0x33), Number(0x44)];
    for (name, expected) in
        [("KeBugCheck", "(0x0, 0x0, 0x0, 0x0)"), ("KeBugCheckEx", "(0x11, 0x22, 0x33, 0x44)")]
    {
        let shown = run(name, &[Call(NT, name, parameters.to_vec())]);
        let (text, _) = shown.stopped.expect("the run ends there");
        assert!(text.to_lowercase().contains("0xdead0001"), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }
}
