//! The portfolio of schedules: bounded preemptions, priorities and chance take turns, so that none
//! of them starves, until the budget is spent.
//!
//! Only scripts are scheduled in which somebody else could run, or time could pass, at a moment
//! that is free; for all others every schedule is the fair one.

use std::collections::BTreeMap;

use choice_tape::Deviation;
use events::{LOCK_STEP, PREEMPTION, PRIORITY_SCHEDULE, RANDOM_SCHEDULE};
use system::Command;
use verifier::Place;
use workloads::Script;

use crate::{
    Campaign, Profile, Strategy, batch::Spec, given, guarantee::Guarantee, lock_step::LockStep,
    machines, pct::Pct, preemptions::Preemptions, random::RandomRuns, runner::RunResult,
};

/// A script that can be scheduled, and what its friendly run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedulable {
    /// Its number.
    pub(crate) script: usize,
    /// Moves of the kernel that every schedule comes with.
    pub(crate) given: Vec<Deviation>,
    /// It is DriverEntry that is scheduled, not what comes after.
    pub(crate) is_load: bool,
    /// Free moments of its friendly run.
    pub(crate) steps: u32,
    /// Threads and DPC lanes that it could interleave.
    pub(crate) lanes: u32,
    /// A digest of what the driver called in its friendly run.
    pub(crate) calls: u64,
    /// Moves that it could come with, and their places.
    pub(crate) moves: Vec<(Place, Deviation)>,
}

impl Schedulable {
    #[cfg(test)]
    pub(crate) fn plain(script: usize, steps: u32, lanes: u32) -> Self {
        let (given, moves) = (Vec::new(), Vec::new());
        Self { script, given, is_load: false, steps, lanes, calls: 0, moves }
    }

    /// The run of its script with these deviations.
    pub(crate) fn run(&self, deviations: &[Deviation]) -> Spec {
        let of_run = |deviation: &Deviation| match self.is_load {
            true => machines::of_load(*deviation),
            false => *deviation,
        };
        let mut deviations: Vec<Deviation> =
            self.given.iter().copied().chain(deviations.iter().map(of_run)).collect();
        deviations.sort();
        Spec { script: self.script, deviations }
    }
}

/// Scripts in which the driver calls the same routines in the same order that are scheduled by
/// priority, by chance and in step.
const MOST_ALIKE: u32 = 2;

/// Of scripts in which the driver does the same the first ones: a schedule that is tried with many
/// lengths of a buffer is not tried with other requests.
fn unlike(all: &[Schedulable]) -> Vec<Schedulable> {
    let mut met: BTreeMap<(bool, u32, u64), u32> = BTreeMap::new();
    let is_new = |one: &&Schedulable| {
        let times = met.entry((one.is_load, one.lanes, one.calls)).or_default();
        *times += 1;
        *times <= MOST_ALIKE
    };
    all.iter().filter(is_new).cloned().collect()
}

/// Where runs come from.
pub(crate) trait Source {
    /// Which strategy it is.
    fn strategy(&self) -> Strategy;
    /// What it does, for people who wait.
    fn about(&self) -> &'static str;
    /// Proposes runs that do not depend on each other; none: it has come to its end. `Err`: a
    /// script whose run was a bug of ours.
    fn propose(&mut self, campaign: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)>;
    /// The runs proposed last were made, all of them.
    fn carried_out(&mut self, campaign: &mut Campaign<'_>);
}

/// What the schedules of a campaign may still cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purse {
    runs_end: u32,
    events_end: u64,
}

/// Scripts in which callers run together take turns with the others, which are many more.
fn in_fair_order(all: &[Schedulable], scripts: &[Script]) -> Vec<Schedulable> {
    let is_together = |one: &&Schedulable| {
        let script = scripts.get(one.script);
        script.is_some_and(|s| s.commands.iter().any(|c| matches!(c, Command::Together(_))))
    };
    let (together, others): (Vec<&Schedulable>, Vec<&Schedulable>) =
        all.iter().partition(is_together);
    let longest = together.len().max(others.len());
    let pairs = (0..longest).flat_map(|index| [others.get(index), together.get(index)]);
    pairs.flatten().map(|one| (*one).clone()).collect()
}

