//! What scheduling and race detection cost, as ratios to the interpreter with one thread.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Result, anyhow, ensure};
use choice_tape::Tape;
use events::Silent;
use guest_memory::GuestAddr;
use pe_image::Image;
use system::{BufferSpec, CallMode, Command, FileRef, Machine, MachineConfig, Reply, Tier};

use super::{SAMPLES, guest, native, shortest};
use crate::{
    repo,
    toolchain::{CToolchain, Source},
};

/// Kernel of two lanes that share nothing.
const ALONE: &str = "hash_walk";
/// What code that shares nothing may cost.
const GOAL_ALONE: f64 = 2.0;
/// What two callers on one list may cost.
const GOAL_SHARED: f64 = 10.0;

/// `GENERIC_READ | GENERIC_WRITE`, and both shared.
const ACCESS: u32 = 0xc000_0000;
const SHARE: u32 = 3;
const CODE: u32 = 0x22_2000;

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(super) fn run() -> Result<()> {
    let alone = ratio_alone()?;
    println!("scheduling and race detection, nothing shared: {alone:.2} (goal: {GOAL_ALONE})");
    let shared = ratio_shared()?;
    println!("the same, two callers on one locked list: {shared:.2} (goal: {GOAL_SHARED})");
    Ok(())
}

fn ratio_alone() -> Result<f64> {
    let file = super::build(ALONE)?;
    let image = Image::parse(&fs::read(&file)?)?;
    let mut plain = guest::Kernel::load(&image)?;
    let mut turns = guest::Kernel::load(&image)?;
    turns.run_in_turns()?;
    let single = shortest(SAMPLES, || plain.run().map(drop))?;
    let together = shortest(SAMPLES, || turns.run_in_turns())?;
    Ok(together.as_secs_f64() / (2.0 * single.as_secs_f64()))
}

fn ratio_shared() -> Result<f64> {
    let source = Source::read(&repo::root().join("tests/machine/shared_list.c"))?;
    let built = CToolchain::locate()?.build(&source)?;
    let image = Arc::new(Image::parse(&fs::read(&built.sys)?)?);
    let mut pages = Vec::new();
    let mut best = [Duration::MAX; 2];
    for _ in 0..3 {
        let (time, _) = requests(&image, 1, None)?;
        best[0] = best[0].min(time);
        let (time, shared) = requests(&image, 2, Some(pages.clone()))?;
        ensure!(!shared.is_empty(), "the list is not seen as shared");
        // The first round only finds out what is shared.
        if !pages.is_empty() {
            best[1] = best[1].min(time);
        }
        pages = shared;
    }
    Ok(best[1].as_secs_f64() / best[0].as_secs_f64())
}

/// Two requests: one after the other on one processor, or together on two.
fn requests(
    image: &Arc<Image>,
    processors: u8,
    track: Option<Vec<GuestAddr>>,
) -> Result<(Duration, Vec<GuestAddr>)> {
    let config = MachineConfig {
        image: Arc::clone(image),
        image_name: "shared_list.sys".to_owned(),
        fill: 0xa5,
        limit_events: 1 << 40,
        record: Vec::new(),
        trace: false,
        processors,
        lines: Vec::new(),
        tier: Tier::Interpreter,
    };
    let stopped = |stopped: system::Stopped| anyhow!("{stopped:?}");
    let mut machine = Machine::new(config, Tape::default(), Box::new(Silent)).map_err(stopped)?;
    machine.execute(&Command::Load).map_err(stopped)?;
    let files = [FileRef(1), FileRef(2)];
    for file in files {
        let path = r"\??\Ui".to_owned();
        let mode = CallMode::Synchronous;
        let open = Command::Open { file, path, access: ACCESS, share: SHARE, mode };
        machine.execute(&open).map_err(stopped)?;
    }
    let none = BufferSpec::Null { length_bytes: 0 };
    let request = |file| Command::DeviceControl {
        file,
        code: CODE,
        input: none.clone(),
        output: none.clone(),
    };
    let list = files.map(request).to_vec();
    let commands = match track {
        Some(pages) => {
            machine.track(pages, None);
            vec![Command::Together(list)]
        }
        None => list,
    };
    let start = native::thread_time();
    for command in &commands {
        let reply = machine.execute(command).map_err(stopped)?;
        ensure!(reply != Reply::Blocked, "a request does not end");
    }
    Ok((native::thread_time().saturating_sub(start), machine.shared_pages()))
}
