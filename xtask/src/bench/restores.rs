//! What a run from a snapshot costs: restore, then a request of about 300 instructions that touches
//! 32 KiB, again and again on one processor of the host.
//!
//! Twice: the engine with its memory alone, and a whole machine with every rule listening, where
//! the request is a command with its IRP, dispatch routine and completion.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Result, anyhow, ensure};
use choice_tape::Tape;
use pe_image::Image;
use system::{
    BufferSpec, CallMode, Command, FileRef, Machine, MachineConfig, Reply, Stopped, Tier,
};
use verifier::{Options, Verifier};

use super::{guest, shortest};
use crate::{
    repo,
    toolchain::{CToolchain, Source},
};

/// Rounds per second that exploration wants.
const GOAL: f64 = 100_000.0;
/// Measurements of which the shortest counts: other work on the host makes single ones long.
const SAMPLES: usize = 20;
/// Rounds that are timed together.
const ENGINE_ROUNDS: u32 = 20_000;
const MACHINE_ROUNDS: u32 = 2000;
/// Instructions that a request has at least.
const INSTRUCTIONS: u32 = 300;

/// `GENERIC_READ | GENERIC_WRITE`, and both shared.
const ACCESS: u32 = 0xc000_0000;
const SHARE: u32 = 3;
const CODE: u32 = 0x22_2000;
const FILE: FileRef = FileRef(1);

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(super) fn run() -> Result<()> {
    println!("restore + request, 32 KiB touched (goal: at least {GOAL:.0} rounds per second)");
    for (name, what) in [
        ("restore_spots", "engine and memory, a word in each KiB"),
        ("restore_fill", "engine and memory, every byte"),
    ] {
        let image = Image::parse(&fs::read(super::build(name)?)?)?;
        let mut kernel = guest::Kernel::load(&image)?;
        let instructions = kernel.count_instructions()?;
        ensure!(instructions >= INSTRUCTIONS, "{name}: {instructions} instructions");
        print(&format!("{what}, {instructions} instructions"), engine(&mut kernel)?);
    }
    print("whole machine, every rule listening", machine()?);
    Ok(())
}

/// Prints a row: time of a round, and of the request alone.
#[expect(clippy::print_stdout, reason = "the result of the command")]
fn print(what: &str, (round, request): (Duration, Duration)) {
    let per_second = 1.0 / round.as_secs_f64();
    let ratio = round.as_secs_f64() / request.as_secs_f64();
    println!("  {what}: {per_second:.0} per second, {ratio:.2} times the request alone");
}

fn engine(kernel: &mut guest::Kernel) -> Result<(Duration, Duration)> {
    let snapshot = kernel.capture();
    let expected = kernel.run()?;
    let round = shortest(SAMPLES, || {
        for _ in 0..ENGINE_ROUNDS {
            kernel.restore(&snapshot);
            ensure!(kernel.run()? == expected, "a round is not like the first");
        }
        Ok(())
    })?;
    let request = shortest(SAMPLES, || {
        for _ in 0..ENGINE_ROUNDS {
            kernel.run()?;
        }
        Ok(())
    })?;
    Ok((round / ENGINE_ROUNDS, request / ENGINE_ROUNDS))
}

fn machine() -> Result<(Duration, Duration)> {
    let source = Source::read(&repo::root().join("tests/machine/restore.c"))?;
    let built = CToolchain::locate()?.build(&source)?;
    let config = MachineConfig {
        image: Arc::new(Image::parse(&fs::read(&built.sys)?)?),
        image_name: "restore.sys".to_owned(),
        fill: 0xa5,
        limit_events: 1 << 40,
        record: Vec::new(),
        trace: false,
        processors: 1,
        lines: Vec::new(),
        tier: Tier::Interpreter,
    };
    let stopped = |stopped: Stopped| anyhow!("{stopped:?}");
    let rules = Box::new(Verifier::new(Options::default(), rulebook::monitors()));
    let mut machine = Machine::new(config, Tape::default(), rules).map_err(stopped)?;
    machine.execute(&Command::Load).map_err(stopped)?;
    let (path, mode) = (r"\??\Ui".to_owned(), CallMode::Synchronous);
    let open = Command::Open { file: FILE, path, access: ACCESS, share: SHARE, mode };
    machine.execute(&open).map_err(stopped)?;
    let none = BufferSpec::Null { length_bytes: 0 };
    let (input, output) = (none.clone(), none);
    let request = Command::DeviceControl { file: FILE, code: CODE, input, output };
    let snapshot = machine.capture();
    let expected = machine.execute(&request).map_err(stopped)?;
    let is_done = matches!(&expected, Reply::Done { status, .. } if status.is_success());
    ensure!(is_done, "the request fails: {expected:?}");
    let round = shortest(SAMPLES, || {
        for _ in 0..MACHINE_ROUNDS {
            machine.restore(&snapshot, Tape::default());
            let reply = machine.execute(&request).map_err(stopped)?;
            ensure!(reply == expected, "a round is not like the first");
        }
        Ok(())
    })?;
    // Requests one after the other in one run: each leaves something behind that later ones carry.
    let request = shortest(SAMPLES, || {
        machine.restore(&snapshot, Tape::default());
        for _ in 0..MACHINE_ROUNDS {
            machine.execute(&request).map_err(stopped)?;
        }
        Ok(())
    })?;
    Ok((round / MACHINE_ROUNDS, request / MACHINE_ROUNDS))
}
