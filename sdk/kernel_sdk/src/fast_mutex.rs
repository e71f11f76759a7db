//! Fast mutexes that own what they protect.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/fast-mutexes-and-guarded-mutexes>

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr,
};

use crate::{
    abi::synchronization::{
        ExAcquireFastMutex, ExReleaseFastMutex, ExTryToAcquireFastMutex, FAST_MUTEX, FM_LOCK_BIT,
        KeInitializeEvent, SYNCHRONIZATION_EVENT,
    },
    level::{ApcsDisabled, MayWait},
    non_paged::NonPaged,
    status::NtStatus,
};

/// A value that one thread at a time can reach, at `APC_LEVEL`.
pub struct FastMutex<T>(NonPaged<Guarded<T>>);

struct Guarded<T> {
    mutex: UnsafeCell<FAST_MUTEX>,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex itself belongs to nobody; the value goes where the mutex goes.
unsafe impl<T: Send> Send for Guarded<T> {}
// SAFETY: the mutex lets one thread at a time at the value.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> FastMutex<T> {
    /// A free mutex.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        // `ExInitializeFastMutex`, inline in the headers.
        let mutex = FAST_MUTEX {
            Count: FM_LOCK_BIT,
            Owner: ptr::null_mut(),
            Contention: 0,
            Event: [0; 3],
            OldIrql: 0,
        };
        let guarded = Guarded { mutex: UnsafeCell::new(mutex), value: UnsafeCell::new(value) };
        let guarded = NonPaged::new(guarded)?;
        // SAFETY: the block is ours alone.
        let event = unsafe { &raw mut (*guarded.mutex.get()).Event };
        // SAFETY: the event lies in a block that does not move.
        unsafe { KeInitializeEvent(event.cast(), SYNCHRONIZATION_EVENT, 0) };
        Ok(Self(guarded))
    }

    /// Raises to `APC_LEVEL` and acquires.
    pub fn lock<'a>(&'a self, _level: &'a mut impl MayWait) -> FastMutexGuard<'a, T> {
        // SAFETY: initialised; the level proves an IRQL up to APC_LEVEL.
        unsafe { ExAcquireFastMutex(self.0.mutex.get()) };
        FastMutexGuard::new(self)
    }

    /// Acquires if the mutex is free.
    pub fn try_lock<'a>(&'a self, _level: &'a mut impl MayWait) -> Option<FastMutexGuard<'a, T>> {
        // SAFETY: initialised; the level proves an IRQL up to APC_LEVEL.
        let is_ours = unsafe { ExTryToAcquireFastMutex(self.0.mutex.get()) } != 0;
        is_ours.then(|| FastMutexGuard::new(self))
    }
}

/// A held fast mutex. Released, and the IRQL restored, when dropped.
pub struct FastMutexGuard<'a, T> {
    mutex: &'a FastMutex<T>,
    level: ApcsDisabled,
    /// Not sent: the thread that acquired it releases it.
    here: PhantomData<*mut ()>,
}

impl<'a, T> FastMutexGuard<'a, T> {
    fn new(mutex: &'a FastMutex<T>) -> Self {
        // SAFETY: the IRQL stays at APC_LEVEL while the guard lives.
        let level = unsafe { ApcsDisabled::assume() };
        Self { mutex, level, here: PhantomData }
    }

    /// The value, and the level to go on at.
    pub fn split(&mut self) -> (&mut T, &mut ApcsDisabled) {
        // SAFETY: the mutex is held, and `&mut self` is the only way to the value.
        (unsafe { &mut *self.mutex.0.value.get() }, &mut self.level)
    }
}

impl<T> Deref for FastMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held.
        unsafe { &*self.mutex.0.value.get() }
    }
}

impl<T> DerefMut for FastMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.split().0
    }
}

impl<T> Drop for FastMutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held by this thread.
        unsafe { ExReleaseFastMutex(self.mutex.0.mutex.get()) };
    }
}
