//! `cargo xtask ui`: drivers with a known mistake, and drivers that only look as if they had one.
//!
//! Each folder `tests/ui/<area>/<rule>/` holds `bad.c` with its expected findings beside the lines,
//! `good.c`, the same driver put right, and legal look-alikes `near_*.c`. Every driver is checked
//! twice, by one thread and by three, or by the interpreter and the translator, and both reports
//! must be the same bytes. The harness is our own because a case is a native image built by two
//! programs and judged by a third, which `ui_test` would only wrap.

mod case;
mod compare;
pub(crate) mod explore_bench;
pub(crate) mod false_alarms;
pub(crate) mod golden;
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

use crate::{repo, toolchain::CToolchain, vectors};
use case::{Case, Kind};

#[derive(Clone, Debug, clap::Args)]
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
    /// Runs the drivers that must stay silent, all of them under the strict profile.
    #[arg(long, conflicts_with = "without")]
    strict: bool,
    /// Lets this engine (`jit`) make the second of the two checks, and the expected text output.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
}

/// Enough for what a short test driver gets wrong.
const FEW_SCHEDULES: [&str; 2] = ["--schedule-runs", "200"];

/// The translator.
const JIT: &str = "jit";

/// How many cases run at a time: building and running both keep one core busy.
const WORKERS: usize = 2;

/// What one run of the harness found out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// For want of a translator.
    pub(crate) not_run: usize,
}

/// Exit code of `bugcheck check` when DriverEntry fails and breaks no rule.
const EXIT_NOT_EXERCISED: i32 = 3;

/// Runs what the arguments ask for; fails when a case fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Counts { passed, failed, .. } = run_counted(args)?;
    if failed > 0 {
        bail!("{failed} of {} ui tests failed", passed + failed);
    }
    Ok(())
}

/// All cases, again with each rule switched off, the silent ones with the neighbours of the strict
/// profile, and all with the translator: what `cargo xtask test` runs.
pub(crate) fn run_all() -> Result<Counts> {
    let plain = Args { filter: None, bless: false, without: None, strict: false, engine: None };
    let mut sum = run_counted(&plain)?;
    let silent = Args { without: Some("each".to_owned()), ..plain };
    let strict = Args { without: None, strict: true, ..silent.clone() };
    let translated = Args { strict: false, engine: Some(JIT.to_owned()), ..strict.clone() };
    for args in [silent, strict, translated] {
        let Counts { passed, failed, not_run } = run_counted(&args)?;
        sum.passed += passed;
        sum.failed += failed;
        sum.not_run += not_run;
    }
    Ok(sum)
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
    if args.strict {
        cases.retain(|case| case.as_ref().is_ok_and(|case| case.kind == Kind::Silent));
        for case in cases.iter_mut().flatten().filter(|case| !case.is_strict()) {
            case.arguments.extend(case::STRICT.map(str::to_owned));
            case.exit = case.strict_exit.unwrap_or(case.exit);
        }
    }
    if cases.is_empty() && (args.filter.is_some() || args.without.is_some()) {
        bail!("no ui test matches");
    }
    if args.engine.as_deref() == Some(JIT) && !vectors::has_translator() {
        println!("ui, translated: {} not run, this computer has no translator", cases.len());
        return Ok(Counts { not_run: cases.len(), ..Counts::default() });
    }
    let bench = Bench {
        bless: args.bless,
        is_without: args.without.is_some(),
        engine: args.engine.clone(),
        ..Bench::new()?
    };
    let counts = bench.run(&cases);
    let Counts { passed, failed, .. } = counts;
    let what = match (bench.is_without, args.strict, &bench.engine) {
        (true, ..) => "ui, own rule off",
        (_, true, _) => "ui, silent under the strict profile",
        (_, _, Some(_)) => "ui, translated",
        _ => "ui",
    };
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
    engine: Option<String>,
}

