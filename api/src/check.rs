//! Checks drivers and replays single runs.

use std::ops::ControlFlow;

use report::{
    Coverage, EntryPoint, FileReport, Finding, InternalError, Outcome, Report, StrategyRuns,
    Unsupported,
};
use strategies::{
    Budget, Campaign, Cut, OnRun, Plan, Profile, ReplayToken, Results, Settings, Strategy, Target,
};
use system::{InterruptLine, MAX_PROCESSORS, Tier};
use verifier::{Rule, Severity};

use crate::{VERSION, explain::near_rules, near::did_you_mean};

/// A driver to check.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The path as a report is to show it.
    pub path: String,
    /// File name, such as `zero.sys`.
    pub name: String,
    /// The file; `Err` with one sentence if it cannot be read.
    pub bytes: Result<Vec<u8>, String>,
    /// A PDB found beside it.
    pub pdb: Option<Vec<u8>>,
}

impl Driver {
    /// A driver from the bytes of its file; `name` is the file name, such as `zero.sys`.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { path: name.to_owned(), name: name.to_owned(), bytes: Ok(bytes), pdb: None }
    }

    /// The same with its debug information, for function names and lines in findings.
    #[must_use]
    pub fn with_pdb(self, pdb: Vec<u8>) -> Self {
        Self { pdb: Some(pdb), ..self }
    }
}

/// Bounds of a check, all of them deterministic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs per driver.
    pub runs: u32,
    /// Events per run.
    pub events: u64,
}

/// Runs per driver, unless told otherwise.
pub const DEFAULT_RUNS: u32 = Budget::DEFAULT.runs;
/// Events per run, unless told otherwise.
pub const DEFAULT_LIMIT_EVENTS: u64 = 2_000_000;

/// Runs that are made to make a finding smaller.
const SHRINK_RUNS: u32 = 200;

/// Processors, unless told otherwise.
pub const DEFAULT_PROCESSORS: u8 = 2;

impl Default for Limits {
    fn default() -> Self {
        Self { runs: DEFAULT_RUNS, events: DEFAULT_LIMIT_EVENTS }
    }
}

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The drivers, in this order.
    pub drivers: Vec<Driver>,
    /// Decides what undefined memory holds and, unless 0, who runs when.
    pub seed: u64,
    /// Processors of the machine, 1 to [`MAX_PROCESSORS`].
    pub processors: u8,
    /// Which neighbours are tried.
    pub profile: Profile,
    /// Bounds.
    pub limits: Limits,
    /// What schedules may cost, and all runs of a driver together.
    pub budget: Budget,
    /// The strategies that are tried; empty: all.
    pub strategies: Vec<Strategy>,
    /// Threads that carry out runs, at least 1; the report does not depend on it.
    pub jobs: usize,
    /// Go on after a violation.
    pub keep_going: bool,
    /// Ids of rules that are not judged.
    pub without: Vec<String>,
    /// Names of moves that are not made; see docs/moves.md.
    pub without_moves: Vec<String>,
    /// The least severe kind of finding that counts for the outcome.
    pub fail_on: Severity,
    /// The engine; no byte of the report depends on it. The translator runs code of the driver as
    /// code of this process, and on the thread that asks only: the program gives it a process of
    /// its own.
    pub engine: Tier,
    /// Hears of each run before it is made.
    pub on_run: Option<OnRun>,
}

impl CheckRequest {
    /// A check of one driver, as the program does it.
    pub fn of(driver: Driver) -> Self {
        Self { drivers: vec![driver], ..Self::default() }
    }

    /// [`check`] without anybody listening.
    ///
    /// # Errors
    ///
    /// One sentence about a request that makes no sense.
    pub fn run(&self) -> Result<Report, String> {
        check(self, &mut |_| ControlFlow::Continue(()))
    }
}

