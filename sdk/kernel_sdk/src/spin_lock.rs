//! Spin locks that own what they protect.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-spin-locks>

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use crate::{
    abi::synchronization::{
        KLOCK_QUEUE_HANDLE, KSPIN_LOCK, KeAcquireInStackQueuedSpinLock,
        KeAcquireSpinLockAtDpcLevel, KeAcquireSpinLockRaiseToDpc, KeReleaseInStackQueuedSpinLock,
        KeReleaseSpinLock, KeReleaseSpinLockFromDpcLevel,
    },
    level::{DispatchLevel, Level},
};

/// A value that one processor at a time can reach, at `DISPATCH_LEVEL`.
///
/// Keep it in a static or in non-paged pool. It may move while nobody holds it: the kernel links
/// nothing to it.
pub struct SpinLock<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one processor at a time at the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    pub const fn new(value: T) -> Self {
        // `KeInitializeSpinLock`, inline in the headers, stores zero.
        Self { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Raises to `DISPATCH_LEVEL` and acquires.
    pub fn lock<'a>(&'a self, _level: &'a mut impl Level) -> SpinGuard<'a, T> {
        // SAFETY: the level proves an IRQL up to DISPATCH_LEVEL; the lock is zero or in use.
        let old_irql = unsafe { KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        SpinGuard::new(self, Some(old_irql))
    }

    /// Acquires in a DPC, or under another spin lock, where the IRQL is right already.
    pub fn lock_at_dispatch<'a>(&'a self, _level: &'a mut DispatchLevel) -> SpinGuard<'a, T> {
        // SAFETY: the level proves DISPATCH_LEVEL; the lock is zero or in use.
        unsafe { KeAcquireSpinLockAtDpcLevel(self.lock.get()) };
        SpinGuard::new(self, None)
    }
}

/// A held spin lock. Released, and the IRQL restored, when dropped.
///
/// It borrows the level at which it was acquired, and so locks are released in the reverse order.
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    /// To restore; none where acquiring raised nothing.
    old_irql: Option<u8>,
    level: DispatchLevel,
    /// Not sent: the IRQL belongs to a processor.
    here: PhantomData<*mut ()>,
}

impl<'a, T> SpinGuard<'a, T> {
    fn new(lock: &'a SpinLock<T>, old_irql: Option<u8>) -> Self {
        // SAFETY: the IRQL stays at DISPATCH_LEVEL while the guard lives.
        let level = unsafe { DispatchLevel::assume() };
        Self { lock, old_irql, level, here: PhantomData }
    }

    /// The value, and the level to acquire further spin locks at.
    pub fn split(&mut self) -> (&mut T, &mut DispatchLevel) {
        // SAFETY: the lock is held, and `&mut self` is the only way to the value.
        (unsafe { &mut *self.lock.value.get() }, &mut self.level)
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.split().0
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        let lock = self.lock.lock.get();
        match self.old_irql {
            // SAFETY: held by us, acquired with this old IRQL.
            Some(old_irql) => unsafe { KeReleaseSpinLock(lock, old_irql) },
            // SAFETY: held by us, acquired without a change of the IRQL.
            None => unsafe { KeReleaseSpinLockFromDpcLevel(lock) },
        }
    }
}

/// A spin lock whose waiters are served in the order of their arrival.
///
/// The place in the queue lies on the stack and must not move, hence a closure and no guard. A
/// type of its own, because one lock must not be acquired in both ways.
pub struct QueuedSpinLock<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one processor at a time at the value.
unsafe impl<T: Send> Sync for QueuedSpinLock<T> {}

impl<T> QueuedSpinLock<T> {
    pub const fn new(value: T) -> Self {
        Self { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Calls `work` with the value at `DISPATCH_LEVEL`, under the lock.
    pub fn with<R>(
        &self,
        _level: &mut impl Level,
        work: impl FnOnce(&mut T, &mut DispatchLevel) -> R,
    ) -> R {
        let handle = KLOCK_QUEUE_HANDLE::zeroed();
        // SAFETY: the level proves an IRQL up to DISPATCH_LEVEL; the handle stays where it is.
        unsafe { KeAcquireInStackQueuedSpinLock(self.lock.get(), handle.as_ptr()) };
        // SAFETY: the IRQL stays at DISPATCH_LEVEL until the release below.
        let mut level = unsafe { DispatchLevel::assume() };
        // SAFETY: the lock is held.
        let result = work(unsafe { &mut *self.value.get() }, &mut level);
        // SAFETY: acquired with this handle above.
        unsafe { KeReleaseInStackQueuedSpinLock(handle.as_ptr()) };
        result
    }
}
