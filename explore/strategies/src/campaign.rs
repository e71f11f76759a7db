//! A campaign: all runs of one driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use choice_tape::Deviation;
use events::{Origin, Question, SWITCH_POINT, USER_BYTES_CHANGE, USER_PAGE_GONE};
use guest_memory::GuestAddr;
use system::DeviceInfo;
use verifier::{Place, counted};
use workloads::{Learned, MarkSet, Script, plan};

use crate::{
    InternalError, Plan, Results, Settings, Strategy, Target,
    batch::Spec,
    confirm::RunId,
    coverage::Tally,
    deadlocks::Circle,
    judge::Key,
    lock_step::FreeInstructions,
    machines::{self, Machines},
    move_sets::MoveSets,
    portfolio::{Purse, Schedulable},
    preemptions::MetPlaces,
    reduced::Reduced,
    runner::{Conditions, LoadResult, RunResult},
    symbols,
};

/// How far a campaign is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'p> {
    /// Runs done.
    pub done: u32,
    /// Runs planned, as far as known.
    pub planned: u32,
    /// What is being tried.
    pub strategy: &'static str,
    /// What the run is about.
    pub about: &'p str,
    /// Findings so far.
    pub findings: usize,
    /// Control codes that a dispatch routine received, and those found in the image.
    pub codes: (usize, usize),
    /// Events of the runs so far.
    pub events: u64,
}

/// Why a campaign is to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The time given is over.
    Time,
    /// Somebody asked for it.
    Interrupt,
}

/// Hears of every run before it is judged, and may end the campaign; what was found is kept.
pub type Listener<'l> = dyn FnMut(&Progress<'_>) -> ControlFlow<Cut> + 'l;