impl Default for CheckRequest {
    fn default() -> Self {
        Self {
            drivers: Vec::new(),
            seed: 0,
            processors: DEFAULT_PROCESSORS,
            profile: Profile::default(),
            limits: Limits::default(),
            budget: Budget::DEFAULT,
            strategies: Vec::new(),
            jobs: 1,
            keep_going: false,
            without: Vec::new(),
            without_moves: Vec::new(),
            fail_on: Severity::Exposure,
            engine: Tier::Interpreter,
            on_run: None,
        }
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The driver.
    pub path: &'a str,
    /// Runs done.
    pub done: u32,
    /// Runs planned, as far as known.
    pub planned: u32,
    /// What is being tried: `failures`.
    pub strategy: &'a str,
    /// What the run is about: `read of 8 bytes of \??\Zero`.
    pub about: &'a str,
    /// Findings so far.
    pub findings: usize,
    /// Control codes that a dispatch routine received, and those found in the image.
    pub codes: (usize, usize),
    /// Events of the runs so far.
    pub events: u64,
}

/// Hears of every run before it is judged, and may end the check; what was found is kept.
pub type Listener<'l> = dyn FnMut(&Progress<'_>) -> ControlFlow<Cut> + 'l;

/// Hears of runs and ends nothing.
pub fn go_on(_: &Progress<'_>) -> ControlFlow<Cut> {
    ControlFlow::Continue(())
}

/// Checks drivers. `listener` hears of every run before it is judged, and may end the check; what
/// was found until then is kept. `Err`: one sentence about a request that makes no sense.
pub fn check(request: &CheckRequest, listener: &mut Listener<'_>) -> Result<Report, String> {
    let settings = settings(request, Plan::Automatic)?;
    let files = request
        .drivers
        .iter()
        .map(|driver| {
            let mut heard = |run: &strategies::Progress<'_>| listener(&progress(&driver.path, run));
            match target(driver) {
                Ok(target) => {
                    let results = Campaign::new(&target, settings.clone()).explore(&mut heard);
                    file_report(driver, &target, &results, request.fail_on)
                }
                Err(error) => FileReport::not_checked(&driver.path, error),
            }
        })
        .collect();
    Ok(Report::new(VERSION, request.seed, request.profile.name(), files))
}

/// Makes the run again that a token names. The seed is that of the token.
pub fn replay(request: &CheckRequest, token: &str) -> Result<Report, String> {
    replay_as(request, token, Plan::Automatic, &[])
}

/// The same, for callers that do what the plan says.
pub(crate) fn replay_as(
    request: &CheckRequest,
    token: &str,
    plan: Plan,
    lines: &[InterruptLine],
) -> Result<Report, String> {
    let (token, settings) = replay_settings(request, token, plan)?;
    let [driver] = request.drivers.as_slice() else {
        return Err("a token is replayed with one driver".to_owned());
    };
    let mut target = match target(driver) {
        Ok(target) => target,
        Err(error) => {
            let file = FileReport::not_checked(&driver.path, error);
            return Ok(Report::new(VERSION, token.seed, token.profile().name(), vec![file]));
        }
    };
    target.lines = lines.to_vec();
    let results = Campaign::new(&target, settings).replay(&token);
    let results = results.map_err(|error| error.to_string())?;
    let file = file_report(driver, &target, &results, request.fail_on);
    Ok(Report::new(VERSION, token.seed, token.profile().name(), vec![file]))
}

/// How far a check is with a driver.
pub(crate) fn progress<'a>(path: &'a str, run: &strategies::Progress<'a>) -> Progress<'a> {
    let strategies::Progress { done, planned, strategy, about, findings, codes, events } = *run;
    Progress { path, done, planned, strategy, about, findings, codes, events }
}

/// Reads a token, and takes over what it says about the machine.
pub(crate) fn replay_settings(
    request: &CheckRequest,
    token: &str,
    plan: Plan,
) -> Result<(ReplayToken, Settings), String> {
    let token: ReplayToken = token.parse().map_err(|error| format!("{error}"))?;
    let (seed, processors, profile) = (token.seed, token.processors, token.profile());
    let settings = Settings { seed, processors, profile, ..settings(request, plan)? };
    Ok((token, settings))
}

