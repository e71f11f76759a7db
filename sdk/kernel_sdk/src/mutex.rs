//! Mutexes that own what they protect.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-mutex-objects>

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use crate::{
    abi::synchronization::{KMUTEX, KeInitializeMutex, KeReleaseMutex},
    level::{ApcsDisabled, PassiveLevel},
    non_paged::NonPaged,
    status::NtStatus,
    wait::{relative_100ns, wait_for},
};

/// A value that one thread at a time can reach, with normal kernel APCs disabled.
///
/// The kernel lets the owner acquire a mutex again, which would give two exclusive references to
/// one value. Hence it asks for [`PassiveLevel`], which is borrowed while the mutex is held.
pub struct Mutex<T>(NonPaged<Guarded<T>>);

struct Guarded<T> {
    mutex: KMUTEX,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex itself belongs to nobody; the value goes where the mutex goes.
unsafe impl<T: Send> Send for Guarded<T> {}
// SAFETY: the mutex lets one thread at a time at the value.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Mutex<T> {
    /// A free mutex.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        let guarded = Guarded { mutex: KMUTEX::zeroed(), value: UnsafeCell::new(value) };
        let guarded = NonPaged::new(guarded)?;
        // SAFETY: the block is ours and does not move.
        unsafe { KeInitializeMutex(guarded.mutex.as_ptr(), 0) };
        Ok(Self(guarded))
    }

    /// Waits for the mutex.
    pub fn lock<'a>(&'a self, _level: &'a mut PassiveLevel) -> MutexGuard<'a, T> {
        // SAFETY: initialised, lives; at PASSIVE_LEVEL a wait is allowed.
        unsafe { wait_for(self.0.mutex.as_object(), None) };
        MutexGuard::new(self)
    }

    /// Waits for the mutex at most so long.
    pub fn lock_at_most<'a>(
        &'a self,
        time_ms: u32,
        _level: &'a mut PassiveLevel,
    ) -> Option<MutexGuard<'a, T>> {
        let timeout = Some(relative_100ns(time_ms));
        // SAFETY: as above.
        let is_ours = unsafe { wait_for(self.0.mutex.as_object(), timeout) };
        is_ours.then(|| MutexGuard::new(self))
    }
}

/// A held mutex. Released when dropped.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    level: ApcsDisabled,
    /// Not sent: the owner is a thread.
    here: PhantomData<*mut ()>,
}

impl<'a, T> MutexGuard<'a, T> {
    fn new(mutex: &'a Mutex<T>) -> Self {
        // SAFETY: the owner of a mutex gets no normal kernel APCs.
        let level = unsafe { ApcsDisabled::assume() };
        Self { mutex, level, here: PhantomData }
    }

    /// The value, and the level to go on at.
    pub fn split(&mut self) -> (&mut T, &mut ApcsDisabled) {
        // SAFETY: the mutex is held once, and `&mut self` is the only way to the value.
        (unsafe { &mut *self.mutex.0.value.get() }, &mut self.level)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held.
        unsafe { &*self.mutex.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.split().0
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: owned by this thread; no wait follows.
        unsafe { KeReleaseMutex(self.mutex.0.mutex.as_ptr(), 0) };
    }
}