impl Campaign<'_> {
    /// Takes note of a friendly run whose schedule can be changed.
    pub(crate) fn note_schedulable(&mut self, script: usize, base: &RunResult) {
        let steps = base.moments.count();
        if script == 0 && self.load_moments > 0 {
            let (steps, lanes) = (self.load_moments, base.lanes.saturating_add(1));
            let (calls, moves) = (0, Vec::new());
            let load = Schedulable {
                script,
                given: Vec::new(),
                is_load: true,
                steps,
                lanes,
                calls,
                moves,
            };
            self.schedulable.push(load);
        }
        if steps > 0 {
            // Time is a lane of its own where it may pass.
            let lanes = base.lanes.saturating_add(u32::from(base.moments.standstills > 0));
            let asked = base.ledgers.questions().iter().skip(base.load.questions);
            let moves = asked.filter_map(|(question, origin)| {
                let place = (question.kind, origin.ip, question.stack);
                Some((place, self.move_to_schedule(question)?))
            });
            let moves = moves.collect();
            let is_load = false;
            let (given, calls) = (Vec::new(), base.calls);
            let one = Schedulable { script, given, is_load, steps, lanes, calls, moves };
            self.schedulable.push(one);
        }
    }

    /// Scripts whose schedule can be changed.
    pub(crate) fn scheduled_scripts(&self) -> usize {
        self.schedulable.iter().filter(|one| !one.is_load).count()
    }

    /// Makes the runs with other schedules.
    pub(crate) fn explore_schedules(&mut self) {
        if self.schedulable.is_empty() && self.schedulable_sets.is_empty() {
            return;
        }
        self.schedulable = in_fair_order(&self.schedulable, &self.scripts);
        let sets = std::mem::take(&mut self.schedulable_sets);
        let moves = match self.tries(Strategy::Failures) {
            true => given::with_moves(&self.schedulable, sets),
            false => Vec::new(),
        };
        let unlike = unlike(&self.schedulable);
        let in_turns = given::in_turns(&moves);
        let mut sources: Vec<Box<dyn Source>> = vec![
            // First what needs few switches: one is easier to follow than ten.
            Box::new(Preemptions::of_plain(&self.schedulable)),
            Box::new(LockStep::new(&unlike, &in_turns, &self.scripts)),
            Box::new(Preemptions::with_moves(in_turns)),
            Box::new(Pct::new(&unlike, &moves)),
            Box::new(RandomRuns::new(&unlike, &moves)),
        ];
        sources.retain(|source| self.tries(source.strategy()));
        let budget = self.settings.budget;
        self.purse = Purse {
            runs_end: self.results.runs.saturating_add(budget.schedule_runs),
            events_end: self.results.events.saturating_add(budget.schedule_events),
        };
        while !sources.is_empty() && !self.is_purse_empty() {
            let mut left = Vec::new();
            for mut source in sources {
                self.enter(source.strategy(), source.about());
                if self.make_proposed(source.as_mut()) {
                    left.push(source);
                }
            }
            sources = left;
        }
    }

    /// Makes the next runs of a source; false if it has come to its end.
    fn make_proposed(&mut self, source: &mut dyn Source) -> bool {
        let proposed = source.propose(self).unwrap_or_else(|(script, message)| {
            self.note_bug(script, Err(message));
            Vec::new()
        });
        if proposed.is_empty() {
            return false;
        }
        let left = self.purse.runs_end.saturating_sub(self.results.runs) as usize;
        let paid = proposed.get(..left.min(self.runs_left())).unwrap_or(&proposed);
        let made = self.explore_batch(paid, |_, _| ());
        if made.len() == proposed.len() {
            source.carried_out(self);
        }
        true
    }

    /// Whether no further schedule can be paid for.
    pub(crate) fn is_purse_empty(&self) -> bool {
        self.is_budget_used_up()
            || self.results.runs >= self.purse.runs_end
            || self.results.events >= self.purse.events_end
    }

    /// Whether a strategy is asked for.
    pub(crate) fn tries(&self, strategy: Strategy) -> bool {
        let chosen = &self.settings.strategies;
        let is_chosen = chosen.is_empty() || chosen.contains(&strategy);
        let budget = self.settings.budget;
        let has_schedules = budget.schedule_runs > 0;
        is_chosen
            && match strategy {
                Strategy::Friendly | Strategy::Failures => true,
                Strategy::Races => budget.has_races,
                Strategy::Neighbours => self.settings.profile == Profile::Strict,
                Strategy::LockStep => has_schedules && !self.is_left_out(LOCK_STEP.name),
                Strategy::Preempt => has_schedules && !self.is_left_out(PREEMPTION.name),
                Strategy::Pct => has_schedules && !self.is_left_out(PRIORITY_SCHEDULE.name),
                Strategy::Random => has_schedules && !self.is_left_out(RANDOM_SCHEDULE.name),
            }
    }

    /// The runs from here on are of this strategy.
    pub(crate) fn enter(&mut self, strategy: Strategy, about: &'static str) {
        let (before, since) = self.phase;
        let runs = self.results.runs.saturating_sub(since);
        if runs > 0 {
            *self.results.runs_by_strategy.entry(before).or_default() += runs;
        }
        self.phase = (strategy, self.results.runs);
        self.strategy = about;
    }

    /// What was really completed.
    pub(crate) fn guarantee(&mut self) -> &mut Guarantee {
        &mut self.results.guarantee
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_ALIKE, Schedulable, unlike};

    #[test]
    fn scripts_in_which_the_driver_does_the_same_count_a_few_times() {
        let one = |script, calls| Schedulable { calls, ..Schedulable::plain(script, 4, 2) };
        let mut all: Vec<Schedulable> = (0..10).map(|script| one(script, 7)).collect();
        all.push(one(10, 8));
        all.push(Schedulable { is_load: true, ..one(0, 7) });
        let kept: Vec<usize> = unlike(&all).iter().map(|one| one.script).collect();
        assert_eq!(kept, [0, 1, 10, 0]);
        assert_eq!(MOST_ALIKE, 2);
    }
}
