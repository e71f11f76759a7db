//! One friendly run: load, open and close each device, unload.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use choice_tape::Tape;
use events::Silent;
use system::{CallMode, Command, FileRef, Machine, MachineConfig, Reply, Stopped};

use crate::{Driver, Outcome, check};

/// What a friendly run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// Runs a driver once. Nothing is judged. `Err`: one sentence about the file.
pub fn run_friendly(
    driver: &Driver,
    limit_events: u64,
    with_trace: bool,
) -> Result<FriendlyRun, String> {
    let target = check::target(driver)?;
    let config = MachineConfig {
        image: Arc::clone(&target.image),
        image_name: target.name.clone(),
        fill: crate::FILL,
        limit_events,
        record: Vec::new(),
        processors: crate::DEFAULT_PROCESSORS,
        lines: Vec::new(),
        trace: with_trace,
    };
    let mut shown = FriendlyRun::default();
    // A panic in a run is our bug; what was shown before it is kept.
    let run = AssertUnwindSafe(|| run(config, &mut shown));
    if catch_unwind(run).is_err() {
        shown.stopped = Some(("internal error: a panic".to_owned(), Outcome::InternalError));
    }
    Ok(shown)
}

fn run(config: MachineConfig, shown: &mut FriendlyRun) {
    let mut machine = match Machine::new(config, Tape::default(), Box::new(Silent)) {
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
            Reply::Together(_) => format!("{about}: several replies"),
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
        Stopped::Limit { what } => (what.clone(), Outcome::LimitReached),
    }
}