/// Reads a driver; the error is one sentence.
pub(crate) fn target(driver: &Driver) -> Result<Target, String> {
    let bytes = driver.bytes.as_ref().map_err(Clone::clone)?;
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    Target::new(&driver.name, bytes, driver.pdb.as_deref()).map_err(|error| error.to_string())
}

/// Makes an engine ready on this thread, which the first check does otherwise. A process that is
/// about to give up the right to executable memory calls it before.
///
/// # Errors
///
/// One sentence, if the host does not have that engine.
pub fn prepare(engine: Tier) -> Result<(), String> {
    match engine {
        Tier::Interpreter => Ok(()),
        Tier::Translator => system::prepare_translator()
            .map_err(|why| format!("the translator is not available here: {why}")),
    }
}

pub(crate) fn settings(request: &CheckRequest, plan: Plan) -> Result<Settings, String> {
    refuse_senseless_numbers(request)?;
    let find = |id: &String| -> Result<&'static Rule, String> {
        rulebook::find(id).ok_or_else(|| format!("no rule is called `{id}`{}", near_rules(id)))
    };
    let is_known = |name: &&String| strategies::move_names().any(|known| known == name.as_str());
    if let Some(name) = request.without_moves.iter().find(|name| !is_known(name)) {
        let hint = did_you_mean(name, strategies::move_names(), "; docs/moves.md lists them");
        return Err(format!("no move is called `{name}`{hint}"));
    }
    prepare(request.engine)?;
    // The translator belongs to one thread.
    let jobs = if request.engine == Tier::Translator { 1 } else { request.jobs };
    Ok(Settings {
        seed: request.seed,
        processors: request.processors,
        profile: request.profile,
        jobs,
        runs: request.limits.runs,
        shrink_runs: SHRINK_RUNS,
        budget: request.budget,
        strategies: request.strategies.clone(),
        limit_events: request.limits.events,
        keep_going: request.keep_going,
        plan,
        without: request.without.iter().map(find).collect::<Result<_, _>>()?,
        without_moves: request.without_moves.clone(),
        tier: request.engine,
        on_run: request.on_run.clone(),
    })
}

/// A check that cannot do anything is a mistake of whoever asks for it.
fn refuse_senseless_numbers(request: &CheckRequest) -> Result<(), String> {
    number("runs", u64::from(request.limits.runs), u64::from(u32::MAX))?;
    number("events", request.limits.events, u64::MAX)?;
    number("jobs", request.jobs as u64, u64::MAX)?;
    number("processors", u64::from(request.processors), u64::from(MAX_PROCESSORS))
}

/// Refuses a number of something that is not from 1 to the most there can be.
pub(crate) fn number(what: &str, found: u64, most: u64) -> Result<(), String> {
    match (1..=most).contains(&found) {
        true => Ok(()),
        false if most == u64::MAX => {
            Err(format!("a number of {what} of at least 1 was expected, found {found}"))
        }
        false => Err(format!("a number of {what} from 1 to {most} was expected, found {found}")),
    }
}

pub(crate) fn file_report(
    driver: &Driver,
    target: &Target,
    results: &Results,
    fail_on: Severity,
) -> FileReport {
    let unsupported = |u: &strategies::Unsupported| Unsupported {
        feature: u.feature.clone(),
        runs: u.runs,
        replay: u.replay.clone(),
    };
    let internal = |e: &strategies::InternalError| InternalError {
        message: e.message.clone(),
        replay: e.replay.clone(),
    };
    let entry = |e: &strategies::EntryPoint| EntryPoint {
        name: e.name.clone(),
        rva: e.rva,
        reached: e.is_reached,
    };
    let coverage = &results.coverage;
    FileReport {
        file: driver.path.clone(),
        sha256: target.sha256_hex(),
        outcome: outcome(results, fail_on),
        runs: results.runs,
        strategies: results
            .runs_by_strategy
            .iter()
            .map(|(strategy, &runs)| StrategyRuns { name: strategy.to_string(), runs })
            .collect(),
        guarantee: results.guarantee.in_words(),
        load_failure: results.load_failure.clone(),
        not_exercised: results.not_exercised.clone(),
        error: None,
        findings: results.findings.iter().map(Finding::from).collect(),
        expectations: Vec::new(),
        unsupported: results.unsupported.iter().map(unsupported).collect(),
        limits: results.limits.clone(),
        bug_checks: results.bug_checks.clone(),
        internal_errors: results.internal_errors.iter().map(internal).collect(),
        coverage: (results.runs > 0).then(|| Coverage {
            functions_reached: coverage.functions_reached,
            functions: coverage.functions,
            functions_missed: coverage.functions_missed.clone(),
            control_codes_reached: coverage.codes_reached.clone(),
            control_codes_missed: coverage.codes_missed.clone(),
            entry_points: coverage.entry_points.iter().map(entry).collect(),
        }),
    }
}

