//! The order in which locks are taken while others are held.
//!
//! A cycle matters only if its parts can happen at the same time and block each other: not if two
//! of them hold a common lock, not if everybody wants or has shared access, and not if they belong
//! to routines that never run side by side.

use std::collections::BTreeMap;

use events::{EntryPoint, Lock, LockMode, Origin, Seq};
use guest_memory::GuestAddr;

use crate::HeldLock;

/// A lock that somebody has or wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub lock: Lock,
    /// How.
    pub mode: LockMode,
    /// Since when.
    pub when: Seq,
    /// The driver's instruction.
    pub ip: GuestAddr,
}

impl From<&HeldLock> for Taken {
    fn from(held: &HeldLock) -> Self {
        let Origin { seq: when, ip, .. } = held.acquired;
        Self { lock: held.lock, mode: held.mode, when, ip }
    }
}

/// Somebody who holds one lock waits for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The lock held.
    pub first: Taken,
    /// The lock wanted.
    pub wanted: Taken,
    /// The driver's routine, and when it was called.
    pub entry: (EntryPoint, Seq),
    /// What else it holds.
    pub guards: Vec<Taken>,
}

/// Ways in which one lock was taken while another was held that are kept.
const MAX_WAYS: usize = 8;
/// Pairs of locks that are kept.
const MAX_PAIRS: usize = 4096;
/// Locks in a cycle.
const MAX_CYCLE: usize = 5;

fn exclude_each_other(one: LockMode, other: LockMode) -> bool {
    one == LockMode::Exclusive || other == LockMode::Exclusive
}

impl Edge {
    /// Whether both can be under way at the same time.
    fn can_meet(&self, other: &Self) -> bool {
        // Nothing of a driver runs before its DriverEntry is done, or while it is unloaded or its
        // device starts and stops; a file is created before it is used, and closed after that.
        // IRP_MJ_CREATE, IRP_MJ_CLOSE, IRP_MJ_POWER, IRP_MJ_PNP.
        const APART: [u8; 4] = [0x00, 0x02, 0x16, 0x1b];
        let is_alone = |entry: EntryPoint| match entry {
            EntryPoint::DriverEntry | EntryPoint::Unload | EntryPoint::AddDevice => true,
            EntryPoint::Dispatch { major, .. } => APART.contains(&major),
            _ => false,
        };
        if is_alone(self.entry.0) || is_alone(other.entry.0) {
            return false;
        }
        // Several threads can be in one dispatch routine; other routines are under way once per
        // call.
        let is_dispatch = matches!(self.entry.0, EntryPoint::Dispatch { .. });
        let are_calls = is_dispatch || self.entry.1 != other.entry.1;
        let is_guarded = self.guards.iter().any(|guard| {
            let same = |held: &&Taken| held.lock == guard.lock;
            let common = other.guards.iter().find(same);
            common.is_some_and(|held| exclude_each_other(held.mode, guard.mode))
        });
        are_calls && !is_guarded
    }

    /// Whether this one can wait for what the other one holds.
    fn waits_for(&self, other: &Self) -> bool {
        self.wanted.lock == other.first.lock
            && exclude_each_other(self.wanted.mode, other.first.mode)
    }
}

/// Every order seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockOrder {
    edges: BTreeMap<(GuestAddr, GuestAddr), Vec<Edge>>,
}

impl LockOrder {
    /// Adds what was seen, if it is new.
    pub(crate) fn add(&mut self, edge: Edge) {
        let pair = (edge.first.lock.at, edge.wanted.lock.at);
        if self.edges.len() >= MAX_PAIRS && !self.edges.contains_key(&pair) {
            return;
        }
        let ways = self.edges.entry(pair).or_default();
        let is_known = |known: &Edge| {
            known.first.mode == edge.first.mode
                && known.wanted.mode == edge.wanted.mode
                && known.entry.0 == edge.entry.0
                && known.guards.iter().map(|g| g.lock).eq(edge.guards.iter().map(|g| g.lock))
        };
        if ways.len() < MAX_WAYS && !ways.iter().any(is_known) {
            ways.push(edge);
        }
    }

