//! Schedules by priority: of all that could go on, the one of highest priority does.
//!
//! Probabilistic concurrency testing: everything that runs in one order, a *lane*, gets a random
//! priority, and at depth - 1 random steps the lane that runs gets a new one below all of those. A
//! bug that needs `d` ordered moments is met with a probability of at least `1 / (n * k^(d-1))` per
//! run of `n` lanes and `k` steps. Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A
//! Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.

use std::collections::BTreeMap;

use crate::mix;

/// A schedule by priority. Its answers are a pure function of its three numbers and of the
/// questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    // Configuration
    seed: u32,
    /// Steps at which the lane that runs is lowered, and to what.
    changes: Vec<(u32, i64)>,
    // State
    steps: u32,
    lowered: BTreeMap<u64, i64>,
    /// Who was chosen last, and how often in a row at the end of a turn.
    latest: (u64, u32),
    tired: i64,
    /// Whoever goes on comes behind all others at once.
    is_in_step: bool,
}

/// Turns in a row after which a lane is taken to wait for another one in a loop of its own.
const PATIENCE_TURNS: u32 = 24;

impl Priorities {
    /// Greatest depth.
    pub const MOST_DEPTH: u32 = 7;

    /// A schedule with `depth - 1` changes in the first `length` steps.
    pub fn new(seed: u32, depth: u32, length: u32) -> Self {
        let count = depth.clamp(1, Self::MOST_DEPTH) - 1;
        let step = |number: u32| {
            let place = mix(u64::from(seed) << 32 | u64::from(number));
            1 + u32::try_from(place % u64::from(length.max(1))).unwrap_or(0)
        };
        let changes = (1..=count).map(|number| (step(number), i64::from(number))).collect();
        Self { seed, changes, ..Self::default() }
    }

    /// A schedule in which all lanes go on in step: the one that has waited longest takes the next
    /// step. The seed decides who comes first. Whoever checks something and acts on it later meets
    /// everybody else who does the same.
    pub fn in_step(seed: u32) -> Self {
        Self { seed, is_in_step: true, ..Self::default() }
    }

    fn put_behind_all(&mut self, lane: u64) {
        self.tired -= 1;
        self.lowered.insert(lane, self.tired);
    }

    /// The lane that runs takes a step: it may be lowered.
    pub(crate) fn step(&mut self, lane: u64) {
        self.steps = self.steps.saturating_add(1);
        if self.is_in_step {
            self.put_behind_all(lane);
        }
        let change = self.changes.iter().find(|(step, _)| *step == self.steps);
        if let Some(&(_, priority)) = change {
            self.lowered.insert(lane, priority);
        }
    }

    /// A lane goes on: in step, that is its turn.
    pub(crate) fn note_chosen(&mut self, lane: u64) {
        if self.is_in_step {
            self.put_behind_all(lane);
        }
    }

    /// The turn of a lane is over; the one of highest priority goes on. A lane that went on for
    /// long enough may wait for another: it comes behind all.
    pub(crate) fn choose_at_end_of_turn(&mut self, lanes: &[u64]) -> usize {
        let mut chosen = self.choose(lanes);
        let Some(&lane) = lanes.get(chosen) else { return 0 };
        let in_a_row = if self.latest.0 == lane { self.latest.1 + 1 } else { 1 };
        self.latest = (lane, in_a_row);
        if in_a_row > PATIENCE_TURNS {
            self.put_behind_all(lane);
            chosen = self.choose(lanes);
            self.latest = (lanes.get(chosen).copied().unwrap_or(lane), 1);
        }
        chosen
    }

    /// The place of the lane with the highest priority.
    pub(crate) fn choose(&self, lanes: &[u64]) -> usize {
        // No two lanes are alike, whatever their random numbers.
        let best = lanes.iter().enumerate().max_by_key(|(_, lane)| (self.priority(**lane), **lane));
        best.map_or(0, |(place, _)| place)
    }

    /// A number below `options`.
    pub(crate) fn lot(&self, ordinal: u32, options: u32) -> u32 {
        let number = mix(mix(u64::from(self.seed) << 32) ^ u64::from(ordinal));
        u32::try_from(number % u64::from(options.max(1))).unwrap_or(0)
    }

    fn priority(&self, lane: u64) -> i64 {
        let first = || {
            let number = mix(mix(u64::from(self.seed)) ^ lane) >> 2;
            i64::try_from(number).unwrap_or(0).saturating_add(i64::from(Self::MOST_DEPTH))
        };
        self.lowered.get(&lane).copied().unwrap_or_else(first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PATIENCE_TURNS, Priorities};

    const LANES: [u64; 3] = [7, 40, 41];

    /// The order in which three lanes of `steps` steps each end.
    fn ends(seed: u32, depth: u32, steps: u32) -> (Vec<u64>, usize) {
        let mut schedule = Priorities::new(seed, depth, 3 * steps);
        let mut left = LANES.map(|lane| (lane, steps));
        let (mut ends, mut switches, mut latest) = (Vec::new(), 0, 0);
        loop {
            let able: Vec<u64> = left.iter().filter(|l| l.1 > 0).map(|l| l.0).collect();
            let Some(&lane) = able.get(schedule.choose(&able)) else { return (ends, switches) };
            switches += usize::from(latest != lane);
            latest = lane;
            schedule.step(lane);
            let one = left.iter_mut().find(|l| l.0 == lane).expect("it is one of them");
            one.1 -= 1;
            if one.1 == 0 {
                ends.push(lane);
            }
        }
    }

    #[test]
    fn depth_one_is_one_order_after_the_other() {
        let orders: BTreeSet<Vec<u64>> = (0..100).map(|seed| ends(seed, 1, 5).0).collect();
        assert_eq!(orders.len(), 6, "every order occurs");
        assert!((0..100).all(|seed| ends(seed, 1, 5).1 == 3));
    }

    #[test]
    fn depth_adds_changes_and_schedules_repeat() {
        let most = |depth| (0..200).map(|seed| ends(seed, depth, 5).1).max();
        assert_eq!([most(1), most(2), most(3)], [Some(3), Some(4), Some(5)]);
        assert!((0..50).all(|seed| ends(seed, 3, 9) == ends(seed, 3, 9)));
    }

    #[test]
    fn in_step_nobody_gets_ahead() {
        for seed in 1..20 {
            let mut schedule = Priorities::in_step(seed);
            let mut steps = LANES.map(|lane| (lane, 0_u32));
            for _ in 0..30 {
                let place = schedule.choose(&LANES);
                schedule.step(LANES[place]);
                steps[place].1 += 1;
                let most = steps.iter().map(|lane| lane.1).max();
                let least = steps.iter().map(|lane| lane.1).min();
                assert!(most <= least.map(|least| least + 1), "{steps:?}");
            }
        }
        let first: BTreeSet<usize> =
            (1..20).map(|seed| Priorities::in_step(seed).choose(&LANES)).collect();
        assert_eq!(first.len(), LANES.len(), "anybody may come first");
    }

    #[test]
    fn who_goes_on_for_ever_comes_last() {
        let mut schedule = Priorities::new(3, 1, 10);
        let lanes = &LANES[..2];
        let first = schedule.choose(lanes);
        let turns = (0..100).take_while(|_| schedule.choose_at_end_of_turn(lanes) == first);
        assert_eq!(turns.count(), PATIENCE_TURNS as usize);
        assert_eq!(schedule.choose(lanes), 1 - first);
    }
}
