//! `cargo xtask ui`: drivers with a known mistake, and drivers that only look as if they had one.
//!
//! Each folder `tests/ui/<area>/<rule>/` holds `bad.c` with its expected findings beside the lines,
//! `good.c`, the same driver put right, and legal look-alikes `near_*.c`. Every driver is checked
//! twice and both reports must be the same bytes. The harness is our own because a case is a native
//! image built by two programs and judged by a third, which `ui_test` would only wrap.

mod case;
mod compare;
mod golden;
pub(crate) mod schedules;

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{repo, toolchain::CToolchain};
use case::{Case, Kind};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only cases whose path contains this, for example `pool::` or `irp/completed_twice`.
    filter: Option<String>,
    /// Writes the expected text output instead of comparing with it.
    #[arg(long)]
    bless: bool,
    /// Runs the bad drivers of this rule, or of `each` rule, with it switched off: they must fall
    /// silent.
    #[arg(long, value_name = "RULE")]
    without: Option<String>,
}

/// How many cases run at a time: building and running both keep one core busy.
const WORKERS: usize = 2;

/// What one run of the harness found out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Exit code of `bugcheck check` when DriverEntry fails and breaks no rule.
const EXIT_NOT_EXERCISED: i32 = 3;

/// Runs what the arguments ask for; fails when a case fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let counts = run_counted(args)?;
    if counts.failed > 0 {
        bail!("{} of {} ui tests failed", counts.failed, counts.passed + counts.failed);
    }
    Ok(())
}

/// All cases, and again with each rule switched off: what `cargo xtask test` runs.
pub(crate) fn run_all() -> Result<Counts> {
    let plain = Args { filter: None, bless: false, without: None };
    let silent = Args { filter: None, bless: false, without: Some("each".to_owned()) };
    let (plain, silent) = (run_counted(&plain)?, run_counted(&silent)?);
    Ok(Counts { passed: plain.passed + silent.passed, failed: plain.failed + silent.failed })
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn run_counted(args: &Args) -> Result<Counts> {
    let filter = args.filter.as_deref().unwrap_or_default().replace("::", "/");
    let mut cases = case::all(&repo::root().join("tests/ui"), &filter)?;
    if let Some(rule) = &args.without {
        cases.retain(|case| {
            let is_meant = |case: &Case| rule == "each" || case.rule == *rule;
            case.as_ref().is_ok_and(|case| case.kind == Kind::Bad && is_meant(case))
        });
    }
    if cases.is_empty() && (args.filter.is_some() || args.without.is_some()) {
        bail!("no ui test matches");
    }
    let bench = Bench {
        toolchain: CToolchain::locate()?,
        bugcheck: build_bugcheck()?,
        bless: args.bless,
        is_without: args.without.is_some(),
    };
    let counts = bench.run(&cases);
    let Counts { passed, failed } = counts;
    let what = if bench.is_without { "ui, own rule off" } else { "ui" };
    println!("{what}: {passed} passed, {failed} failed");
    Ok(counts)
}

/// Builds the program under test once, and says where it is.
pub(crate) fn build_bugcheck() -> Result<PathBuf> {
    repo::run(repo::cargo().args(["build", "--release", "--quiet", "--package", "bugcheck-cli"]))?;
    Ok(repo::target_dir().join("release/bugcheck"))
}

struct Bench {
    toolchain: CToolchain,
    bugcheck: PathBuf,
    bless: bool,
    is_without: bool,
}

/// What a run of the program under test left.
pub(super) struct Outcome {
    pub(super) exit: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Bench {
    #[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
    fn run(&self, cases: &[Result<Case>]) -> Counts {
        let next = AtomicUsize::new(0);
        let counts = Mutex::new(Counts::default());
        let work = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let complaints = self.try_case(case);
                let mut counts = counts.lock().expect("no worker panics while it counts");
                if complaints.is_empty() {
                    counts.passed += 1;
                    continue;
                }
                counts.failed += 1;
                println!("FAILED {}", case.as_ref().map_or("a malformed test", |case| &case.path));
                for complaint in complaints {
                    println!("  {}", complaint.trim_end().replace('\n', "\n  "));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(work);
            }
        });
        counts.into_inner().expect("no worker panics while it counts")
    }

    fn try_case(&self, case: &Result<Case>) -> Vec<String> {
        let complaints = match case {
            Ok(case) => self.check_case(case),
            Err(error) => return vec![format!("{error:#}")],
        };
        complaints.unwrap_or_else(|error| vec![format!("{error:#}")])
    }

    /// Returns what is wrong with the case.
    fn check_case(&self, case: &Case) -> Result<Vec<String>> {
        let image = self.toolchain.build(&case.source)?;
        let mut arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
        if self.is_without {
            arguments.extend(["--without", &case.rule]);
        }
        let json = [&arguments[..], &["--format", "json"]].concat();
        let first = self.bugcheck(&image.sys, &json)?;
        let second = self.bugcheck(&image.sys, &json)?;

        let mut complaints = Vec::new();
        if first.stdout != second.stdout {
            complaints.push(golden::first_difference(
                "two runs with the same seed report different bytes",
                &first.stdout,
                &second.stdout,
            ));
        }
        let wanted_exit = match (self.is_without, compare::is_not_exercised(&first.stdout)) {
            (false, _) => case.exit,
            (true, false) => 0,
            (true, true) => EXIT_NOT_EXERCISED,
        };
        if first.exit != Some(wanted_exit) {
            let exit = first.exit.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            let (said, remarks) = (first.stderr.trim_end(), compare::remarks(&first.stdout));
            complaints.push(format!(
                "{}: exit code {exit}, expected {wanted_exit}; {remarks} {said}",
                case.path
            ));
        }
        let expected = if self.is_without { &[][..] } else { &case.expected };
        match compare::findings(&first.stdout) {
            Ok(found) => complaints.extend(compare::complaints(&case.path, expected, &found)),
            Err(error) => complaints.push(format!("{}: {error:#}", case.path)),
        }
        if case.kind == Kind::Bad && !self.is_without {
            let text = self.bugcheck(&image.sys, &arguments)?;
            complaints.extend(golden::check(case, &text, self.bless)?);
        }
        Ok(complaints)
    }

    fn bugcheck(&self, image: &PathBuf, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new(&self.bugcheck);
        command.current_dir(repo::root()).arg("check").arg(image).args(arguments);
        let output = command.output().context("cannot start bugcheck")?;
        Ok(Outcome {
            exit: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
