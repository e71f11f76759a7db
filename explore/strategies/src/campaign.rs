//! A campaign: all runs of one driver.

use std::collections::{BTreeMap, BTreeSet};

use choice_tape::Deviation;
use events::{MayFail, Origin, SWITCH_POINT, USER_BYTES_CHANGE, USER_PAGE_GONE};
use guest_memory::GuestAddr;
use sha2::{Digest as _, Sha256};
use system::{DeviceInfo, Stopped};
use verifier::{Finding, RawFinding, Rule};
use workloads::{MarkSet, Script, plan};

use crate::{
    CoverageReport, ReplayToken, Target,
    confirm::RunId,
    coverage::Tally,
    failures,
    machines::{self, Machines, Start},
    runner::{self, Conditions, LoadResult, Loaded, RunResult, Watch},
};

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides what undefined memory holds and, unless 0, who runs when.
    pub seed: u64,
    /// Processors of the machine.
    pub processors: u8,
    /// Bound on the number of runs.
    pub runs: u32,
    /// Bound on the event clock of each.
    pub limit_events: u64,
    /// Go on after a violation.
    pub keep_going: bool,
    /// Rules that are not judged.
    pub without: Vec<&'static Rule>,
    /// What callers do.
    pub plan: Plan,
}

/// What callers do, run by run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Whatever the driver exposes is exercised.
    Automatic,
    /// These scripts.
    Given(Vec<Script>),
}

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

/// Why a token cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It belongs to another file.
    #[error(
        "the token was made for another image: expected {expected:08x}, this file is {found:08x}"
    )]
    OtherImage {
        /// The image the token names.
        expected: u32,
        /// This one.
        found: u32,
    },
    /// The workload has no such run.
    #[error("the token names run {script}, but this driver has {count} runs")]
    NoSuchRun {
        /// What it names.
        script: u32,
        /// How many there are.
        count: usize,
    },
    /// It was made for other requests.
    #[error("the token was made for another scenario, or for none")]
    OtherScenario,
}

/// All runs of one driver.
#[derive(Debug)]
pub struct Campaign<'a> {
    // Configuration
    pub(crate) target: &'a Target,
    pub(crate) settings: Settings,
    pub(crate) conditions: Conditions,
    // What follows from DriverEntry
    pub(crate) scripts: Vec<Script>,
    other_scripts: Vec<Script>,
    pub(crate) devices: Vec<DeviceInfo>,
    pub(crate) image_base: u64,
    /// Requests of a friendly DriverEntry that may fail.
    pub(crate) load_requests: Vec<(MayFail, Origin)>,
    machines: Machines,
    // State
    pub(crate) results: Results,
    pub(crate) suspects_tried: BTreeSet<((GuestAddr, GuestAddr), (u8, u32))>,
    fetches_tried: BTreeSet<(GuestAddr, u8, u32)>,
    /// Pairs of instructions that race.
    pub(crate) races_tried: BTreeSet<(GuestAddr, GuestAddr)>,
    pub(crate) failures_tried: BTreeSet<failures::Place>,
    pub(crate) compared: Option<Compared>,
    shown: BTreeSet<Key>,
    /// Rule, function and request of findings about memory of the caller.
    functions_shown: BTreeSet<(&'static str, u32, (u8, u32))>,
    attempts: BTreeMap<Key, u32>,
    tally: Tally,
}

/// What came of comparing a run with others that differ only in undefined bytes.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    /// The run.
    pub(crate) run: (usize, Vec<Deviation>),
    /// The question of its system buffer that the others answered differently; `None` if they had
    /// other undefined memory.
    pub(crate) tail: Option<u32>,
    /// Whether they ended differently, and the instruction that made the difference, if it is
    /// known.
    pub(crate) difference: Option<Option<GuestAddr>>,
}

/// The first bits of a hash of what a script does.
fn script_mark(script: &Script) -> u32 {
    let hash = Sha256::digest(format!("{:?}", script.commands));
    let hash: [u8; 32] = hash.into();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d])
}

