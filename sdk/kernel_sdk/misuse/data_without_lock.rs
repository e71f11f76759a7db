//! What a lock protects is reached through the guard, and not longer than the lock is held.

#![no_std]

use kernel_sdk::{FastMutex, PassiveLevel, SpinLock};

pub fn past_the_lock(lock: &SpinLock<u32>, level: &mut PassiveLevel) -> u32 {
    #[cfg(misuse)]
    let _ = lock.value; //~ E0616
    *lock.lock(level)
}

pub fn after_release(mutex: &FastMutex<u32>, level: &mut PassiveLevel) -> u32 {
    let guard = mutex.lock(level);
    let inside = &*guard;
    #[cfg(misuse)]
    drop(guard); //~ E0505
    *inside
}

pub fn guard_kept<'a>(level: &'a mut PassiveLevel) -> u32 {
    let lock = SpinLock::new(1);
    let guard = lock.lock(level);
    #[cfg(misuse)]
    drop(lock); //~ E0505
    *guard
}
