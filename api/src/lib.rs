//! `bugcheck` as a library: check, replay, inspect and explain, in plain data.
//!
//! Nothing here reads a file or a clock: bytes come in, and whoever waits may end a check through
//! its callback.

mod buffer;
mod check;
mod explain;
mod exports;
mod friendly;
mod inspect;
mod machine;
mod near;
mod replay_file;
mod request;
mod scenario;
mod testing;

pub use buffer::Buffer;
pub use check::{
    CheckRequest, DEFAULT_LIMIT_EVENTS, DEFAULT_PROCESSORS, DEFAULT_RUNS, Driver, Limits, Listener,
    Progress, check, go_on, prepare as prepare_engine, replay,
};
pub use explain::{RuleSummary, explain, explain_topic, rule_list, rules};
pub use exports::{ExportSummary, VariableSummary, exports, variables};
pub use friendly::{FriendlyOptions, FriendlyRun, run_friendly};
pub use inspect::{CodeFound, DeviceFound, ImportFound, Inspection, inspect};
pub use machine::{Completion, File, Machine, MachineError, Reply};
pub use nt_abi::{Irql, NtStatus};
pub use replay_file::{ReplayFile, replay_file, replay_files};
pub use report::{Expectation, FileReport, Finding, Outcome, Report};
pub use request::Request;
pub use scenario::{Scenario, ScenarioError, ScenarioResult, replay_scenario, run_scenario};
pub use strategies::{Budget, Cut, OnRun, Profile, Strategy};
pub use system::{InterruptLine, LineKind, MAX_PROCESSORS, Tier as Engine};
pub use testing::{assert_clean, assert_finds, report_text};
pub use verifier::Severity;

/// The byte that undefined memory holds for seed 0.
const FILL: u8 = strategies::FILL;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
