//! What schedules come with: moves of the kernel, alone and several at a time, for mistakes that
//! need a failing request and an unlucky moment.
//!
//! Scripts with a move of one kind form a group, and groups take turns: a driver calls the kernel
//! at a hundred places, where its request may be cancelled, and asks for memory at two.

use std::collections::BTreeMap;

use choice_tape::Deviation;
use verifier::Place;

use crate::{
    Campaign, batch::Spec, deviations, machines, move_sets::row_of_failures,
    portfolio::Schedulable, runner::RunResult,
};

/// Scripts that are scheduled with the same moves.
const MOST_PER_MOVE: u32 = 2;
/// Pairs of failures of one script.
const MOST_PAIRS: usize = 32;
/// Runs with several moves that are scheduled.
const MOST_SETS: usize = 256;

/// Scripts that come with moves of the same nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// One move of this kind.
    Kind(u16),
    /// Memory stays low from some failure on.
    Shortage,
    /// Two failures, each of which could be alone.
    Failures,
    /// A set of moves of which one led to the other.
    Set,
    /// Moves during DriverEntry, which is scheduled.
    Load,
}

/// A place and which of the questions there.
type Nth = (Place, u32);

/// Groups of scripts with moves: single ones of friendly runs, and sets that were tried.
pub(crate) fn with_moves(plain: &[Schedulable], sets: Vec<Schedulable>) -> Vec<Vec<Schedulable>> {
    let mut groups: BTreeMap<Group, Vec<Schedulable>> = BTreeMap::new();
    let mut met: BTreeMap<(Group, Vec<Nth>), u32> = BTreeMap::new();
    for one in plain {
        for (group, places, given) in choices_of(&one.moves) {
            let times = met.entry((group, places)).or_default();
            *times += 1;
            if *times <= MOST_PER_MOVE {
                let one = Schedulable { given, moves: Vec::new(), ..one.clone() };
                groups.entry(group).or_default().push(one);
            }
        }
    }
    for set in sets {
        let group = if set.is_load { Group::Load } else { Group::Set };
        groups.entry(group).or_default().push(set);
    }
    groups.into_values().collect()
}

/// What the moves that a friendly run shows can be put together to.
fn choices_of(moves: &[(Place, Deviation)]) -> Vec<(Group, Vec<Nth>, Vec<Deviation>)> {
    let mut met: BTreeMap<Place, u32> = BTreeMap::new();
    let numbered: Vec<(Nth, Deviation)> = moves
        .iter()
        .map(|&(place, deviation)| {
            let times = met.entry(place).or_default();
            *times += 1;
            ((place, *times), deviation)
        })
        .collect();
    let short: Vec<&(Nth, Deviation)> =
        numbered.iter().filter(|(_, d)| deviations::is_shortage(d.kind)).collect();
    let mut list: Vec<(Group, Vec<Nth>, Vec<Deviation>)> = numbered
        .iter()
        .map(|&(nth, deviation)| (Group::Kind(deviation.kind), vec![nth], vec![deviation]))
        .collect();
    // The last one alone is no shortage, and the last two are no pair besides.
    for (index, (nth, first)) in short.iter().enumerate().take(short.len().saturating_sub(1)) {
        list.push((Group::Shortage, vec![*nth], all_from(*first, short.get(..index))));
    }
    let pairs = (0..short.len()).flat_map(|a| (a + 1..short.len()).map(move |b| (a, b)));
    for (a, b) in pairs.filter(|_| short.len() > 2).take(MOST_PAIRS) {
        if let (Some((a, first)), Some((b, second))) = (short.get(a), short.get(b)) {
            list.push((Group::Failures, vec![*a, *b], vec![*first, *second]));
        }
    }
    list
}

/// Everything that may be short fails from a failure on, with those before it granted.
fn all_from(first: Deviation, before: Option<&[&(Nth, Deviation)]>) -> Vec<Deviation> {
    let mut list = Vec::new();
    for kind in deviations::shortages() {
        let granted = before.unwrap_or_default().iter().filter(|(_, d)| d.kind == kind);
        let start = granted.map(|(_, d)| d.ordinal + 1).max().unwrap_or(0);
        let start = if kind == first.kind { first.ordinal } else { start };
        list.extend(row_of_failures(kind, start));
    }
    list
}

/// All scripts of the groups, one of each in turn.
pub(crate) fn in_turns(groups: &[Vec<Schedulable>]) -> Vec<Schedulable> {
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|index| groups.iter().filter_map(move |g| g.get(index)));
    rounds.cloned().collect()
}

/// Groups that take turns.
#[derive(Debug)]
pub(crate) struct Turns<G> {
    groups: Vec<G>,
    next: usize,
}

impl<G> Turns<G> {
    pub(crate) fn new(groups: impl Iterator<Item = G>) -> Self {
        Self { groups: groups.collect(), next: 0 }
    }

