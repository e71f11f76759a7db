//! Findings as text for people and as JSON for tools. Knows no rule and no kernel.
//!
//! The types here are a boundary: they are serialised, versioned and described by
//! `docs/json-schema.json`, and share nothing with the types of a run.

mod model;
mod outcome;
mod printable;
mod text;

pub use model::{
    Coverage, EntryPoint, Expectation, FileReport, Finding, Frame, InternalError, Report,
    SCHEMA_VERSION, Site, Step, StrategyRuns, Unsupported,
};
pub use outcome::Outcome;
pub use printable::{is_printable, printable, printable_char};
pub use text::{Sources, TextOptions, finding_text, summary_text};
