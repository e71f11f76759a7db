//! `cargo xtask replays`: each finding of a set of drivers replays, every time with the same JSON.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use bugcheck::{CheckRequest, Driver, Finding, ReplayFile, replay_files};

use crate::repo;

/// Options of `replays`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each finding is replayed.
    #[arg(long, default_value_t = 100)]
    times: u32,
    /// Drivers, or folders with drivers; the samples if there are none.
    files: Vec<PathBuf>,
}

/// Replays all findings; the last line is `N passed, N failed`.
#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let (mut passed, mut failed) = (0, 0);
    for path in drivers(&args.files)? {
        let driver = driver(&path)?;
        let request = CheckRequest { drivers: vec![driver], ..CheckRequest::default() };
        let mut go_on = bugcheck::go_on;
        let report = bugcheck::check(&request, &mut go_on).map_err(anyhow::Error::msg)?;
        let findings = report.files.iter().flat_map(|file| &file.findings);
        for (finding, file) in findings.zip(replay_files(&request, &report)) {
            match replay(&request, finding, &file, args.times) {
                Ok(()) => passed += 1,
                Err(error) => {
                    failed += 1;
                    println!("{}: {}: {error:#}", path.display(), finding.rule);
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} findings do not replay");
    }
    Ok(())
}

fn replay(request: &CheckRequest, found: &Finding, file: &ReplayFile, times: u32) -> Result<()> {
    let mut first = None;
    for time in 0..times {
        // By token and by file in turn.
        let report = match time % 2 {
            0 => bugcheck::replay(request, &found.replay),
            _ => bugcheck::replay_file(request, &file.text),
        };
        let report = report.map_err(anyhow::Error::msg)?;
        let is_shown = report.files.iter().flat_map(|file| &file.findings).any(|other| {
            // Which run of how many it was is about the check and not about the finding.
            let Finding { run, runs, seen, seen_of, .. } = *found;
            Finding { run, runs, seen, seen_of, ..other.clone() } == *found
        });
        if !is_shown {
            bail!("{} does not show it again", found.replay);
        }
        let json = report.to_json();
        if *first.get_or_insert_with(|| json.clone()) != json {
            bail!("{}: replay {time} differs from the first", found.replay);
        }
    }
    Ok(())
}

/// The drivers of a list of files and folders; the samples if it is empty.
pub(crate) fn drivers(files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let samples = ["samples", "samples/demo"].map(|folder| repo::root().join(folder));
    let mut list = Vec::new();
    for path in if files.is_empty() { &samples[..] } else { files } {
        if !path.is_dir() {
            list.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut found: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "sys"));
        found.sort();
        list.extend(found);
    }
    Ok(list)
}

fn driver(path: &Path) -> Result<Driver> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let pdb = fs::read(path.with_extension("pdb")).ok();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Driver { path: shown, name, bytes: Ok(bytes), pdb })
}
