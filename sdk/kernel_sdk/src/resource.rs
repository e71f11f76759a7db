//! Executive resources that own what they protect: many readers, or one writer.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-eresource-routines>

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use crate::{
    abi::synchronization::{
        ERESOURCE, ExAcquireResourceExclusiveLite, ExAcquireResourceSharedLite,
        ExDeleteResourceLite, ExInitializeResourceLite, ExReleaseResourceLite,
        KeEnterCriticalRegion, KeLeaveCriticalRegion,
    },
    level::{ApcsDisabled, PassiveLevel},
    non_paged::NonPaged,
    status::NtStatus,
};

/// `TRUE`: the call returns with the resource.
const WAIT: u8 = 1;

/// A value for many readers or one writer, who are in a critical region meanwhile.
///
/// A thread can acquire a resource again, and a reader that wants to write would wait for itself.
/// Hence it asks for [`PassiveLevel`], which is borrowed while the resource is held.
pub struct Resource<T>(NonPaged<Guarded<T>>);

struct Guarded<T> {
    resource: ERESOURCE,
    value: UnsafeCell<T>,
}

// SAFETY: the resource itself belongs to nobody; the value goes where the resource goes.
unsafe impl<T: Send> Send for Guarded<T> {}
// SAFETY: readers on several threads get shared references, one writer an exclusive one.
unsafe impl<T: Send + Sync> Sync for Guarded<T> {}

// Not of `Guarded`: that one is dropped uninitialised where there is no memory for it.
impl<T> Drop for Resource<T> {
    fn drop(&mut self) {
        // SAFETY: `Resource::new` initialised it, and nobody holds it: guards borrow it.
        unsafe { ExDeleteResourceLite(self.0.resource.as_ptr()) };
    }
}

impl<T> Resource<T> {
    /// A free resource.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        let guarded = Guarded { resource: ERESOURCE::zeroed(), value: UnsafeCell::new(value) };
        let guarded = NonPaged::new(guarded)?;
        // SAFETY: the block is ours and does not move. The routine always returns STATUS_SUCCESS.
        unsafe { ExInitializeResourceLite(guarded.resource.as_ptr()) };
        Ok(Self(guarded))
    }

    /// Waits until it can be read.
    pub fn read<'a>(&'a self, _level: &'a mut PassiveLevel) -> ReadGuard<'a, T> {
        // SAFETY: left by the guard, in the same thread.
        unsafe { KeEnterCriticalRegion() };
        // SAFETY: initialised; normal kernel APCs are disabled.
        unsafe { ExAcquireResourceSharedLite(self.0.resource.as_ptr(), WAIT) };
        ReadGuard(Held::new(self))
    }

    /// Waits until it can be written.
    pub fn write<'a>(&'a self, _level: &'a mut PassiveLevel) -> WriteGuard<'a, T> {
        // SAFETY: left by the guard, in the same thread.
        unsafe { KeEnterCriticalRegion() };
        // SAFETY: initialised; normal kernel APCs are disabled.
        unsafe { ExAcquireResourceExclusiveLite(self.0.resource.as_ptr(), WAIT) };
        WriteGuard(Held::new(self))
    }
}

/// Releases the resource and leaves the critical region when dropped.
struct Held<'a, T> {
    resource: &'a Resource<T>,
    level: ApcsDisabled,
    /// Not sent: the owner is a thread.
    here: PhantomData<*mut ()>,
}

impl<'a, T> Held<'a, T> {
    fn new(resource: &'a Resource<T>) -> Self {
        // SAFETY: the thread is in a critical region while the guard lives.
        let level = unsafe { ApcsDisabled::assume() };
        Self { resource, level, here: PhantomData }
    }

    fn value(&self) -> &T {
        // SAFETY: the resource is held; a writer borrows its guard mutably to write.
        unsafe { &*self.resource.0.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held by this thread.
        unsafe { ExReleaseResourceLite(self.resource.0.resource.as_ptr()) };
        // SAFETY: entered by this thread before it acquired the resource.
        unsafe { KeLeaveCriticalRegion() };
    }
}

/// A resource held for reading.
pub struct ReadGuard<'a, T>(Held<'a, T>);

impl<T> ReadGuard<'_, T> {
    /// The value, and the level to go on at.
    pub fn split(&mut self) -> (&T, &mut ApcsDisabled) {
        // SAFETY: the resource is held for reading.
        (unsafe { &*self.0.resource.0.value.get() }, &mut self.0.level)
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

/// A resource held for writing.
pub struct WriteGuard<'a, T>(Held<'a, T>);

impl<T> WriteGuard<'_, T> {
    /// The value, and the level to go on at.
    pub fn split(&mut self) -> (&mut T, &mut ApcsDisabled) {
        // SAFETY: the resource is held alone, and `&mut self` is the only way to the value.
        (unsafe { &mut *self.0.resource.0.value.get() }, &mut self.0.level)
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.split().0
    }
}
