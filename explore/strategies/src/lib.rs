//! Drives many runs of one driver: which to make, which to repeat, and what to believe.
//!
//! A [`Campaign`] carries out the scripts of the workload one by one, each from the machine as it
//! is after DriverEntry. Around each it adds runs that deviate in one choice. What a rule only
//! suspects is confirmed by further runs, and every finding is repeated with the recorder on before
//! it is shown.

mod batch;
mod campaign;
mod chains;
mod confirm;
mod coverage;
mod deadlocks;
mod deviations;
mod digest;
mod double_fetch;
mod given;
mod guarantee;
mod history;
mod judge;
mod learn;
mod lock_step;
mod machines;
mod missing_pages;
mod move_sets;
mod needs;
mod neighbours;
mod pct;
mod portfolio;
mod preemptions;
mod prefixes;
mod races;
mod random;
mod reduced;
mod replay;
mod request;
mod results;
mod runner;
mod runs;
mod settings;
mod shrink;
mod strategy;
mod symbols;
mod target;
mod token;

pub use campaign::{Campaign, Cut, FILL, Listener, Progress};
pub use coverage::{CoverageReport, EntryPoint};
pub use deviations::move_names;
pub use guarantee::Guarantee;
pub use neighbours::Profile;
pub use replay::ReplayError;
pub use results::{InternalError, Results, Unsupported};
pub use settings::{OnRun, Plan, Settings};
pub use strategy::{Budget, Strategy};
pub use target::Target;
pub use token::{ReplayToken, TokenError};
