//! Schedules in step: whoever has waited longest takes the next step.
//!
//! What several do alike, such as looking at something and acting on it later, or taking one thing
//! and then another, meets itself in such a schedule, however many there are. A step is a kernel
//! call, and in further runs also an instruction that touches what several lanes touch. Scripts in
//! which callers act at once come first; at the end they do so with moves of the kernel, such as a
//! failing request of each of them.

use choice_tape::Deviation;
use events::{FREE_INSTRUCTION, LOCK_STEP};
use system::Command;
use workloads::{MarkSet, Script};

use crate::{
    Campaign, Strategy,
    batch::Spec,
    portfolio::{Schedulable, Source},
    runner::Watch,
};

/// Scripts per proposal.
const BATCH: usize = 4;
/// Seeds per script: who comes first, and on which processors calls begin.
const SEEDS: [u32; 3] = [1, 2, 3];
/// Instructions that are free per script; a tape sets no more.
const MOST_INSTRUCTIONS: usize = 60;

/// Instructions of a script at which somebody else may go on, and its free moments with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FreeInstructions {
    pub(crate) deviations: Vec<Deviation>,
    pub(crate) steps: u32,
}

/// Where the strategy is.
#[derive(Debug)]
pub(crate) struct LockStep {
    scripts: Vec<Schedulable>,
    next: usize,
    proposed: usize,
}

impl LockStep {
    pub(crate) fn new(plain: &[Schedulable], with_moves: &[Schedulable], all: &[Script]) -> Self {
        let is_together = |one: &&Schedulable| {
            let script = all.get(one.script);
            script.is_some_and(|s| s.commands.iter().any(|c| matches!(c, Command::Together(_))))
        };
        let (together, others): (Vec<&Schedulable>, Vec<&Schedulable>) =
            plain.iter().partition(is_together);
        // Where nobody acts at once, a move changes little about the steps.
        let with_moves = with_moves.iter().filter(|one| is_together(one) && !one.is_load);
        let scripts = together.into_iter().chain(others).chain(with_moves).cloned().collect();
        Self { scripts, next: 0, proposed: 0 }
    }
}

fn in_step(seed: u32) -> Deviation {
    Deviation { kind: LOCK_STEP.number, ordinal: 0, answer: seed }
}

/// Instructions as free moments.
fn as_free(touching: Vec<u32>) -> Vec<Deviation> {
    let kind = FREE_INSTRUCTION.number;
    touching.into_iter().map(|ordinal| Deviation { kind, ordinal, answer: 1 }).collect()
}

impl Source for LockStep {
    fn strategy(&self) -> Strategy {
        Strategy::LockStep
    }

    fn about(&self) -> &'static str {
        "schedules in step"
    }

    fn propose(&mut self, campaign: &mut Campaign<'_>) -> Result<Vec<Spec>, (usize, String)> {
        let mut list = Vec::new();
        let end = (self.next + BATCH).min(self.scripts.len());
        for index in std::mem::replace(&mut self.next, end)..end {
            let Some(one) = self.scripts.get(index) else { continue };
            list.push(one.run(&[in_step(1)]));
            // What a driver touches on the way of a failure, no plain run shows.
            let free = match one.given.is_empty() {
                true => campaign.free_instructions(one).map(|free| free.deviations),
                false => campaign.touching(&one.run(&[])).map(as_free),
            };
            let free = free.map_err(|message| (one.script, message))?;
            if free.is_empty() {
                continue;
            }
            let seeds = if one.given.is_empty() { &SEEDS[..] } else { &SEEDS[..1] };
            let run = |seed: &u32| one.run(&[free.as_slice(), &[in_step(*seed)]].concat());
            list.extend(seeds.iter().map(run));
        }
        self.proposed = list.len();
        Ok(list)
    }

    fn carried_out(&mut self, campaign: &mut Campaign<'_>) {
        let runs = &mut campaign.guarantee().lock_step_runs;
        *runs = runs.saturating_add(u32::try_from(self.proposed).unwrap_or(0));
    }
}

impl Campaign<'_> {
    /// Instructions of a run that touch what several lanes touch and one of them writes, as
    /// offsets in the image.
    pub(crate) fn touching(&mut self, run: &Spec) -> Result<Vec<u32>, String> {
        let Spec { script, deviations } = run;
        let key = (*script, deviations.clone());
        if let Some(known) = self.touching.get(&key) {
            return Ok(known.clone());
        }
        let mut watch = Watch::default();
        self.results.runs += 1;
        let first = self.run_watched(*script, MarkSet::First, deviations, Some(&watch))?;
        let mut found = Vec::new();
        if !first.watched.pages.is_empty() {
            watch.pages.clone_from(&first.watched.pages);
            self.results.runs += 1;
            let second = self.run_watched(*script, MarkSet::First, deviations, Some(&watch))?;
            let touching = second.watched.touching.iter().filter_map(|&ip| self.rva_of(ip));
            found = touching.take(MOST_INSTRUCTIONS).collect();
        }
        self.touching.insert(key, found.clone());
        Ok(found)
    }

    /// The same as free moments, and how many free moments the friendly run has with them. None for
    /// DriverEntry, whose machine is made before anything is known.
    pub(crate) fn free_instructions(
        &mut self,
        one: &Schedulable,
    ) -> Result<FreeInstructions, String> {
        if one.is_load || !one.given.is_empty() {
            return Ok(FreeInstructions::default());
        }
        let script = one.script;
        if let Some(known) = self.free_instructions.get(&script) {
            return Ok(known.clone());
        }
        let deviations = as_free(self.touching(&Spec::friendly(script))?);
        let mut steps = 0;
        if !deviations.is_empty() {
            self.results.runs += 1;
            steps = self.run(script, MarkSet::First, &deviations)?.moments.count();
        }
        let found = FreeInstructions { deviations, steps };
        self.free_instructions.insert(script, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::POOL_FAILURE;
    use system::{Command, FileRef};
    use workloads::Script;

    use super::LockStep;
    use crate::portfolio::Schedulable;

    #[test]
    fn callers_at_once_come_first_and_at_the_end_with_moves() {
        let cancel = Command::Cancel { file: FileRef(1) };
        let script = |commands: Vec<Command>| Script { about: String::new(), family: "", commands };
        let together = Command::Together(vec![cancel.clone(), cancel.clone()]);
        let all = [script(vec![cancel.clone()]), script(vec![cancel, together])];
        let plain = [0, 1].map(|number| Schedulable::plain(number, 4, 2));
        let given = vec![Deviation { kind: POOL_FAILURE.number, ordinal: 0, answer: 1 }];
        let moves = [0, 1]
            .map(|number| Schedulable { given: given.clone(), ..Schedulable::plain(number, 4, 2) });
        let order: Vec<(usize, usize)> = LockStep::new(&plain, &moves, &all)
            .scripts
            .iter()
            .map(|one| (one.script, one.given.len()))
            .collect();
        assert_eq!(order, [(1, 0), (0, 0), (1, 1)]);
    }
}
