//! Carries out one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::{Deviation, Tape};
use events::{NEIGHBOURS, Origin, PREEMPTION, Question, STANDSTILL, Seq, tape_of};
use guest_memory::{GuestAddr, Logged};
use nt_abi::NtStatus;
use system::{
    Command, DeviceInfo, FileRef, Machine, MachineConfig, MachineSnapshot, Reply, StackFrame,
    Stopped, Tier,
};
use verifier::{Ledgers, Options, RawFinding, Rule, Verifier};
use workloads::Script;

use crate::{
    Target,
    digest::Digest,
    machines,
    prefixes::{Beginning, Prefixes},
};

/// What every run of a campaign has in common.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) fill: u8,
    /// 0: fair turns; else the seed of random schedules.
    pub(crate) schedule: u64,
    pub(crate) processors: u8,
    pub(crate) limit_events: u64,
    pub(crate) keep_going: bool,
    pub(crate) without: Vec<&'static Rule>,
    pub(crate) tier: Tier,
}

impl Conditions {
    fn tape(&self, deviations: &[Deviation]) -> Tape {
        tape_of(deviations, self.schedule)
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct RunResult {
    /// Why it ended early.
    pub(crate) stopped: Option<Stopped>,
    pub(crate) findings: Vec<RawFinding>,
    pub(crate) ledgers: Ledgers,
    /// Statuses, lengths and calls of kernel routines.
    pub(crate) decisions: Digest,
    /// The statuses and lengths, and the data that the caller got.
    pub(crate) outcome: Digest,
    /// Stacks of the moments asked for.
    pub(crate) recorded: Vec<(Origin, Vec<StackFrame>)>,
    /// What the outside world did when each finding was made.
    pub(crate) commands: Vec<Option<Command>>,
    /// What the last request came to.
    pub(crate) last_status: Option<NtStatus>,
    /// Who touched what, if that was watched.
    pub(crate) watched: Watched,
    /// Questions about neighbours: how many of each kind.
    pub(crate) neighbours_asked: Vec<u32>,
    /// True if DriverEntry failed, or was not survived.
    pub(crate) ended_at_load: bool,
    /// What DriverEntry met.
    pub(crate) load: LoadSide,
    /// What chance answered, if that is known and anything was found.
    pub(crate) by_chance: Vec<Deviation>,
    /// How many questions of each kind were asked when each command began.
    pub(crate) asked_at: Vec<BTreeMap<u16, u32>>,
    /// How many were asked in all; those of DriverEntry have kinds of their own.
    pub(crate) asked: BTreeMap<u16, u32>,
    /// A digest of the kernel routines that the driver called, in order.
    pub(crate) calls: u64,
    /// How often its schedule could have changed.
    pub(crate) moments: Moments,
    /// Threads and processors that ran routines of the driver, at most.
    pub(crate) lanes: u32,
    /// What it took.
    pub(crate) events: u64,
    /// Offsets in the image of the blocks that ran, less those of earlier runs of the machine.
    pub(crate) blocks: Vec<u32>,
}

/// Free moments of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// At which somebody else could go on.
    pub(crate) preemptions: u32,
    /// At which time could pass.
    pub(crate) standstills: u32,
}

impl Moments {
    fn of(tape: &Tape) -> Self {
        Self { preemptions: tape.asked(PREEMPTION), standstills: tape.asked(STANDSTILL) }
    }

    /// All of them.
    pub(crate) fn count(self) -> u32 {
        self.preemptions.saturating_add(self.standstills)
    }
}

/// What DriverEntry met, apart from what came after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadSide {
    /// How many of the questions of a run were its own: the first ones.
    pub(crate) questions: usize,
    /// Free moments while it ran.
    pub(crate) moments: Moments,
}

/// What a run watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Pages known to be shared.
    pub(crate) pages: Vec<GuestAddr>,
    /// Bytes whose every access is logged.
    pub(crate) logged: Option<(GuestAddr, u32)>,
}

