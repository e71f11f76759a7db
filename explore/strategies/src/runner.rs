//! Carries out one run.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::{Deviation, Tape};
use events::{MayFail, Origin, Seq, random_schedule};
use guest_memory::{GuestAddr, Logged};
use nt_abi::NtStatus;
use system::{
    Command, Coverage, DeviceInfo, FileRef, Machine, MachineConfig, MachineSnapshot, Reply,
    StackFrame, Stopped,
};
use verifier::{Ledgers, Options, RawFinding, Rule, Verifier};
use workloads::Script;

use crate::{Target, digest::Digest};

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
}

impl Conditions {
    fn tape(&self, deviations: &[Deviation]) -> Tape {
        let tape = Tape::new(deviations.iter().copied());
        if self.schedule == 0 { tape } else { tape.with_chance(random_schedule(self.schedule)) }
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
    /// True if DriverEntry failed, or was not survived.
    pub(crate) ended_at_load: bool,
}

/// In which order the requests of [`Command::Together`] go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Together.
    #[default]
    Together,
    /// One after the other.
    InOrder,
    /// One after the other, the last one first.
    Reversed,
}

/// What a run watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) callers: Callers,
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
    /// Accesses to the logged bytes.
    pub(crate) log: Vec<Logged>,
    /// What the logged bytes held when requests that were under way together had ended.
    pub(crate) value: Option<u64>,
}

/// A machine after DriverEntry, ready to be taken back there.
#[derive(Debug)]
pub(crate) struct Loaded {
    machine: Machine,
    snapshot: MachineSnapshot,
    conditions: Conditions,
    /// Devices that exist then.
    pub(crate) devices: Vec<DeviceInfo>,
    /// Where the image is.
    pub(crate) image_base: u64,
    /// Entry points that DriverEntry registered, and their offsets.
    pub(crate) entries: Vec<(String, u32)>,
    /// What DriverEntry returned, if it failed.
    pub(crate) load_failure: Option<NtStatus>,
    /// Requests of DriverEntry that may fail.
    pub(crate) requests: Vec<(MayFail, Origin)>,
}

/// What came of loading.
#[derive(Debug)]
pub(crate) enum LoadResult {
    /// DriverEntry returned.
    Loaded(Box<Loaded>),
    /// The run ended before, and where the image is.
    Ended(Box<RunResult>, u64, Coverage),
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
                Reply::Done { .. } | Reply::Pending | Reply::Together(_) => None,
                // DriverEntry waits for something that never comes.
                Reply::Blocked => Some(NtStatus::STATUS_TIMEOUT),
            };
            let is_loaded = load_failure.is_none();
            let devices = if is_loaded { machine.devices() } else { Vec::new() };
            let snapshot = machine.capture();
            let entries = machine.coverage().entries;
            let entries = entries.into_iter().map(|(name, rva, _)| (name, rva)).collect();
            let verifier = machine.observer().as_any().downcast_ref::<Verifier>();
            let requests = verifier.map(|v| v.ledgers().may_fail().to_vec()).unwrap_or_default();
            let conditions = conditions.clone();
            let loaded = Loaded {
                machine,
                snapshot,
                conditions,
                devices,
                image_base,
                entries,
                load_failure,
                requests,
            };
            LoadResult::Loaded(Box::new(loaded))
        }
        Err(stopped) => {
            let mut progress =
                Progress { last_command: Some(Command::Load), ..Progress::default() };
            let result = progress.result(&mut machine, Some(stopped));
            let result = RunResult { ended_at_load: true, ..result };
            LoadResult::Ended(Box::new(result), image_base, machine.coverage())
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
    /// Offsets in the image of the blocks that ran, in all runs of this machine.
    pub(crate) fn blocks_reached(&self) -> Vec<u32> {
        self.machine.coverage().blocks
    }

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
        self.machine.restore(&self.snapshot, self.conditions.tape(deviations));
        let mut progress = Progress::default();
        if let Some(watch) = watch {
            self.machine.track(watch.pages.clone(), watch.logged);
            progress.watch = watch.clone();
        }
        let stopped = if self.load_failure.is_none() {
            progress.carry_out(&mut self.machine, &script.commands).err()
        } else {
            progress.last_command = Some(Command::Load);
            None
        };
        let stopped = stopped.or_else(|| self.machine.finish().err());
        let ended_at_load = self.load_failure.is_some();
        RunResult { ended_at_load, ..progress.result(&mut self.machine, stopped) }
    }
}

