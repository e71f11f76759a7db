//! Memory that is read, changed and written back must not change in between.
//!
//! A single run cannot break this rule: two accesses that nothing orders are only a suspicion. It
//! judges three runs of the same requests: one after the other in both orders, and with one of them
//! interrupted between its read and its write.

use happens_before::Touch;
use verifier::{Severity, declare_rule};

declare_rule! {
    /// Raised when an update is overwritten by one that does not know it.
    pub static LOST_UPDATE = {
        id: "race::lost_update",
        severity: Severity::Violation,
        title: "update of shared memory lost",
        explain: include_str!("lost_update.md"),
        fix: "use the InterlockedXxx routines, or hold the same lock around every access",
        windows: "no bug check by itself: counts are wrong, references are lost, and what they \
            protect is freed too early or never",
        contract: &["kernel/introduction-to-spin-locks", "kernel/interlocked-operations"],
        since: "0.1.0",
    }
}

/// An access to the bytes in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// A number for who made it.
    pub lane: u32,
    /// What it did.
    pub touch: Touch,
    /// The instruction.
    pub ip: u64,
}

/// The instructions of an update: where it reads and where it writes. They are the same if one
/// instruction does both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The read.
    pub read: u64,
    /// The write.
    pub write: u64,
}

/// Finds the write of another lane that comes between the read and the write of an update; its
/// instruction.
///
/// A single instruction that is split reads before it is interrupted, and its accesses are logged
/// when it goes on: for it, the write must come just before both.
pub fn overwritten(log: &[Step], update: Update) -> Option<u64> {
    log.iter().enumerate().find_map(|(end, write)| {
        if write.ip != update.write || write.touch != Touch::Store {
            return None;
        }
        let before = log.get(..end)?;
        let is_own_read = |step: &Step| {
            step.lane == write.lane && step.ip == update.read && step.touch == Touch::Load
        };
        let read = before.iter().rposition(is_own_read)?;
        let between = match update.read == update.write {
            false => before.get(read + 1..)?,
            true => before.get(read.checked_sub(1)?..read)?,
        };
        let is_foreign = |step: &&Step| step.lane != write.lane && step.touch != Touch::Load;
        between.iter().rfind(is_foreign).map(|step| step.ip)
    })
}

/// Judges how three runs end: the interrupted one must end unlike both orders.
pub fn is_proof(in_order: u64, reversed: u64, interrupted: u64) -> bool {
    interrupted != in_order && interrupted != reversed
}

#[cfg(test)]
mod tests {
    use happens_before::Touch::{Interlocked, Load, Store};

    use super::{Step, Update, is_proof, overwritten};

    fn steps(list: &[(u32, happens_before::Touch, u64)]) -> Vec<Step> {
        list.iter().map(|&(lane, touch, ip)| Step { lane, touch, ip }).collect()
    }

    #[test]
    fn a_write_between_read_and_write_is_overwritten() {
        let update = Update { read: 1, write: 2 };
        let log = steps(&[(0, Load, 1), (1, Store, 9), (0, Store, 2)]);
        assert_eq!(overwritten(&log, update), Some(9));
        let log = steps(&[(0, Load, 1), (1, Interlocked, 9), (0, Store, 2)]);
        assert_eq!(overwritten(&log, update), Some(9));
        for harmless in [
            steps(&[(0, Load, 1), (0, Store, 2), (1, Store, 9)]),
            steps(&[(1, Store, 9), (0, Load, 1), (0, Store, 2)]),
            steps(&[(0, Load, 1), (1, Load, 9), (0, Store, 2)]),
            steps(&[(0, Load, 1), (1, Store, 9), (0, Load, 1), (0, Store, 2)]),
            steps(&[(0, Load, 1), (0, Store, 9), (0, Store, 2)]),
        ] {
            assert_eq!(overwritten(&harmless, update), None);
        }
    }

    #[test]
    fn a_split_instruction_reads_before_it_is_interrupted() {
        let update = Update { read: 1, write: 1 };
        let log = steps(&[(1, Load, 1), (1, Store, 1), (0, Load, 1), (0, Store, 1)]);
        assert_eq!(overwritten(&log, update), Some(1));
        assert_eq!(overwritten(&steps(&[(0, Load, 1), (0, Store, 1)]), update), None);
    }

    #[test]
    fn an_end_that_an_order_explains_is_no_proof() {
        assert!(is_proof(7, 7, 6));
        assert!(!is_proof(7, 6, 6));
    }
}
