//! Probabilistic concurrency testing: runs by random priorities, of depth 1 to 3.
//!
//! The number of steps is that of the friendly run. Each round makes one run per script; the depth
//! goes round, so that every script is tried with every depth.

use events::priority_schedule;

use crate::{
    Campaign, Strategy,
    batch::Spec,
    guarantee::bound,
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

    /// The next runs with their depths; fewer where the scripts have had enough.
    fn take(&mut self, most: usize) -> Vec<(Spec, u32)> {
        let mut list = Vec::new();
        let mut passed_over = 0;
        while list.len() < most && passed_over <= self.scripts.len() * MOST_DEPTH as usize {
            let Some(one) = self.scripts.get(self.next) else { return list };
            // The scripts do not all begin with the same depth: a small budget tries each.
            let turn = self.round.wrapping_add(u32::try_from(self.next).unwrap_or(0));
            let depth = 1 + turn % MOST_DEPTH;
            let rounds = f64::from(self.round / MOST_DEPTH);
            if rounds * bound(depth, one.lanes, one.steps) < ENOUGH {
                let schedule = priority_schedule(self.round + 1, depth, one.steps);
                list.push((one.run(&[schedule]), depth));
                passed_over = 0;
            } else {
                passed_over += 1;
            }
            self.next += 1;
            if self.next == self.scripts.len() {
                (self.next, self.round) = (0, self.round.saturating_add(1));
            }
        }
        list
    }
}

/// Where the strategy is.
#[derive(Debug)]
pub(crate) struct Pct {
    plain: Rounds,
    with_moves: Rounds,
    /// The depths of the latest proposal of plain scripts.
    proposed: Vec<u32>,
}

impl Pct {
    pub(crate) fn new(plain: &[Schedulable], with_moves: &[Schedulable]) -> Self {
        let (plain, with_moves) = (Rounds::new(plain), Rounds::new(with_moves));
        Self { plain, with_moves, proposed: Vec::new() }
    }
}

impl Source for Pct {
    fn strategy(&self) -> Strategy {
        Strategy::Pct
    }

    fn about(&self) -> &'static str {
        "schedules by priority"
    }

    fn propose(&mut self, _: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        let plain = self.plain.take(BATCH.0);
        self.proposed = plain.iter().map(|(_, depth)| *depth).collect();
        let with_moves = self.with_moves.take(BATCH.1);
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
    use crate::portfolio::Schedulable;

    #[test]
    fn every_script_is_tried_with_every_depth_and_has_enough_some_time() {
        let scripts = [3, 5].map(|script| Schedulable::plain(script, 4, 2));
        let mut rounds = Rounds::new(&scripts);
        let first = rounds.take(2 * MOST_DEPTH as usize);
        let tried: BTreeSet<(usize, u32)> =
            first.iter().map(|(spec, depth)| (spec.script, *depth)).collect();
        assert_eq!(tried.len(), 6);
        assert_eq!(rounds.round, MOST_DEPTH);
        let all = std::iter::from_fn(|| Some(rounds.take(100)).filter(|list| !list.is_empty()));
        // 7 times 2 * 4^2 runs of depth 3, and fewer of the others, for each of the two.
        let runs = all.flatten().count();
        assert!((448..700).contains(&runs), "{runs}");
    }
}
