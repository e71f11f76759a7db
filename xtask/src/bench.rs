//! `cargo xtask bench`: how much slower checked execution is than the same machine code run
//! natively.
//!
//! Each kernel under `tests/bench` is compiled once. Its image runs natively, in this process, in
//! the interpreter, and where there is one in the translator, with every check on: byte states,
//! definedness with fresh stack frames undefined, the event clock (and in the interpreter
//! coverage). The rounds are interleaved; a ratio is formed inside a round; the median over the
//! rounds counts. Both engines must come to the same result, registers and events.

mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod native;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "bench/no_native.rs"]
mod native;
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
    /// Only kernels whose name contains this.
    filter: Option<String>,
}

/// The kernels, one file each under `tests/bench`.
const KERNELS: [&str; 6] =
    ["checksum", "hash_walk", "parser", "copies", "import_calls", "dispatch"];

/// Bytes that a kernel may use.
const MEMORY_BYTES: u64 = 1 << 20;

/// The ratio that the geometric mean must not exceed.
const GOAL: f64 = 60.0;

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

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |name: &str| args.filter.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut kernels = Vec::new();
    for name in KERNELS.into_iter().filter(|name| wanted(name)) {
        kernels.push(load(name)?);
    }
    ensure!(!kernels.is_empty() && args.rounds > 0, "nothing to run");
    for _ in 0..args.rounds {
        for kernel in &mut kernels {
            kernel.round()?;
        }
    }
    println!(
        "{:14} {:>11} {:>11} {:>7} {:>7} {:>13} {:>7} {:>7}",
        "kernel", "native us", "interp us", "ratio", "spread", "translated us", "ratio", "spread"
    );
    let (mut interpreted, mut translated) = (Mean::default(), Mean::default());
    for kernel in &mut kernels {
        let Some((ratio, spread)) = kernel.interpreted.summary() else { continue };
        interpreted.add(ratio);
        print!("{:14} {:11.1} ", kernel.name, micros(kernel.native_time));
        print!("{:11.1} {ratio:7.1} {spread:>7} ", micros(kernel.interpreted.shortest));
        if let Some((ratio, spread)) = kernel.translated.summary() {
            translated.add(ratio);
            print!("{:13.1} {ratio:7.2} {spread:>7}", micros(kernel.translated.shortest));
        }
        println!();
    }
    println!("geometric mean, interpreter: {:.1} (goal: at most {GOAL:.0})", interpreted.value());
    if translated.count > 0.0 {
        println!("geometric mean, translator: {:.2}", translated.value());
    }
    races::run()?;
    restores::run()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl Kernel {
    fn round(&mut self) -> Result<()> {
        let mut expected = 0;
        self.native_time = shortest(|| {
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
        let time = shortest(|| {
            outcome = kernel.run()?;
            Ok(())
        })?;
        Ok((time, outcome))
    }
}

/// The shortest of a few runs, in processor time of this thread: other work on the machine must not
/// count.
fn shortest(mut run: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..SAMPLES {
        let start = native::thread_time();
        run()?;
        best = best.min(native::thread_time().saturating_sub(start));
    }
    Ok(best)
}

fn load(name: &'static str) -> Result<Kernel> {
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
