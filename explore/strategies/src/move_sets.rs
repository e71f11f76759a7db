//! Several moves in one run: what is asked behind a move may be answered otherwise as well.
//!
//! A driver that was refused something asks for less, asks again, or asks for something else, and
//! what it does then no friendly run shows. So every run with a move offers the questions behind
//! its last move as further moves: a tree, three deep. What makes a set of moves new is where its
//! moves are, in their order; so a loop that asks again at the same place is new behind each
//! refusal. Sets that lead where no friendly run was come first, then those in which memory stays
//! low, then failures that are independent of each other.

use std::collections::{BTreeMap, BTreeSet};

use choice_tape::Deviation;
use events::Question;
use verifier::Place;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    deviations::{self, place_of},
    given::Scheduled,
    machines,
    runner::RunResult,
};

/// Moves in a set.
const MOST_MOVES: usize = 3;
/// Sets tried between two looks at what is most promising.
const BATCH: usize = 16;
/// Sets that may wait; more are dropped, and then nothing is said about all of them.
const MOST_WAITING: usize = 1 << 16;
/// Requests of each kind that fail in a row while memory stays low. A driver that asks until it is
/// given gets what it wants after that.
const MOST_SHORTAGES: u32 = 24;

/// What a set promises, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// A failure where no friendly run asks anything, or once more where the last one was.
    Refusal,
    /// Memory stays low from the first failure on.
    Shortage,
    /// Another move where no friendly run asks anything.
    NewPlace,
    /// Failures at places that friendly runs show as well.
    Failures,
    /// All others.
    Any,
}

/// Moves that are made in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MoveSet {
    /// The script.
    pub(crate) script: usize,
    /// How they are answered.
    pub(crate) deviations: Vec<Deviation>,
    /// Where they are, in the order in which they are met; none: wherever something is asked for.
    pub(crate) places: Vec<Place>,
    promise: Promise,
}

impl MoveSet {
    /// A single move.
    pub(crate) fn of_one(script: usize, place: Place, deviation: Deviation) -> Self {
        let (deviations, places) = (vec![deviation], vec![place]);
        Self { script, deviations, places, promise: Promise::Refusal }
    }

    /// The same moves with another script.
    pub(crate) fn before(&self, script: usize) -> Self {
        Self { script, ..self.clone() }
    }

    fn spec(&self) -> Spec {
        Spec { script: self.script, deviations: self.deviations.clone() }
    }

    /// The same with one more.
    fn with(&self, place: Place, deviation: Deviation, promise: Promise) -> Self {
        let mut set = self.clone();
        set.deviations.push(deviation);
        set.deviations.sort();
        set.places.push(place);
        set.promise = promise.max(set.promise);
        set
    }
}

/// The sets of a campaign.
#[derive(Debug, Default)]
pub(crate) struct MoveSets {
    /// Sets that wait, by what they promise, how many moves they have, and their number.
    waiting: BTreeMap<(Promise, usize, usize), MoveSet>,
    /// The places of the sets that were ever to be tried, and the last answer.
    known: BTreeSet<(Vec<Place>, u32)>,
    /// Sets so far.
    count: usize,
    has_dropped: bool,
}

impl MoveSets {
    fn add(&mut self, set: MoveSet) {
        if self.waiting.len() >= MOST_WAITING {
            self.has_dropped = true;
            return;
        }
        self.count += 1;
        self.waiting.insert((set.promise, set.places.len(), self.count), set);
    }

    /// Whether every set of two was tried.
    fn has_all_pairs(&self) -> bool {
        !self.has_dropped && self.waiting.values().all(|set| set.places.len() != 2)
    }
}

/// What a run with moves shows of further ones.
struct Offer {
    /// Questions behind its last move with a kind answer, each place once, as if they were all of
    /// one side: those of DriverEntry have kinds of their own.
    behind: Vec<(Place, Question)>,
    /// Answers with which memory stays low, if there is something to fail.
    shortage: Vec<Deviation>,
    /// Whether that is all there was to ask.
    is_complete: bool,
}

impl Offer {
    /// `None` if a move was not met, or nothing comes of going on.
    fn of(spec: &Spec, result: &RunResult) -> Option<Self> {
        if result.stopped.is_some() {
            return None;
        }
        let asked: Vec<(Place, Question)> = asked(result).collect();
        let is_move = |question: &Question| {
            let Question { kind, ordinal, answer, .. } = *question;
            answer != 0 && spec.deviations.contains(&Deviation { kind, ordinal, answer })
        };
        let met = asked.iter().filter(|(_, question)| is_move(question)).count();
        let last = asked.iter().rposition(|(_, question)| is_move(question));
        let last = last.filter(|_| met == spec.deviations.len())?;
        let (before, behind) = asked.split_at(last + 1);
        let shortage = match spec.deviations.len() {
            1 | MOST_MOVES => shortage(spec, before, behind),
            _ => Vec::new(),
        };
        let mut met = BTreeSet::new();
        let is_first = |(place, question): &(Place, Question)| {
            question.answer == 0 && met.insert((*place, question.kind))
        };
        let behind = behind.iter().copied().filter(is_first).collect();
        let is_complete = result.ledgers.has_all_questions();
        Some(Self { behind, shortage, is_complete })
    }
}

