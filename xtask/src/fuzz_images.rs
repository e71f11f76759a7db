//! `cargo xtask fuzz-images`: damaged images and debug files must be answered, never believed.
//!
//! Each case comes from the seed and its number alone. A case fails if it panics or takes too long;
//! all cases run in a process with an address-space limit, so that a reader which reserves what a
//! damaged number asks for fails too.

mod exercise;
pub(crate) mod mutate;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pe_image::{
    Image, PdbIdentity,
    builder::{self, CODE, ImageBuilder},
    debug_info::DebugInfo,
};

use self::{exercise::Answer, mutate::Random};
use crate::repo;

/// What one case may take; the slowest takes a hundredth of that on an idle machine.
const CASE_LIMIT: Duration = Duration::from_secs(30);

/// Address space of the process. An image and a moved copy of it take 512 MiB at most.
const MEMORY_LIMIT_KIB: u32 = 2 << 20;

/// Options of `fuzz-images`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Damaged images to try, and as many damaged debug files.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Seed of the damage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First case of each kind.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// A folder with more originals: images, PDBs, images with DWARF.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Runs the cases in this process, which has its limits already.
    #[arg(long, hide = true)]
    inside_limits: bool,
}

/// Tries all cases and prints counts; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.inside_limits || !cfg!(target_os = "linux") {
        return run_cases(args);
    }
    let status = restart_with_limits(args)?;
    if !status.success() {
        bail!("damaged files were not answered ({status})");
    }
    Ok(())
}

/// A process cannot safely limit itself from here; the shell can, before it becomes the process.
fn restart_with_limits(args: &Args) -> Result<ExitStatus> {
    let program = env::current_exe().context("this program has no path")?;
    let mut command = Command::new("sh");
    let script = format!("ulimit -v {MEMORY_LIMIT_KIB} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(program).args(["fuzz-images", "--inside-limits"]);
    for (option, value) in [("--count", args.count), ("--seed", args.seed), ("--first", args.first)]
    {
        command.arg(option).arg(value.to_string());
    }
    if let Some(folder) = &args.from {
        command.arg("--from").arg(folder);
    }
    command.status().context("cannot start a shell")
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Image,
    Companion,
}

/// A file that is good before it is damaged.
#[derive(Debug)]
struct Original {
    name: String,
    bytes: Vec<u8>,
}

/// The result of one case.
struct Outcome {
    kind: Kind,
    number: u64,
    /// The file that was damaged, and the answer; none if it panicked.
    original: String,
    answer: Option<Answer>,
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn run_cases(args: &Args) -> Result<()> {
    let (images, companions) = originals(args.from.as_deref())?;
    println!("originals: {} images, {} debug files", images.len(), companions.len());
    let (send, receive) = mpsc::channel();
    let (count, seed, first) = (args.count, args.seed, args.first);
    // The worker is not joined: one that hangs ends with the process.
    thread::spawn(move || {
        for (kind, originals) in [(Kind::Image, &images), (Kind::Companion, &companions)] {
            for number in first..first.saturating_add(count) {
                if send.send(run_case(kind, originals, seed, number)).is_err() {
                    return;
                }
            }
        }
    });
    let mut passed = 0_u64;
    let mut failed = 0_u64;
    for kind in [Kind::Image, Kind::Companion] {
        let mut accepted = 0_u64;
        for number in first..first.saturating_add(count) {
            let Ok(outcome) = receive.recv_timeout(CASE_LIMIT) else {
                bail!("{kind:?} case {number} of seed {seed} took over {CASE_LIMIT:?}");
            };
            match outcome.answer {
                Some(answer) => {
                    passed += 1;
                    accepted += u64::from(answer == Answer::Accepted);
                }
                None => {
                    failed += 1;
                    let Outcome { kind, number, original, .. } = outcome;
                    println!("{kind:?} case {number} of seed {seed} panicked ({original})");
                }
            }
        }
        println!("{kind:?} cases: {count}, of which {accepted} were still accepted");
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} cases panicked");
    }
    Ok(())
}

fn run_case(kind: Kind, originals: &[Original], seed: u64, number: u64) -> Outcome {
    let salt = if kind == Kind::Image { 1 } else { 2 };
    let mut random = Random::new(seed, number, salt);
    let Some(original) = random.pick(originals) else {
        let original = "no original".to_owned();
        return Outcome { kind, number, original, answer: None };
    };
    let mut bytes = original.bytes.clone();
    mutate::damage(&mut bytes, &mut random);
    let answer = catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::Image => exercise::image(&bytes),
        Kind::Companion => exercise::companion(&bytes),
    }));
    Outcome { kind, number, original: original.name.clone(), answer: answer.ok() }
}

/// Our own prebuilt drivers with their PDBs, and examples that have what those lack.
fn originals(more: Option<&Path>) -> Result<(Vec<Original>, Vec<Original>)> {
    let mut images = Vec::new();
    let mut companions = Vec::new();
    collect(&repo::root().join("samples"), &mut images, &mut companions)?;
    if let Some(folder) = more {
        collect(folder, &mut images, &mut companions)?;
    }
    let original = |name: &str, bytes| Original { name: name.to_owned(), bytes };
    images.push(original("example with DWARF", dwarf_example()));
    images.push(original("example with low alignment", flat_example()));
    let identity = PdbIdentity { guid: [1; 16], age: 1 };
    companions.push(original("example PDB", builder::pdb::example(identity, 0x1000, 0x100)));
    for image in &images {
        let parsed = Image::parse(&image.bytes);
        let parsed = parsed.with_context(|| format!("undamaged {}", image.name))?;
        if DebugInfo::from_dwarf(&parsed).is_ok() {
            companions.push(original(&image.name, image.bytes.clone()));
        }
    }
    Ok((images, companions))
}

fn collect(
    folder: &Path,
    images: &mut Vec<Original>,
    companions: &mut Vec<Original>,
) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let list = match extension {
            _ if path.is_dir() => {
                collect(&path, images, companions)?;
                continue;
            }
            Some("sys") => &mut *images,
            Some("pdb") => &mut *companions,
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        list.push(Original { name, bytes: fs::read(&path)? });
    }
    Ok(())
}

fn dwarf_example() -> Vec<u8> {
    let mut builder = ImageBuilder::new();
    let code = builder.section(".text", CODE, &[0x90; 0x100]);
    builder.fields.entry_point_rva = code;
    builder.imports(&[("ntoskrnl.exe", &["DbgPrint", "IofCompleteRequest"])]);
    builder::dwarf::add_example(&mut builder, code);
    builder.build()
}

fn flat_example() -> Vec<u8> {
    let fields = builder::HeaderFields { section_alignment: 0x20, ..Default::default() };
    let mut builder = ImageBuilder::with_fields(fields);
    builder.section(".text", CODE, &[0xC3; 0x40]);
    builder.imports(&[("HAL.dll", &["KeStallExecutionProcessor"])]);
    builder.build()
}
