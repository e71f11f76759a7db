//! A thread that holds a lock does not get it again, nor one that must not be nested in it.

#![no_std]

use kernel_sdk::{Mutex, PassiveLevel, Resource, SpinLock};

pub fn spin_lock(lock: &SpinLock<u32>, level: &mut PassiveLevel) -> u32 {
    let guard = lock.lock(level);
    #[cfg(misuse)]
    let _again = lock.lock(level); //~ E0499
    *guard
}

// It would be given, and with it a second exclusive reference.
pub fn mutex(mutex: &Mutex<u32>, level: &mut PassiveLevel) {
    let mut guard = mutex.lock(level);
    let (value, _level) = guard.split();
    #[cfg(misuse)]
    let _again = mutex.lock(_level); //~ E0308
    *value += 1;
}

// A reader that wants to write waits for itself.
pub fn resource(resource: &Resource<u32>, level: &mut PassiveLevel) -> u32 {
    let mut guard = resource.read(level);
    let (value, _level) = guard.split();
    #[cfg(misuse)]
    let _again = resource.write(_level); //~ E0308
    *value
}