/// The questions of a run in their order; those of DriverEntry have kinds of their own.
pub(crate) fn asked(result: &RunResult) -> impl Iterator<Item = (Place, Question)> {
    result.ledgers.questions().iter().enumerate().map(|(index, asked)| {
        let (question, place) = (asked.0, place_of(asked));
        let kind = match index < result.load.questions {
            true => question.kind.saturating_add(machines::OF_LOAD),
            false => question.kind,
        };
        (place, Question { kind, ..question })
    })
}

/// The answers with which everything that may be short fails from the first of some failures on.
/// None if a set of a few does the same.
fn shortage(
    spec: &Spec,
    before: &[(Place, Question)],
    behind: &[(Place, Question)],
) -> Vec<Deviation> {
    let Some(first) = spec.deviations.first() else { return Vec::new() };
    let is_short = |kind: &u16| deviations::is_shortage(kind % machines::OF_LOAD);
    let is_same_side =
        |kind: &u16| (*kind >= machines::OF_LOAD) == (first.kind >= machines::OF_LOAD);
    let kinds = spec.deviations.iter().map(|deviation| deviation.kind);
    let left = behind.iter().filter(|(_, question)| is_short(&question.kind)).count();
    if !kinds.clone().all(|kind| is_short(&kind) && is_same_side(&kind))
        || spec.deviations.len() + left < MOST_MOVES
        || left == 0
    {
        return Vec::new();
    }
    let offset = first.kind - first.kind % machines::OF_LOAD;
    let mut list = spec.deviations.clone();
    for kind in deviations::shortages().map(|kind| kind + offset) {
        let of_kind = before.iter().filter(|(_, question)| question.kind == kind);
        let start = of_kind.map(|(_, question)| question.ordinal + 1).max().unwrap_or(0);
        list.extend(row_of_failures(kind, start));
    }
    list.sort();
    list
}

/// Many requests of a kind fail in a row.
pub(crate) fn row_of_failures(kind: u16, start: u32) -> impl Iterator<Item = Deviation> {
    let ordinals = start..start.saturating_add(MOST_SHORTAGES);
    ordinals.map(move |ordinal| Deviation { kind, ordinal, answer: 1 })
}

