//! What came of a campaign.

use std::collections::BTreeMap;

use verifier::Finding;

use crate::{CoverageReport, Guarantee, Strategy};

/// Something that is not modelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name.
    pub feature: String,
    /// How many runs it ended.
    pub runs: u32,
    /// Names the first of them.
    pub replay: String,
}

/// A bug of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalError {
    /// What went wrong.
    pub message: String,
    /// Names the run.
    pub replay: String,
}

/// What came of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// What DriverEntry returned, if it failed; then nothing else was exercised.
    pub load_failure: Option<String>,
    /// Why no routine but DriverEntry was called, if so, in one sentence.
    pub not_exercised: Option<String>,
    /// Runs carried out, without those that only confirm.
    pub runs: u32,
    /// The same, by strategy.
    pub runs_by_strategy: BTreeMap<Strategy, u32>,
    /// Events of all runs.
    pub events: u64,
    /// What they prove.
    pub guarantee: Guarantee,
    /// Broken rules, each once per place.
    pub findings: Vec<Finding>,
    /// What is not modelled and was needed.
    pub unsupported: Vec<Unsupported>,
    /// Bounds that were reached.
    pub limits: Vec<String>,
    /// Bug checks without a finding.
    pub bug_checks: Vec<String>,
    /// Our bugs.
    pub internal_errors: Vec<InternalError>,
    /// What was reached.
    pub coverage: CoverageReport,
}