/// What came of watching.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// Pages that several lanes touched.
    pub(crate) pages: Vec<GuestAddr>,
    /// Instructions that touch what several lanes touch and one writes.
    pub(crate) touching: Vec<GuestAddr>,
    /// Accesses to the logged bytes.
    pub(crate) log: Vec<Logged>,
    /// What the logged bytes held at the end of the command with the last of these accesses.
    pub(crate) value: Option<u64>,
}

/// A machine after DriverEntry, ready to be taken back there.
#[derive(Debug)]
pub(crate) struct Loaded {
    machine: Machine,
    snapshot: MachineSnapshot,
    conditions: Conditions,
    blocks_known: BTreeSet<u32>,
    prefixes: Prefixes,
    /// Devices that exist then.
    pub(crate) devices: Vec<DeviceInfo>,
    /// Where the image is.
    pub(crate) image_base: u64,
    /// Entry points that DriverEntry registered, and their offsets.
    pub(crate) entries: Vec<(String, u32)>,
    /// What DriverEntry returned, if it failed.
    pub(crate) load_failure: Option<NtStatus>,
    /// The kernel routine from which that status came, and the offset in the image behind its call.
    pub(crate) load_failed_by: Option<(&'static str, u32)>,
    /// Questions that DriverEntry met.
    pub(crate) questions: Vec<(Question, Origin)>,
    /// How many of each kind, if kinds are those of DriverEntry.
    asked: BTreeMap<u16, u32>,
    /// What chance answered, alike.
    by_chance: Vec<Deviation>,
    /// Free moments while it ran.
    pub(crate) moments: Moments,
    /// Questions of DriverEntry about neighbours: how many of each kind.
    pub(crate) neighbours_asked: Vec<u32>,
}

/// How many questions of each kind about neighbours were asked.
fn neighbours_asked(machine: &Machine) -> Vec<u32> {
    NEIGHBOURS.iter().map(|kind| machine.tape().asked(*kind)).collect()
}

/// How many questions of each kind DriverEntry met, by kinds of its own.
fn of_load(tape: &Tape) -> impl Iterator<Item = (u16, u32)> {
    let asked = tape.asked_by_kind().iter();
    asked.map(|(kind, count)| (kind.saturating_add(machines::OF_LOAD), *count))
}

/// What came of loading.
#[derive(Debug)]
pub(crate) enum LoadResult {
    /// DriverEntry returned.
    Loaded(Box<Loaded>),
    /// The run ended before, and where the image is.
    Ended(Box<RunResult>, u64),
    /// The machine could not even be made.
    Refused(Stopped),
}

/// One second, and then some: what a patient caller waits before it gives up.
const PATIENCE_100NS: u64 = 30_000_000;

/// Makes a machine and calls DriverEntry, with these deviations until it returns.
pub(crate) fn load(
    target: &Target,
    conditions: &Conditions,
    deviations: &[Deviation],
    record: Vec<Seq>,
) -> LoadResult {
    let config = MachineConfig {
        image: Arc::clone(&target.image),
        image_name: target.name.clone(),
        fill: conditions.fill,
        limit_events: conditions.limit_events,
        record,
        trace: false,
        processors: conditions.processors,
        lines: target.lines.clone(),
        tier: conditions.tier,
    };
    let without = conditions.without.clone();
    let options = Options { keep_going: conditions.keep_going, without };
    let verifier = Verifier::new(options, rulebook::monitors());
    let tape = conditions.tape(deviations);
    let mut machine = match Machine::new(config, tape, Box::new(verifier)) {
        Ok(machine) => machine,
        Err(stopped) => return LoadResult::Refused(stopped),
    };
    let image_base = machine.image_base().0;
    match machine.execute(&Command::Load) {
        Ok(reply) => {
            let load_failure = match reply {
                Reply::Done { status, .. } if !status.is_success() => Some(status),
                Reply::Done { .. } | Reply::Pending | Reply::Together(_) | Reply::Sequence(_) => {
                    None
                }
                // DriverEntry waits for something that never comes.
                Reply::Blocked => Some(NtStatus::STATUS_TIMEOUT),
            };
            let is_loaded = load_failure.is_none();
            let load_failed_by = load_failure.and_then(|status| machine.failed_call(status));
            let devices = if is_loaded { machine.devices() } else { Vec::new() };
            let snapshot = machine.capture();
            let entries = machine.coverage().entries;
            let entries = entries.into_iter().map(|(name, rva, _)| (name, rva)).collect();
            let moments = Moments::of(machine.tape());
            let verifier = machine.observer().as_any().downcast_ref::<Verifier>();
            let questions = verifier.map(|v| v.ledgers().questions().to_vec()).unwrap_or_default();
            let neighbours_asked = neighbours_asked(&machine);
            let asked = of_load(machine.tape()).collect();
            let by_chance = machine.tape().by_chance().unwrap_or_default();
            let by_chance = by_chance.into_iter().map(machines::of_load).collect();
            let conditions = conditions.clone();
            let loaded = Loaded {
                machine,
                snapshot,
                conditions,
                blocks_known: BTreeSet::new(),
                prefixes: Prefixes::default(),
                devices,
                image_base,
                entries,
                load_failure,
                load_failed_by,
                questions,
                asked,
                by_chance,
                moments,
                neighbours_asked,
            };
            LoadResult::Loaded(Box::new(loaded))
        }
        Err(stopped) => {
            let mut progress =
                Progress { last_command: Some(Command::Load), ..Progress::default() };
            let result = progress.result(&mut machine, Some(stopped));
            let blocks = machine.coverage().blocks;
            let (questions, moments) = (result.ledgers.questions().len(), result.moments);
            let load = LoadSide { questions, moments };
            let asked = of_load(machine.tape()).collect();
            let by_chance = result.by_chance.into_iter().map(machines::of_load).collect();
            let result =
                RunResult { ended_at_load: true, load, asked, by_chance, blocks, ..result };
            LoadResult::Ended(Box::new(result), image_base)
        }
    }
}

/// A text for what a panic carried.
fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Calls something that works on a machine; a panic in it is our bug, and its message comes back.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever a panic leaves half done is thrown away with the machine.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| panic_text(&*payload))
}

