//! `cargo xtask bench`: how much slower checked execution is than the same machine code run
//! natively.
//!
//! Each kernel under `tests/bench` is compiled once. Its image runs natively, in this process, in
//! the interpreter, and where there is one in the translator, with every check on: byte states,
//! definedness with fresh stack frames undefined, the event clock (and in the interpreter
//! coverage). Beside them it runs under Memcheck and QEMU user mode where those are installed. The
//! rounds are interleaved; a ratio is formed inside a round; the median over the rounds counts.
//! Both engines must come to the same result, registers and events.

mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod native;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "bench/no_native.rs"]
mod native;
mod others;
mod races;
mod restores;

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use pe_image::Image;

use crate::repo;

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; the median over them is printed.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Only what has this in its name: `kernels` or one of them, `races`, `restores`.
    #[arg(long)]
    only: Option<String>,
}

/// The kernels, one file each under `tests/bench`.
const KERNELS: [&str; 6] =
    ["checksum", "hash_walk", "parser", "copies", "import_calls", "dispatch"];

/// Bytes that a kernel may use.
const MEMORY_BYTES: u64 = 1 << 20;

/// What the geometric means must not exceed.
const GOAL_INTERPRETED: f64 = 40.0;
const GOAL_TRANSLATED: f64 = 2.5;
/// How many times Memcheck must be slower than the translator.
const GOAL_MEMCHECK: f64 = 4.0;

/// Native runs per sample: short runs are timed together.
const NATIVE_REPEATS: u32 = 10;

/// Runs per measurement; the shortest counts.
const SAMPLES: usize = 3;

struct Kernel {
    name: &'static str,
    image: Image,
    native: native::Kernel,
    native_time: Duration,
    interpreter: guest::Kernel,
    interpreted: Times,
    translated: Times,
    flat: others::Flat,
    /// Under each of the tools.
    others: [Times; others::TOOLS.len()],
}

/// What one engine took.
#[derive(Default)]
struct Times {
    shortest: Duration,
    /// To the native run of the same round.
    ratios: Vec<f64>,
}

impl Times {
    fn note(&mut self, time: Duration, native: Duration) {
        self.shortest = time;
        self.ratios.push(time.as_secs_f64() / native.as_secs_f64());
    }

    /// The median, and how far the others are from each other.
    fn summary(&mut self) -> Option<(f64, String)> {
        self.ratios.sort_by(f64::total_cmp);
        let (first, last) = (self.ratios.first()?, self.ratios.last()?);
        let median = self.ratios.get(self.ratios.len() / 2)?;
        Some((*median, format!("{:.0}%", (last - first) / median * 100.0)))
    }
}