/// What a run of the program under test left.
pub(super) struct Outcome {
    pub(super) exit: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Bench {
    /// The compilers of the test drivers and the program under test, both ready.
    fn new() -> Result<Self> {
        let (toolchain, bugcheck) = (CToolchain::locate()?, build_bugcheck()?);
        Ok(Self { toolchain, bugcheck, bless: false, is_without: false, engine: None })
    }

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
        if !arguments.contains(&"--budget") {
            // `false-alarms` tries other schedules of those that are to stay silent.
            arguments.extend(match case.kind {
                Kind::Silent => ["--budget", "quick"],
                Kind::Bad => FEW_SCHEDULES,
            });
        }
        if self.is_without {
            arguments.extend(["--without", &case.rule]);
        }
        let json = [&arguments[..], &["--format", "json"]].concat();
        // Neither time nor the number of threads nor the engine may change a byte.
        let alone = ["--jobs", "1", "--engine", "interp"];
        let first = self.bugcheck(&image.sys, &[&json[..], &alone].concat())?;
        let other = match &self.engine {
            Some(engine) => ["--jobs", "1", "--engine", engine],
            None => ["--jobs", "3", "--engine", "interp"],
        };
        let second = self.bugcheck(&image.sys, &[&json[..], &other].concat())?;

        let mut complaints = Vec::new();
        if first.exit != second.exit {
            let (first, second) = (first.exit, second.exit);
            complaints.push(format!("{}: exit codes {first:?} and {second:?}", case.path));
        }
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
            // Which finding it is stands in no mark: without the neighbour there is none.
            Ok(found) if case.is_strict() && case.strict_exit.is_some() => {
                if found.is_empty() {
                    complaints.push(format!("{}: nothing is found any more", case.path));
                }
            }
            Ok(found) => complaints.extend(compare::complaints(&case.path, expected, &found)),
            Err(error) => complaints.push(format!("{}: {error:#}", case.path)),
        }
        if !self.is_without && !case.needs.is_empty() {
            complaints.extend(self.check_needs(case, &image.sys, &arguments)?);
        }
        if case.kind == Kind::Bad && !self.is_without && case.is_strict() {
            complaints.extend(self.shows_without_neighbours(case, &image.sys)?);
        }
        if case.kind == Kind::Bad && !self.is_without {
            if let Some(engine) = &self.engine {
                arguments.extend(["--engine", engine]);
            }
            let text = self.bugcheck(&image.sys, &arguments)?;
            complaints.extend(golden::check(case, &text, self.bless)?);
        }
        Ok(complaints)
    }

    /// With the moves left out that the case needs, nothing is found.
    fn check_needs(&self, case: &Case, image: &PathBuf, arguments: &[&str]) -> Result<Vec<String>> {
        let left_out = case.needs.iter().flat_map(|name| ["--without-move", name.as_str()]);
        let arguments: Vec<&str> = arguments.iter().copied().chain(left_out).collect();
        let json = [&arguments[..], &["--format", "json"]].concat();
        let outcome = self.bugcheck(image, &json)?;
        let needs = case.needs.join(" ");
        Ok(match (outcome.exit, compare::findings(&outcome.stdout)) {
            (Some(0), Ok(found)) if found.is_empty() => Vec::new(),
            (Some(1), _) => vec![format!("{}: found without {needs} as well", case.path)],
            (exit, _) => {
                let said = outcome.stderr.trim_end();
                vec![format!("{}: without {needs} exit code {exit:?}: {said}", case.path)]
            }
        })
    }

    /// What the standard profile says about a driver whose mistake only a neighbour shows.
    fn shows_without_neighbours(&self, case: &Case, image: &PathBuf) -> Result<Option<String>> {
        let arguments = case.arguments.iter().map(String::as_str);
        let arguments = arguments.filter(|argument| !case::STRICT.contains(argument));
        let standard = self.bugcheck(image, &arguments.collect::<Vec<_>>())?;
        let is_silent = standard.exit == Some(0);
        let complaint = || {
            let said = standard.stdout.trim_end();
            format!("{}: the standard profile is not silent: {said}", case.path)
        };
        Ok((!is_silent).then(complaint))
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
