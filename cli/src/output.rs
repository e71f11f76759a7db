//! What is printed, and how.

use std::io::{self, ErrorKind, IsTerminal, Write};

use bugcheck::{Driver, FriendlyRun, Outcome, Report};
use report::{TextOptions, printable};

use crate::files;

/// Prints to the standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("the result cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// Prints a sentence to the standard error output, if anybody reads it. It may name files and what
/// is in them.
pub(crate) fn error(line: &str) {
    let lines: Vec<String> = line.split('\n').map(printable).collect();
    let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
}

/// Findings, then one line per driver.
pub(crate) fn report(report: &Report) -> Result<(), String> {
    let no_colours = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_terminal = io::stdout().is_terminal();
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let columns = columns.filter(|_| is_terminal);
    let options = TextOptions { colours: is_terminal && !no_colours, columns };
    let mut text = String::new();
    for file in &report.files {
        let mut sources = |path: &str| files::source(&file.file, path);
        for finding in &file.findings {
            text.push_str(&report::finding_text(finding, &file.file, &mut sources, options));
            text.push('\n');
        }
    }
    text.push_str(&report::summary_text(report));
    print(&text)
}

/// A friendly run.
pub(crate) fn friendly_run(run: FriendlyRun) -> Result<Outcome, String> {
    let mut text = String::new();
    let printed = run.debug_output.into_iter().map(|line| format!("DbgPrint: {line}"));
    for line in run.trace.into_iter().chain(printed).chain(run.replies) {
        text.push_str(&printable(&line));
        text.push('\n');
    }
    let outcome = match run.stopped {
        None => Outcome::Clean,
        Some((sentence, outcome)) => {
            text.push_str(&format!("stopped: {}\n", printable(&sentence)));
            outcome
        }
    };
    print(&text)?;
    Ok(outcome)
}

/// What a driver's file states.
pub(crate) fn inspection(path: &str, driver: &Driver) -> Result<Outcome, String> {
    let found = bugcheck::inspect(driver).map_err(|sentence| format!("{path}: {sentence}"))?;
    let path = printable(path);
    let mut text = format!("{path}: {}, SHA-256 {}\n", found.kind, found.sha256);
    for (name, value) in &found.version {
        text.push_str(&format!("  {name}: {}\n", printable(value)));
    }
    let signer = if found.is_signer_present { "present, not verified" } else { "absent" };
    text.push_str(&format!("  signature: {signer}\n"));
    text.push_str(&format!("  debug information: {}\n", found.debug_information));
    let (modelled, missing): (Vec<_>, Vec<_>) =
        found.imports.iter().partition(|import| import.is_modelled);
    text.push_str(&format!("imports: {} modelled, {} not\n", modelled.len(), missing.len()));
    for (word, imports) in [("modelled", modelled), ("not modelled", missing)] {
        for import in imports {
            let (module, name) = (printable(&import.module), printable(&import.name));
            text.push_str(&format!("  {word:12}  {module}!{name}\n"));
        }
    }
    text.push_str(&format!("names of devices and links: {}\n", found.devices.len()));
    for device in &found.devices {
        text.push_str(&format!("  {}\n", printable(&device.name)));
    }
    text.push_str(&format!("control codes: {}\n", found.codes.len()));
    for code in &found.codes {
        let likely = if code.is_sure { "" } else { ", perhaps" };
        text.push_str(&format!("  {:#010x}  {}{likely}\n", code.code, code.method));
    }
    print(&text)?;
    Ok(Outcome::Clean)
}