/// The geometric mean.
#[derive(Default)]
struct Mean {
    logarithms: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, ratio: f64) {
        self.logarithms += ratio.ln();
        self.count += 1.0;
    }

    fn value(&self) -> f64 {
        (self.logarithms / self.count).exp()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    ensure!(args.rounds > 0, "nothing to run");
    let all = wanted("kernels");
    let names: Vec<_> = KERNELS.into_iter().filter(|name| all || wanted(name)).collect();
    let has_others = wanted("races") || wanted("restores");
    ensure!(has_others || !names.is_empty(), "nothing of that name to run");
    if !names.is_empty() {
        run_kernels(&names, args.rounds)?;
    }
    if wanted("races") {
        races::run()?;
    }
    if wanted("restores") {
        restores::run()?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn run_kernels(names: &[&'static str], rounds: usize) -> Result<()> {
    let host = others::Host::build()?;
    let mut kernels = Vec::new();
    for name in names {
        kernels.push(load(name, &host)?);
    }
    for _ in 0..rounds {
        for kernel in &mut kernels {
            kernel.round(&host)?;
        }
    }
    print!(
        "{:14} {:>11} {:>11} {:>7} {:>7} {:>13} {:>7} {:>7}",
        "kernel", "native us", "interp us", "ratio", "spread", "translated us", "ratio", "spread"
    );
    others::TOOLS.iter().for_each(|tool| print!(" {:>10}", tool.name));
    println!();
    let (mut interpreted, mut translated) = (Mean::default(), Mean::default());
    let mut means = others::TOOLS.map(|_| Mean::default());
    for kernel in &mut kernels {
        let Some((ratio, spread)) = kernel.interpreted.summary() else { continue };
        interpreted.add(ratio);
        print!("{:14} {:11.1} ", kernel.name, micros(kernel.native_time));
        print!("{:11.1} {ratio:7.1} {spread:>7} ", micros(kernel.interpreted.shortest));
        if let Some((ratio, spread)) = kernel.translated.summary() {
            translated.add(ratio);
            print!("{:13.1} {ratio:7.2} {spread:>7}", micros(kernel.translated.shortest));
        }
        for (times, mean) in kernel.others.iter_mut().zip(&mut means) {
            if let Some((ratio, _)) = times.summary() {
                mean.add(ratio);
                print!(" {ratio:10.2}");
            }
        }
        println!();
    }
    let mean = interpreted.value();
    println!("geometric mean, interpreter: {mean:.1} (goal: at most {GOAL_INTERPRETED:.0})");
    if translated.count > 0.0 {
        let mean = translated.value();
        println!("geometric mean, translator: {mean:.2} (goal: at most {GOAL_TRANSLATED})");
    }
    for (tool, mean) in others::TOOLS.iter().zip(&means) {
        if mean.count == 0.0 {
            println!("{}: not installed", tool.name);
            continue;
        }
        let (name, value) = (tool.name, mean.value());
        let times = value / translated.value();
        println!("geometric mean, {name}: {value:.1}, {times:.1} times that of the translator");
        if tool.name == "memcheck" {
            println!("  (goal: at least {GOAL_MEMCHECK:.0} times)");
        }
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl Kernel {
    fn round(&mut self, host: &others::Host) -> Result<()> {
        let mut expected = 0;
        self.native_time = shortest(SAMPLES, || {
            for _ in 0..NATIVE_REPEATS {
                expected = self.native.run();
            }
            Ok(())
        })? / NATIVE_REPEATS;
        let interpreted = Self::measure(&mut self.interpreter);
        let (time, outcome) = interpreted.with_context(|| format!("kernel {}", self.name))?;
        if outcome.result != expected {
            bail!("kernel {}: {:#x}, natively {expected:#x}", self.name, outcome.result);
        }
        self.interpreted.note(time, self.native_time);
        for (tool, times) in others::TOOLS.iter().zip(&mut self.others) {
            if let Some((time, result)) = host.run(tool, &self.flat)? {
                ensure!(result == expected, "{}: {result:#x} under {}", self.name, tool.name);
                times.note(time, self.native_time);
            }
        }
        // There is one translator in a process, so it is made for each kernel in turn.
        let Some(mut translator) = guest::Kernel::translated(&self.image)? else { return Ok(()) };
        let (time, other) = Self::measure(&mut translator)?;
        if other != outcome {
            bail!("kernel {}: {other:x?} translated, {outcome:x?} interpreted", self.name);
        }
        self.translated.note(time, self.native_time);
        Ok(())
    }

    /// The shortest run, with the outcome of the last.
    fn measure(kernel: &mut guest::Kernel) -> Result<(Duration, guest::Outcome)> {
        let mut outcome = kernel.run()?;
        let time = shortest(SAMPLES, || {
            outcome = kernel.run()?;
            Ok(())
        })?;
        Ok((time, outcome))
    }
}

/// The shortest of a few runs, in processor time of this thread: other work on the machine must not
/// count.
fn shortest(samples: usize, mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..samples {
        let start = native::thread_time();
        run()?;
        best = best.min(native::thread_time().saturating_sub(start));
    }
    Ok(best)
}

fn load(name: &'static str, host: &others::Host) -> Result<Kernel> {
    let file = build(name)?;
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let image = Image::parse(&bytes)?;
    Ok(Kernel {
        name,
        native: native::Kernel::load(&image)?,
        native_time: Duration::ZERO,
        interpreter: guest::Kernel::load(&image)?,
        interpreted: Times::default(),
        translated: Times::default(),
        flat: host.prepare(name, &image)?,
        others: others::TOOLS.map(|_| Times::default()),
        image,
    })
}

/// Compiles and links one kernel; vector loops are off so that the kernels are what their names
/// say.
fn build(name: &str) -> Result<std::path::PathBuf> {
    let folder = repo::target_dir().join("bench");
    fs::create_dir_all(&folder)?;
    let source = Path::new("tests/bench").join(format!("{name}.c"));
    let object = folder.join(format!("{name}.obj"));
    let image = folder.join(format!("{name}.sys"));
    let mut clang = Command::new("clang-19");
    clang.current_dir(repo::root()).arg("--target=x86_64-pc-windows-msvc");
    clang.args(["-O2", "-ffreestanding", "-fno-builtin", "-fno-vectorize", "-fno-slp-vectorize"]);
    clang.args(["-fno-stack-protector", "-mno-stack-arg-probe", "-Wall", "-Wextra", "-Werror"]);
    clang.arg("-c").arg(source).arg("-o").arg(&object);
    repo::output(&mut clang)?;
    let mut link = Command::new("lld-link-19");
    link.args(["-entry:run", "-subsystem:native", "-nodefaultlib", "-driver", "-opt:ref"]);
    link.arg(format!("-out:{}", image.display())).arg(&object);
    repo::output(&mut link)?;
    Ok(image)
}

/// The image placed at `base`, with its bytes.
fn place(image: &Image, base: u64) -> Result<(pe_image::MappedImage, Vec<u8>)> {
    let mut mapped = image.map();
    mapped.relocate(base)?;
    let mut bytes = vec![0; usize::try_from(image.image_bytes())?];
    ensure!(mapped.read(0, &mut bytes), "the image is shorter than it says");
    Ok((mapped, bytes))
}
