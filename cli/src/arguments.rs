//! What can be typed.

use std::path::PathBuf;

use bugcheck::Severity;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs Windows x64 kernel drivers (.sys) without Windows and names the rules they break.
///
/// Start with `bugcheck check mydriver.sys`. Nothing else is needed: the driver's devices, control
/// codes and buffer lengths are found out, and a PDB beside it gives source lines.
///
/// Exit codes: 0 clean, 1 findings, 2 wrong usage or input, 3 something is not modelled, 4 a limit
/// was reached, 70 a bug of bugcheck.
#[derive(Debug, Parser)]
#[command(name = "bugcheck", version)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Load, exercise and unload drivers, and report the rules they break.
    Check(CheckArguments),
    /// Run a driver once, friendly, and show what it prints.
    Run {
        /// The driver.
        file: PathBuf,
        /// Also show one line per IRP, IRQL change and wait.
        #[arg(long)]
        events: bool,
        /// Bound on the events of the run.
        #[arg(long, value_name = "N", default_value_t = bugcheck::DEFAULT_LIMIT_EVENTS)]
        limit_events: u64,
    },
    /// Make the run of a finding again.
    Replay {
        /// The token printed with the finding, or a file that `check --save-replays` wrote.
        #[arg(value_name = "TOKEN|FILE")]
        token: String,
        /// The driver it was printed for.
        file: PathBuf,
        /// How to judge and show it.
        #[command(flatten)]
        check: Options,
    },
    /// Explain a rule: what it checks, why Windows cares, a bad and a good driver.
    Explain {
        /// Its id, such as `pool::double_free`.
        rule: String,
    },
    /// List all rules.
    Rules,
    /// Show what a driver's file states: imports, devices, control codes. Runs nothing.
    Inspect {
        /// The driver.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Drivers, or folders with drivers (`*.sys`, not their subfolders).
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub(crate) files: Vec<PathBuf>,
    /// Stop after so many seconds, with what was found until then (exit code 4).
    #[arg(long = "timeout", value_name = "S")]
    pub(crate) timeout_s: Option<u64>,
    /// Write a file for each finding to this folder, for `replay`.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) save_replays: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How to show the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Decides the free answers that are not explored: what undefined memory holds and, unless 0,
    /// who runs when.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Processors of the machine.
    #[arg(long, value_name = "N", default_value_t = bugcheck::DEFAULT_PROCESSORS,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(bugcheck::MAX_PROCESSORS)))]
    pub(crate) processors: u8,
    /// Which neighbours of the driver are tried.
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    pub(crate) profile: Profile,
    /// What callers do, as a script, instead of everything that the driver exposes (one driver).
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// What may be spent per driver on other schedules and other answers.
    #[arg(long, value_enum, default_value_t = Budget::Default)]
    pub(crate) budget: Budget,
    /// Try only this strategy (friendly, failures, races, preempt, pct, random); may be repeated.
    /// One friendly run per script is made in any case.
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Vec<bugcheck::Strategy>,
    /// Runs spent on schedules (preempt, pct, random) per driver, instead of those of the budget.
    #[arg(long, value_name = "N")]
    pub(crate) schedule_runs: Option<u32>,
    /// Bound on the runs per driver, instead of that of the budget.
    #[arg(long, value_name = "N")]
    pub(crate) runs: Option<u32>,
    /// Bound on the events of each run (calls of the kernel and taken backward jumps).
    #[arg(long = "events", value_name = "N", default_value_t = bugcheck::DEFAULT_LIMIT_EVENTS)]
    pub(crate) limit_events: u64,
    /// Threads that carry out runs; the report is the same for any number [default: the processors
    /// of this computer].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) jobs: Option<u8>,
    /// Go on after a violation; what follows may be its consequence.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Do not judge by this rule; may be repeated.
    #[arg(long, value_name = "RULE")]
    pub(crate) without: Vec<String>,
    /// Leave out this move of the hostile kernel (docs/moves.md); may be repeated.
    #[arg(long = "without-move", value_name = "NAME", hide = true)]
    pub(crate) without_moves: Vec<String>,
    /// The least severe kind of finding that makes the exit code 1.
    #[arg(long, value_enum, default_value_t = FailOn::Exposure)]
    pub(crate) fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For tools; see docs/json-schema.json.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// None: the device stack as it is.
    Standard,
    /// Also those that may be there although today they are not; see docs/profiles.md.
    Strict,
}

impl Profile {
    pub(crate) fn of_library(self) -> bugcheck::Profile {
        match self {
            Self::Standard => bugcheck::Profile::Standard,
            Self::Strict => bugcheck::Profile::Strict,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Budget {
    /// Friendly runs and single failures only.
    Quick,
    /// A second or so: short schedules.
    Default,
    /// Up to 20,000 runs and 2,000,000,000 events.
    Deep,
}

impl Budget {
    pub(crate) fn amounts(self) -> bugcheck::Budget {
        match self {
            Self::Quick => bugcheck::Budget::QUICK,
            Self::Default => bugcheck::Budget::DEFAULT,
            Self::Deep => bugcheck::Budget::DEEP,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FailOn {
    /// Only violations.
    Violation,
    /// Violations and hazards.
    Hazard,
    /// Any finding.
    Exposure,
}

impl FailOn {
    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Violation => Severity::Violation,
            Self::Hazard => Severity::Hazard,
            Self::Exposure => Severity::Exposure,
        }
    }
}
