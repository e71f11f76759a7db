//! `bugcheck` as a library: check, replay, inspect and explain, in plain data.
//!
//! Nothing here reads a file or a clock: bytes come in, and whoever waits may end a check through
//! its callback.

mod check;
mod explain;
mod friendly;
mod inspect;

pub use check::{
    CheckRequest, DEFAULT_LIMIT_EVENTS, DEFAULT_RUNS, Driver, Limits, Progress, check, replay,
};
pub use explain::{RuleSummary, explain, rules};
pub use friendly::{FriendlyRun, run_friendly};
pub use inspect::{CodeFound, DeviceFound, ImportFound, Inspection, inspect};
pub use report::{FileReport, Finding, Outcome, Report};
pub use verifier::Severity;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
