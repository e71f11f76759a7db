//! Carries out one run.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::{Deviation, Tape};
use events::{Origin, Seq};
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
    pub(crate) limit_events: u64,
    pub(crate) keep_going: bool,
    pub(crate) without: Vec<&'static Rule>,
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
    /// Those, and the data that the caller got.
    pub(crate) outcome: Digest,
    /// Stacks of the moments asked for.
    pub(crate) recorded: Vec<(Origin, Vec<StackFrame>)>,
    /// What the outside world did when each finding was made.
    pub(crate) commands: Vec<Option<Command>>,
    /// What the last request came to.
    pub(crate) last_status: Option<NtStatus>,
}

/// A machine after DriverEntry, ready to be taken back there.
#[derive(Debug)]
pub(crate) struct Loaded {
    machine: Machine,
    snapshot: MachineSnapshot,
    /// Devices that exist then.
    pub(crate) devices: Vec<DeviceInfo>,
    /// Where the image is.
    pub(crate) image_base: u64,
    /// Entry points that DriverEntry registered, and their offsets.
    pub(crate) entries: Vec<(String, u32)>,
    /// What DriverEntry returned, if it failed.
    pub(crate) load_failure: Option<NtStatus>,
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

/// Makes a machine and calls DriverEntry. Deviations count from there on.
pub(crate) fn load(target: &Target, conditions: &Conditions, record: Vec<Seq>) -> LoadResult {
    let config = MachineConfig {
        image: Arc::clone(&target.image),
        image_name: target.name.clone(),
        fill: conditions.fill,
        limit_events: conditions.limit_events,
        record,
        trace: false,
    };
    let without = conditions.without.clone();
    let options = Options { keep_going: conditions.keep_going, without };
    let verifier = Verifier::new(options, rulebook::monitors());
    let mut machine = match Machine::new(config, Tape::default(), Box::new(verifier)) {
        Ok(machine) => machine,
        Err(stopped) => return LoadResult::Refused(stopped),
    };
    let image_base = machine.image_base().0;
    match machine.execute(&Command::Load) {
        Ok(reply) => {
            let load_failure = match reply {
                Reply::Done { status, .. } if !status.is_success() => Some(status),
                Reply::Done { .. } | Reply::Pending => None,
                // DriverEntry waits for something that never comes.
                Reply::Blocked => Some(NtStatus::STATUS_TIMEOUT),
            };
            let is_loaded = load_failure.is_none();
            let devices = if is_loaded { machine.devices() } else { Vec::new() };
            let snapshot = machine.capture();
            let entries = machine.coverage().entries;
            let entries = entries.into_iter().map(|(name, rva, _)| (name, rva)).collect();
            let loaded = Loaded { machine, snapshot, devices, image_base, entries, load_failure };
            LoadResult::Loaded(Box::new(loaded))
        }
        Err(stopped) => {
            let mut progress =
                Progress { last_command: Some(Command::Load), ..Progress::default() };
            let result = progress.result(&mut machine, Some(stopped));
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
        self.machine.restore(&self.snapshot, Tape::new(deviations.iter().copied()));
        let mut progress = Progress::default();
        let stopped = if self.load_failure.is_none() {
            progress.carry_out(&mut self.machine, &script.commands).err()
        } else {
            progress.last_command = Some(Command::Load);
            None
        };
        let stopped = stopped.or_else(|| self.machine.finish().err());
        progress.result(&mut self.machine, stopped)
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
}

impl Progress {
    fn carry_out(&mut self, machine: &mut Machine, commands: &[Command]) -> Result<(), Stopped> {
        for command in commands {
            if file_of(command).is_some_and(|file| !self.open.contains(&file)) {
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
            if reply == Reply::Blocked
                && let Some(file) = file_of(command)
            {
                self.execute(machine, &Command::Idle { time_100ns: PATIENCE_100NS })?;
                self.execute(machine, &Command::Cancel { file })?;
            }
        }
        Ok(())
    }

    fn execute(&mut self, machine: &mut Machine, command: &Command) -> Result<Reply, Stopped> {
        // Waiting is not what a finding is about.
        if !matches!(command, Command::Idle { .. }) {
            self.last_command = Some(command.clone());
        }
        let reply = machine.execute(command);
        self.note_findings(machine);
        let reply = reply?;
        match &reply {
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
        Ok(reply)
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
        decisions.number(machine.call_digest());
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
        RunResult {
            stopped,
            findings,
            ledgers,
            decisions,
            outcome,
            recorded: machine.recorded(),
            commands: std::mem::take(&mut self.commands),
            last_status: self.last_status,
        }
    }
}

/// The file that a command needs to be open.
fn file_of(command: &Command) -> Option<FileRef> {
    match command {
        Command::Close { file }
        | Command::Read { file, .. }
        | Command::Write { file, .. }
        | Command::DeviceControl { file, .. }
        | Command::Cancel { file } => Some(*file),
        Command::Load
        | Command::Unload
        | Command::Open { .. }
        | Command::Idle { .. }
        | Command::Shutdown => None,
    }
}
