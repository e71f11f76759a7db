//! What bugcheck says about the prebuilt drivers, and that every token replays its finding.
//!
//! These are the first commands that a reader of the README tries.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{repo, ui};

/// The rules that a driver must break, and no other. Silent where there is none.
const VERDICTS: [(&str, &[&str]); 17] = [
    (
        "samples/priority_booster.sys",
        &[
            "user_buffer::fetched_twice",
            "user_buffer::unguarded_access",
            "user_buffer::unprobed_pointer",
        ],
    ),
    ("samples/interrupt.sys", &[]),
    ("samples/locks.sys", &[]),
    ("samples/priority_booster_guarded.sys", &[]),
    ("samples/sample.sys", &[]),
    ("samples/settings.sys", &[]),
    ("samples/timer.sys", &[]),
    ("samples/workers.sys", &[]),
    ("samples/zero.sys", &[]),
    ("samples/demo/completed_twice.sys", &["irp::completed_twice"]),
    ("samples/demo/double_free.sys", &["pool::double_free"]),
    ("samples/demo/link_left.sys", &["unload::link_left"]),
    ("samples/demo/lock_kept.sys", &["irql::not_restored"]),
    ("samples/demo/paged_at_dispatch.sys", &["pool::paged_at_dispatch"]),
    ("samples/demo/pool_overrun.sys", &["memory::out_of_bounds"]),
    ("samples/demo/port_access.sys", &["exposure::port_io"]),
    ("samples/demo/timer_left.sys", &["timer::alive_at_unload"]),
];

/// Samples that break no rule.
pub(crate) fn silent() -> impl Iterator<Item = &'static str> {
    VERDICTS.iter().filter(|(_, rules)| rules.is_empty()).map(|(path, _)| *path)
}

/// Checks both folders and replays every finding; returns how many verdicts were right.
pub(crate) fn check() -> Result<usize> {
    let bugcheck = ui::build_bugcheck()?;
    let mut right = 0;
    for folder in ["samples", "samples/demo"] {
        let report = run(&bugcheck, &["check", folder, "--format", "json"])?;
        let report: Value = serde_json::from_str(&report).context("the report is not JSON")?;
        for file in array(&report, "files") {
            let path = text(file, "file").replace('\\', "/");
            let known = VERDICTS.iter().find(|(name, _)| *name == path);
            let (_, expected) = known.with_context(|| format!("no verdict is known for {path}"))?;
            let findings = array(file, "findings");
            let found: BTreeSet<_> = findings.iter().map(|finding| text(finding, "rule")).collect();
            if found != expected.iter().copied().collect() {
                bail!("{path}: expected {expected:?}, found {found:?}");
            }
            let outcome = if expected.is_empty() { "clean" } else { "findings" };
            if text(file, "outcome") != outcome {
                bail!("{path}: expected outcome `{outcome}`, found `{}`", text(file, "outcome"));
            }
            for finding in findings {
                replay(&bugcheck, &path, finding)?;
            }
            right += 1;
        }
    }
    if right != VERDICTS.len() {
        bail!("{right} samples were checked, expected {}", VERDICTS.len());
    }
    Ok(right)
}

fn replay(bugcheck: &Path, path: &str, finding: &Value) -> Result<()> {
    let (token, rule) = (text(finding, "replay"), text(finding, "rule"));
    let shown = run(bugcheck, &["replay", token, path])?;
    if !shown.contains(&format!("[{rule}]")) || !shown.contains(text(finding, "message")) {
        bail!("{path}: replaying {token} does not show `{rule}` again\n{shown}");
    }
    Ok(())
}

/// Standard output of a run that ended with or without findings.
fn run(bugcheck: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(bugcheck);
    let output = command.current_dir(repo::root()).args(arguments).output()?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`bugcheck {}` failed ({})\n{said}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
