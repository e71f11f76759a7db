//! Batches: runs that do not depend on each other, carried out by several workers.
//!
//! Every worker has machines of its own. What the runs came to is judged on one thread in the order
//! of the list, so that nothing depends on how many workers there are or which of them is faster.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use choice_tape::Deviation;
use workloads::Script;

use crate::{
    Campaign, Target,
    confirm::RunId,
    deviations,
    machines::{self, Machines, Start},
    runner::{Conditions, RunResult},
};

/// A run to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The script.
    pub(crate) script: usize,
    /// How it deviates from the friendly answers.
    pub(crate) deviations: Vec<Deviation>,
}

/// Results that may wait to be judged: they hold all that is known of a run.
const MOST_WAITING: usize = 48;
/// Runs that begin with the same deviations of DriverEntry go to one worker, up to so many.
const MOST_TOGETHER: usize = 12;

type Outcome = Result<RunResult, String>;

impl Spec {
    pub(crate) fn friendly(script: usize) -> Self {
        Self { script, deviations: Vec::new() }
    }

    pub(crate) fn deviating(script: usize, deviation: Deviation) -> Self {
        Self { script, deviations: vec![deviation] }
    }
}

impl Campaign<'_> {
    /// Makes runs and judges them in this order. What `keep` makes of each comes back in the same
    /// order, or `None` where a bug of ours was noted; the list ends early when the budget does.
    pub(crate) fn explore_batch<T>(
        &mut self,
        runs: &[Spec],
        mut keep: impl FnMut(&Spec, RunResult) -> T,
    ) -> Vec<Option<T>> {
        let (runs, dropped) = runs.split_at(runs.len().min(self.runs_left()));
        self.dropped_runs += dropped.len();
        let mut kept = Vec::with_capacity(runs.len());
        let jobs = self.settings.jobs.min(runs.len());
        if jobs < 2 {
            for spec in runs {
                let Spec { script, deviations } = spec;
                self.tell(*script);
                if self.cut.is_some() {
                    break;
                }
                let outcome = self.run(*script, workloads::MarkSet::First, deviations);
                kept.push(self.judge_next(spec, outcome, &mut keep));
            }
            return kept;
        }
        let mut workers = std::mem::take(&mut self.workers);
        workers.resize_with(workers.len().max(jobs), Machines::default);
        let board = Board::new(units(runs));
        let common = Common {
            target: self.target,
            conditions: self.conditions.clone(),
            scripts: Arc::clone(&self.scripts),
            runs,
        };
        let (board, common) = (&board, &common);
        #[expect(
            clippy::disallowed_methods,
            reason = "whole runs are carried out beside each other; no run sees its thread"
        )]
        thread::scope(|scope| {
            let (to_judge, outcomes) = mpsc::channel();
            for machines in workers.iter_mut().take(jobs) {
                let to_judge = to_judge.clone();
                scope.spawn(move || work(board, common, machines, &to_judge));
            }
            drop(to_judge);
            // However judging ends, nobody waits for it any longer.
            let _closing = Closing(board);
            let mut early = BTreeMap::new();
            for (index, spec) in runs.iter().enumerate() {
                self.tell(spec.script);
                if self.cut.is_some() {
                    break;
                }
                let Some(outcome) = receive(index, &outcomes, &mut early) else { break };
                if let Ok(result) = &outcome {
                    self.tally.add_blocks(&result.blocks);
                    self.results.events = self.results.events.saturating_add(result.events);
                }
                kept.push(self.judge_next(spec, outcome, &mut keep));
                board.judged(index + 1);
            }
        });
        // What a machine reached in a run that was not judged must not be missed later.
        if self.cut.is_none() {
            self.workers = workers;
        }
        kept
    }

    fn judge_next<T>(
        &mut self,
        spec: &Spec,
        outcome: Outcome,
        keep: &mut impl FnMut(&Spec, RunResult) -> T,
    ) -> Option<T> {
        self.results.runs += 1;
        let met = outcome.as_ref().map(|result| deviations::met(&spec.deviations, result)).ok();
        let deviations = met.as_ref().unwrap_or(&spec.deviations);
        let id = RunId { script: Some(spec.script), deviations };
        let judged = outcome.and_then(|result| self.judge(&result, id).map(|()| result));
        match judged {
            Ok(result) => Some(keep(spec, result)),
            Err(message) => {
                self.internal_error(message, id);
                None
            }
        }
    }
}