/// What makes two findings the same: the rule and the place.
type Key = (&'static str, GuestAddr, String);

/// How often a suspicion is followed up before it is dropped for good.
const MAX_ATTEMPTS: u32 = 3;
/// The byte that undefined memory holds for seed 0: unlike 0, and no valid pointer when repeated.
pub const FILL: u8 = 0xa5;

impl<'a> Campaign<'a> {
    /// Prepares a campaign; nothing runs yet.
    pub fn new(target: &'a Target, settings: Settings) -> Self {
        let [seed, ..] = settings.seed.to_le_bytes();
        let conditions = Conditions {
            fill: FILL.wrapping_add(seed),
            schedule: settings.seed,
            processors: settings.processors,
            limit_events: settings.limit_events,
            keep_going: settings.keep_going,
            without: settings.without.clone(),
        };
        Self {
            target,
            settings,
            conditions,
            scripts: Vec::new(),
            other_scripts: Vec::new(),
            devices: Vec::new(),
            image_base: 0,
            load_requests: Vec::new(),
            machines: Machines::default(),
            results: Results::default(),
            suspects_tried: BTreeSet::new(),
            fetches_tried: BTreeSet::new(),
            races_tried: BTreeSet::new(),
            failures_tried: BTreeSet::new(),
            compared: None,
            shown: BTreeSet::new(),
            functions_shown: BTreeSet::new(),
            attempts: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Makes all runs. `keep_on` hears how many are done and how many are planned before each, and
    /// may end the campaign.
    pub fn explore(mut self, keep_on: &mut dyn FnMut(u32, u32) -> bool) -> Results {
        let is_ready = self.prepare();
        let mut script = 0;
        while is_ready && script < self.scripts.len() && !self.is_budget_used_up() {
            if !keep_on(self.results.runs, self.planned_runs()) {
                let (done, planned) = (self.results.runs, self.planned_runs());
                let text = format!("the time given is over after {done} of {planned} runs");
                self.results.limits.push(text);
                break;
            }
            if let Err(message) = self.explore_script(script) {
                self.internal_error(message, RunId { script: Some(script), deviations: &[] });
            }
            script += 1;
        }
        let left = self.scripts.len().saturating_sub(script);
        if left > 0 && self.is_budget_used_up() {
            let text = format!("{} runs were made, {left} more were planned", self.settings.runs);
            self.results.limits.push(text);
        }
        self.finish()
    }

    /// Makes the run that a token names.
    pub fn replay(mut self, token: &ReplayToken) -> Result<Results, ReplayError> {
        let (expected, found) = (token.image, self.target.image_mark());
        if expected != found {
            return Err(ReplayError::OtherImage { expected, found });
        }
        if self.prepare() {
            let count = self.scripts.len();
            let mut numbers = (0..count).map(|index| self.script_number(index));
            let Some(script) = numbers.position(|number| number == token.script) else {
                return Err(match self.settings.plan {
                    Plan::Automatic => ReplayError::NoSuchRun { script: token.script, count },
                    Plan::Given(_) => ReplayError::OtherScenario,
                });
            };
            if let Err(message) = self.replay_script(script, &token.deviations) {
                let id = RunId { script: Some(script), deviations: &token.deviations };
                self.internal_error(message, id);
            }
        }
        Ok(self.finish())
    }

    /// The number that names a script in a token: its place in the plan, or for a script that was
    /// given a digest of what it does.
    pub(crate) fn script_number(&self, index: usize) -> u32 {
        match (&self.settings.plan, self.scripts.get(index)) {
            (Plan::Given(_), Some(script)) => script_mark(script),
            _ => u32::try_from(index).unwrap_or(u32::MAX),
        }
    }

    fn finish(mut self) -> Results {
        for loaded in self.machines.iter() {
            self.tally.add_blocks(loaded.blocks_reached());
        }
        self.results.coverage = self.tally.report(self.target);
        self.drop_what_yields();
        self.results
    }

    /// One mistake at one instruction is shown by its most telling rule only. Rules that are off
    /// count here, so that switching one off brings forward no other.
    fn drop_what_yields(&mut self) {
        let places: BTreeSet<(&str, Option<u32>)> =
            self.results.findings.iter().map(|f| (f.rule.id, f.site.rva)).collect();
        let without = &self.settings.without;
        self.results.findings.retain(|finding| {
            let at = finding.site.rva;
            let yields = |other: &&str| at.is_some() && places.contains(&(*other, at));
            !finding.rule.yields_to.iter().any(yields) && !without.contains(&finding.rule)
        });
    }

    /// Calls DriverEntry and makes the plan. False if there is nothing more to run.
    fn prepare(&mut self) -> bool {
        let id = RunId { script: None, deviations: &[] };
        let start = self.start_of(&[]);
        match machines::load(self.target, &self.conditions, &start) {
            Ok(LoadResult::Loaded(loaded)) => {
                self.image_base = loaded.image_base;
                self.devices = loaded.devices.clone();
                self.results.load_failure = loaded.load_failure.map(|status| status.to_string());
                self.results.not_exercised = loaded.load_failure.map(|status| {
                    format!("DriverEntry failed with {status}; no other routine was called")
                });
                self.tally.add_entries(loaded.entries.clone());
                let facts = &self.target.facts;
                let scripts = |marks| match &self.settings.plan {
                    Plan::Automatic => plan(facts, &self.devices, marks),
                    Plan::Given(scripts) => scripts.clone(),
                };
                (self.scripts, self.other_scripts) =
                    (scripts(MarkSet::First), scripts(MarkSet::Second));
                self.load_requests.clone_from(&loaded.requests);
                self.keep(start, loaded);
                true
            }
            Ok(LoadResult::Ended(result, image_base, coverage)) => {
                self.tally.add_blocks(coverage.blocks);
                self.image_base = image_base;
                self.results.runs = 1;
                let reason = "the run ended in DriverEntry; no other routine was called";
                self.results.not_exercised = Some(reason.to_owned());
                if let Err(message) = self.judge(&result, id) {
                    self.internal_error(message, id);
                }
                false
            }
            Ok(LoadResult::Refused(stopped)) => {
                self.note_stop(&stopped, id);
                false
            }
            Err(message) => {
                self.internal_error(message, id);
                false
            }
        }
    }

    /// The friendly run of a script, and the runs around it.
    fn explore_script(&mut self, script: usize) -> Result<(), String> {
        let base = self.explore_run(script, &[])?;
        // What deviates from a run that ended early would only end the same way.
        if base.stopped.is_some() {
            return Ok(());
        }
        if script == 0 {
            self.try_failures_of_load()?;
        }
        self.try_missing_pages(script, &base)?;
        self.hunt_double_fetches(script, &base, None)?;
        self.try_failures(script, &base)?;
        self.hunt_races(script, None)
    }

    fn replay_script(&mut self, script: usize, deviations: &[Deviation]) -> Result<(), String> {
        if deviations.iter().any(|d| d.kind == SWITCH_POINT.number) {
            return self.hunt_races(script, Some(deviations));
        }
        let is_change = |d: &&Deviation| d.kind == USER_BYTES_CHANGE.number;
        match deviations.iter().find(is_change) {
            // A change between two fetches is judged by comparison with the run without it.
            Some(change) => {
                let base = self.explore_run(script, &[])?;
                self.hunt_double_fetches(script, &base, Some(*change))
            }
            None => self.explore_run(script, deviations).map(drop),
        }
    }

    /// For each new touch of user memory, the run in which its page goes away just before.
    fn try_missing_pages(&mut self, script: usize, base: &RunResult) -> Result<(), String> {
        for touch in base.ledgers.fetches() {
            let record = touch.irp.and_then(|irp| base.ledgers.irp(irp));
            let (major, code) = record.map_or((0, 0), |r| (r.major, r.control_code));
            if !self.fetches_tried.insert((touch.origin.ip, major, code)) {
                continue;
            }
            if self.is_budget_used_up() {
                return Ok(());
            }
            let kind = USER_PAGE_GONE.number;
            let ordinal = touch.fetch.ordinal;
            self.explore_run(script, &[Deviation { kind, ordinal, answer: 1 }])?;
        }
        Ok(())
    }

    /// A run that counts, judged.
    pub(crate) fn explore_run(
        &mut self,
        script: usize,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        self.results.runs += 1;
        let result = self.run(script, MarkSet::First, deviations)?;
        self.judge(&result, RunId { script: Some(script), deviations })?;
        Ok(result)
    }

    /// A run. `Err`: it panicked, which is our bug.
    pub(crate) fn run(
        &mut self,
        script: usize,
        marks: MarkSet,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        self.run_watched(script, marks, deviations, None)
    }

    /// A run that watches who touches which memory.
    pub(crate) fn run_watched(
        &mut self,
        script: usize,
        marks: MarkSet,
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Result<RunResult, String> {
        let (load, run) = machines::part(deviations);
        let start = self.start_of(&load);
        self.run_on(start, (script, marks), &run, watch)
    }

    /// A run with other bytes in undefined memory.
    pub(crate) fn run_filled(
        &mut self,
        script: usize,
        fill: u8,
        deviations: &[Deviation],
    ) -> Result<RunResult, String> {
        let (load, run) = machines::part(deviations);
        let start = Start { fill, deviations: load };
        self.run_on(start, (script, MarkSet::First), &run, None)
    }

    fn start_of(&self, deviations: &[Deviation]) -> Start {
        Start { fill: self.conditions.fill, deviations: deviations.to_vec() }
    }

    /// A run on the machine that began like this, made anew if there is none, as after a panic.
    fn run_on(
        &mut self,
        start: Start,
        (script, marks): (usize, MarkSet),
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Result<RunResult, String> {
        let mut loaded = match self.machines.take(&start) {
            Some(loaded) => loaded,
            None => match machines::load(self.target, &self.conditions, &start)? {
                LoadResult::Loaded(loaded) => loaded,
                LoadResult::Ended(result, _, coverage) => {
                    self.tally.add_blocks(coverage.blocks);
                    return Ok(*result);
                }
                LoadResult::Refused(stopped) => {
                    return Err(format!("a machine is refused now: {stopped:?}"));
                }
            },
        };
        let scripts = match marks {
            MarkSet::First => &self.scripts,
            MarkSet::Second => &self.other_scripts,
        };
        let script = scripts.get(script).ok_or("a script of the plan is missing")?;
        let result = runner::guarded(|| loaded.run_watched(script, deviations, watch))?;
        self.keep(start, loaded);
        Ok(result)
    }

    fn keep(&mut self, start: Start, loaded: Box<Loaded>) {
        if let Some(dropped) = self.machines.keep(start, loaded) {
            self.tally.add_blocks(dropped.blocks_reached());
        }
    }

    /// Takes note of how a run ended, and follows up what its monitors said.
    pub(crate) fn judge(&mut self, result: &RunResult, id: RunId<'_>) -> Result<(), String> {
        self.tally.add_requests(&result.ledgers);
        let mut is_explained = false;
        for raw in &result.findings {
            is_explained |= self.follow_up(raw, id, result)?;
        }
        if let Some(stopped) = &result.stopped
            && !is_explained
        {
            self.note_stop(stopped, id);
        }
        Ok(())
    }

    /// Follows up what a monitor said; false if it is not confirmed.
    fn follow_up(
        &mut self,
        raw: &RawFinding,
        id: RunId<'_>,
        result: &RunResult,
    ) -> Result<bool, String> {
        let key = self.key(raw);
        if self.shown.contains(&key) {
            return Ok(true);
        }
        // A function that touches the caller's memory carelessly does so at every touch.
        let function = self.function_of(raw, result);
        if function.is_some_and(|function| self.functions_shown.contains(&function)) {
            return Ok(true);
        }
        let attempts = self.attempts.entry(key).or_default();
        *attempts += 1;
        if *attempts > MAX_ATTEMPTS {
            return Ok(false);
        }
        let Some(finding) = self.confirm(raw, id, result)? else { return Ok(false) };
        self.show(raw, finding);
        self.functions_shown.extend(function);
        Ok(true)
    }

    fn function_of(
        &self,
        raw: &RawFinding,
        result: &RunResult,
    ) -> Option<(&'static str, u32, (u8, u32))> {
        if !raw.is_once_per_function {
            return None;
        }
        let rva = u32::try_from(raw.site_ip.0.wrapping_sub(self.image_base)).ok()?;
        let function = self.target.image.functions().lookup(rva)?;
        let irp = result.ledgers.current_irp(raw.origin.thread)?;
        let record = result.ledgers.irp(irp)?;
        Some((raw.rule.id, function.begin_rva, (record.major, record.control_code)))
    }

    /// Adds a finding, unless its like was shown before.
    pub(crate) fn show(&mut self, raw: &RawFinding, finding: Finding) {
        if self.shown.insert(self.key(raw)) {
            self.results.findings.push(finding);
        }
    }

    fn key(&self, raw: &RawFinding) -> Key {
        let ip = raw.site_ip;
        let message = if ip.is_null() { raw.message.clone() } else { String::new() };
        (raw.rule.id, GuestAddr(ip.0.wrapping_sub(self.image_base)), message)
    }

    fn note_stop(&mut self, stopped: &Stopped, id: RunId<'_>) {
        let replay = self.token(id).to_string();
        match stopped {
            Stopped::Violation => {}
            Stopped::BugCheck { code, .. } => {
                push_new(&mut self.results.bug_checks, format!("{code:#04X} (replay: {replay})"));
            }
            Stopped::Unsupported { feature } => {
                let known = self.results.unsupported.iter_mut().find(|u| u.feature == *feature);
                match known {
                    Some(known) => known.runs += 1,
                    None => {
                        let feature = feature.clone();
                        self.results.unsupported.push(Unsupported { feature, runs: 1, replay });
                    }
                }
            }
            Stopped::Limit { what } => push_new(&mut self.results.limits, what.clone()),
        }
    }

    fn internal_error(&mut self, message: String, id: RunId<'_>) {
        let replay = self.token(id).to_string();
        self.results.internal_errors.push(InternalError { message, replay });
    }

    pub(crate) fn is_budget_used_up(&self) -> bool {
        self.results.runs >= self.settings.runs
    }

    /// How many runs there will be at most.
    pub(crate) fn planned_runs(&self) -> u32 {
        let scripts = u32::try_from(self.scripts.len()).unwrap_or(u32::MAX).max(1);
        scripts.max(self.results.runs).min(self.settings.runs)
    }
}

fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}
