//! `cargo xtask explore-bench`: each strategy against each demo, and how many runs it needs.
//!
//! A demo is a folder `tests/demos/<name>/` with `bug.c`, whose mistake shows only in some schedule
//! or after some failure, and `fixed.c`, the same driver put right. The head of `bug.c` says
//! `//@depth: N`, how many decisions must be right, and `//@expect: rule[, rule]`, what must be
//! found: any of these.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Bench, WORKERS};
use crate::{repo, toolchain::Source};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only demos whose name contains this.
    filter: Option<String>,
    /// Also try each demo that the default budget misses with the deep one.
    #[arg(long)]
    deep: bool,
    /// Writes the table to `docs/exploration.md`.
    #[arg(long)]
    write: bool,
}

/// The columns of the table: strategies by themselves.
const STRATEGIES: [&str; 7] =
    ["friendly", "failures", "races", "lockstep", "preempt", "pct", "random"];

const BEGIN: &str = "<!-- explore-bench: begin -->\n";
const END: &str = "<!-- explore-bench: end -->\n";

/// A demo.
#[derive(Clone, Debug)]
struct Demo {
    name: String,
    folder: PathBuf,
    depth: u32,
    expected: BTreeSet<String>,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    demo: Demo,
    /// By strategy the run that found it, if one did.
    alone: Vec<Option<u64>>,
    /// The same with all strategies, by default and deep.
    together: Option<u64>,
    deep: Option<u64>,
    complaints: Vec<String>,
}

/// Tries every strategy on every demo; the last line counts.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let demos = demos(args.filter.as_deref().unwrap_or_default())?;
    if demos.is_empty() {
        bail!("no demo matches");
    }
    let bench = Bench::new()?;
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(demo) = demos.get(index) else { return };
            let row = try_demo(&bench, demo, args.deep);
            let mut rows = rows.lock().expect("no worker panics while it tells");
            for complaint in row.as_ref().map_or(&[][..], |row| &row.complaints) {
                println!("FAILED {}: {complaint}", demo.name);
            }
            rows.push((index, row));
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().expect("no worker panics while it tells");
    rows.sort_by_key(|(index, _)| *index);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect::<Result<_>>()?;
    let table = table(&rows);
    println!("{table}");
    if args.write {
        write_table(&table)?;
    }
    let failed = rows.iter().filter(|row| !row.complaints.is_empty()).count();
    println!("{} passed, {failed} failed", rows.len() - failed);
    if failed > 0 {
        bail!("{failed} demos are not as they must be");
    }
    Ok(())
}

fn demos(filter: &str) -> Result<Vec<Demo>> {
    let mut demos = Vec::new();
    for file in repo::files_below(&repo::root().join("tests/demos"))? {
        if file.file_name().is_none_or(|name| name != "bug.c") {
            continue;
        }
        let folder = file.parent().context("a file lies in a folder")?.to_owned();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(filter) {
            let text = fs::read_to_string(&file)?;
            let head = |key: &str| {
                let mark = format!("//@{key}:");
                let mut lines = text.lines();
                let found = lines.find_map(|line| line.strip_prefix(&mark)).map(str::trim);
                found.with_context(|| format!("{name}: bug.c has no line `{mark} ...`"))
            };
            let depth = head("depth")?.parse().with_context(|| format!("{name}: depth"))?;
            let rules = head("expect")?.split(',').map(|rule| rule.trim().to_owned());
            demos.push(Demo { expected: rules.collect(), name, folder, depth });
        }
    }
    Ok(demos)
}

