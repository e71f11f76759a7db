//! Under a spin lock the IRQL is DISPATCH_LEVEL, and nothing waits.

#![no_std]

use kernel_sdk::{Event, FastMutex, PassiveLevel, SpinLock, Waitable, at_dispatch, sleep};

pub fn wait(lock: &SpinLock<u32>, event: &Event, level: &mut PassiveLevel) {
    let mut guard = lock.lock(level);
    *guard += 1;
    #[cfg(misuse)]
    event.wait(level); //~ E0499
    drop(guard);
    event.wait(level);
}

pub fn wait_at_the_level_of_the_guard(
    lock: &SpinLock<u32>,
    event: &Event,
    level: &mut PassiveLevel,
) {
    let mut guard = lock.lock(level);
    let (value, level) = guard.split();
    #[cfg(misuse)]
    event.wait(level); //~ E0277
    // Without a wait there is no harm.
    *value += u32::from(event.try_wait(level));
}

pub fn sleep_with_a_lock(lock: &SpinLock<u32>, level: &mut PassiveLevel) {
    let mut guard = lock.lock(level);
    let (_value, _level) = guard.split();
    #[cfg(misuse)]
    sleep(1, _level); //~ E0277
    drop(guard);
    sleep(1, level);
}

pub fn wait_at_raised_level(event: &Event, level: &mut PassiveLevel) {
    at_dispatch(level, |level| {
        #[cfg(misuse)]
        event.wait(level); //~ E0277
        event.set(level);
    });
    event.wait(level);
}

pub fn fast_mutex(lock: &SpinLock<u32>, mutex: &FastMutex<u32>, level: &mut PassiveLevel) {
    let mut guard = lock.lock(level);
    let (_value, _level) = guard.split();
    #[cfg(misuse)]
    drop(mutex.lock(_level)); //~ E0277
    drop(guard);
    drop(mutex.lock(level));
}
