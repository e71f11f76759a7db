//! What dispatch routines and work items share, from `DriverEntry` to unload.

use core::{
    cell::UnsafeCell,
    ops::Deref,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    abi::synchronization::{KEVENT, KeInitializeEvent, KeSetEvent, NOTIFICATION_EVENT},
    level::PassiveLevel,
    wait::wait_for,
};

/// There is a value to lend; the rest of the word counts its users.
const FULL: usize = 1;
/// Somebody moves a value in or out.
const MOVING: usize = 2;
const ONE_USER: usize = 4;

/// A global place for the state of a driver, lent to whoever asks while it is there.
///
/// Unload takes it back and waits for all loans. What a user does last is to return the loan, to
/// memory of the image. So a work item may hold one; a thread that ends only when the state is
/// dropped may not.
pub struct DriverState<T> {
    users: AtomicUsize,
    /// Set by the last user when somebody waits to take the value.
    unused: KEVENT,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: users get shared references; the value moves only while there are none.
unsafe impl<T: Send + Sync> Sync for DriverState<T> {}

impl<T> DriverState<T> {
    pub const fn new() -> Self {
        Self { users: AtomicUsize::new(0), unused: KEVENT::zeroed(), value: UnsafeCell::new(None) }
    }

    /// Leaves a value; gives it back when there is one already.
    pub fn put(&self, value: T) -> Result<(), T> {
        if self.users.compare_exchange(0, MOVING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: nobody else is in a cell that is moving.
        unsafe { *self.value.get() = Some(value) };
        // An interlocked operation, like all on this word: `get` may come at any time.
        self.users.swap(FULL, Ordering::AcqRel);
        Ok(())
    }

    /// Lends the value, if it is there.
    pub fn get(&self) -> Option<StateRef<'_, T>> {
        self.exchange(|users| (users & FULL != 0).then_some(users + ONE_USER))?;
        Some(StateRef(self))
    }

    /// Takes the value out as soon as nobody uses it, and lends it no more.
    pub fn take(&self, _level: &mut PassiveLevel) -> Option<T> {
        // We are a user, too, until the event can be set.
        self.exchange(|users| (users & FULL != 0).then_some(users - FULL + MOVING + ONE_USER))?;
        // SAFETY: one thread clears `FULL`, and the event lies in a static.
        unsafe { KeInitializeEvent(self.unused.as_ptr(), NOTIFICATION_EVENT, 0) };
        if self.users.fetch_sub(ONE_USER, Ordering::AcqRel) != MOVING + ONE_USER {
            // SAFETY: initialised above; at PASSIVE_LEVEL a wait is allowed.
            unsafe { wait_for(self.unused.as_object(), None) };
        }
        // SAFETY: nobody else is in a cell that is moving and has no users.
        let value = unsafe { (*self.value.get()).take() };
        self.users.swap(0, Ordering::AcqRel);
        value
    }

    fn exchange(&self, next: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
        self.users.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).ok()
    }
}

impl<T> Default for DriverState<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of a driver, on loan.
pub struct StateRef<'a, T>(&'a DriverState<T>);

impl<T> Deref for StateRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value stays while we are counted as a user.
        let value = unsafe { &*self.0.value.get() };
        // A loan is given for full cells only.
        value.as_ref().expect("lent while full")
    }
}

impl<T> Drop for StateRef<'_, T> {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(ONE_USER, Ordering::AcqRel) == MOVING + ONE_USER {
            // SAFETY: whoever cleared `FULL` initialised it before it gave up its own share; no
            // wait follows.
            unsafe { KeSetEvent(self.0.unused.as_ptr(), 0, 0) };
        }
    }
}