impl Loaded {
    /// Carries out a script from just after DriverEntry.
    pub(crate) fn run(&mut self, script: &Script, deviations: &[Deviation]) -> RunResult {
        self.run_watched(script, deviations, None)
    }

    /// The same, watching who touches which memory.
    pub(crate) fn run_watched(
        &mut self,
        script: &Script,
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> RunResult {
        let Beginning { mut progress, done } = self.begin(script, deviations, watch);
        let stopped = if self.load_failure.is_none() {
            self.carry_out(&mut progress, script, done, deviations).err()
        } else {
            progress.last_command = Some(Command::Load);
            None
        };
        let stopped = stopped.or_else(|| self.machine.finish().err());
        self.prefixes.note_asked(self.machine.tape());
        let ended_at_load = self.load_failure.is_some();
        let blocks = self.new_blocks();
        let load = LoadSide { questions: self.questions.len(), moments: self.moments };
        let mut result = progress.result(&mut self.machine, stopped);
        result.asked.extend(&self.asked);
        if !result.findings.is_empty() {
            result.by_chance.extend(&self.by_chance);
        }
        RunResult { ended_at_load, load, blocks, ..result }
    }

    /// Takes the machine back to where a run can begin.
    fn begin(
        &mut self,
        script: &Script,
        deviations: &[Deviation],
        watch: Option<&Watch>,
    ) -> Beginning {
        let tape = self.conditions.tape(deviations);
        if watch.is_none()
            && self.conditions.schedule == 0
            && let Some(prefix) = self.prefixes.longest(&script.commands, deviations)
        {
            self.machine.restore(&prefix.snapshot, tape.with_asked(prefix.asked.clone()));
            return prefix.beginning();
        }
        self.machine.restore(&self.snapshot, tape);
        let start_events = events_of(&self.machine);
        let mut progress = Progress { start_events, ..Progress::default() };
        if let Some(watch) = watch {
            self.machine.track(watch.pages.clone(), watch.logged);
            progress.watch = watch.clone();
            progress.is_watched = true;
        }
        Beginning { progress, done: 0 }
    }

    /// Carries out the commands that are left, and keeps where other runs may begin.
    fn carry_out(
        &mut self,
        progress: &mut Progress,
        script: &Script,
        done: usize,
        deviations: &[Deviation],
    ) -> Result<(), Stopped> {
        let is_plain = !progress.is_watched && self.conditions.schedule == 0;
        for (index, command) in script.commands.iter().enumerate().skip(done) {
            progress.carry_out(&mut self.machine, command)?;
            let (before, rest) = script.commands.split_at(index + 1);
            let asked = self.machine.tape().asked_by_kind();
            let is_wanted = is_plain && !rest.is_empty();
            if is_wanted && self.prefixes.wants(before, deviations, asked) {
                self.prefixes.keep(before, &mut self.machine, progress);
            }
        }
        Ok(())
    }

    /// Offsets in the image of the blocks that ran for the first time in this machine.
    fn new_blocks(&mut self) -> Vec<u32> {
        let mut blocks = self.machine.coverage().blocks;
        if blocks.len() == self.blocks_known.len() {
            return Vec::new();
        }
        blocks.retain(|block| self.blocks_known.insert(*block));
        blocks
    }
}

/// A run under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    open: BTreeSet<FileRef>,
    decisions: Digest,
    outputs: Digest,
    last_status: Option<NtStatus>,
    last_command: Option<Command>,
    commands: Vec<Option<Command>>,
    watch: Watch,
    is_watched: bool,
    /// Accesses to the logged bytes so far.
    accesses: usize,
    value: Option<u64>,
    asked_at: Vec<BTreeMap<u16, u32>>,
    start_events: u64,
}

