//! Semaphores that hand out permits.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/kernel/semaphore-objects>

use crate::{
    abi::synchronization::{KSEMAPHORE, KeInitializeSemaphore, KeReleaseSemaphore},
    level::{Level, MayWait},
    non_paged::Shared,
    status::NtStatus,
    wait::{relative_100ns, wait_for},
};

/// So many permits, and no owner.
///
/// A release beyond the limit raises STATUS_SEMAPHORE_LIMIT_EXCEEDED. It cannot happen here: only
/// dropping a [`Permit`] releases.
#[derive(Clone)]
pub struct Semaphore(Shared<Counter>);

struct Counter(KSEMAPHORE);

// SAFETY: the kernel synchronises all access to a semaphore.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

impl Semaphore {
    /// A semaphore with all its permits at home.
    pub fn new(permits: u16) -> Result<Self, NtStatus> {
        // A limit of zero is not allowed.
        let permits = i32::from(permits.max(1));
        let counter = Shared::new(Counter(KSEMAPHORE::zeroed()))?;
        // SAFETY: the block is ours and does not move.
        unsafe { KeInitializeSemaphore(counter.0.as_ptr(), permits, permits) };
        Ok(Self(counter))
    }

    /// Waits for a permit.
    pub fn acquire(&self, _level: &mut impl MayWait) -> Permit {
        // SAFETY: initialised, lives; the level allows a wait.
        unsafe { wait_for(self.0.0.as_object(), None) };
        Permit(self.clone())
    }

    /// Waits for a permit at most so long.
    pub fn acquire_at_most(&self, time_ms: u32, _level: &mut impl MayWait) -> Option<Permit> {
        // SAFETY: as above.
        let is_ours = unsafe { wait_for(self.0.0.as_object(), Some(relative_100ns(time_ms))) };
        is_ours.then(|| Permit(self.clone()))
    }

    /// Takes a permit if there is one.
    pub fn try_acquire(&self, _level: &mut impl Level) -> Option<Permit> {
        // SAFETY: initialised, lives; with a zero timeout DISPATCH_LEVEL is fine.
        let is_ours = unsafe { wait_for(self.0.0.as_object(), Some(0)) };
        is_ours.then(|| Permit(self.clone()))
    }
}

/// One permit. It may be dropped by another thread, up to `DISPATCH_LEVEL`.
pub struct Permit(Semaphore);

impl Drop for Permit {
    fn drop(&mut self) {
        // SAFETY: initialised; one permit is out, so the limit is not exceeded; no wait follows.
        unsafe { KeReleaseSemaphore(self.0.0.0.as_ptr(), 0, 1, 0) };
    }
}
