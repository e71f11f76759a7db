//! Which of two moments is known to come before the other: vector clocks.
//!
//! Everything that runs in one order is a *lane* (a thread, the interrupt level of a processor).
//! What one lane publishes at a place and another observes there orders the two. Two moments that
//! nothing orders may happen in either order on a real machine.

mod races;

pub use races::{Access, Race, Races, Touch};
use saved::{SavedMap, kept, kept_plainly};

/// Something whose moments are ordered by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(pub u32);

kept_plainly!(Lane);

/// A moment of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Whose.
    pub lane: Lane,
    /// Counts what the lane published before, from 1.
    pub number: u32,
}

/// What is known of every lane: the number of its latest moment that came before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Knowledge {
    numbers: Vec<u32>,
}

impl Knowledge {
    /// What a lane knows when it begins.
    fn first(lane: Lane) -> Self {
        let mut knowledge = Self::default();
        // Moments count from 1, so that a lane nobody heard of is not before anything.
        knowledge.set(lane, 1);
        knowledge
    }

    fn advance(&mut self, lane: Lane) {
        self.set(lane, self.of(lane).saturating_add(1));
    }

    fn of(&self, lane: Lane) -> u32 {
        self.numbers.get(lane.0 as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, lane: Lane, number: u32) {
        let index = lane.0 as usize;
        if index >= self.numbers.len() {
            self.numbers.resize(index + 1, 0);
        }
        if let Some(slot) = self.numbers.get_mut(index) {
            *slot = number;
        }
    }

    fn join(&mut self, other: &Self) {
        if other.numbers.len() > self.numbers.len() {
            self.numbers.resize(other.numbers.len(), 0);
        }
        for (mine, theirs) in self.numbers.iter_mut().zip(&other.numbers) {
            *mine = (*mine).max(*theirs);
        }
    }
}

kept! {
    /// The order of a run so far.
    #[derive(Clone, Debug, Default)]
    pub struct Order as OrderCopy {
        lanes: SavedMap<Lane, Knowledge>,
        places: SavedMap<u64, Knowledge>,
    }
}

impl Order {
    /// The current moment of a lane.
    pub fn now(&mut self, lane: Lane) -> Moment {
        Moment { lane, number: self.knowledge(lane).of(lane) }
    }

    /// Whether the moment is known to come before what the lane does now.
    pub fn is_before(&mut self, earlier: Moment, lane: Lane) -> bool {
        earlier.lane == lane || self.knowledge(lane).of(earlier.lane) >= earlier.number
    }

    /// Publishes at a place all that the lane has done so far, on top of what was published there.
    pub fn release(&mut self, lane: Lane, place: u64) {
        let mine = self.lanes.entry(lane).or_insert_with(|| Knowledge::first(lane));
        self.places.entry(place).or_default().join(mine);
        mine.advance(lane);
    }

    /// What was published at the place comes before what the lane does from now on.
    pub fn acquire(&mut self, lane: Lane, place: u64) {
        let mine = self.lanes.entry(lane).or_insert_with(|| Knowledge::first(lane));
        if let Some(published) = self.places.get(&place) {
            mine.join(published);
        }
    }

    /// What was published at one place is published at another too.
    pub fn forward(&mut self, from: u64, to: u64) {
        if let Some(published) = self.places.get(&from).cloned() {
            self.places.entry(to).or_default().join(&published);
        }
    }

    /// Forgets what was published at places in this range: the memory holds something new.
    pub fn forget(&mut self, from: u64, to: u64) {
        let places: Vec<u64> = self.places.range(from..to).map(|(place, _)| *place).collect();
        for place in places {
            self.places.remove(&place);
        }
    }

    fn knowledge(&mut self, lane: Lane) -> &mut Knowledge {
        self.lanes.entry(lane).or_insert_with(|| Knowledge::first(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, Order};

    const A: Lane = Lane(0);
    const B: Lane = Lane(1);
    const C: Lane = Lane(2);

    #[test]
    fn nothing_orders_two_lanes_by_itself() {
        let mut order = Order::default();
        let first = order.now(A);
        assert!(!order.is_before(first, B));
        assert!(order.is_before(first, A));
    }

    #[test]
    fn what_is_published_and_observed_is_ordered() {
        let mut order = Order::default();
        let before = order.now(A);
        order.release(A, 8);
        let after = order.now(A);
        order.acquire(B, 8);
        assert!(order.is_before(before, B));
        assert!(!order.is_before(after, B));
    }

    #[test]
    fn order_is_handed_on() {
        let mut order = Order::default();
        let before = order.now(A);
        order.release(A, 8);
        order.acquire(B, 8);
        order.release(B, 16);
        order.acquire(C, 16);
        assert!(order.is_before(before, C));
    }

    #[test]
    fn a_place_gathers_what_several_lanes_publish() {
        let mut order = Order::default();
        let (a, b) = (order.now(A), order.now(B));
        order.release(A, 8);
        order.release(B, 8);
        order.acquire(C, 8);
        assert!(order.is_before(a, C) && order.is_before(b, C));
    }

    #[test]
    fn a_place_hands_on_to_another() {
        let mut order = Order::default();
        let before = order.now(A);
        order.release(A, 8);
        order.forward(8, 16);
        order.acquire(B, 16);
        assert!(order.is_before(before, B));
    }

    #[test]
    fn a_forgotten_place_orders_nothing() {
        let mut order = Order::default();
        let before = order.now(A);
        order.release(A, 8);
        order.forget(0, 16);
        order.acquire(B, 8);
        assert!(!order.is_before(before, B));
    }
}