    /// One of each group in turn; fewer where the groups have had enough.
    pub(crate) fn take<T>(
        &mut self,
        most: usize,
        mut one: impl FnMut(&mut G) -> Option<T>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        let mut passed_over = 0;
        let count = self.groups.len();
        while list.len() < most && passed_over < count {
            let Some(group) = self.groups.get_mut(self.next) else { return list };
            self.next = (self.next + 1) % count;
            match one(group) {
                Some(taken) => {
                    list.push(taken);
                    passed_over = 0;
                }
                None => passed_over += 1,
            }
        }
        list
    }
}

/// What of a run with moves can be scheduled.
pub(crate) struct Scheduled {
    steps: u32,
    steps_of_load: u32,
    lanes: u32,
}

impl Scheduled {
    /// Nothing of a run that broke a rule: every schedule would break it again.
    pub(crate) fn of(spec: &Spec, result: &RunResult) -> Self {
        let is_usable = result.findings.is_empty() && result.stopped.is_none();
        let is_of_load = |d: &Deviation| d.kind >= machines::OF_LOAD;
        let has_load = spec.deviations.iter().any(is_of_load);
        let only_load = spec.deviations.iter().all(is_of_load);
        // Single moves of a script are those of its friendly run.
        let is_set = spec.deviations.len() > 1 || has_load;
        let steps = if is_usable && is_set { result.moments.count() } else { 0 };
        let is_loading = is_usable && only_load && spec.script == 0;
        let steps_of_load = if is_loading { result.load.moments.count() } else { 0 };
        Self { steps, steps_of_load, lanes: result.lanes }
    }
}

impl Campaign<'_> {
    /// Takes note of a run with moves whose schedule can be changed.
    pub(crate) fn note_schedulable_set(&mut self, spec: &Spec, scheduled: Scheduled) {
        let Scheduled { steps, steps_of_load, lanes } = scheduled;
        for (steps, is_load) in [(steps_of_load, true), (steps, false)] {
            if steps == 0 || self.schedulable_sets.len() >= MOST_SETS {
                continue;
            }
            let (script, given) = (spec.script, spec.deviations.clone());
            let moves = Vec::new();
            let lanes = lanes.saturating_add(1);
            let calls = 0;
            let one = Schedulable { script, given, is_load, steps, lanes, calls, moves };
            self.schedulable_sets.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{CANCEL_HERE, POOL_FAILURE};
    use guest_memory::GuestAddr;
    use verifier::Place;

    use super::{Turns, in_turns, with_moves};
    use crate::portfolio::Schedulable;

    fn at(kind: u16, ip: u64, ordinal: u32) -> (Place, Deviation) {
        ((kind, GuestAddr(ip), 0), Deviation { kind, ordinal, answer: 1 })
    }

    fn script(script: usize, moves: &[(Place, Deviation)]) -> Schedulable {
        Schedulable { moves: moves.to_vec(), ..Schedulable::plain(script, 4, 2) }
    }

    #[test]
    fn two_callers_that_ask_at_one_place_fail_each_and_together() {
        let (pool, cancel) = (POOL_FAILURE.number, CANCEL_HERE.number);
        let moves = [at(pool, 1, 0), at(cancel, 2, 0), at(pool, 1, 1)];
        let groups = with_moves(&[script(0, &moves)], Vec::new());
        let given: Vec<Vec<usize>> =
            groups.iter().map(|group| group.iter().map(|one| one.given.len()).collect()).collect();
        let [of_pool, of_cancel, shortage] = given.as_slice() else { panic!("{given:?}") };
        assert_eq!((of_pool, of_cancel), (&vec![1, 1], &vec![1]));
        assert!(shortage.iter().all(|count| *count > 10), "all of them fail: {shortage:?}");
        let both = &groups.last().expect("there is one").first().expect("it has one").given;
        assert!(moves.iter().filter(|m| m.0.0 == pool).all(|(_, d)| both.contains(d)));
    }

    #[test]
    fn the_same_move_comes_with_a_few_scripts_and_kinds_take_turns() {
        let pool = [at(POOL_FAILURE.number, 1, 0)];
        let cancels: Vec<_> = (0..5).map(|n| at(CANCEL_HERE.number, n, 0)).collect();
        let moves = [&cancels, &pool[..]].concat();
        let scripts: Vec<Schedulable> = (0..4).map(|number| script(number, &moves)).collect();
        let groups = with_moves(&scripts, Vec::new());
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 10]);
        let kinds: Vec<u16> =
            in_turns(&groups).iter().filter_map(|one| Some(one.given.first()?.kind)).collect();
        assert_eq!(kinds.get(..4), Some(&[3, CANCEL_HERE.number, 3, CANCEL_HERE.number][..]));
    }

    #[test]
    fn a_group_that_has_had_enough_is_passed_over() {
        let mut turns = Turns::new([1..3, 10..11, 20..29].into_iter());
        assert_eq!(turns.take(4, Iterator::next), [1, 10, 20, 2]);
        assert_eq!(turns.take(4, Iterator::next), [21, 22, 23, 24]);
        assert_eq!(turns.take(9, Iterator::next), [25, 26, 27, 28]);
        assert_eq!(turns.take(9, Iterator::next), []);
    }
}
