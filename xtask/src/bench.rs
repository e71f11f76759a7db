//! `cargo xtask bench`: how much slower checked execution is than the same machine code run
//! natively.
//!
//! Each kernel under `tests/bench` is compiled once. Its image runs natively, in this process, and
//! in the interpreter with every check on: byte states, definedness with fresh stack frames
//! undefined, coverage, the event clock. The rounds are interleaved; a ratio is formed inside a
//! round; the median over the rounds counts.

mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod native;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "bench/no_native.rs"]
mod native;
mod races;

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
    native: native::Kernel,
    guest: guest::Kernel,
    ratios: Vec<f64>,
    native_time: Duration,
    guest_time: Duration,
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
        "{:14} {:>12} {:>12} {:>8} {:>8}",
        "kernel", "native us", "checked us", "ratio", "spread"
    );
    let mut product = 1.0;
    for kernel in &mut kernels {
        kernel.ratios.sort_by(f64::total_cmp);
        let at = |index: usize| kernel.ratios.get(index).copied().unwrap_or(f64::NAN);
        let (median, last) = (at(kernel.ratios.len() / 2), kernel.ratios.len() - 1);
        product *= median;
        println!(
            "{:14} {:12.1} {:12.1} {:8.1} {:>8}",
            kernel.name,
            micros(kernel.native_time),
            micros(kernel.guest_time),
            median,
            format!("{:.0}%", (at(last) - at(0)) / median * 100.0),
        );
    }
    let count = u32::try_from(kernels.len()).unwrap_or(u32::MAX);
    let mean = f64::powf(product, 1.0 / f64::from(count));
    println!("geometric mean {mean:.1} (goal: at most {GOAL:.0})");
    races::run()
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
        let mut result = 0;
        self.guest_time = shortest(|| {
            result = self.guest.run().with_context(|| format!("kernel {}", self.name))?;
            Ok(())
        })?;
        if result != expected {
            bail!("kernel {}: {result:#x} in the guest, {expected:#x} natively", self.name);
        }
        self.ratios.push(self.guest_time.as_secs_f64() / self.native_time.as_secs_f64());
        Ok(())
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
        guest: guest::Kernel::load(&image)?,
        ratios: Vec::new(),
        native_time: Duration::ZERO,
        guest_time: Duration::ZERO,
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
