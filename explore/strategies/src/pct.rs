//! Probabilistic concurrency testing: runs by random priorities, of depth 1 to 3.
//!
//! The number of steps is that of the friendly run. Each round makes one run per script; the depth
//! goes round, so that every script is tried with every depth. In every other turn of the depths
//! the instructions that touch what several lanes touch are steps, too.

use events::priority_schedule;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    given::Turns,
    guarantee::bound,
    lock_step::FreeInstructions,
    portfolio::{Schedulable, Source},
};

/// Greatest depth tried. Nearly all ordering bugs have depth 1 or 2; each more costs a factor of
/// the number of steps.
const MOST_DEPTH: u32 = 3;
/// Runs proposed at a time: of plain scripts, and of scripts in which a request fails.
const BATCH: (usize, usize) = (8, 4);
/// Expected meetings after which a script has had enough of a depth: all but one in a thousand bugs
/// of it are met by then.
const ENOUGH: f64 = 7.0;

/// A run, and its depth if its steps are those of the bound.
type Round = (Spec, Option<u32>);

/// Rounds over a list of scripts.
#[derive(Debug)]
struct Rounds {
    scripts: Vec<Schedulable>,
    next: usize,
    round: u32,
}

impl Rounds {
    fn new(scripts: &[Schedulable]) -> Self {
        Self { scripts: scripts.to_vec(), next: 0, round: 0 }
    }

    /// The next runs with their depths, those with finer steps without; fewer where the scripts
    /// have had enough.
    fn take(
        &mut self,
        most: usize,
        mut finer: impl FnMut(&Schedulable) -> Result<FreeInstructions, String>,
    ) -> Result<Vec<Round>, (usize, String)> {
        let mut list = Vec::new();
        let mut passed_over = 0;
        while list.len() < most && passed_over <= self.scripts.len() * MOST_DEPTH as usize {
            let Some(one) = self.scripts.get(self.next) else { return Ok(list) };
            // The scripts do not all begin with the same depth: a small budget tries each.
            let turn = self.round.wrapping_add(u32::try_from(self.next).unwrap_or(0));
            let depth = 1 + turn % MOST_DEPTH;
            let rounds = self.round / MOST_DEPTH;
            let is_finer = rounds % 2 == 1;
            let finer = match is_finer {
                true => finer(one).map_err(|message| (one.script, message))?,
                false => FreeInstructions::default(),
            };
            let steps = one.steps.max(finer.steps);
            if f64::from(rounds / 2) * bound(depth, one.lanes, steps) < ENOUGH {
                let mut deviations = finer.deviations;
                deviations.push(priority_schedule(self.round + 1, depth, steps));
                list.push((one.run(&deviations), (!is_finer).then_some(depth)));
                passed_over = 0;
            } else {
                passed_over += 1;
            }
            self.next += 1;
            if self.next == self.scripts.len() {
                (self.next, self.round) = (0, self.round.saturating_add(1));
            }
        }
        Ok(list)
    }
}

/// Where the strategy is.
#[derive(Debug)]
pub(crate) struct Pct {
    plain: Rounds,
    with_moves: Turns<Rounds>,
    /// The depths of the latest proposal of plain scripts.
    proposed: Vec<u32>,
}

impl Pct {
    pub(crate) fn new(plain: &[Schedulable], with_moves: &[Vec<Schedulable>]) -> Self {
        let with_moves = Turns::new(with_moves.iter().map(|scripts| Rounds::new(scripts)));
        Self { plain: Rounds::new(plain), with_moves, proposed: Vec::new() }
    }
}

impl Source for Pct {
    fn strategy(&self) -> Strategy {
        Strategy::Pct
    }

    fn about(&self) -> &'static str {
        "schedules by priority"
    }

    fn propose(&mut self, campaign: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        let mut finer = |one: &Schedulable| campaign.free_instructions(one);
        let plain = self.plain.take(BATCH.0, &mut finer)?;
        self.proposed = plain.iter().filter_map(|(_, depth)| *depth).collect();
        // Once the plain ones have had enough, theirs are free.
        let left = BATCH.0 + BATCH.1 - plain.len();
        let mut failed = None;
        let with_moves = self.with_moves.take(left, |rounds| match rounds.take(1, &mut finer) {
            Ok(mut list) => list.pop(),
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(plain.into_iter().chain(with_moves).map(|(spec, _)| spec).collect())
    }

    fn carried_out(&mut self, campaign: &mut Campaign<'_>) {
        let scripts = &self.plain.scripts;
        let lanes = scripts.iter().map(|one| one.lanes).max().unwrap_or(1);
        let steps = scripts.iter().map(|one| one.steps).max().unwrap_or(1);
        let guarantee = campaign.guarantee();
        for &depth in &self.proposed {
            guarantee.note_pct(depth, lanes, steps);
        }
        // A script has been tried with every depth after so many rounds.
        if self.plain.round >= MOST_DEPTH {
            guarantee.note_pct_of_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MOST_DEPTH, Rounds};
    use crate::{lock_step::FreeInstructions, portfolio::Schedulable};

    #[test]
    fn every_script_is_tried_with_every_depth_and_has_enough_some_time() {
        let scripts = [3, 5].map(|script| Schedulable::plain(script, 4, 2));
        let mut rounds = Rounds::new(&scripts);
        let mut take =
            |most| rounds.take(most, |_| Ok(FreeInstructions::default())).expect("no run");
        let first = take(2 * MOST_DEPTH as usize);
        let tried: BTreeSet<(usize, Option<u32>)> =
            first.iter().map(|(spec, depth)| (spec.script, *depth)).collect();
        assert_eq!(tried.len(), 6);
        let all = std::iter::from_fn(|| Some(take(100)).filter(|list| !list.is_empty()));
        // 7 times 2 * 4^2 runs of depth 3, and fewer of the others, for each of the two, and as
        // many with finer steps.
        let runs = all.flatten().count();
        assert!((896..1400).contains(&runs), "{runs}");
        assert!(rounds.round > MOST_DEPTH);
    }
}
