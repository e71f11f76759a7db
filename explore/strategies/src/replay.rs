//! Makes the run again that a token names.

use choice_tape::Deviation;
use events::{SWITCH_POINT, USER_BYTES_CHANGE};
use sha2::{Digest as _, Sha256};
use workloads::{Extent, Script};

use crate::{Campaign, Plan, ReplayToken, Results, confirm::RunId};

/// Why a token cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It belongs to another file.
    #[error(
        "the token was made for another image: expected {expected:08x}, this file is {found:08x}"
    )]
    OtherImage {
        /// The image the token names.
        expected: u32,
        /// This one.
        found: u32,
    },
    /// The workload has no such run.
    #[error("the token names run {script}, but this driver has {count} runs")]
    NoSuchRun {
        /// What it names.
        script: u32,
        /// How many there are.
        count: usize,
    },
    /// The run has no such requests.
    #[error("the token leaves out requests that its run does not have")]
    NoSuchRequest,
    /// It was made for other requests.
    #[error("the token was made for another scenario, or for none")]
    OtherScenario,
}

impl Campaign<'_> {
    /// Makes the run that a token names.
    pub fn replay(mut self, token: &ReplayToken) -> Result<Results, ReplayError> {
        // What a token names is shown as it is.
        self.settings.shrink_runs = 0;
        // A token may name a script of any budget.
        self.settings.budget.extent = Extent::Deep;
        let (expected, found) = (token.image, self.target.image_mark());
        if expected != found {
            return Err(ReplayError::OtherImage { expected, found });
        }
        if self.prepare() {
            let count = self.planned_scripts;
            let mut numbers = (0..count).map(|index| self.script_number(index));
            let Some(script) = numbers.position(|number| number == token.script) else {
                return Err(match self.settings.plan {
                    Plan::Automatic => ReplayError::NoSuchRun { script: token.script, count },
                    Plan::Given(_) => ReplayError::OtherScenario,
                });
            };
            let script = match token.dropped.as_slice() {
                [] => Some(script),
                dropped => self.add_reduced(script, dropped),
            };
            let script = script.ok_or(ReplayError::NoSuchRequest)?;
            if let Err(message) = self.replay_script(script, &token.deviations) {
                let id = RunId { script: Some(script), deviations: &token.deviations };
                self.internal_error(message, id);
            }
        }
        Ok(self.finish())
    }

    /// The number that names a script in a token: its place in the plan, or for a script that was
    /// given a digest of what it does.
    pub(crate) fn script_number(&self, index: usize) -> u32 {
        match (&self.settings.plan, self.scripts.get(index)) {
            (Plan::Given(_), Some(script)) => script_mark(script),
            _ => u32::try_from(index).unwrap_or(u32::MAX),
        }
    }

    fn replay_script(&mut self, script: usize, deviations: &[Deviation]) -> Result<(), String> {
        if deviations.iter().any(|d| d.kind == SWITCH_POINT.number) {
            self.hunt_races(script, Some(deviations))?;
            // A switch that belongs to no race is one of bounded preemptions.
            if !self.results.findings.is_empty() {
                return Ok(());
            }
        }
        let is_change = |d: &&Deviation| d.kind == USER_BYTES_CHANGE.number;
        match deviations.iter().find(is_change) {
            // A change between two fetches is judged by comparison with the run without it.
            Some(change) => {
                let base = self.explore_run(script, &[])?;
                self.hunt_double_fetches(script, &base, Some(*change))
            }
            None => self.explore_run(script, deviations).map(drop),
        }
    }
}

/// The first bits of a hash of what a script does.
fn script_mark(script: &Script) -> u32 {
    let hash = Sha256::digest(format!("{:?}", script.commands));
    let hash: [u8; 32] = hash.into();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d])
}