fn outcome(results: &Results, fail_on: Severity) -> Outcome {
    let counts = |f: &verifier::Finding| f.severity <= fail_on;
    if !results.internal_errors.is_empty() {
        Outcome::InternalError
    } else if results.findings.iter().any(counts) || !results.bug_checks.is_empty() {
        Outcome::Findings
    } else if !results.unsupported.is_empty()
        || results.not_exercised.is_some() && results.limits.is_empty()
    {
        // A driver that does not even load was not exercised, whatever it misses here.
        Outcome::Unsupported
    } else if !results.limits.is_empty() {
        Outcome::LimitReached
    } else {
        Outcome::Clean
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckRequest, Driver, Limits, check, go_on, replay};
    use crate::Outcome;

    fn request(bytes: Result<Vec<u8>, String>) -> CheckRequest {
        let driver = Driver { path: "x/y.sys".into(), name: "y.sys".into(), bytes, pdb: None };
        CheckRequest { drivers: vec![driver], ..CheckRequest::default() }
    }

    #[test]
    fn what_is_no_driver_gets_one_sentence() {
        let cases = [
            Ok(Vec::new()),
            Ok(b"MZ".to_vec()),
            Ok(b"hello".to_vec()),
            Ok(vec![0; 4096]),
            Err("permission denied".to_owned()),
        ];
        for bytes in cases {
            let report = check(&request(bytes.clone()), &mut go_on).expect("it makes sense");
            assert_eq!(report.outcome, Outcome::InputError, "{bytes:?}");
            let error = report.files.first().and_then(|file| file.error.clone());
            assert!(error.is_some_and(|e| !e.is_empty() && !e.contains('\n')), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let few = |runs, events| Limits { runs, events };
        let base = request(Ok(Vec::new()));
        let requests = [
            ("runs", CheckRequest { limits: few(0, 1), ..base.clone() }),
            ("events", CheckRequest { limits: few(1, 0), ..base.clone() }),
            ("jobs", CheckRequest { jobs: 0, ..base.clone() }),
            ("processors", CheckRequest { processors: 0, ..base.clone() }),
            ("processors", CheckRequest { processors: 9, ..base }),
        ];
        for (what, request) in requests {
            let error = check(&request, &mut go_on).expect_err("it makes no sense");
            let start = format!("a number of {what} ");
            assert!(error.starts_with(&start) && error.contains("expected, found "), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut nonsense = request(Ok(Vec::new()));
        nonsense.without = vec!["pool::no_such".to_owned()];
        let error = check(&nonsense, &mut go_on).expect_err("the rule does not exist");
        assert!(error.contains("pool::no_such"));
        nonsense.without = vec!["pool::doublefree".to_owned()];
        let error = check(&nonsense, &mut go_on).expect_err("the rule does not exist");
        assert!(error.ends_with("did you mean `pool::double_free`?"), "{error}");
        nonsense.without.clear();
        nonsense.without_moves = vec!["pool_failures".to_owned()];
        let error = check(&nonsense, &mut go_on).expect_err("the move does not exist");
        assert!(error.ends_with("did you mean `pool_failure`?"), "{error}");
        assert!(replay(&request(Ok(Vec::new())), "what").is_err());
        assert!(replay(&CheckRequest::default(), "1.00000000.0.0").is_err());
    }
}
