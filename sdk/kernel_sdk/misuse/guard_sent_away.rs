//! A held lock belongs to the processor or thread that acquired it.

#![no_std]

use kernel_sdk::{FastMutex, Mutex, PassiveLevel, Resource, SpinLock};

#[cfg(misuse)]
fn send<T: Send>(_value: T) {}

pub fn spin_lock(lock: &SpinLock<u32>, level: &mut PassiveLevel) {
    let guard = lock.lock(level);
    #[cfg(misuse)]
    send(guard); //~ E0277
    #[cfg(not(misuse))]
    drop(guard);
}

pub fn fast_mutex(mutex: &FastMutex<u32>, level: &mut PassiveLevel) {
    let guard = mutex.lock(level);
    #[cfg(misuse)]
    send(guard); //~ E0277
    #[cfg(not(misuse))]
    drop(guard);
}

pub fn mutex(mutex: &Mutex<u32>, level: &mut PassiveLevel) {
    let guard = mutex.lock(level);
    #[cfg(misuse)]
    send(guard); //~ E0277
    #[cfg(not(misuse))]
    drop(guard);
}

pub fn resource(resource: &Resource<u32>, level: &mut PassiveLevel) {
    let guard = resource.read(level);
    #[cfg(misuse)]
    send(guard); //~ E0277
    #[cfg(not(misuse))]
    drop(guard);
}
