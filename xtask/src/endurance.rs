//! `cargo xtask endurance`: a driver whose threads, DPC and work item take turns every 100
//! instructions, for ten million instructions, twice: both runs must report the same events, byte
//! for byte.

use std::{any::Any, fs, io::Write as _, sync::Arc};

use anyhow::{Context as _, Result, anyhow, ensure};
use choice_tape::Tape;
use events::{Event, Observer, Origin, TURN_LENGTH, Verdict};
use pe_image::Image;
use system::{Command, Machine, MachineConfig, Tier};

use crate::{
    repo,
    toolchain::{CToolchain, Source},
};

/// Guest instructions of a run, at least.
const INSTRUCTIONS: u64 = 10_000_000;
/// Of each turn.
const TURN_INSTRUCTIONS: u32 = 100;
/// Bound on the event clock; the instructions above are far fewer events.
const LIMIT_EVENTS: u64 = 1 << 32;
/// Time that passes between two looks at the number of instructions.
const REST_100NS: u64 = 10_000;

/// Writes down every event.
#[derive(Clone, Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    events: u64,
}

impl Observer for Log {
    fn observe(&mut self, origin: &Origin, event: &Event) -> Verdict {
        self.events += 1;
        // A vector takes everything that is written to it.
        let _ = writeln!(self.bytes, "{origin:?} {event:?}");
        Verdict::Continue
    }

    fn capture(&mut self) -> Box<dyn Any + Send> {
        Box::new(self.clone())
    }

    fn restore(&mut self, copy: &(dyn Any + Send)) {
        self.clone_from(copy.downcast_ref().expect("a copy of its own"));
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(crate) fn run() -> Result<()> {
    let source = Source::read(&repo::root().join("tests/machine/busy.c"))?;
    let built = CToolchain::locate()?.build(&source)?;
    let image = Arc::new(Image::parse(&fs::read(&built.sys)?)?);
    let (first, instructions, turns) = one(&image)?;
    let (second, ..) = one(&image)?;
    ensure!(first.bytes == second.bytes, "two equal runs report different events");
    ensure!(first.events > 1000, "only {} events", first.events);
    println!(
        "endurance: {instructions} instructions in {turns} turns, {} events, twice the same \
         {} bytes",
        first.events,
        first.bytes.len()
    );
    Ok(())
}

fn one(image: &Arc<Image>) -> Result<(Log, u64, u32)> {
    let config = MachineConfig {
        image: Arc::clone(image),
        image_name: "busy.sys".to_owned(),
        fill: 0xa5,
        limit_events: LIMIT_EVENTS,
        record: Vec::new(),
        trace: false,
        processors: 2,
        lines: Vec::new(),
        tier: Tier::Interpreter,
    };
    let tape = Tape::default().with_constant(TURN_LENGTH, TURN_INSTRUCTIONS);
    let machine = Machine::new(config, tape, Box::new(Log::default()));
    let mut machine = machine.map_err(|stopped| anyhow!("{stopped:?}"))?;
    let execute = |machine: &mut Machine, command: Command| {
        machine.execute(&command).map_err(|stopped| anyhow!("{command:?}: {stopped:?}"))
    };
    execute(&mut machine, Command::Load)?;
    while machine.counted_instructions() < INSTRUCTIONS {
        let before = machine.counted_instructions();
        execute(&mut machine, Command::Idle { time_100ns: REST_100NS })?;
        ensure!(machine.counted_instructions() > before, "the threads do not run");
    }
    let (instructions, turns) = (machine.counted_instructions(), machine.tape().asked(TURN_LENGTH));
    execute(&mut machine, Command::Unload)?;
    let log = machine.observer().as_any().downcast_ref::<Log>().context("the log was set")?;
    Ok((log.clone(), instructions, turns))
}
