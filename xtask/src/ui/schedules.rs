//! `cargo xtask schedules`: correct drivers stay silent whoever runs when.
//!
//! Every good twin, look-alike and clean sample is checked with one, two and four processors and
//! several seeds, each of which is another random schedule.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, bail};

use super::{
    Bench, Counts, WORKERS,
    case::{self, Case, Kind},
    compare,
};
use crate::{repo, verdicts};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only drivers whose path contains this.
    filter: Option<String>,
    /// Seeds 1 to N for each number of processors.
    #[arg(long, value_name = "N", default_value_t = 50)]
    seeds: u64,
    /// Numbers of processors.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 2, 4])]
    processors: Vec<u8>,
}

/// A driver that must stay silent.
pub(super) struct Quiet {
    pub(super) path: String,
    pub(super) image: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) exit: i32,
}

/// Checks them all; the last line counts.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::new()?;
    let failed = each(&bench, args.filter.as_deref().unwrap_or_default(), |driver| {
        complaints(&bench, driver, args)
    })?;
    if failed > 0 {
        bail!("{failed} correct drivers were accused under some schedule");
    }
    Ok(())
}

/// Checks every driver that must stay silent, and tells what is said; returns how many failed.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(super) fn each(
    bench: &Bench,
    filter: &str,
    complaints: impl Fn(&Quiet) -> Vec<String> + Sync,
) -> Result<usize> {
    let drivers = quiet_drivers(bench, filter)?;
    if drivers.is_empty() {
        bail!("no driver matches");
    }
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Counts::default());
    let work = || {
        while let Some(driver) = drivers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let complaints = complaints(driver);
            let mut counts = counts.lock().expect("no worker panics while it counts");
            let is_silent = complaints.is_empty();
            *(if is_silent { &mut counts.passed } else { &mut counts.failed }) += 1;
            for complaint in complaints {
                println!("{complaint}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let Counts { passed, failed, .. } =
        counts.into_inner().expect("no worker panics while it counts");
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn quiet_drivers(bench: &Bench, filter: &str) -> Result<Vec<Quiet>> {
    let filter = filter.replace("::", "/");
    let mut drivers = Vec::new();
    for case in case::all(&repo::root().join("tests/ui"), &filter)? {
        let case = case?;
        if case.kind == Kind::Silent {
            let image = bench.toolchain.build(&case.source)?.sys;
            let Case { path, arguments, exit, .. } = case;
            drivers.push(Quiet { path, image, arguments, exit });
        }
    }
    let samples = verdicts::silent().filter(|path| path.contains(&filter));
    drivers.extend(samples.map(|path| Quiet {
        path: path.to_owned(),
        image: repo::root().join(path),
        arguments: Vec::new(),
        exit: 0,
    }));
    Ok(drivers)
}

/// What is said about a driver that must stay silent, if anything.
pub(super) fn said(bench: &Bench, driver: &Quiet, arguments: &[&str]) -> Option<String> {
    let outcome = match bench.bugcheck(&driver.image, arguments) {
        Ok(outcome) if outcome.exit == Some(driver.exit) => return None,
        Ok(outcome) => outcome,
        Err(error) => return Some(format!("{error:#}")),
    };
    let findings = compare::findings(&outcome.stdout);
    let rules = findings
        .map(|found| found.into_iter().map(|finding| finding.rule).collect::<Vec<_>>().join(" "));
    let remarks = compare::remarks(&outcome.stdout);
    Some(format!("{:?}: {} {remarks}", outcome.exit, rules.unwrap_or_default()))
}

/// What is said about a driver, with the first schedule that shows it.
fn complaints(bench: &Bench, driver: &Quiet, args: &Args) -> Vec<String> {
    for &processors in &args.processors {
        for seed in 1..=args.seeds {
            let (processors, seed) = (processors.to_string(), seed.to_string());
            let schedule = ["--processors", &processors, "--seed", &seed, "--format", "json"];
            let mut arguments: Vec<&str> = driver.arguments.iter().map(String::as_str).collect();
            arguments.extend(schedule);
            // The seed is the schedule.
            if !arguments.contains(&"--budget") {
                arguments.extend(["--budget", "quick"]);
            }
            let Some(said) = said(bench, driver, &arguments) else { continue };
            let path = &driver.path;
            return vec![format!("FAILED {path} --processors {processors} --seed {seed}: {said}")];
        }
    }
    Vec::new()
}
