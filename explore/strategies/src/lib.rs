//! Drives many runs of one driver: which to make, which to repeat, and what to believe.
//!
//! A [`Campaign`] carries out the scripts of the workload one by one, each from the machine as it
//! is after DriverEntry. Around each it adds runs that deviate in one choice. What a rule only
//! suspects is confirmed by further runs, and every finding is repeated with the recorder on before
//! it is shown.

mod campaign;
mod confirm;
mod coverage;
mod digest;
mod double_fetch;
mod failures;
mod machines;
mod races;
mod request;
mod runner;
mod symbols;
mod target;
mod token;

pub use campaign::{
    Campaign, FILL, InternalError, Plan, ReplayError, Results, Settings, Unsupported,
};
pub use coverage::{CoverageReport, EntryPoint};
pub use target::Target;
pub use token::{ReplayToken, TokenError};