impl Progress {
    fn carry_out(&mut self, machine: &mut Machine, command: &Command) -> Result<(), Stopped> {
        self.asked_at.push(machine.tape().asked_by_kind().clone());
        if command.file().is_some_and(|file| !self.open.contains(&file)) {
            return Ok(());
        }
        let reply = self.execute(machine, command)?;
        self.note_files(command, &reply);
        let blocked = blocked_files(command, &reply);
        if !blocked.is_empty() {
            self.execute(machine, &Command::Idle { time_100ns: PATIENCE_100NS })?;
        }
        for file in blocked {
            self.execute(machine, &Command::Cancel { file })?;
        }
        Ok(())
    }

    /// Remembers which files are open.
    fn note_files(&mut self, command: &Command, reply: &Reply) {
        match (command, reply) {
            (Command::Together(commands), Reply::Together(replies))
            | (Command::Sequence(commands), Reply::Sequence(replies)) => {
                for (command, reply) in commands.iter().zip(replies) {
                    self.note_files(command, reply);
                }
            }
            (
                Command::Open { file, .. } | Command::OpenRelative { file, .. },
                Reply::Done { status, .. },
            ) if status.is_success() => {
                self.open.insert(*file);
            }
            (Command::Close { file }, _) => {
                self.open.remove(file);
            }
            _ => {}
        }
    }

    fn execute(&mut self, machine: &mut Machine, command: &Command) -> Result<Reply, Stopped> {
        let reply = self.execute_one(machine, command);
        if let Some((at, size_bytes)) = self.watch.logged {
            let accesses = machine.access_log().len();
            if accesses != self.accesses {
                self.value = machine.peek(at, size_bytes);
            }
            self.accesses = accesses;
        }
        reply
    }

    fn execute_one(&mut self, machine: &mut Machine, command: &Command) -> Result<Reply, Stopped> {
        // Waiting is not what a finding is about.
        if !matches!(command, Command::Idle { .. }) {
            self.last_command = Some(command.clone());
        }
        let reply = machine.execute(command);
        self.note_findings(machine);
        let reply = reply?;
        self.note_reply(command, &reply);
        Ok(reply)
    }