/// What all workers look at.
struct Common<'a> {
    target: &'a Target,
    conditions: Conditions,
    scripts: Arc<Vec<Script>>,
    runs: &'a [Spec],
}

/// Parts of the list, each for one worker: loading a driver again costs more than a run.
fn units(runs: &[Spec]) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut last_load = Vec::new();
    for (index, spec) in runs.iter().enumerate() {
        let (load, _) = machines::part(&spec.deviations);
        match units.last_mut() {
            Some(unit) if !load.is_empty() && load == last_load && unit.len() < MOST_TOGETHER => {
                unit.end = index + 1;
            }
            _ => units.push(index..index + 1),
        }
        last_load = load;
    }
    units
}

fn work(
    board: &Board,
    common: &Common<'_>,
    machines: &mut Machines,
    to_judge: &mpsc::Sender<(usize, Outcome)>,
) {
    while let Some(unit) = board.take() {
        for index in unit {
            let Some(spec) = common.runs.get(index) else { return };
            let outcome = common.run(spec, machines);
            if to_judge.send((index, outcome)).is_err() {
                return;
            }
        }
    }
}

impl Common<'_> {
    fn run(&self, spec: &Spec, machines: &mut Machines) -> Outcome {
        let script = self.scripts.get(spec.script).ok_or("a script of the plan is missing")?;
        let (load, run) = machines::part(&spec.deviations);
        let start = Start { fill: self.conditions.fill, deviations: load };
        machines.run((self.target, &self.conditions), start, script, &run, None)
    }
}

/// The outcome of one run; others that come before it are put aside.
fn receive(
    index: usize,
    outcomes: &mpsc::Receiver<(usize, Outcome)>,
    early: &mut BTreeMap<usize, Outcome>,
) -> Option<Outcome> {
    loop {
        if let Some(outcome) = early.remove(&index) {
            return Some(outcome);
        }
        let (other, outcome) = outcomes.recv().ok()?;
        early.insert(other, outcome);
    }
}

/// Hands out the units in order, and none too far ahead of what is judged.
struct Board {
    units: Vec<Range<usize>>,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    next_unit: usize,
    judged: usize,
    is_closed: bool,
}

impl Board {
    fn new(units: Vec<Range<usize>>) -> Self {
        Self { units, state: Mutex::default(), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The numbers are whole at any time, even if somebody panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Range<usize>> {
        let mut state = self.state();
        let unit = self.units.get(state.next_unit)?.clone();
        state.next_unit += 1;
        while !state.is_closed && unit.start >= state.judged + MOST_WAITING {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.is_closed).then_some(unit)
    }

    fn judged(&self, count: usize) {
        self.state().judged = count;
        self.moved.notify_all();
    }
}

/// Closes the board when it goes.
struct Closing<'a>(&'a Board);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;

    use super::{MOST_TOGETHER, Spec, units};
    use crate::machines::of_load;

    #[test]
    fn runs_that_begin_alike_stay_together() {
        let deviation = Deviation { kind: 3, ordinal: 2, answer: 1 };
        let plain = Spec { script: 0, deviations: vec![deviation] };
        let load = Spec { script: 0, deviations: vec![of_load(deviation)] };
        let runs = [vec![plain.clone(), plain], vec![load; MOST_TOGETHER + 1]].concat();
        assert_eq!(units(&runs), [0..1, 1..2, 2..2 + MOST_TOGETHER, 14..15]);
        assert_eq!(units(&[]), []);
    }
}