/// A run under way.
#[derive(Debug, Default)]
struct Progress {
    open: BTreeSet<FileRef>,
    decisions: Digest,
    outputs: Digest,
    last_status: Option<NtStatus>,
    last_command: Option<Command>,
    commands: Vec<Option<Command>>,
    watch: Watch,
    value: Option<u64>,
}

impl Progress {
    fn carry_out(&mut self, machine: &mut Machine, commands: &[Command]) -> Result<(), Stopped> {
        for command in commands {
            if command.file().is_some_and(|file| !self.open.contains(&file)) {
                continue;
            }
            let reply = self.execute(machine, command)?;
            match (command, &reply) {
                (Command::Open { file, .. }, Reply::Done { status, .. }) if status.is_success() => {
                    self.open.insert(*file);
                }
                (Command::Close { file }, _) => {
                    self.open.remove(file);
                }
                _ => {}
            }
            let blocked = blocked_files(command, &reply);
            if !blocked.is_empty() {
                self.execute(machine, &Command::Idle { time_100ns: PATIENCE_100NS })?;
            }
            for file in blocked {
                self.execute(machine, &Command::Cancel { file })?;
            }
        }
        Ok(())
    }

    fn execute(&mut self, machine: &mut Machine, command: &Command) -> Result<Reply, Stopped> {
        let Command::Together(list) = command else { return self.execute_one(machine, command) };
        let mut reply = Reply::Pending;
        match self.watch.callers {
            Callers::Together => reply = self.execute_one(machine, command)?,
            Callers::InOrder => {
                for command in list {
                    reply = self.execute_one(machine, command)?;
                }
            }
            Callers::Reversed => {
                for command in list.iter().rev() {
                    reply = self.execute_one(machine, command)?;
                }
            }
        }
        let logged = self.watch.logged;
        self.value = logged.and_then(|(at, size_bytes)| machine.peek(at, size_bytes));
        Ok(reply)
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
            Reply::Together(replies) => {
                let Command::Together(commands) = command else { return };
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
        let (findings, ledgers) =
            verifier.map(|v| (v.findings().to_vec(), v.ledgers().clone())).unwrap_or_default();
        for finding in &findings {
            decisions.bytes(finding.rule.id.as_bytes());
        }
        let mut outcome = decisions;
        outcome.digest(self.outputs);
        decisions.number(machine.call_digest());
        RunResult {
            stopped,
            findings,
            ledgers,
            decisions,
            outcome,
            recorded: machine.recorded(),
            commands: std::mem::take(&mut self.commands),
            last_status: self.last_status,
            watched: Watched {
                pages: machine.shared_pages(),
                log: machine.access_log(),
                value: self.value,
            },
            ended_at_load: false,
        }
    }
}

/// The files whose callers wait in vain.
fn blocked_files(command: &Command, reply: &Reply) -> Vec<FileRef> {
    match (command, reply) {
        (Command::Together(commands), Reply::Together(replies)) => {
            let each = commands.iter().zip(replies);
            each.flat_map(|(command, reply)| blocked_files(command, reply)).collect()
        }
        // Requests that go one after the other: any of them may be the one that waits.
        (Command::Together(commands), Reply::Blocked) => {
            commands.iter().filter_map(Command::file).collect()
        }
        (command, Reply::Blocked) => command.file().into_iter().collect(),
        _ => Vec::new(),
    }
}
