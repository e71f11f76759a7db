//! One friendly run: load, open and close each device, unload.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::Tape;
use events::Silent;
use serde::{Deserialize, Serialize};
use system::{
    CallMode, Command, FileRef, MAX_PROCESSORS, Machine, MachineConfig, Reply, Stopped, Tier,
};

use crate::{Driver, Outcome, check};

/// What a friendly run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FriendlyRun {
    /// Lines the driver printed.
    pub debug_output: Vec<String>,
    /// One line per step, if asked for.
    pub trace: Vec<String>,
    /// What the commands came to.
    pub replies: Vec<String>,
    /// Why the run ended early, and what that counts as.
    pub stopped: Option<(String, Outcome)>,
}

/// How a friendly run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FriendlyOptions {
    /// Bound on its events.
    pub limit_events: u64,
    /// Whether a line per step is kept.
    pub with_trace: bool,
    /// Processors of the machine, 1 to [`MAX_PROCESSORS`].
    pub processors: u8,
    /// Decides what undefined memory holds and, unless 0, who runs when.
    pub seed: u64,
    /// The engine; what is shown does not depend on it.
    pub engine: Tier,
}

impl Default for FriendlyOptions {
    fn default() -> Self {
        Self {
            limit_events: crate::DEFAULT_LIMIT_EVENTS,
            with_trace: false,
            processors: crate::DEFAULT_PROCESSORS,
            seed: 0,
            engine: Tier::Interpreter,
        }
    }
}

/// Runs a driver once. Nothing is judged. `Err`: one sentence about the file or the options.
pub fn run_friendly(driver: &Driver, options: &FriendlyOptions) -> Result<FriendlyRun, String> {
    let FriendlyOptions { limit_events, with_trace, processors, seed, engine } = *options;
    check::number("events", limit_events, u64::MAX)?;
    check::number("processors", u64::from(processors), u64::from(MAX_PROCESSORS))?;
    check::prepare(engine)?;
    let target = check::target(driver)?;
    let [lowest, ..] = seed.to_le_bytes();
    let config = MachineConfig {
        image: Arc::clone(&target.image),
        image_name: target.name.clone(),
        fill: crate::FILL.wrapping_add(lowest),
        limit_events,
        record: Vec::new(),
        processors,
        lines: Vec::new(),
        trace: with_trace,
        tier: engine,
    };
    let mut shown = FriendlyRun::default();
    // A panic in a run is our bug; what was shown before it is kept.
    let run = AssertUnwindSafe(|| run(config, events::tape_of(&[], seed), &mut shown));
    if catch_unwind(run).is_err() {
        shown.stopped = Some(("internal error: a panic".to_owned(), Outcome::InternalError));
    }
    Ok(shown)
}

fn run(config: MachineConfig, tape: Tape, shown: &mut FriendlyRun) {
    let mut machine = match Machine::new(config, tape, Box::new(Silent)) {
        Ok(machine) => machine,
        Err(stopped) => {
            shown.stopped = Some(in_words(&stopped));
            return;
        }
    };
    if let Err(stopped) = carry_out(&mut machine, shown) {
        shown.stopped = Some(in_words(&stopped));
    }
    shown.debug_output = machine.debug_output().to_vec();
    let line = |line: &system::TraceLine| format!("{:>8}  {}", line.clock_events, line.text);
    shown.trace = machine.trace().iter().map(line).collect();
}

fn carry_out(machine: &mut Machine, shown: &mut FriendlyRun) -> Result<(), Stopped> {
    let mut execute = |machine: &mut Machine, about: String, command: Command| {
        let reply = machine.execute(&command)?;
        shown.replies.push(match &reply {
            Reply::Done { status, .. } => format!("{about}: {status}"),
            Reply::Pending => format!("{about}: pending"),
            Reply::Blocked => format!("{about}: does not return"),
            Reply::Together(_) | Reply::Sequence(_) => format!("{about}: several replies"),
        });
        Ok(matches!(reply, Reply::Done { status, .. } if status.is_success()))
    };
    if execute(machine, "load".to_owned(), Command::Load)? {
        for (index, device) in (1..).zip(machine.devices()) {
            let path = device.links.into_iter().next().unwrap_or(device.name);
            if path.is_empty() {
                continue;
            }
            let file = FileRef(index);
            let mode = CallMode::Synchronous;
            let (access, share) = (GENERIC_READ_WRITE, SHARE_READ_WRITE);
            let open = Command::Open { file, path: path.clone(), access, share, mode };
            if execute(machine, format!("open of {path}"), open)? {
                execute(machine, format!("close of {path}"), Command::Close { file })?;
            }
        }
        execute(machine, "unload".to_owned(), Command::Unload)?;
    }
    machine.finish()
}

/// `GENERIC_READ | GENERIC_WRITE`.
const GENERIC_READ_WRITE: u32 = 0xc000_0000;
/// `FILE_SHARE_READ | FILE_SHARE_WRITE`.
const SHARE_READ_WRITE: u32 = 3;

fn in_words(stopped: &Stopped) -> (String, Outcome) {
    match stopped {
        // Nobody listens, so the driver itself met something that cannot go on.
        Stopped::Violation => {
            let text = "the driver broke a rule; `bugcheck check` says which".to_owned();
            (text, Outcome::Findings)
        }
        Stopped::BugCheck { code, parameters: [a, b, c, d] } => {
            (format!("bug check {code:#04X} ({a:#x}, {b:#x}, {c:#x}, {d:#x})"), Outcome::Findings)
        }
        Stopped::Unsupported { feature } => {
            (format!("`{feature}` is not modelled"), Outcome::Unsupported)
        }
        Stopped::Limit { what } => {
            (format!("the run reached its bound of {what}"), Outcome::LimitReached)
        }
    }
}
