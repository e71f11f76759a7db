//! What the runs of a campaign prove, as far as it was really completed.

use verifier::counted;

/// What was reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarantee {
    /// Runs with two moves of the kernel.
    pub move_pairs: u32,
    /// Whether those were all: each place behind each move.
    pub has_all_move_pairs: bool,
    /// Runs with more moves.
    pub larger_move_sets: u32,
    /// Free moments at which every possible switch was tried, once all were.
    pub one_preemption: Option<usize>,
    /// Runs with one switch.
    pub first_preemptions: u32,
    /// Runs with one or two switches beside moves of the kernel.
    pub preemptions_with_moves: u32,
    /// Runs with two switches.
    pub second_preemptions: u32,
    /// Whether those were all.
    pub has_all_pairs: bool,
    /// Scripts that were scheduled, and those there are.
    pub scripts: (usize, usize),
    /// Runs by priority, by depth from 1: how many, and the least probability per run.
    pub pct: Vec<(u32, f64)>,
    /// Whether every script was tried with every depth.
    pub has_pct_of_all: bool,
    /// Random runs.
    pub random_runs: u32,
    /// Runs in step.
    pub lock_step_runs: u32,
}

impl Guarantee {
    /// Takes note of a run by priority among so many lanes and steps.
    pub(crate) fn note_pct(&mut self, depth: u32, lanes: u32, steps: u32) {
        let place = depth.saturating_sub(1) as usize;
        while self.pct.len() <= place {
            self.pct.push((0, 1.0));
        }
        let bound = bound(depth, lanes, steps);
        if let Some((runs, least)) = self.pct.get_mut(place) {
            *runs += 1;
            *least = least.min(bound);
        }
    }

    /// Takes note that every script was tried with every depth.
    pub(crate) fn note_pct_of_all(&mut self) {
        self.has_pct_of_all = true;
    }

    /// In words; `None` if no schedule but the fair one was tried and none could be.
    pub fn in_words(&self) -> Option<String> {
        let (scheduled, all) = self.scripts;
        let beside_moves = self.preemptions_with_moves;
        if scheduled == 0 && beside_moves == 0 && self.random_runs == 0 {
            let one = "nothing of the driver ran beside anything else: there is one schedule";
            let parts: Vec<String> =
                [Some(one.to_owned()), self.moves_in_words()].into_iter().flatten().collect();
            return (all > 0).then(|| parts.join("; "));
        }
        let at = |points: usize| counted(points as u64, "point");
        let mut parts = Vec::new();
        parts.push(match self.one_preemption {
            Some(points) if self.has_all_pairs => {
                format!("all schedules with at most 2 preemptions, the first at {}", at(points))
            }
            Some(points) if self.second_preemptions > 0 => format!(
                "all schedules with at most 1 preemption at {}, {} with 2",
                at(points),
                self.second_preemptions
            ),
            Some(points) => format!("all schedules with at most 1 preemption at {}", at(points)),
            None if self.first_preemptions > 0 => {
                format!("the fair schedule, {} with 1 preemption", self.first_preemptions)
            }
            None => "the fair schedule".to_owned(),
        });
        // A bound holds only if no script was left out.
        for (depth, &(runs, least)) in (1..).zip(&self.pct).filter(|_| self.has_pct_of_all) {
            if runs > 0 {
                let bound = probability(least);
                let runs = counted(runs, "run");
                parts.push(format!("PCT depth {depth}, p >= {bound} per run, {runs}"));
            }
        }
        if self.random_runs > 0 {
            parts.push(counted(self.random_runs, "random schedule"));
        }
        if self.lock_step_runs > 0 {
            parts.push(counted(self.lock_step_runs, "schedule") + " in step");
        }
        if beside_moves > 0 {
            parts.push(counted(beside_moves, "schedule") + " with moves and 1 or 2 preemptions");
        }
        parts.extend(self.moves_in_words());
        parts.push("sequentially consistent, store buffers not explored".to_owned());
        let (scripts, verb) =
            (counted(all as u64, "script"), if scheduled == 1 { "has" } else { "have" });
        Some(format!("{} ({scheduled} of {scripts} {verb} a choice)", parts.join("; ")))
    }
}

impl Guarantee {
    /// Runs with several moves; `None` if there were none.
    fn moves_in_words(&self) -> Option<String> {
        let pairs = (self.move_pairs > 0).then(|| match self.has_all_move_pairs {
            true => format!("all {} of moves", counted(self.move_pairs, "pair")),
            false => format!("{} of moves", counted(self.move_pairs, "pair")),
        });
        let larger = self.larger_move_sets;
        let larger = (larger > 0).then(|| format!("{} of moves", counted(larger, "larger set")));
        let parts: Vec<String> = [pairs, larger].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

/// The least probability with which a run by priority meets a bug of this depth.
pub(crate) fn bound(depth: u32, lanes: u32, steps: u32) -> f64 {
    let changes = i32::try_from(depth.saturating_sub(1)).unwrap_or(0);
    1.0 / (f64::from(lanes.max(1)) * f64::from(steps.max(1)).powi(changes))
}

/// Two digits that count.
fn probability(p: f64) -> String {
    let zeros = (1..12).find(|&digits| p * 10f64.powi(digits) >= 1.0).unwrap_or(12);
    let digits = usize::try_from(zeros + 1).unwrap_or(2);
    // Rounded down: the bound must hold.
    let scale = 10f64.powi(zeros + 1);
    format!("{:.digits$}", (p * scale).floor() / scale)
}

#[cfg(test)]
mod tests {
    use super::{Guarantee, probability};

    #[test]
    fn bounds_are_rounded_down() {
        let cases = [(1.0, "1.00"), (0.5, "0.50"), (1.0 / 3.0, "0.33"), (0.002_19, "0.0021")];
        for (p, text) in cases {
            assert_eq!(probability(p), text);
        }
    }

    #[test]
    fn only_what_was_completed_is_said() {
        let mut reached = Guarantee { scripts: (3, 9), ..Guarantee::default() };
        let said = |g: &Guarantee| g.in_words().unwrap_or_default();
        assert!(said(&reached).starts_with("the fair schedule; sequentially"), "{reached:?}");
        reached.note_pct(2, 3, 100);
        assert!(!said(&reached).contains("PCT"), "some scripts were left out");
        reached.note_pct_of_all();
        assert!(said(&reached).contains("PCT depth 2, p >= 0.0033 per run, 1 run;"));
        reached.one_preemption = Some(214);
        assert!(
            said(&reached).starts_with("all schedules with at most 1 preemption at 214 points")
        );
        assert_eq!(Guarantee::default().in_words(), None);
        let mut reached = Guarantee { scripts: (0, 9), move_pairs: 31, ..Guarantee::default() };
        assert!(said(&reached).ends_with("there is one schedule; 31 pairs of moves"));
        reached.has_all_move_pairs = true;
        reached.larger_move_sets = 12;
        assert!(said(&reached).ends_with("; all 31 pairs of moves and 12 larger sets of moves"));
    }
}
