//! Events.

use core::ffi::c_void;

use crate::{
    abi::synchronization::{
        KEVENT, KeClearEvent, KeInitializeEvent, KeReadStateEvent, KeSetEvent, NOTIFICATION_EVENT,
        SYNCHRONIZATION_EVENT,
    },
    level::Level,
    non_paged::NonPaged,
    status::NtStatus,
    wait::sealed::Object,
};

/// An event, set or not. Clear when made.
pub struct Event(NonPaged<KEVENT>);

// SAFETY: the kernel synchronises all access to an event.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event that stays set, and lets everybody through, until it is cleared.
    pub fn notification() -> Result<Self, NtStatus> {
        Self::of_kind(NOTIFICATION_EVENT)
    }

    /// An event that lets one waiting thread through and is clear again.
    pub fn synchronization() -> Result<Self, NtStatus> {
        Self::of_kind(SYNCHRONIZATION_EVENT)
    }

    fn of_kind(kind: i32) -> Result<Self, NtStatus> {
        let event = NonPaged::new(KEVENT::zeroed())?;
        // SAFETY: the block is ours and does not move.
        unsafe { KeInitializeEvent(event.as_ptr(), kind, 0) };
        Ok(Self(event))
    }

    /// Sets the event.
    pub fn set(&self, _level: &mut impl Level) {
        self.signal();
    }

    /// For callers that know the level in another way.
    pub(crate) fn signal(&self) {
        // SAFETY: initialised; no wait follows, so the dispatcher is not left locked.
        unsafe { KeSetEvent(self.0.as_ptr(), 0, 0) };
    }

    /// Clears the event.
    pub fn clear(&self, _level: &mut impl Level) {
        // SAFETY: initialised.
        unsafe { KeClearEvent(self.0.as_ptr()) };
    }

    /// Says whether the event is set, without taking the signal.
    pub fn is_set(&self, _level: &mut impl Level) -> bool {
        // SAFETY: initialised.
        unsafe { KeReadStateEvent(self.0.as_ptr()) != 0 }
    }
}

impl Object for Event {
    fn object(&self) -> *mut c_void {
        self.0.as_object()
    }
}
