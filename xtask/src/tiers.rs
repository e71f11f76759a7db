//! `cargo xtask tiers`: what bugcheck says about drivers, the same bytes with both engines.
//!
//! Each driver is checked by the interpreter and by the translator, and each finding is replayed by
//! both. Which finding it is does not matter here, so that drivers from elsewhere may be given.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{replays, repo, ui, vectors};

/// Options of `tiers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is spent on each driver: that of `bugcheck check`.
    #[arg(long, default_value = "default")]
    budget: String,
    /// Drivers, or folders with drivers; the samples if there are none.
    files: Vec<PathBuf>,
}

/// Compares all; the last line is `N passed, N failed`.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let files = replays::drivers(&args.files)?;
    if !vectors::has_translator() {
        println!("not run: this computer has no translator");
        println!("0 passed, 0 failed, {} not run", files.len());
        return Ok(());
    }
    let bugcheck = ui::build_bugcheck()?;
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        match compare(&bugcheck, &file, &args.budget) {
            Ok(said) => {
                passed += 1;
                println!("{}: {said}", file.display());
            }
            Err(error) => {
                failed += 1;
                println!("{}: {error:#}", file.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} drivers are not judged alike by both engines");
    }
    Ok(())
}

/// What both engines say, in a few words.
fn compare(bugcheck: &Path, file: &Path, budget: &str) -> Result<String> {
    let check = ["check", "--budget", budget];
    let (code, report) = both(bugcheck, file, &check)?;
    let report: Value = serde_json::from_str(&report).context("the report is not JSON")?;
    let files = report.get("files").and_then(Value::as_array).into_iter().flatten();
    let findings: Vec<&Value> =
        files.filter_map(|file| file.get("findings").and_then(Value::as_array)).flatten().collect();
    for finding in &findings {
        let token = finding.get("replay").and_then(Value::as_str).context("no token")?;
        both(bugcheck, file, &["replay", token])?;
    }
    Ok(format!("exit code {code}, {} findings, each replayed", findings.len()))
}

/// Exit code and report, which both engines give alike.
fn both(bugcheck: &Path, file: &Path, arguments: &[&str]) -> Result<(i32, String)> {
    let by = |engine: &str| -> Result<(i32, String)> {
        let mut command = Command::new(bugcheck);
        command.current_dir(repo::root()).args(arguments).arg(file);
        command.args(["--format", "json", "--engine", engine]);
        let output = command.output().context("cannot start bugcheck")?;
        let code = output.status.code().context("it ended by a signal")?;
        // Wrong usage, or a bug: there is no report to compare.
        if matches!(code, 2 | 70) {
            let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            bail!("exit code {code} with {engine}: {said}");
        }
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (interpreted, translated) = (by("interp")?, by("jit")?);
    if interpreted != translated {
        let what = arguments.join(" ");
        let (a, b) = (&interpreted.1, &translated.1);
        bail!("{}", ui::golden::first_difference(&format!("`{what}` differs by engine"), a, b));
    }
    Ok(interpreted)
}
