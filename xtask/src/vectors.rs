//! `cargo xtask vectors`: each instruction three ways. The interpreter is compared with recorded
//! vectors and with the host CPU, and the translator with the interpreter on the same cases.
//!
//! Random cases come from a seed and the number of the case alone, so that a difference can be
//! shown again whatever the number of workers. The host CPU and the translator are asked on x86-64
//! Linux; elsewhere only the recorded vectors are checked.

#![expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "arithmetic on bit patterns and fixed layouts, in a developers' tool"
)]

mod allow;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod blocks;
mod case;
mod compare;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod fuzz;
mod generator;
mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod host;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "vectors/no_host.rs"]
mod host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kernel_calls;
mod labels;
mod line;
mod lines_run;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod pair;
mod random;
mod random_run;
mod record;
mod templates;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod translated;
mod workers;

use std::path::Path;

use anyhow::bail;

use workers::{Counts, Shard};

/// Options of `vectors`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Random cases to run.
    #[arg(long, default_value_t = 500_000)]
    count: u64,
    /// Seed of the random cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First random case.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Shows each random case before it runs.
    #[arg(long)]
    trace: bool,
    /// Only instructions whose mnemonic starts so.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes `tests/vectors/*.ins` anew from the host CPU, except those written by hand.
    #[arg(long)]
    record: bool,
    /// Runs the part I of N in this process (`I/N`).
    #[arg(long, hide = true)]
    shard: Option<String>,
    /// Compares the part with the translator instead of the host CPU.
    #[arg(long, hide = true)]
    is_translated: bool,
}

/// Checks everything and prints counts; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(shard) = &args.shard {
        let shard = Shard::parse(shard)?;
        workers::report(if args.is_translated {
            translated_shard(args, shard)?
        } else {
            random_run::shard(args, shard)?
        });
        return Ok(());
    }
    let folder = crate::repo::root().join("tests/vectors");
    if args.record {
        return record::record(args, &folder);
    }
    let lines = lines_run::check(&folder)?;
    println!(
        "recorded vectors: {} pass ({} of them confirmed by the host CPU), {} fail",
        lines.passed, lines.confirmed, lines.failed
    );
    let mut sum = Counts { agree: lines.passed, differ: lines.failed };
    let mut add = |counts: Counts| {
        sum.agree += counts.agree;
        sum.differ += counts.differ;
    };
    if let Some(counts) = translated_lines(&folder)? {
        let Counts { agree, differ } = counts;
        println!("recorded vectors: {agree} agree between the engines, {differ} differ");
        add(counts);
    }
    if host::Host::IS_PRESENT {
        let counts = workers::run(&args.of_workers())?;
        let Counts { agree, differ } = counts;
        println!("random cases: {agree} agree with the host CPU, {differ} differ");
        add(counts);
    } else {
        println!("random cases: skipped, the host is not x86-64 Linux");
    }
    let (sound, lies) = labels::check(args, (args.count / 5).min(200_000))?;
    println!("labels of undefined bits: {sound} cases sound, {lies} not");
    add(Counts { agree: sound, differ: lies });
    if has_translator() {
        let counts = workers::run(&[args.of_workers(), vec!["--is-translated".into()]].concat())?;
        let Counts { agree, differ } = counts;
        println!("random cases: {agree} agree between the engines, {differ} differ");
        add(counts);
    } else {
        println!("random cases: not translated, this computer has no translator");
    }
    println!("{} passed, {} failed", sum.agree, sum.differ);
    if sum.differ > 0 {
        bail!("{} vectors failed", sum.differ);
    }
    Ok(())
}

impl Args {
    fn of_workers(&self) -> Vec<String> {
        let Self { count, seed, first, .. } = self;
        let all = format!("vectors --count {count} --seed {seed} --first {first}");
        let mut all: Vec<String> = all.split(' ').map(str::to_owned).collect();
        if !self.only.is_empty() {
            all.extend(["--only".to_owned(), self.only.clone()]);
        }
        if self.trace {
            all.push("--trace".to_owned());
        }
        all
    }
}

/// Whether code can be translated here.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn has_translator() -> bool {
    pair::Pair::is_possible()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn has_translator() -> bool {
    false
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn translated_lines(folder: &Path) -> anyhow::Result<Option<Counts>> {
    translated::lines(folder)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn translated_lines(_folder: &Path) -> anyhow::Result<Option<Counts>> {
    Ok(None)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn translated_shard(args: &Args, shard: Shard) -> anyhow::Result<Counts> {
    translated::shard(args, shard)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn translated_shard(_args: &Args, _shard: Shard) -> anyhow::Result<Counts> {
    bail!("there is no translator here")
}

/// Options of `blocks`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BlocksArgs {
    /// Blocks to run.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Seed of the blocks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First block.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Runs the part I of N in this process (`I/N`).
    #[arg(long, hide = true)]
    shard: Option<String>,
    /// What the part is compared with: `host` or `translator`.
    #[arg(long, hide = true, default_value = "host")]
    with: String,
}

/// Runs random blocks three ways; the last line is `N passed, N failed`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn blocks(args: &BlocksArgs) -> anyhow::Result<()> {
    blocks::run(args)
}

/// Runs nothing: there is no engine to compare with.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn blocks(_args: &BlocksArgs) -> anyhow::Result<()> {
    println!("skipped, the host is not x86-64 Linux");
    println!("0 passed, 0 failed");
    Ok(())
}

/// Options of `fuzz-code`.
#[derive(Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// Pieces of code to run.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Seed of the pieces.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First piece.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// Runs arbitrary bytes as guest code; the last line is `N passed, N failed`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn fuzz_code(args: &FuzzArgs) -> anyhow::Result<()> {
    let (passed, failed) = fuzz::check(args.seed, args.first, args.count)?;
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} pieces of code failed");
    }
    Ok(())
}

/// Runs nothing: there is no translator.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn fuzz_code(_args: &FuzzArgs) -> anyhow::Result<()> {
    println!("skipped, the host is not x86-64 Linux");
    println!("0 passed, 0 failed");
    Ok(())
}