/// All runs of one driver.
pub struct Campaign<'a> {
    // Configuration
    pub(crate) target: &'a Target,
    pub(crate) settings: Settings,
    pub(crate) conditions: Conditions,
    listener: Option<&'a mut Listener<'a>>,
    // What follows from DriverEntry
    /// The plan, and behind it scripts of it with less requests.
    pub(crate) scripts: Arc<Vec<Script>>,
    pub(crate) other_scripts: Arc<Vec<Script>>,
    /// How many scripts the plan has.
    pub(crate) planned_scripts: usize,
    pub(crate) reduced: Vec<Reduced>,
    pub(crate) devices: Vec<DeviceInfo>,
    pub(crate) image_base: u64,
    /// Questions that a friendly DriverEntry met.
    pub(crate) load_questions: Vec<(Question, Origin)>,
    /// Free moments of a friendly DriverEntry.
    pub(crate) load_moments: u32,
    /// Questions of a friendly DriverEntry about neighbours.
    pub(crate) load_neighbours: Vec<u32>,
    /// Machines of the thread that judges, and of those that carry out batches.
    pub(crate) machines: Machines,
    pub(crate) workers: Vec<Machines>,
    // State
    pub(crate) results: Results,
    /// What is being tried.
    pub(crate) strategy: &'static str,
    /// The same in the report's terms, and how many runs there were before.
    pub(crate) phase: (Strategy, u32),
    /// What other schedules may cost.
    pub(crate) purse: Purse,
    /// Scripts whose schedule can be changed.
    pub(crate) schedulable: Vec<Schedulable>,
    /// Runs with several moves, or moves during DriverEntry, whose schedule can be changed.
    pub(crate) schedulable_sets: Vec<Schedulable>,
    /// Whether the campaign is to end, and why.
    pub(crate) cut: Option<Cut>,
    /// Runs that were planned and dropped because there were to be no more.
    pub(crate) dropped_runs: usize,
    pub(crate) suspects_tried: BTreeSet<((GuestAddr, GuestAddr), (u8, u32))>,
    pub(crate) fetches_tried: BTreeSet<(GuestAddr, u8, u32)>,
    /// Pairs of instructions that race, and in how many scripts that was followed up; apart for
    /// each order of the callers.
    pub(crate) races_tried: BTreeMap<((GuestAddr, GuestAddr), bool), u32>,
    /// By script the instructions that touch what several lanes touch, and those as free moments.
    pub(crate) touching: BTreeMap<(usize, Vec<Deviation>), Vec<u32>>,
    pub(crate) free_instructions: BTreeMap<usize, FreeInstructions>,
    /// Values written in parts: where the last part is written, and where the whole is read.
    pub(crate) torn_tried: BTreeSet<((GuestAddr, GuestAddr), bool)>,
    /// Locks taken in a circle: where those in it go on with their first lock.
    pub(crate) circles: BTreeMap<Vec<GuestAddr>, Circle>,
    pub(crate) places_tried: BTreeSet<Place>,
    pub(crate) move_sets: MoveSets,
    /// Places of preemptions.
    pub(crate) places_met: MetPlaces,
    /// Questions about neighbours in the friendly run of each script that did not end early.
    pub(crate) neighbours_asked: BTreeMap<usize, Vec<u32>>,
    pub(crate) compared: Option<Compared>,
    pub(crate) shown: BTreeSet<Key>,
    /// Rule, function and request of findings about memory of the caller.
    pub(crate) functions_shown: BTreeSet<(&'static str, u32, (u8, u32))>,
    pub(crate) attempts: BTreeMap<Key, u32>,
    /// In how many runs what was found was seen.
    pub(crate) seen: BTreeMap<Key, u32>,
    /// What tells each finding from the others.
    pub(crate) finding_keys: Vec<Key>,
    pub(crate) tally: Tally,
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

/// A friendly run that did not end early, and its script.
pub(crate) type Base = (usize, RunResult);

/// The byte that undefined memory holds for seed 0: unlike 0, and no valid pointer when repeated.
pub const FILL: u8 = 0xa5;

/// Scripts whose friendly runs are kept at a time, for the runs around them.
const SCRIPTS_AT_A_TIME: usize = 32;

impl fmt::Debug for Campaign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, results, .. } = self;
        f.debug_struct("Campaign").field("settings", settings).field("results", results).finish()
    }
}

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
            tier: settings.tier,
        };
        Self {
            target,
            settings,
            conditions,
            listener: None,
            scripts: Arc::default(),
            other_scripts: Arc::default(),
            planned_scripts: 0,
            reduced: Vec::new(),
            devices: Vec::new(),
            image_base: 0,
            load_questions: Vec::new(),
            load_moments: 0,
            load_neighbours: Vec::new(),
            machines: Machines::default(),
            workers: Vec::new(),
            results: Results::default(),
            strategy: "",
            phase: (Strategy::Friendly, 0),
            purse: Purse::default(),
            schedulable: Vec::new(),
            schedulable_sets: Vec::new(),
            cut: None,
            dropped_runs: 0,
            suspects_tried: BTreeSet::new(),
            fetches_tried: BTreeSet::new(),
            races_tried: BTreeMap::new(),
            touching: BTreeMap::new(),
            free_instructions: BTreeMap::new(),
            torn_tried: BTreeSet::new(),
            circles: BTreeMap::new(),
            places_tried: BTreeSet::new(),
            move_sets: MoveSets::default(),
            places_met: MetPlaces::default(),
            neighbours_asked: BTreeMap::new(),
            compared: None,
            shown: BTreeSet::new(),
            functions_shown: BTreeSet::new(),
            attempts: BTreeMap::new(),
            seen: BTreeMap::new(),
            finding_keys: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Makes all runs.
    pub fn explore(mut self, listener: &'a mut Listener<'a>) -> Results {
        self.listener = Some(listener);
        let is_ready = self.prepare();
        let count = self.planned_scripts;
        let mut begun = 0;
        while is_ready && begun < count && !self.is_budget_used_up() {
            begun += self.explore_scripts(begun..(begun + SCRIPTS_AT_A_TIME).min(count));
        }
        if is_ready && begun == count {
            if self.tries(Strategy::Failures) {
                self.explore_move_sets();
            }
            self.explore_schedules();
        }
        // Behind all others: what happens without a neighbour is told without it.
        if self.tries(Strategy::Neighbours) {
            self.enter(Strategy::Neighbours, "neighbours");
            self.try_neighbours();
        }
        let left = count - begun + self.dropped_runs;
        let done = self.results.runs;
        let planned = counted(self.planned_runs(), "run");
        let text = match self.cut {
            Some(Cut::Time) => {
                format!("the time given is over after {done} of {planned}")
            }
            Some(Cut::Interrupt) => {
                format!("interrupted after {done} of {planned}")
            }
            None if is_ready && left > 0 => {
                let verb = |count| if count == 1 { "was" } else { "were" };
                let (were, more) = (verb(done as usize), verb(left));
                format!("{} {were} made, {left} more {more} planned", counted(done, "run"))
            }
            None => return self.finish(),
        };
        self.results.limits.push(text);
        self.finish()
    }

    /// The friendly runs of some scripts, and the runs around them. Returns how many were begun.
    fn explore_scripts(&mut self, scripts: Range<usize>) -> usize {
        let first = scripts.start;
        self.enter(Strategy::Friendly, "friendly runs");
        let list: Vec<Spec> = scripts.map(Spec::friendly).collect();
        let bases = self.explore_batch(&list, |_, result| result);
        let count = bases.len();
        // Of a script whose friendly run was not made, or was a bug of ours, no more is tried; and
        // what deviates from a run that ended early would only end the same way.
        let bases: Vec<Base> = (first..)
            .zip(bases)
            .filter_map(|(script, base)| Some((script, base?)))
            .filter(|(_, base)| base.stopped.is_none())
            .collect();
        let asked = bases.iter().map(|(script, base)| (*script, base.neighbours_asked.clone()));
        self.neighbours_asked.extend(asked);
        for (script, base) in &bases {
            self.note_schedulable(*script, base);
        }
        if self.tries(Strategy::Failures) {
            self.try_moves(&bases);
        }
        if self.tries(Strategy::Races) && !self.is_left_out(SWITCH_POINT.name) {
            self.enter(Strategy::Races, "races");
            for (script, base) in &bases {
                if !self.has_several_lanes(*script, base) {
                    continue;
                }
                let tried = self.hunt_races(*script, None);
                self.note_bug(*script, tried);
                let tried = self.drive_into_deadlocks(*script, base);
                self.note_bug(*script, tried);
            }
        }
        count
    }

    /// The runs around friendly ones in which one answer of the kernel or one byte of the caller is
    /// another.
    fn try_moves(&mut self, bases: &[Base]) {
        if bases.first().is_some_and(|(script, _)| *script == 0) {
            self.enter(Strategy::Failures, "moves during DriverEntry");
            self.deviate_at_load();
        }
        if !self.is_left_out(USER_PAGE_GONE.name) {
            self.enter(Strategy::Failures, "missing pages");
            self.try_missing_pages(bases);
        }
        if !self.is_left_out(USER_BYTES_CHANGE.name) {
            self.enter(Strategy::Failures, "double fetches");
            for (script, base) in bases {
                let tried = self.hunt_double_fetches(*script, base, None);
                self.note_bug(*script, tried);
            }
        }
        self.enter(Strategy::Failures, "moves of the kernel");
        self.deviate(bases);
    }

    /// Whether a move was asked to be left out.
    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        self.settings.without_moves.iter().any(|left_out| left_out == name)
    }

    /// Takes note of a bug of ours that ended the runs around a script.
    pub(crate) fn note_bug(&mut self, script: usize, tried: Result<(), String>) {
        if let Err(message) = tried {
            self.internal_error(message, RunId { script: Some(script), deviations: &[] });
        }
    }

    pub(crate) fn finish(mut self) -> Results {
        self.enter(Strategy::Friendly, "");
        self.results.guarantee.scripts = (self.scheduled_scripts(), self.planned_scripts);
        self.results.coverage = self.tally.report(self.target);
        for (finding, key) in self.results.findings.iter_mut().zip(&self.finding_keys) {
            let count = self.seen.get(key).copied().unwrap_or(0).max(1);
            finding.seen = (count, self.results.runs.max(count));
        }
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
    pub(crate) fn prepare(&mut self) -> bool {
        self.strategy = "load";
        let id = RunId { script: None, deviations: &[] };
        let start = self.start_of(&[]);
        self.announce(None, &[], &[]);
        match machines::load(self.target, &self.conditions, &start) {
            Ok(LoadResult::Loaded(loaded)) => {
                self.image_base = loaded.image_base;
                self.devices = loaded.devices.clone();
                self.results.load_failure = loaded.load_failure.map(|status| status.to_string());
                self.results.not_exercised = loaded.load_failure.map(|status| {
                    let from = |(name, rva)| {
                        let line = symbols::line(self.target, rva);
                        format!(", which {name} returned {line}")
                    };
                    let from = loaded.load_failed_by.map(from).unwrap_or_default();
                    format!("DriverEntry failed with {status}{from}; no other routine was called")
                });
                self.tally.add_entries(loaded.entries.clone());
                let learned = match self.settings.plan {
                    Plan::Automatic => self.learn(),
                    Plan::Given(_) => Learned::default(),
                };
                let facts = (&self.target.facts, &learned);
                let extent = self.settings.budget.extent;
                let scripts = |marks| match &self.settings.plan {
                    Plan::Automatic => {
                        let mut scripts = plan(facts, &self.devices, marks, extent);
                        scripts.retain(|script| !self.is_left_out(script.family));
                        scripts
                    }
                    Plan::Given(scripts) => scripts.clone(),
                };
                (self.scripts, self.other_scripts) =
                    (scripts(MarkSet::First).into(), scripts(MarkSet::Second).into());
                self.planned_scripts = self.scripts.len();
                self.load_questions.clone_from(&loaded.questions);
                self.load_moments = loaded.moments.count();
                self.load_neighbours.clone_from(&loaded.neighbours_asked);
                self.machines.keep(start, loaded);
                true
            }
            Ok(LoadResult::Ended(result, image_base)) => {
                self.tally.add_blocks(&result.blocks);
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

    pub(crate) fn internal_error(&mut self, message: String, id: RunId<'_>) {
        let replay = self.token(id).to_string();
        self.results.internal_errors.push(InternalError { message, replay });
    }

    /// Tells the listener which run is to be judged next; it may end the campaign.
    pub(crate) fn tell(&mut self, script: usize) {
        let about = self.scripts.get(script).map_or("", |script| script.about.as_str());
        let progress = Progress {
            done: self.results.runs,
            planned: self.planned_runs(),
            strategy: self.strategy,
            about,
            findings: self.results.findings.len(),
            codes: self.tally.codes(self.target),
            events: self.results.events,
        };
        let Some(listener) = self.listener.as_mut() else { return };
        if let ControlFlow::Break(cut) = listener(&progress) {
            self.cut = Some(cut);
        }
    }

    /// How many runs may follow.
    pub(crate) fn runs_left(&self) -> usize {
        match self.cut {
            Some(_) => 0,
            None if self.results.events >= self.settings.budget.events => 0,
            None => self.settings.runs.saturating_sub(self.results.runs) as usize,
        }
    }

    pub(crate) fn is_budget_used_up(&self) -> bool {
        self.runs_left() == 0
    }

    /// How many runs there will be at most.
    pub(crate) fn planned_runs(&self) -> u32 {
        let scripts = u32::try_from(self.planned_scripts).unwrap_or(u32::MAX).max(1);
        scripts.max(self.results.runs).min(self.settings.runs)
    }
}
