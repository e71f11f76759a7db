//! Random schedules: a switch at any moment, by chance. Better than priorities for short windows.

use choice_tape::Deviation;
use events::RANDOM_SCHEDULE;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    given::Turns,
    portfolio::{Schedulable, Source},
};

/// Runs proposed at a time: of plain scripts, and of scripts that come with a move.
const BATCH: (usize, usize) = (4, 2);
/// Runs per free moment of a script, after which it has had enough.
const RUNS_PER_STEP: u32 = 50;

/// Rounds over a list of scripts, one seed each.
#[derive(Debug)]
struct Rounds {
    scripts: Vec<Schedulable>,
    next: usize,
    seed: u32,
}

impl Rounds {
    fn new(scripts: &[Schedulable]) -> Self {
        Self { scripts: scripts.to_vec(), next: 0, seed: 1 }
    }

    /// The next runs; fewer where the scripts have had enough.
    fn take(&mut self, most: usize) -> Vec<Spec> {
        let mut list = Vec::new();
        let mut passed_over = 0;
        while list.len() < most && passed_over <= self.scripts.len() {
            let Some(one) = self.scripts.get(self.next) else { return list };
            if self.seed <= one.steps.saturating_mul(RUNS_PER_STEP) {
                let kind = RANDOM_SCHEDULE.number;
                list.push(one.run(&[Deviation { kind, ordinal: 0, answer: self.seed }]));
                passed_over = 0;
            } else {
                passed_over += 1;
            }
            self.next += 1;
            if self.next == self.scripts.len() {
                (self.next, self.seed) = (0, self.seed.saturating_add(1));
            }
        }
        list
    }
}

/// Where the strategy is.
#[derive(Debug)]
pub(crate) struct RandomRuns {
    plain: Rounds,
    with_moves: Turns<Rounds>,
    proposed: usize,
}

impl RandomRuns {
    pub(crate) fn new(plain: &[Schedulable], with_moves: &[Vec<Schedulable>]) -> Self {
        let with_moves = Turns::new(with_moves.iter().map(|scripts| Rounds::new(scripts)));
        Self { plain: Rounds::new(plain), with_moves, proposed: 0 }
    }
}

impl Source for RandomRuns {
    fn strategy(&self) -> Strategy {
        Strategy::Random
    }

    fn about(&self) -> &'static str {
        "random schedules"
    }

    fn propose(&mut self, _: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        let mut list = self.plain.take(BATCH.0);
        let left = BATCH.0 + BATCH.1 - list.len();
        list.extend(self.with_moves.take(left, |rounds| rounds.take(1).pop()));
        self.proposed = list.len();
        Ok(list)
    }

    fn carried_out(&mut self, campaign: &mut Campaign<'_>) {
        let runs = &mut campaign.guarantee().random_runs;
        *runs = runs.saturating_add(u32::try_from(self.proposed).unwrap_or(0));
    }
}