fn try_demo(bench: &Bench, demo: &Demo, is_deep: bool) -> Result<Row> {
    let build = |file: &str| -> Result<PathBuf> {
        Ok(bench.toolchain.build(&Source::read(&demo.folder.join(file))?)?.sys)
    };
    let (bug, fixed) = (build("bug.c")?, build("fixed.c")?);
    let mut complaints = Vec::new();
    let mut alone = Vec::new();
    for strategy in STRATEGIES {
        let found = found_at(bench, &bug, &["--strategy", strategy], &demo.expected)?;
        if strategy == "friendly" && demo.depth >= 1 && found.is_some() {
            complaints.push("the friendly run alone finds it".to_owned());
        }
        alone.push(found);
    }
    let together = found_at(bench, &bug, &[], &demo.expected)?;
    let deep = match together {
        None if is_deep => found_at(bench, &bug, &["--budget", "deep"], &demo.expected)?,
        found => found,
    };
    if is_deep && deep.is_none() {
        complaints.push("the deep budget does not find it".to_owned());
    }
    let budget = if is_deep { "deep" } else { "default" };
    let said = findings(bench, &fixed, &["--budget", budget])?;
    complaints.extend(said.into_iter().map(|(rule, run)| format!("fixed.c: {rule} in run {run}")));
    Ok(Row { demo: demo.clone(), alone, together, deep, complaints })
}

/// The run that finds what is expected.
fn found_at(
    bench: &Bench,
    image: &Path,
    arguments: &[&str],
    expected: &BTreeSet<String>,
) -> Result<Option<u64>> {
    let found = findings(bench, image, arguments)?;
    Ok(found.into_iter().filter(|(rule, _)| expected.contains(rule)).map(|(_, run)| run).min())
}

/// The rules that a driver is said to break, and in which run.
fn findings(bench: &Bench, image: &Path, arguments: &[&str]) -> Result<Vec<(String, u64)>> {
    let arguments = [arguments, &["--format", "json"]].concat();
    let outcome = bench.bugcheck(&image.to_path_buf(), &arguments)?;
    let report: Value = serde_json::from_str(&outcome.stdout)
        .with_context(|| format!("the report is not JSON: {}", outcome.stderr))?;
    let mut list = Vec::new();
    for file in report.get("files").and_then(Value::as_array).into_iter().flatten() {
        for finding in file.get("findings").and_then(Value::as_array).into_iter().flatten() {
            let rule = finding.get("rule").and_then(Value::as_str).unwrap_or_default();
            let run = finding.get("run").and_then(Value::as_u64).unwrap_or(0);
            list.push((rule.to_owned(), run));
        }
    }
    Ok(list)
}

fn table(rows: &[Row]) -> String {
    let cell = |found: &Option<u64>| found.map_or_else(|| "-".to_owned(), |run| run.to_string());
    let mut text = format!("| demo | depth | {} | all |\n", STRATEGIES.join(" | "));
    text.push_str(&"| --- ".repeat(STRATEGIES.len() + 3));
    text.push_str("|\n");
    for row in rows {
        let alone: Vec<String> = row.alone.iter().map(cell).collect();
        let together = match (row.together, row.deep) {
            (None, Some(run)) => format!("{run} (deep)"),
            (found, _) => cell(&found),
        };
        let Demo { name, depth, .. } = &row.demo;
        text.push_str(&format!("| {name} | {depth} | {} | {together} |\n", alone.join(" | ")));
    }
    text
}

/// Puts the table between its marks.
fn write_table(table: &str) -> Result<()> {
    let path = repo::root().join("docs/exploration.md");
    let text = fs::read_to_string(&path).context("docs/exploration.md is missing")?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("docs/exploration.md has no marks for the table")?;
    fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::{Demo, Row, table};

    #[test]
    fn a_row_shows_who_found_it() {
        let demo = Demo {
            name: "late_set".to_owned(),
            folder: PathBuf::new(),
            depth: 1,
            expected: BTreeSet::new(),
        };
        let alone = vec![None, None, Some(7), None, None, None, None];
        let row = Row { demo, alone, together: None, deep: Some(900), complaints: Vec::new() };
        let text = table(&[row]);
        assert!(
            text.ends_with("| late_set | 1 | - | - | 7 | - | - | - | - | 900 (deep) |\n"),
            "{text}"
        );
    }
}
