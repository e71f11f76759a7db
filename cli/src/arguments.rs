//! What can be typed.

use std::{ffi::OsString, path::PathBuf};

use bugcheck::Severity;
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

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
    Run(RunArguments),
    /// Make the run of a finding again.
    Replay(ReplayArguments),
    /// Explain a rule (what it checks, why Windows cares, a bad and a good driver), area or move.
    Explain {
        /// The id of a rule, such as `pool::double_free`; an area such as `pool`, for a list of
        /// its rules; or a move of docs/moves.md.
        #[arg(value_name = "RULE|AREA|MOVE")]
        name: String,
    },
    /// List all rules.
    Rules,
    /// Show what a driver's file states: imports, devices, control codes. Runs nothing.
    Inspect {
        /// The driver.
        file: PathBuf,
    },
    /// What the program starts itself as, to run a driver as code of the host.
    #[command(hide = true)]
    Work {
        /// What to do, as on the command line of the parent.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
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
    pub(crate) machine: MachineOptions,
    /// Which neighbours of the driver are tried.
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    pub(crate) profile: Profile,
    /// What may be spent per driver on other schedules and other answers.
    #[arg(long, value_enum, default_value_t = Budget::Default)]
    pub(crate) budget: Budget,
    /// Try only this strategy; may be repeated. One friendly run per script is made in any case.
    #[arg(long, value_name = "NAME", value_parser = strategies())]
    pub(crate) strategy: Vec<bugcheck::Strategy>,
    /// Runs spent on schedules (lockstep, preempt, pct, random) per driver, instead of those of the
    /// budget; 0 for none.
    #[arg(long, value_name = "N")]
    pub(crate) schedule_runs: Option<u32>,
    /// Bound on the runs per driver, instead of that of the budget.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: Option<u32>,
    /// Threads that carry out runs; the report is the same for any number [default: the processors
    /// of this computer].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) jobs: Option<u8>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The driver.
    pub(crate) file: PathBuf,
    /// Also show one line per IRP, IRQL change and wait.
    #[arg(long)]
    pub(crate) events: bool,
    /// Bound on the events of the run.
    #[arg(long, value_name = "N", default_value_t = bugcheck::DEFAULT_LIMIT_EVENTS,
        value_parser = at_least_one)]
    pub(crate) limit_events: u64,
    /// What runs the driver's code.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub(crate) engine: Engine,
    #[command(flatten)]
    pub(crate) machine: MachineOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The token printed with the finding, or a file that `check --save-replays` wrote.
    #[arg(value_name = "TOKEN|FILE")]
    pub(crate) token: String,
    /// The driver it was printed for.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) held: HeldByToken,
}

/// What a token holds. Options of `check` that somebody may type here, so that they are told why
/// not.
#[derive(Debug, Args)]
pub(crate) struct HeldByToken {
    #[arg(long, hide = true, value_parser = refuse_held)]
    seed: Option<String>,
    #[arg(long, hide = true, value_parser = refuse_held)]
    processors: Option<String>,
    #[arg(long, hide = true, value_parser = refuse_held)]
    profile: Option<String>,
}

/// A number with no upper bound worth naming.
fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("a number of at least 1 was expected".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("a number from 1 to {} was expected", u64::MAX)),
    }
}

fn refuse_held(_: &str) -> Result<String, String> {
    Err("the token holds it, so that it is not chosen here".to_owned())
}

/// What the machine is like.
#[derive(Debug, Args)]
pub(crate) struct MachineOptions {
    /// Decides the free answers that are not explored: what undefined memory holds and, unless 0,
    /// who runs when.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Processors of the machine.
    #[arg(long, value_name = "N", default_value_t = bugcheck::DEFAULT_PROCESSORS,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(bugcheck::MAX_PROCESSORS)))]
    pub(crate) processors: u8,
}

/// How runs are judged and shown.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How to show the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// What callers do, as a script, instead of everything that the driver exposes (one driver).
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Bound on the events of each run (calls of the kernel, jumps, calls and returns that do not
    /// lead up) [default: 2000000].
    #[arg(long = "events", value_name = "N",
        value_parser = at_least_one)]
    pub(crate) limit_events: Option<u64>,
    /// Go on after a violation; what follows may be its consequence.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Do not judge by this rule; may be repeated.
    #[arg(long, value_name = "RULE")]
    pub(crate) without: Vec<String>,
    /// Leave out this move of the hostile kernel (docs/moves.md); may be repeated.
    #[arg(long = "without-move", value_name = "MOVE")]
    pub(crate) without_moves: Vec<String>,
    /// What runs the driver's code; the report is the same.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub(crate) engine: Engine,
    /// The least severe kind of finding that makes the exit code 1.
    #[arg(long, value_enum, default_value_t = FailOn::Exposure)]
    pub(crate) fail_on: FailOn,
}

/// The strategies by name; one that is not known is answered with those that are.
fn strategies() -> impl TypedValueParser<Value = bugcheck::Strategy> {
    let names = bugcheck::Strategy::ALL.map(bugcheck::Strategy::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For tools; see docs/json-schema.json.
    Json,
}

impl Format {
    /// Whether JSON is asked for, also where the rest of what was typed makes no sense.
    pub(crate) fn is_json_asked_for(typed: impl Iterator<Item = OsString>) -> bool {
        let mut typed = typed.take_while(|word| word != "--").peekable();
        while let Some(word) = typed.next() {
            if word == "--format=json"
                || word == "--format" && typed.peek().is_some_and(|w| w == "json")
            {
                return true;
            }
        }
        false
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The interpreter; for a check whose first runs are long, the translator.
    Auto,
    /// The interpreter, everywhere.
    Interp,
    /// The translator, in a process of its own (x86-64 Linux).
    Jit,
}

impl Engine {
    /// The engine that serves, or that `Auto` begins with.
    pub(crate) fn of_library(self) -> bugcheck::Engine {
        match self {
            Self::Auto | Self::Interp => bugcheck::Engine::Interpreter,
            Self::Jit => bugcheck::Engine::Translator,
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
