//! `cargo xtask vectors`: the interpreter against recorded vectors and against the host CPU, and
//! the translator against the interpreter.
//!
//! Random cases come from a seed and the number of the case alone, so that a difference can be
//! shown again whatever the number of workers. The host CPU is asked on x86-64 Linux; elsewhere
//! only the recorded vectors are checked.

#![expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "arithmetic on bit patterns and fixed layouts, in a developers' tool"
)]

mod allow;
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
mod labels;
mod line;
mod lines_run;
mod random;
mod random_run;
mod record;
mod templates;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod translated;

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

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
    /// Random cases in which the translator is compared with the interpreter.
    #[arg(long, default_value_t = 100_000)]
    translated: u64,
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
}

/// Checks everything and prints counts; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(shard) = &args.shard {
        return random_run::shard(args, shard);
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
    let (mut passed, mut failed) = (lines.passed, lines.failed);
    if host::Host::IS_PRESENT {
        let (good, bad) = random_cases(args)?;
        println!("random cases: {good} agree with the host CPU, {bad} differ");
        passed += good;
        failed += bad;
    } else {
        println!("random cases: skipped, the host is not x86-64 Linux");
    }
    let (sound, lies) = labels::check(args, (args.count / 5).min(200_000))?;
    println!("labels of undefined bits: {sound} cases sound, {lies} not");
    passed += sound;
    failed += lies;
    let (agree, differ) = translated_cases(args)?;
    passed += agree;
    failed += differ;
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} vectors failed");
    }
    Ok(())
}

/// Compares the translator with the interpreter; returns how many cases agree and differ.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn translated_cases(args: &Args) -> anyhow::Result<(u64, u64)> {
    let Some((agree, differ, entries)) = translated::check(args.seed, args.first, args.translated)?
    else {
        println!("translated cases: skipped, code cannot be translated here");
        return Ok((0, 0));
    };
    println!(
        "translated cases: {agree} agree with the interpreter, {differ} differ ({entries} entries)"
    );
    Ok((agree, differ))
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn translated_cases(_args: &Args) -> anyhow::Result<(u64, u64)> {
    println!("translated cases: skipped, the host is not x86-64 Linux");
    Ok((0, 0))
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

/// Runs the random cases in worker processes, because each needs the same fixed addresses.
fn random_cases(args: &Args) -> anyhow::Result<(u64, u64)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut children = Vec::new();
    for worker in 0..workers {
        let mut command = Command::new(&program);
        command.arg("vectors").arg("--shard").arg(format!("{worker}/{workers}"));
        command.args(["--count", &args.count.to_string()]);
        command.args(["--seed", &args.seed.to_string()]);
        command.args(["--first", &args.first.to_string()]);
        if !args.only.is_empty() {
            command.args(["--only", &args.only]);
        }
        if args.trace {
            command.arg("--trace");
        }
        children.push(command.stdout(Stdio::piped()).spawn().context("cannot start a worker")?);
    }
    let (mut good, mut bad) = (0, 0);
    for child in children {
        let output = child.wait_with_output().context("a worker was lost")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (shown, summary) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        if !shown.is_empty() {
            println!("{shown}");
        }
        let numbers =
            summary.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let Some((agree, differ)) = numbers.filter(|_| output.status.success()) else {
            bail!("a worker ended with {}: {summary}", output.status);
        };
        let _: (u64, u64) = (agree, differ);
        good += agree;
        bad += differ;
    }
    Ok((good, bad))
}
