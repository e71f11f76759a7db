//! Locks are released in the reverse order, or the IRQL would drop under the one still held.

#![no_std]

use kernel_sdk::{FastMutex, PassiveLevel, SpinLock};

pub fn outer_first(outer: &SpinLock<u32>, inner: &SpinLock<u32>, level: &mut PassiveLevel) {
    let mut outer = outer.lock(level);
    let (value, level) = outer.split();
    let mut inner = inner.lock_at_dispatch(level);
    *inner += *value;
    #[cfg(misuse)]
    drop(outer); //~ E0505
    drop(inner);
}

pub fn fast_mutex_first(outer: &FastMutex<u32>, inner: &SpinLock<u32>, level: &mut PassiveLevel) {
    let mut outer = outer.lock(level);
    let (value, level) = outer.split();
    let mut inner = inner.lock(level);
    *inner += *value;
    #[cfg(misuse)]
    drop(outer); //~ E0505
    drop(inner);
}
