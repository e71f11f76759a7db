//! `cargo xtask test`: everything CI runs, in one command, with counts at the end.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{audit_contract, check, samples, setup, ui, verdicts};

/// Verbs that print `N passed, N failed` as their last line, with the effort that CI affords.
const COUNTED_VERBS: &[(&str, &[&str])] = &[
    ("vectors", &["--count", "500000"]),
    ("blocks", &["--count", "100000"]),
    ("tiers", &[]),
    ("fuzz-images", &["--count", "2000"]),
    ("fuzz-tokens", &["--count", "2000"]),
    ("fuzz-code", &["--count", "50000"]),
    ("replays", &["--times", "20"]),
    ("endurance", &[]),
    ("examples", &[]),
    ("schedules", &["--seeds", "1", "--processors", "1,4"]),
    ("false-alarms", &["--runs", "200"]),
];

/// Sets up what is missing, then runs all tests.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    if !setup::missing_packages().is_empty() || !setup::has_driver_target() {
        setup::run()?;
    }
    let mut summary = vec![format!("unit tests: {} passed, 0 failed", check::run()?)];
    audit_contract::run()?;
    println!("test: samples");
    let compared = samples::compare()?;
    summary.push(format!("samples: {} rebuilt, byte for byte equal", compared.equal));
    summary.extend(compared.skipped.iter().map(|why| format!("samples not compared: {why}")));
    println!("test: verdicts on the samples");
    summary.push(format!("verdicts on the samples: {} right", verdicts::check()?));
    for (verb, arguments) in COUNTED_VERBS {
        println!("test: {verb}");
        summary.push(format!("{verb}: {}", counted(verb, arguments)?));
    }
    println!("test: ui");
    let ui = ui::run_all()?;
    let ui::Counts { passed, failed, not_run } = ui;
    summary.push(format!("ui tests: {passed} passed, {failed} failed, {not_run} not run"));

    println!("\n{}", summary.join("\n"));
    println!("{} seconds", started.elapsed().as_secs());
    if ui.failed > 0 {
        bail!("{} ui tests failed", ui.failed);
    }
    Ok(())
}

/// Runs a verb of this program and returns the counts it prints last.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn counted(verb: &str, arguments: &[&str]) -> Result<String> {
    let program = env::current_exe().context("this program has no path")?;
    let mut command = Command::new(program);
    let mut child = command.arg(verb).args(arguments).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("the output is piped")?;
    let mut last = String::new();
    for line in BufReader::new(stdout).lines() {
        last = line?;
        println!("{last}");
    }
    if !child.wait()?.success() {
        bail!("`{verb}` failed");
    }
    Ok(last)
}
