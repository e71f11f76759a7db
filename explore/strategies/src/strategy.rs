//! The strategies by name, and what a campaign may spend on them.

use std::{fmt, str::FromStr};

use workloads::Extent;

/// A way to choose runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// One run per script in which everything goes well. Always made: the others start from it.
    Friendly,
    /// One answer of the kernel differs, then several: a request fails, a page of the caller is
    /// gone.
    Failures,
    /// Two accesses that nothing orders are forced into the other order.
    Races,
    /// Whoever has waited longest takes the next step.
    LockStep,
    /// All schedules with one switch more than the fair one, then with two.
    Preempt,
    /// Random priorities that change at random moments.
    Pct,
    /// Random switches.
    Random,
    /// Another driver or process is there, one at a time; only in the strict profile.
    Neighbours,
}

impl Strategy {
    /// Every one, in the order in which they begin.
    pub const ALL: [Self; 8] = [
        Self::Friendly,
        Self::Failures,
        Self::Races,
        Self::LockStep,
        Self::Preempt,
        Self::Pct,
        Self::Random,
        Self::Neighbours,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Friendly => "friendly",
            Self::Failures => "failures",
            Self::Races => "races",
            Self::LockStep => "lockstep",
            Self::Preempt => "preempt",
            Self::Pct => "pct",
            Self::Random => "random",
            Self::Neighbours => "neighbours",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no strategy is called `{text}`; there are {names}")
        })
    }
}

/// What a campaign may spend on one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Runs, where nobody says how many.
    pub runs: u32,
    /// Events of all runs together.
    pub events: u64,
    /// Runs with several failures and other moves of the kernel at a time.
    pub move_sets: u32,
    /// Runs of the strategies that never end by themselves, and of bounded preemptions.
    pub schedule_runs: u32,
    /// Events of those.
    pub schedule_events: u64,
    /// Whether races are hunted.
    pub has_races: bool,
    /// How many scripts are tried.
    pub extent: Extent,
}

impl Budget {
    /// Friendly runs and single failures only.
    pub const QUICK: Self = Self {
        runs: 10_000,
        events: 2_000_000_000,
        move_sets: 0,
        schedule_runs: 0,
        schedule_events: 0,
        has_races: false,
        extent: Extent::Usual,
    };
    /// For every change: seconds.
    pub const DEFAULT: Self = Self {
        runs: 10_000,
        events: 2_000_000_000,
        move_sets: 128,
        schedule_runs: 1_000,
        schedule_events: 10_000_000,
        has_races: true,
        extent: Extent::Usual,
    };
    /// For a night.
    pub const DEEP: Self = Self {
        runs: 20_000,
        events: 2_000_000_000,
        move_sets: 4_000,
        schedule_runs: 20_000,
        schedule_events: 2_000_000_000,
        has_races: true,
        extent: Extent::Deep,
    };
}

#[cfg(test)]
mod tests {
    use super::Strategy;

    #[test]
    fn names_read_back() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let error = "nice".parse::<Strategy>().expect_err("there is none");
        assert!(error.contains("`nice`") && error.contains("friendly, failures"), "{error}");
    }
}
