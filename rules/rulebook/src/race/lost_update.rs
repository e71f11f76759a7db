//! Memory that is read, changed and written back must not change in between.
//!
//! A single run cannot break this rule: two accesses that nothing orders are only a suspicion. It
//! judges three runs of the same commands: one in which the update is interrupted between its read
//! and its write, one in which the other write comes before all of it, and one in which it comes
//! after all of it.

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

impl Step {
    /// Whether it writes.
    pub fn is_store(&self) -> bool {
        // The load of an interlocked instruction is logged as such too; one that only loads is
        // none.
        self.touch != Touch::Load
    }
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

/// A write that comes between the read and the write of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwritten {
    /// Who updates.
    pub lane: u32,
    /// The instruction of the write between.
    pub other: u64,
    /// Which store of the log is the write of the update, from 0.
    pub store: usize,
}

/// Finds the write of another lane that comes between the read and the write of an update.
///
/// A single instruction that is split reads before it is interrupted, and its accesses are logged
/// when it goes on: for it, the write must come just before both.
pub fn overwritten(log: &[Step], update: Update, is_split: bool) -> Option<Overwritten> {
    log.iter().enumerate().find_map(|(end, write)| {
        let before = log.get(..end)?;
        let read = read_of(before, write, update)?;
        let between = match is_split && update.read == update.write {
            false => before.get(read + 1..)?,
            true => before.get(read.checked_sub(1)?..read)?,
        };
        let is_foreign = |step: &&Step| step.lane != write.lane && step.is_store();
        let other = between.iter().rfind(is_foreign)?.ip;
        let store = before.iter().filter(|step| step.is_store()).count();
        Some(Overwritten { lane: write.lane, other, store })
    })
}

/// Where the update that ends with this write has read.
fn read_of(before: &[Step], write: &Step, update: Update) -> Option<usize> {
    if write.ip != update.write || write.touch != Touch::Store {
        return None;
    }
    before.iter().rposition(|step| {
        step.lane == write.lane && step.ip == update.read && step.touch == Touch::Load
    })
}

/// In which order an update and another write come that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The update first.
    UpdateFirst,
    /// The other write first.
    OtherFirst,
}

/// Whether an update of this lane and the other write follow each other directly in this order,
/// and no write overlaps any update.
pub fn is_serial(log: &[Step], update: Update, mixed: Overwritten, order: Order) -> bool {
    let is_other = |step: &Step| step.lane != mixed.lane && step.ip == mixed.other;
    let follows = |(end, write): (usize, &Step)| {
        let (before, after) = log.split_at_checked(end)?;
        let read = read_of(before, write, update).filter(|_| write.lane == mixed.lane)?;
        let neighbour = match order {
            Order::UpdateFirst => after.get(1..)?.iter().find(|step| step.is_store()),
            Order::OtherFirst => before.get(..read)?.iter().rfind(|step| step.is_store()),
        };
        neighbour.map(is_other)
    };
    overwritten(log, update, false).is_none()
        && log.iter().enumerate().any(|step| follows(step) == Some(true))
}

/// Judges how three runs end: the interrupted one must end unlike both orders.
pub fn is_proof(in_order: u64, reversed: u64, interrupted: u64) -> bool {
    interrupted != in_order && interrupted != reversed
}

#[cfg(test)]
mod tests {
    use happens_before::Touch::{Interlocked, Load, Store};

    use super::{Order, Overwritten, Step, Update, is_proof, is_serial, overwritten};

    fn steps(list: &[(u32, happens_before::Touch, u64)]) -> Vec<Step> {
        list.iter().map(|&(lane, touch, ip)| Step { lane, touch, ip }).collect()
    }

    #[test]
    fn a_write_between_read_and_write_is_overwritten() {
        let update = Update { read: 1, write: 2 };
        let log = steps(&[(0, Load, 1), (1, Store, 9), (0, Store, 2)]);
        let found = Some(Overwritten { lane: 0, other: 9, store: 1 });
        assert_eq!(overwritten(&log, update, true), found);
        let log = steps(&[(0, Load, 1), (1, Interlocked, 9), (0, Store, 2)]);
        assert_eq!(overwritten(&log, update, true), found);
        for harmless in [
            steps(&[(0, Load, 1), (0, Store, 2), (1, Store, 9)]),
            steps(&[(1, Store, 9), (0, Load, 1), (0, Store, 2)]),
            steps(&[(0, Load, 1), (1, Load, 9), (0, Store, 2)]),
            steps(&[(0, Load, 1), (1, Store, 9), (0, Load, 1), (0, Store, 2)]),
            steps(&[(0, Load, 1), (0, Store, 9), (0, Store, 2)]),
        ] {
            assert_eq!(overwritten(&harmless, update, true), None);
        }
    }

    #[test]
    fn a_split_instruction_reads_before_it_is_interrupted() {
        let update = Update { read: 1, write: 1 };
        let log = steps(&[(1, Load, 1), (1, Store, 1), (0, Load, 1), (0, Store, 1)]);
        let found = Some(Overwritten { lane: 0, other: 1, store: 1 });
        assert_eq!(overwritten(&log, update, true), found);
        // Nobody was interrupted: one after the other.
        assert_eq!(overwritten(&log, update, false), None);
        assert_eq!(overwritten(&steps(&[(0, Load, 1), (0, Store, 1)]), update, true), None);
    }

    #[test]
    fn orders_that_do_not_overlap() {
        let update = Update { read: 1, write: 2 };
        let mixed = Overwritten { lane: 0, other: 9, store: 1 };
        let own = [(0, Load, 1), (0, Store, 2)];
        let other = [(1, Load, 8), (1, Store, 9)];
        let cases = [
            ([other, own].concat(), Some(Order::OtherFirst)),
            ([own, other].concat(), Some(Order::UpdateFirst)),
            // Another write stands between the two, or the write belongs to somebody else.
            ([other, [(2, Load, 3), (2, Store, 4)], own].concat(), None),
            ([own, [(0, Load, 8), (0, Store, 9)]].concat(), None),
            (vec![(0, Load, 1), (1, Store, 9), (0, Store, 2), (1, Store, 9)], None),
        ];
        for (log, expected) in cases {
            let log = steps(&log);
            for order in [Order::UpdateFirst, Order::OtherFirst] {
                let is = is_serial(&log, update, mixed, order);
                assert_eq!(is, expected == Some(order), "{log:?}");
            }
        }
    }

    #[test]
    fn an_end_that_an_order_explains_is_no_proof() {
        assert!(is_proof(7, 7, 6));
        assert!(!is_proof(7, 6, 6));
    }
}
