//! State that `DriverEntry` leaves for the unload routine.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU8, Ordering},
};

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const FULL: u8 = 2;

/// A global place for one value that is put once and taken once.
pub struct LoadCell<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `state` lets one processor at a time at the value, which may move between threads.
unsafe impl<T: Send> Sync for LoadCell<T> {}

impl<T> LoadCell<T> {
    pub const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(None) }
    }

    /// Leaves a value; gives it back when there is one already.
    pub fn put(&self, value: T) -> Result<(), T> {
        if !self.step(EMPTY, BUSY) {
            return Err(value);
        }
        // SAFETY: nobody else is in a busy cell.
        unsafe { *self.value.get() = Some(value) };
        self.state.store(FULL, Ordering::Release);
        Ok(())
    }

    /// Takes the value out.
    pub fn take(&self) -> Option<T> {
        if !self.step(FULL, BUSY) {
            return None;
        }
        // SAFETY: nobody else is in a busy cell.
        let value = unsafe { (*self.value.get()).take() };
        self.state.store(EMPTY, Ordering::Release);
        value
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl<T> Default for LoadCell<T> {
    fn default() -> Self {
        Self::new()
    }
}