    fn note_reply(&mut self, command: &Command, reply: &Reply) {
        match reply {
            Reply::Together(replies) | Reply::Sequence(replies) => {
                let (Command::Together(commands) | Command::Sequence(commands)) = command else {
                    return;
                };
                for (command, reply) in commands.iter().zip(replies) {
                    self.note_reply(command, reply);
                }
            }
            Reply::Done { status, information, output } => {
                self.decisions.number(u64::from(status.0));
                self.decisions.number(*information);
                self.outputs.bytes(output);
                let is_request = matches!(
                    command,
                    Command::Read { .. } | Command::Write { .. } | Command::DeviceControl { .. }
                );
                if is_request {
                    self.last_status = Some(*status);
                }
            }
            Reply::Pending => self.decisions.number(1 << 40),
            Reply::Blocked => self.decisions.number(2 << 40),
        }
    }

    /// Remembers what was going on when the latest findings were made.
    fn note_findings(&mut self, machine: &mut Machine) {
        let verifier = machine.observer().as_any().downcast_ref::<Verifier>();
        let count = verifier.map_or(0, |verifier| verifier.findings().len());
        self.commands.resize(count.max(self.commands.len()), self.last_command.clone());
    }

    fn result(&mut self, machine: &mut Machine, stopped: Option<Stopped>) -> RunResult {
        self.note_findings(machine);
        let mut decisions = self.decisions;
        if let Some(stopped) = &stopped {
            decisions.bytes(format!("{stopped:?}").as_bytes());
        }
        let verifier = machine.observer().as_any().downcast_ref::<Verifier>();
        let (findings, ledgers): (_, Ledgers) =
            verifier.map(|v| (v.findings().to_vec(), v.ledgers().clone())).unwrap_or_default();
        for finding in &findings {
            decisions.bytes(finding.rule.id.as_bytes());
        }
        let mut outcome = decisions;
        outcome.digest(self.outputs);
        decisions.number(machine.call_digest());
        let by_chance = match findings.is_empty() {
            true => Vec::new(),
            false => machine.tape().by_chance().unwrap_or_default(),
        };
        let threads = u32::try_from(ledgers.threads_entered()).unwrap_or(u32::MAX);
        let lanes = threads.saturating_add(u32::from(machine.processors()));
        RunResult {
            stopped,
            by_chance,
            asked_at: std::mem::take(&mut self.asked_at),
            asked: machine.tape().asked_by_kind().clone(),
            findings,
            ledgers,
            decisions,
            outcome,
            recorded: machine.recorded(),
            commands: std::mem::take(&mut self.commands),
            last_status: self.last_status,
            watched: self.watched(machine),
            neighbours_asked: neighbours_asked(machine),
            ended_at_load: false,
            load: LoadSide::default(),
            calls: machine.call_digest(),
            moments: Moments::of(machine.tape()),
            lanes,
            events: events_of(machine).saturating_sub(self.start_events),
            blocks: Vec::new(),
        }
    }
}

/// Work beside its events that is no matter in a run, and what stands for an event of what is more:
/// runs that only move memory must not take hours together.
const FREE_EFFORT: u64 = 1 << 26;
const EFFORT_OF_EVENT: u64 = 64;

/// The events of a machine, for the budget.
fn events_of(machine: &Machine) -> u64 {
    let hard = machine.effort().saturating_sub(FREE_EFFORT) / EFFORT_OF_EVENT;
    machine.clock_events().saturating_add(hard)
}

impl Progress {
    fn watched(&self, machine: &Machine) -> Watched {
        let log = machine.access_log();
        // What the end of the run did to the bytes is not known.
        let value = self.value.filter(|_| log.len() == self.accesses);
        let touching = machine.sharing_instructions();
        Watched { pages: machine.shared_pages(), touching, log, value }
    }
}

/// The files whose callers wait in vain.
fn blocked_files(command: &Command, reply: &Reply) -> Vec<FileRef> {
    match (command, reply) {
        (Command::Together(commands), Reply::Together(replies))
        | (Command::Sequence(commands), Reply::Sequence(replies)) => {
            let each = commands.iter().zip(replies);
            each.flat_map(|(command, reply)| blocked_files(command, reply)).collect()
        }
        (command, Reply::Blocked) => command.file().into_iter().collect(),
        _ => Vec::new(),
    }
}
