//! What a campaign is to do.

use std::{fmt, sync::Arc};

use system::Tier;
use verifier::Rule;
use workloads::Script;

use crate::{Budget, Profile, ReplayToken, Strategy};

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides what undefined memory holds and, unless 0, who runs when.
    pub seed: u64,
    /// Processors of the machine.
    pub processors: u8,
    /// Threads that carry out runs; what is found does not depend on it.
    pub jobs: usize,
    /// Bound on the number of runs.
    pub runs: u32,
    /// Runs that are made to make a finding smaller; 0: it stays as it was found.
    pub shrink_runs: u32,
    /// What schedules and all runs together may cost.
    pub budget: Budget,
    /// The strategies that are tried; empty: all.
    pub strategies: Vec<Strategy>,
    /// Bound on the event clock of each.
    pub limit_events: u64,
    /// Go on after a violation.
    pub keep_going: bool,
    /// Rules that are not judged.
    pub without: Vec<&'static Rule>,
    /// Moves that are not made: names of kinds of choice and of families of scripts.
    pub without_moves: Vec<String>,
    /// What callers do.
    pub plan: Plan,
    /// Which neighbours are tried.
    pub profile: Profile,
    /// The engine; what is found does not depend on it.
    pub tier: Tier,
    /// Hears of each run of the thread that judges.
    pub on_run: Option<OnRun>,
}

/// Hears which run is made next, by the token that names it: for somebody who must say so if the
/// process does not survive it.
#[derive(Clone)]
pub struct OnRun(Arc<dyn Fn(&ReplayToken) + Send + Sync>);

impl OnRun {
    /// Calls this before each run.
    pub fn new(hear: impl Fn(&ReplayToken) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn tell(&self, token: &ReplayToken) {
        (self.0)(token);
    }
}

impl fmt::Debug for OnRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRun")
    }
}

/// What callers do, run by run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Whatever the driver exposes is exercised.
    Automatic,
    /// These scripts.
    Given(Vec<Script>),
}
