//! The serialised form of a check. See `docs/json-schema.json`.

use serde::{Deserialize, Serialize};
use verifier as v;

use crate::Outcome;

/// Version of the JSON form. A field may be added without a new one; none is removed or changed.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of the program.
    pub bugcheck_version: String,
    /// The seed.
    pub seed: u64,
    /// `standard` or `strict`: whether neighbours were tried that are not there today.
    pub profile: String,
    /// The worst outcome.
    pub outcome: Outcome,
    /// Its exit code.
    pub exit_code: u8,
    /// Why nothing could be checked, in one sentence: the arguments make no sense.
    pub error: Option<String>,
    /// One entry per driver, in the order checked.
    pub files: Vec<FileReport>,
}

/// What one driver came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The path as it was given.
    pub file: String,
    /// SHA-256 of the image, in hex; empty if it could not be read.
    pub sha256: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Runs carried out.
    pub runs: u32,
    /// The same, by the strategy that chose them.
    pub strategies: Vec<StrategyRuns>,
    /// What they prove about schedules, in words; absent if nothing ran.
    pub guarantee: Option<String>,
    /// What DriverEntry returned, if it failed; then nothing else was exercised.
    pub load_failure: Option<String>,
    /// Why no routine but DriverEntry was called, if so, in one sentence.
    pub not_exercised: Option<String>,
    /// Why it could not be checked.
    pub error: Option<String>,
    /// Broken rules, each once per place, in order of the run that found them.
    pub findings: Vec<Finding>,
    /// Expectations of the scenario that were not met.
    pub expectations: Vec<Expectation>,
    /// What is not modelled and was needed.
    pub unsupported: Vec<Unsupported>,
    /// Bounds that were reached.
    pub limits: Vec<String>,
    /// Bug checks without a finding; each ended a run.
    pub bug_checks: Vec<String>,
    /// Our bugs.
    pub internal_errors: Vec<InternalError>,
    /// What was reached; absent if nothing ran.
    pub coverage: Option<Coverage>,
}

/// Runs of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyRuns {
    /// Its name.
    pub name: String,
    /// How many.
    pub runs: u32,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// `violation`, `hazard` or `exposure`.
    pub severity: String,
    /// The mistake in a few words.
    pub title: String,
    /// The particular case.
    pub message: String,
    /// Where.
    pub site: Site,
    /// The guest thread, from 1.
    pub thread: u32,
    /// Its IRQL, by name.
    pub irql: String,
    /// The event clock.
    pub clock_events: u64,
    /// What the caller was doing.
    pub request: Option<String>,
    /// How it came about, oldest first.
    pub history: Vec<Step>,
    /// What to do instead.
    pub help: String,
    /// What Windows would do.
    pub on_windows: String,
    /// Paths of the documentation pages.
    pub contract: Vec<String>,
    /// What the run needs to get there: answers of the kernel, and requests where there are many.
    pub needs: Vec<String>,
    /// In how many runs it was seen.
    pub seen: u32,
    /// How many runs were made.
    pub seen_of: u32,
    /// The token that replays it.
    pub replay: String,
    /// The run that found it, from 1.
    pub run: u32,
    /// How many runs were planned when it was found.
    pub runs: u32,
}

/// An expectation of a scenario that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The scenario.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
    /// What was expected, in the words of the scenario.
    pub message: String,
    /// The comparison that does not hold, if it was one: `expected 0, found 5`.
    pub found: Option<String>,
}

/// A place in the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// File name of the image.
    pub image: String,
    /// Offset in the image.
    pub rva: Option<u32>,
    /// The function.
    pub function: Option<String>,
    /// Offset in the function.
    pub function_offset: Option<u32>,
    /// Source file as the compiler wrote it down.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The kernel routine called there.
    pub export: Option<String>,
    /// Callers, innermost first.
    pub stack: Vec<Frame>,
}

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function, or the kernel routine.
    pub function: String,
    /// Source file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// True if it was inlined into the next frame.
    pub inlined: bool,
}

/// Something earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What happened.
    pub message: String,
    /// Where.
    pub site: Option<Site>,
}

