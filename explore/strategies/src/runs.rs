//! The runs of a campaign, one at a time.

use choice_tape::Deviation;
use workloads::MarkSet;

use crate::{
    Campaign,
    confirm::RunId,
    machines::{self, Start},
    runner::{RunResult, Watch},
};

impl Campaign<'_> {
    /// A run that counts, judged.
    pub(crate) fn explore_run(
        &mut self,
        script: usize,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        self.tell(script);
        self.results.runs += 1;
        let result = self.run(script, MarkSet::First, deviations)?;
        self.judge(&result, RunId { script: Some(script), deviations })?;
        Ok(result)
    }

    /// A run. `Err`: it panicked, which is our bug.
    pub(crate) fn run(
        &mut self,
        script: usize,
        marks: MarkSet,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        self.run_watched(script, marks, deviations, None)
    }

    /// A run that watches who touches which memory.
    pub(crate) fn run_watched(
        &mut self,
        script: usize,
        marks: MarkSet,
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Result<RunResult, String> {
        let (load, run) = machines::part(deviations);
        let start = self.start_of(&load);
        self.run_on(start, (script, marks), &run, watch)
    }

    /// A run with other bytes in undefined memory.
    pub(crate) fn run_filled(
        &mut self,
        script: usize,
        fill: u8,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        let (load, run) = machines::part(deviations);
        let start = Start { fill, deviations: load };
        self.run_on(start, (script, MarkSet::First), &run, None)
    }

    pub(crate) fn start_of(&self, deviations: &[Deviation]) -> Start {
        Start { fill: self.conditions.fill, deviations: deviations.to_vec() }
    }

    /// Says which run comes next: what its DriverEntry and what comes after it deviates by.
    pub(crate) fn announce(&self, script: Option<usize>, load: &[Deviation], run: &[Deviation]) {
        if self.settings.on_run.is_none() {
            return;
        }
        let load = load.iter().copied().map(machines::of_load);
        let deviations: Vec<Deviation> = load.chain(run.iter().copied()).collect();
        self.announce_without(RunId { script, deviations: &deviations }, &[]);
    }

    /// The same, for a run without some of the requests of its script.
    pub(crate) fn announce_without(&self, id: RunId<'_>, dropped: &[u32]) {
        let Some(on_run) = &self.settings.on_run else { return };
        let mut token = self.token(id);
        token.dropped.extend(dropped);
        on_run.tell(&token);
    }

    fn run_on(
        &mut self,
        start: Start,
        (script, marks): (usize, MarkSet),
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Result<RunResult, String> {
        let scripts = match marks {
            MarkSet::First => &self.scripts,
            MarkSet::Second => &self.other_scripts,
        };
        self.announce(Some(script), &start.deviations, deviations);
        let script = scripts.get(script).ok_or("a script of the plan is missing")?;
        let common = (self.target, &self.conditions);
        let result = self.machines.run(common, start, script, deviations, watch)?;
        self.tally.add_blocks(&result.blocks);
        self.results.events = self.results.events.saturating_add(result.events);
        Ok(result)
    }
}
