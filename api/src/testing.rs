//! What a test says about a report, in one line.

use report::{Outcome, Report, TextOptions};

/// A report as the program prints it, without colours and source lines.
pub fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for file in &report.files {
        for finding in &file.findings {
            let options = TextOptions::default();
            text.push_str(&report::finding_text(finding, &file.file, &mut |_| None, options));
            text.push('\n');
        }
    }
    text.push_str(&report::summary_text(report));
    text
}

/// A test's demand that nothing is wrong, and that nothing hindered the check.
///
/// # Panics
///
/// With the report, if its outcome is anything but clean.
#[track_caller]
pub fn assert_clean(report: &Report) {
    assert!(report.outcome == Outcome::Clean, "not clean\n{}", report_text(report));
}

/// A test's demand that the driver breaks a rule, such as `pool::leaked_at_unload`.
///
/// # Panics
///
/// With the report, if no finding names the rule.
#[track_caller]
pub fn assert_finds(report: &Report, rule: &str) {
    let found = report.files.iter().flat_map(|file| &file.findings).any(|f| f.rule == rule);
    assert!(found, "no finding of {rule}\n{}", report_text(report));
}