    /// Forgets locks whose memory holds something else now.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(GuestAddr) -> bool) {
        self.edges.retain(|(first, wanted), _| !is_gone(*first) && !is_gone(*wanted));
    }

    /// Finds a cycle that begins with this edge.
    pub(crate) fn cycle(&self, edge: &Edge) -> Option<Vec<Edge>> {
        let mut path = vec![edge.clone()];
        self.extend(&mut path).then_some(path)
    }

    fn extend(&self, path: &mut Vec<Edge>) -> bool {
        let (Some(first), Some(last)) = (path.first().cloned(), path.last().cloned()) else {
            return false;
        };
        if path.len() > 1 && last.waits_for(&first) {
            return true;
        }
        if path.len() >= MAX_CYCLE {
            return false;
        }
        let from = last.wanted.lock.at;
        let next = self.edges.range((from, GuestAddr(0))..=(from, GuestAddr(u64::MAX)));
        for edge in next.flat_map(|(_, ways)| ways) {
            let is_new = path.iter().all(|old| old.first.lock != edge.first.lock);
            if is_new && last.waits_for(edge) && path.iter().all(|old| old.can_meet(edge)) {
                path.push(edge.clone());
                if self.extend(path) {
                    return true;
                }
                path.pop();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use events::{EntryPoint, IrpId, Lock, LockKind, LockMode, Seq};
    use guest_memory::GuestAddr;

    use super::{Edge, LockOrder, Taken};

    const DISPATCH: EntryPoint = EntryPoint::Dispatch { major: 14, irp: IrpId(1) };

    fn exclusive(at: u64) -> Taken {
        let lock = Lock { kind: LockKind::FastMutex, at: GuestAddr(at) };
        Taken { lock, mode: LockMode::Exclusive, when: Seq(1), ip: GuestAddr(0x1000) }
    }

    fn shared(at: u64) -> Taken {
        Taken { mode: LockMode::Shared, ..exclusive(at) }
    }

    fn edge(first: Taken, wanted: Taken, entry: (EntryPoint, u64), guards: &[Taken]) -> Edge {
        Edge { first, wanted, entry: (entry.0, Seq(entry.1)), guards: guards.to_vec() }
    }

    /// How many edges a cycle has that the last of these edges closes.
    fn cycle(edges: &[Edge]) -> Option<usize> {
        let mut order = LockOrder::default();
        let (last, earlier) = edges.split_last().expect("there are edges");
        for edge in earlier {
            order.add(edge.clone());
        }
        order.cycle(last).map(|cycle| cycle.len())
    }

    #[test]
    fn two_and_three_locks_in_a_circle() {
        let (a, b, c) = (exclusive(1), exclusive(2), exclusive(3));
        let at = |number| (DISPATCH, number);
        assert_eq!(cycle(&[edge(a, b, at(1), &[]), edge(b, a, at(2), &[])]), Some(2));
        let three = [edge(a, b, at(1), &[]), edge(b, c, at(2), &[]), edge(c, a, at(3), &[])];
        assert_eq!(cycle(&three), Some(3));
        assert_eq!(cycle(&[edge(a, b, at(1), &[]), edge(b, c, at(2), &[])]), None);
        assert_eq!(cycle(&[edge(a, b, at(1), &[]), edge(a, b, at(2), &[])]), None);
    }

    #[test]
    fn a_common_lock_keeps_the_two_apart() {
        let (a, b) = (exclusive(1), exclusive(2));
        let at = |number| (DISPATCH, number);
        let under = |guard: Taken, other: Taken| {
            cycle(&[edge(a, b, at(1), &[guard]), edge(b, a, at(2), &[other])])
        };
        assert_eq!(under(exclusive(3), exclusive(3)), None);
        assert_eq!(under(exclusive(3), shared(3)), None);
        assert_eq!(under(shared(3), shared(3)), Some(2));
        assert_eq!(under(exclusive(3), exclusive(4)), Some(2));
    }

    #[test]
    fn shared_access_blocks_nobody() {
        let at = |number| (DISPATCH, number);
        let pair = |first: fn(u64) -> Taken, second: fn(u64) -> Taken| {
            cycle(&[edge(first(1), second(2), at(1), &[]), edge(second(2), first(1), at(2), &[])])
        };
        assert_eq!(pair(shared, shared), None);
        assert_eq!(pair(shared, exclusive), None, "one lock is shared by both");
        let readers = edge(shared(1), shared(2), at(1), &[]);
        let writers = edge(exclusive(2), exclusive(1), at(2), &[]);
        assert_eq!(cycle(&[readers, writers]), Some(2));
    }

    #[test]
    fn routines_that_never_run_side_by_side() {
        let (a, b) = (exclusive(1), exclusive(2));
        let pair = |one: (EntryPoint, u64), other: (EntryPoint, u64)| {
            cycle(&[edge(a, b, one, &[]), edge(b, a, other, &[])])
        };
        assert_eq!(pair((EntryPoint::DriverEntry, 1), (DISPATCH, 2)), None);
        assert_eq!(pair((DISPATCH, 1), (EntryPoint::Unload, 2)), None);
        let create = EntryPoint::Dispatch { major: 0, irp: IrpId(1) };
        assert_eq!(pair((create, 1), (DISPATCH, 2)), None);
        assert_eq!(pair((EntryPoint::SystemThread, 1), (EntryPoint::SystemThread, 1)), None);
        assert_eq!(pair((EntryPoint::SystemThread, 1), (EntryPoint::SystemThread, 2)), Some(2));
        assert_eq!(pair((DISPATCH, 1), (DISPATCH, 1)), Some(2));
        assert_eq!(pair((EntryPoint::Dpc, 1), (DISPATCH, 2)), Some(2));
    }
}
