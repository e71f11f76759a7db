//! Effort: work that no event of a clock stands for, such as the bytes that one instruction moves.
//!
//! One event may lead to any amount of work: a repeated string instruction over megabytes, a
//! routine of the kernel that walks a long list. Whoever works counts it here; both engines count
//! the same for the same instructions. Only the owner looks whether the bound is reached.

use crate::GuestMemory;

/// Effort.
impl GuestMemory {
    /// Bounds the effort of everything that happens to this memory; without it there is no bound.
    pub fn bound_effort(&mut self, most: u64) {
        self.most_effort = most;
    }

    /// Counts work, in units of about the time in which a byte is moved.
    #[inline]
    pub fn exert(&mut self, units: u64) {
        self.state.effort = self.state.effort.saturating_add(units);
    }

    /// Work so far.
    pub fn effort(&self) -> u64 {
        self.state.effort
    }

    /// Whether the bound is reached.
    pub fn is_exhausted(&self) -> bool {
        self.state.effort >= self.most_effort
    }
}

#[cfg(test)]
mod tests {
    use crate::{GuestMemory, Limits};

    #[test]
    fn effort_is_bounded_when_asked_and_belongs_to_the_state() {
        let mut memory = GuestMemory::new(Limits { frames: 1, blocks: 1, spaces: 1 });
        memory.exert(u64::MAX - 1);
        assert!(!memory.is_exhausted());
        let mut memory = GuestMemory::new(Limits { frames: 1, blocks: 1, spaces: 1 });
        memory.bound_effort(100);
        memory.exert(60);
        let snapshot = memory.capture();
        memory.exert(40);
        assert!(memory.is_exhausted());
        memory.restore(&snapshot);
        assert_eq!((memory.effort(), memory.is_exhausted()), (60, false));
        memory.exert(u64::MAX);
        assert_eq!((memory.effort(), memory.is_exhausted()), (u64::MAX, true));
    }
}