/// Something that is not modelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// Its name.
    pub feature: String,
    /// How many runs it ended.
    pub runs: u32,
    /// The token of the first of them.
    pub replay: String,
}

/// A bug of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternalError {
    /// What went wrong.
    pub message: String,
    /// The token of the run.
    pub replay: String,
}

/// What was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Functions with an instruction that ran.
    pub functions_reached: u32,
    /// Functions in the image's table.
    pub functions: u32,
    /// The first of those that no run reached: names, or offsets in the image.
    #[serde(default)]
    pub functions_missed: Vec<String>,
    /// Control codes of the image that a dispatch routine received.
    pub control_codes_reached: Vec<u32>,
    /// Control codes found in the image that none received.
    pub control_codes_missed: Vec<u32>,
    /// Entry points the driver registered.
    pub entry_points: Vec<EntryPoint>,
}

/// A routine the driver registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// What it is registered for.
    pub name: String,
    /// Its offset in the image.
    pub rva: u32,
    /// True if a run called it.
    pub reached: bool,
}

impl From<&v::Finding> for Finding {
    fn from(finding: &v::Finding) -> Self {
        let rule = finding.rule;
        Self {
            rule: rule.id.to_owned(),
            severity: finding.severity.name().to_owned(),
            title: rule.title.to_owned(),
            message: finding.message.clone(),
            site: Site::from(&finding.site),
            thread: finding.context.thread,
            irql: finding.context.irql.to_string(),
            clock_events: finding.context.clock_events,
            request: finding.context.request.clone(),
            history: finding
                .history
                .iter()
                .map(|s| Step { message: s.message.clone(), site: s.site.as_ref().map(Site::from) })
                .collect(),
            help: rule.fix.to_owned(),
            on_windows: rule.windows.to_owned(),
            contract: rule.contract.iter().map(|&c| c.to_owned()).collect(),
            needs: finding.needs.clone(),
            seen: finding.seen.0,
            seen_of: finding.seen.1,
            replay: finding.replay.clone(),
            run: finding.run.0,
            runs: finding.run.1,
        }
    }
}

impl From<&v::Site> for Site {
    fn from(site: &v::Site) -> Self {
        Self {
            image: site.image.clone(),
            rva: site.rva,
            function: site.function.as_ref().map(|f| f.0.clone()),
            function_offset: site.function.as_ref().map(|f| f.1),
            file: site.file.clone(),
            line: site.line,
            column: site.column,
            export: site.export.clone(),
            stack: site
                .stack
                .iter()
                .map(|f| Frame {
                    function: f.function.clone(),
                    file: f.file.clone(),
                    line: f.line,
                    inlined: f.is_inlined,
                })
                .collect(),
        }
    }
}

impl Report {
    /// Puts the results of several drivers together.
    pub fn new(version: &str, seed: u64, profile: &str, files: Vec<FileReport>) -> Self {
        let outcome = files.iter().map(|f| f.outcome).fold(Outcome::Clean, Outcome::worse);
        Self {
            schema_version: SCHEMA_VERSION,
            bugcheck_version: version.to_owned(),
            seed,
            profile: profile.to_owned(),
            outcome,
            exit_code: outcome.exit_code(),
            error: None,
            files,
        }
    }

    /// What a tool is told if nothing could be checked.
    pub fn of_error(version: &str, outcome: Outcome, error: String) -> Self {
        Self {
            outcome,
            exit_code: outcome.exit_code(),
            error: Some(error),
            ..Self::new(version, 0, "standard", Vec::new())
        }
    }

    /// The JSON form, indented, with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("plain strings and numbers serialise");
        json.push('\n');
        json
    }
}

impl FileReport {
    /// A report of a file that could not be checked.
    pub fn not_checked(file: &str, error: String) -> Self {
        Self {
            file: file.to_owned(),
            sha256: String::new(),
            outcome: Outcome::InputError,
            runs: 0,
            strategies: Vec::new(),
            guarantee: None,
            load_failure: None,
            not_exercised: None,
            error: Some(error),
            findings: Vec::new(),
            expectations: Vec::new(),
            unsupported: Vec::new(),
            limits: Vec::new(),
            bug_checks: Vec::new(),
            internal_errors: Vec::new(),
            coverage: None,
        }
    }
}
