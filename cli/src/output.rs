//! What is printed, and how.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program talks to people"
)]

use std::io::{self, IsTerminal, Write};

use bugcheck::{Driver, Outcome, Report};
use report::TextOptions;

use crate::files;

/// Prints to the standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a line to the standard error output.
pub(crate) fn error(line: &str) {
    eprintln!("{line}");
}

/// Findings, then one line per driver.
pub(crate) fn report(report: &Report) {
    let no_colours = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let options = TextOptions { colours: io::stdout().is_terminal() && !no_colours };
    let mut text = String::new();
    for file in &report.files {
        let mut sources = |path: &str| files::source(&file.file, path);
        for finding in &file.findings {
            text.push_str(&report::finding_text(finding, &file.file, &mut sources, options));
            text.push('\n');
        }
    }
    text.push_str(&report::summary_text(report));
    print(&text);
}

/// All rules, aligned.
pub(crate) fn rules() {
    let rules = bugcheck::rules();
    let width = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    for rule in rules {
        println!("{:width$}  {:9}  {}", rule.id, rule.severity, rule.title);
    }
}

/// A friendly run.
pub(crate) fn friendly_run(
    driver: &Driver,
    limit_events: u64,
    with_events: bool,
) -> Result<Outcome, String> {
    let run = bugcheck::run_friendly(driver, limit_events, with_events)
        .map_err(|sentence| format!("{}: {sentence}", driver.path))?;
    for line in &run.trace {
        println!("{line}");
    }
    for line in &run.debug_output {
        println!("DbgPrint: {line}");
    }
    for line in &run.replies {
        println!("{line}");
    }
    match run.stopped {
        None => Ok(Outcome::Clean),
        Some((sentence, outcome)) => {
            println!("stopped: {sentence}");
            Ok(outcome)
        }
    }
}

/// What a driver's file states.
pub(crate) fn inspection(path: &str, driver: &Driver) -> Result<Outcome, String> {
    let found = bugcheck::inspect(driver).map_err(|sentence| format!("{path}: {sentence}"))?;
    println!("{path}: {}, SHA-256 {}", found.kind, found.sha256);
    for (name, value) in &found.version {
        println!("  {name}: {value}");
    }
    let signer = if found.is_signer_present { "present, not verified" } else { "absent" };
    println!("  signature: {signer}");
    println!("  debug information: {}", found.debug_information);
    let (modelled, missing): (Vec<_>, Vec<_>) =
        found.imports.iter().partition(|import| import.is_modelled);
    println!("imports: {} modelled, {} not", modelled.len(), missing.len());
    for (word, imports) in [("modelled", modelled), ("not modelled", missing)] {
        for import in imports {
            println!("  {word:12}  {}!{}", import.module, import.name);
        }
    }
    println!("names of devices and links: {}", found.devices.len());
    for device in &found.devices {
        println!("  {}", device.name);
    }
    println!("control codes: {}", found.codes.len());
    for code in &found.codes {
        let likely = if code.is_sure { "" } else { ", perhaps" };
        println!("  {:#010x}  {}{likely}", code.code, code.method);
    }
    Ok(Outcome::Clean)
}