impl Campaign<'_> {
    /// Makes the runs of some sets, and takes note of what they show of others. Returns the sets
    /// after which the driver was loaded.
    pub(crate) fn explore_sets(&mut self, sets: Vec<MoveSet>) -> Vec<MoveSet> {
        let runs: Vec<Spec> = sets.iter().map(MoveSet::spec).collect();
        let kept = self.explore_batch(&runs, |spec, result| {
            (Offer::of(spec, &result), Scheduled::of(spec, &result), !result.ended_at_load)
        });
        let mut loaded = Vec::new();
        for (set, kept) in sets.into_iter().zip(kept) {
            let Some((offer, scheduled, has_loaded)) = kept else { continue };
            if let Some(offer) = offer {
                self.add_offer(&set, &offer);
            }
            self.note_schedulable_set(&set.spec(), scheduled);
            if has_loaded {
                loaded.push(set);
            }
        }
        loaded
    }

    fn add_offer(&mut self, set: &MoveSet, offer: &Offer) {
        if set.places.len() >= MOST_MOVES || set.promise == Promise::Shortage {
            return;
        }
        self.move_sets.has_dropped |= !offer.is_complete;
        for (place, question) in &offer.behind {
            let plain = Question { kind: place.0, ..*question };
            let is_new = !self.places_tried.contains(place) || set.places.last() == Some(place);
            let is_short = |place: &Place| deviations::is_shortage(place.0);
            let promise = match (is_new, is_short(place)) {
                (true, true) => Promise::Refusal,
                (true, false) => Promise::NewPlace,
                (false, true) if set.places.iter().all(is_short) => Promise::Failures,
                (false, _) => Promise::Any,
            };
            for deviation in self.other_answers(&plain) {
                let deviation = Deviation { kind: question.kind, ..deviation };
                let set = set.with(*place, deviation, promise);
                if self.move_sets.known.insert((set.places.clone(), deviation.answer)) {
                    self.move_sets.add(set);
                }
            }
        }
        let is_made = |d: &&Deviation| !self.is_left_out(deviations::name_of(machines::plain(**d)));
        let deviations: Vec<Deviation> = offer.shortage.iter().filter(is_made).copied().collect();
        if deviations.len() > set.deviations.len() {
            let promise = Promise::Shortage;
            self.move_sets.add(MoveSet { deviations, places: Vec::new(), promise, ..set.clone() });
        }
    }

    /// Makes the runs with several moves, as many as the budget has.
    pub(crate) fn explore_move_sets(&mut self) {
        self.enter(Strategy::Failures, "sets of moves");
        let mut left = self.settings.budget.move_sets as usize;
        while left > 0 && !self.is_budget_used_up() {
            let mut sets = Vec::new();
            while sets.len() < BATCH.min(left)
                && let Some((_, set)) = self.move_sets.waiting.pop_first()
            {
                sets.push(set);
            }
            if sets.is_empty() {
                break;
            }
            left -= sets.len();
            self.note_sets(&sets);
            let loaded = self.explore_sets(sets);
            // What DriverEntry survived is tried out, once it is over.
            for set in loaded {
                let is_of_load = |d: &Deviation| d.kind >= machines::OF_LOAD;
                if set.script == 0 && set.deviations.iter().all(is_of_load) {
                    for other in self.after_load(&set) {
                        self.move_sets.add(MoveSet { promise: Promise::Any, ..other });
                    }
                }
            }
        }
        let has_all = self.move_sets.has_all_pairs() && !self.is_budget_used_up();
        self.guarantee().has_all_move_pairs = has_all;
    }

    fn note_sets(&mut self, sets: &[MoveSet]) {
        let guarantee = self.guarantee();
        for set in sets {
            let place = match set.places.len() {
                2 => &mut guarantee.move_pairs,
                _ => &mut guarantee.larger_move_sets,
            };
            *place = place.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{CANCEL_HERE, CREATION_FAILURE, POOL_FAILURE, Question};
    use guest_memory::GuestAddr;
    use verifier::Place;

    use super::{MOST_SHORTAGES, MoveSet, MoveSets, Promise, shortage};
    use crate::{batch::Spec, machines::OF_LOAD};

    const POOL: u16 = POOL_FAILURE.number;

    fn place(kind: u16, ip: u64) -> Place {
        (kind, GuestAddr(ip), 0)
    }

    fn question(kind: u16, ordinal: u32) -> (Place, Question) {
        let question = Question { kind, ordinal, options: 2, stack: 0, answer: 0 };
        (place(kind, u64::from(ordinal)), question)
    }

    fn failure(kind: u16, ordinal: u32) -> Deviation {
        Deviation { kind, ordinal, answer: 1 }
    }

    #[test]
    fn what_promises_most_comes_first_and_fewer_moves_before_more() {
        let first = MoveSet::of_one(0, place(POOL, 1), failure(POOL, 4));
        let again = first.with(place(POOL, 1), failure(POOL, 5), Promise::Refusal);
        let third = again.with(place(POOL, 1), failure(POOL, 6), Promise::Refusal);
        let late = first.with(place(POOL, 2), failure(POOL, 9), Promise::Failures);
        let behind_late = late.with(place(POOL, 3), failure(POOL, 2), Promise::Refusal);
        assert_eq!(behind_late.promise, Promise::Failures, "no more than what it stands on");
        assert_eq!(behind_late.deviations.first(), Some(&failure(POOL, 2)), "a tape is in order");
        assert_eq!(behind_late.places.last(), Some(&place(POOL, 3)), "places are as they came");
        let mut sets = MoveSets::default();
        for set in [&behind_late, &late, &third, &again] {
            sets.add(set.clone());
        }
        assert!(!sets.has_all_pairs());
        let order: Vec<MoveSet> = sets.waiting.into_values().collect();
        assert_eq!(order, [again, third, late, behind_late]);
    }

    #[test]
    fn memory_stays_low_for_all_that_may_be_short() {
        let spec = |deviations: &[Deviation]| Spec { script: 0, deviations: deviations.to_vec() };
        let before = [question(POOL, 0), question(CREATION_FAILURE.number, 0), question(POOL, 1)];
        let behind = [question(POOL, 2), question(POOL, 3), question(CANCEL_HERE.number, 0)];
        let low = shortage(&spec(&[failure(POOL, 1)]), &before, &behind);
        let of_pool = (1..2 + MOST_SHORTAGES).map(|ordinal| failure(POOL, ordinal));
        assert!(of_pool.clone().all(|d| low.contains(&d)) && !low.contains(&failure(POOL, 0)));
        assert!(low.contains(&failure(CREATION_FAILURE.number, 1)), "what was given before stays");
        assert!(!low.contains(&failure(CREATION_FAILURE.number, 0)));
        // A pair does the same, a cancelled request is not short of anything, nothing is behind.
        assert!(shortage(&spec(&[failure(POOL, 1)]), &before, &behind[1..]).is_empty());
        let cancel = failure(CANCEL_HERE.number, 0);
        assert!(shortage(&spec(&[cancel]), &before, &behind).is_empty());
        let three = [failure(POOL, 1), failure(POOL, 2), failure(POOL, 3)];
        assert!(shortage(&spec(&three), &before, &[]).is_empty());
        assert!(!shortage(&spec(&three), &before, &[question(POOL, 4)]).is_empty());
        let at_load = failure(POOL + OF_LOAD, 0);
        let behind = [question(POOL + OF_LOAD, 1), question(POOL + OF_LOAD, 2)];
        let low = shortage(&spec(&[at_load]), &[], &behind);
        assert!(low.iter().all(|deviation| deviation.kind >= OF_LOAD) && low.len() > 1);
    }
}
