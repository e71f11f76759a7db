//! Accesses to shared memory that nothing orders.
//!
//! For each unit of eight bytes the latest accesses are kept that no later one covers. A new access
//! races with a kept one of another lane if they overlap, conflict, and nothing orders them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Lane, Moment, Order};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// A plain load.
    Load,
    /// A plain store.
    Store,
    /// Part of an interlocked operation, which orders what comes before and after it.
    Interlocked,
}

impl Touch {
    /// Whether two accesses of these kinds conflict. A plain load beside an interlocked operation
    /// sees the old or the new value, as documented, and does not.
    pub fn conflicts(self, other: Self) -> bool {
        self == Self::Store || other == Self::Store
    }
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose.
    pub lane: Lane,
    /// First address.
    pub at: u64,
    /// Length.
    pub size_bytes: u32,
    /// What it does.
    pub touch: Touch,
    /// The instruction.
    pub ip: u64,
}

impl Access {
    fn end(&self) -> u64 {
        self.at.saturating_add(u64::from(self.size_bytes))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.at < other.end() && other.at < self.end()
    }

    fn covers(&self, other: &Self) -> bool {
        self.at <= other.at && other.end() <= self.end()
    }
}

/// Two accesses that nothing orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race {
    /// The one that came first in this run.
    pub earlier: Access,
    /// The other one.
    pub later: Access,
}

/// Finds races.
#[derive(Clone, Debug, Default)]
pub struct Races {
    units: BTreeMap<u64, Vec<(Access, Moment)>>,
    reported: BTreeSet<(u64, u64)>,
    found: Vec<Race>,
}

const UNIT_BYTES: u64 = 8;
/// Accesses kept per unit; beyond that the oldest is forgotten.
const MOST_KEPT: usize = 16;
/// Races kept per run.
const MOST_RACES: usize = 256;

impl Races {
    /// Takes note of an access by its lane, now.
    pub fn touch(&mut self, order: &mut Order, access: Access) {
        let now = order.now(access.lane);
        let last = access.end().saturating_sub(1) / UNIT_BYTES;
        for unit in access.at / UNIT_BYTES..=last {
            let kept = self.units.entry(unit).or_default();
            if kept.contains(&(access, now)) {
                continue;
            }
            for (earlier, moment) in &*kept {
                if earlier.lane != access.lane
                    && earlier.overlaps(&access)
                    && earlier.touch.conflicts(access.touch)
                    && !order.is_before(*moment, access.lane)
                    && self.found.len() < MOST_RACES
                    && self.reported.insert((earlier.ip, access.ip))
                {
                    self.found.push(Race { earlier: *earlier, later: access });
                }
            }
            kept.retain(|(earlier, moment)| {
                let is_known = earlier.lane == access.lane || order.is_before(*moment, access.lane);
                let is_weaker = earlier.touch == access.touch || access.touch == Touch::Store;
                !(is_known && is_weaker && access.covers(earlier))
            });
            if kept.len() >= MOST_KEPT {
                kept.remove(0);
            }
            kept.push((access, now));
        }
    }

    /// Forgets the accesses to this range: the memory holds something new.
    pub fn forget(&mut self, from: u64, to: u64) {
        let units = from / UNIT_BYTES..to.div_ceil(UNIT_BYTES);
        let known: Vec<u64> = self.units.range(units).map(|(unit, _)| *unit).collect();
        for unit in known {
            self.units.remove(&unit);
        }
    }

    /// Whether there are races that nobody took.
    pub fn is_any(&self) -> bool {
        !self.found.is_empty()
    }

    /// Takes what was found since the last time: each pair of instructions once.
    pub fn take(&mut self) -> Vec<Race> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Races, Touch};
    use crate::{Lane, Order};

    const A: Lane = Lane(0);
    const B: Lane = Lane(1);

    fn access(lane: Lane, at: u64, size_bytes: u32, touch: Touch) -> Access {
        Access { lane, at, size_bytes, touch, ip: 0x1000 + u64::from(lane.0) }
    }

    fn races(touches: &[(Lane, u64, u32, Touch)]) -> usize {
        let (mut races, mut order) = (Races::default(), Order::default());
        for &(lane, at, size_bytes, touch) in touches {
            races.touch(&mut order, access(lane, at, size_bytes, touch));
        }
        races.take().len()
    }

    #[test]
    fn a_store_races_with_whatever_is_not_ordered() {
        use Touch::{Interlocked, Load, Store};
        for (first, second, expected) in [
            (Load, Load, 0),
            (Load, Store, 1),
            (Store, Load, 1),
            (Store, Store, 1),
            (Store, Interlocked, 1),
            (Interlocked, Store, 1),
            (Interlocked, Load, 0),
            (Interlocked, Interlocked, 0),
        ] {
            assert_eq!(races(&[(A, 8, 8, first), (B, 8, 8, second)]), expected, "{first:?}");
            assert_eq!(races(&[(A, 8, 8, first), (A, 8, 8, second)]), 0);
        }
    }

    #[test]
    fn neighbours_do_not_race() {
        let both = |at| races(&[(A, 8, 4, Touch::Store), (B, at, 4, Touch::Store)]);
        assert_eq!((both(8), both(10), both(12), both(4)), (1, 1, 0, 0));
        assert_eq!(races(&[(A, 14, 4, Touch::Store), (B, 16, 1, Touch::Load)]), 1);
    }

    #[test]
    fn order_and_new_memory_end_a_race() {
        let (mut races, mut order) = (Races::default(), Order::default());
        races.touch(&mut order, access(A, 8, 8, Touch::Store));
        order.release(A, 64);
        order.acquire(B, 64);
        races.touch(&mut order, access(B, 8, 8, Touch::Store));
        assert!(!races.is_any());
        races.forget(0, 16);
        races.touch(&mut order, access(A, 8, 8, Touch::Store));
        assert!(!races.is_any());
        races.touch(&mut order, access(B, 8, 8, Touch::Store));
        let found = races.take();
        assert_eq!(found.len(), 1);
        // Each pair of instructions once.
        races.touch(&mut order, access(B, 8, 8, Touch::Load));
        assert!(!races.is_any());
    }
}
