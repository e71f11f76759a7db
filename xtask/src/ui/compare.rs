//! Compares the findings of a JSON report with the marks of a test.

use std::iter;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::case::Expected;

/// Version of the report this reads.
const SCHEMA: u64 = 1;

#[derive(Debug)]
pub(super) struct Place {
    file: String,
    line: usize,
}

#[derive(Debug)]
pub(super) struct Finding {
    pub(super) rule: String,
    message: String,
    /// The site, then its callers; those whose source line is known.
    places: Vec<Place>,
    history: Vec<(String, Vec<Place>)>,
}

/// The findings of a report.
pub(super) fn findings(json: &str) -> Result<Vec<Finding>> {
    let report: Value = serde_json::from_str(json).context("the report is not JSON")?;
    if report.get("schema_version").and_then(Value::as_u64) != Some(SCHEMA) {
        bail!("the report has not schema {SCHEMA}");
    }
    let mut findings = Vec::new();
    for file in list(&report, "files")? {
        for finding in list(file, "findings")? {
            let history = list(finding, "history")?.iter();
            findings.push(Finding {
                rule: text(finding, "rule")?,
                message: text(finding, "message")?,
                places: places(finding),
                history: history
                    .map(|step| Ok((text(step, "message")?, places(step))))
                    .collect::<Result<_>>()?,
            });
        }
    }
    Ok(findings)
}

/// What else the report says about a check that did not end as expected.
pub(super) fn remarks(json: &str) -> String {
    let report: Value = serde_json::from_str(json).unwrap_or_default();
    let files = report.get("files").and_then(Value::as_array).into_iter().flatten();
    let mut remarks = Vec::new();
    for file in files {
        for key in ["error", "unsupported", "limits", "bug_checks", "internal_errors"] {
            match file.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::Array(entries)) if entries.is_empty() => {}
                Some(value) => remarks.push(format!("{key}: {value}")),
            }
        }
    }
    remarks.join("; ")
}

/// Whether a report says that no routine but DriverEntry was called, and that nothing was missing
/// for it.
pub(super) fn is_not_exercised(json: &str) -> bool {
    let report: Value = serde_json::from_str(json).unwrap_or_default();
    let mut files = report.get("files").and_then(Value::as_array).into_iter().flatten();
    files.any(|file| {
        let is_supported =
            file.get("unsupported").and_then(Value::as_array).is_some_and(Vec::is_empty);
        file.get("not_exercised").is_some_and(Value::is_string) && is_supported
    })
}

/// One sentence per difference, each with file and line.
pub(super) fn complaints(path: &str, expected: &[Expected], found: &[Finding]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut left: Vec<&Finding> = found.iter().collect();
    // A routine of a shared header stands for the line of the test that called it.
    let is_at = |places: &[Place], line| {
        let own = places.iter().find(|place| place.file == path);
        own.is_some_and(|place| place.line == line)
    };
    for mark in expected {
        match mark {
            Expected::Finding { line, rule } => {
                let position = left
                    .iter()
                    .position(|finding| finding.rule == *rule && is_at(&finding.places, *line));
                match position {
                    Some(position) => drop(left.remove(position)),
                    None => complaints.push(format!("{path}:{line}: no finding `{rule}` here")),
                }
            }
            Expected::Note { line, words } => {
                let mut steps = found.iter().flat_map(|finding| &finding.history);
                if !steps.any(|(said, at)| said.contains(words) && is_at(at, *line)) {
                    complaints.push(format!("{path}:{line}: no step of a history says `{words}`"));
                }
            }
        }
    }
    for Finding { rule, message, places, .. } in left {
        let own = places.iter().find(|place| place.file == path).or(places.first());
        let place = own.map_or_else(|| path.to_owned(), |at| format!("{}:{}", at.file, at.line));
        complaints.push(format!("{place}: unexpected `{rule}`: {message}"));
    }
    complaints
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("the report has no `{key}`"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("a finding has no `{key}`"))?.to_owned())
}

fn places(value: &Value) -> Vec<Place> {
    let Some(site) = value.get("site") else { return Vec::new() };
    let callers = site.get("stack").and_then(Value::as_array).into_iter().flatten();
    iter::once(site).chain(callers).filter_map(place).collect()
}

fn place(frame: &Value) -> Option<Place> {
    // clang writes relative paths of Windows drivers with either slash; DWARF names the folder.
    let file = frame.get("file")?.as_str()?.replace('\\', "/");
    let file = file.strip_prefix("./").unwrap_or(&file).to_owned();
    let line = usize::try_from(frame.get("line")?.as_u64()?).ok()?;
    Some(Place { file, line })
}

#[cfg(test)]
mod tests {
    use super::{super::case::Expected, complaints, findings};

    const REPORT: &str = r#"{"schema_version":1,"files":[{"findings":[{"rule":"pool::double_free",
        "message":"freed twice","site":{"file":"a.c","line":3},
        "history":[{"message":"freed here","site":{"file":"a.c","line":2}}]}]}]}"#;

    fn finding(line: usize, rule: &str) -> Expected {
        Expected::Finding { line, rule: rule.to_owned() }
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let found = findings(REPORT).expect("well formed");
        let check = |expected: &[Expected]| complaints("a.c", expected, &found);
        assert!(check(&[finding(3, "pool::double_free")]).is_empty());
        assert_eq!(check(&[]), ["a.c:3: unexpected `pool::double_free`: freed twice"]);
        // A wrong rule name: missing there, unexpected here.
        assert_eq!(check(&[finding(3, "pool::wrong_tag")]).len(), 2);
        assert_eq!(check(&[finding(4, "pool::double_free")]).len(), 2);
        // The caller of a helper in a header.
        let report = REPORT.replace(
            "\"a.c\",\"line\":3",
            "\"h.h\",\"line\":9,\"stack\":[{\"file\":\"a.c\",\"line\":3}]",
        );
        let found = findings(&report).expect("well formed");
        assert_eq!(complaints("a.c", &[finding(3, "pool::double_free")], &found), [""; 0]);
        let note = |words: &str| Expected::Note { line: 2, words: words.to_owned() };
        assert!(check(&[finding(3, "pool::double_free"), note("freed")]).is_empty());
        assert_eq!(check(&[finding(3, "pool::double_free"), note("allocated")]).len(), 1);
    }

    #[test]
    fn a_driver_that_does_not_load_is_told_apart() {
        let check = |text: &str| super::is_not_exercised(text);
        assert!(check(r#"{"files":[{"not_exercised":"because","unsupported":[]}]}"#));
        assert!(!check(r#"{"files":[{"not_exercised":"because","unsupported":["x"]}]}"#));
        assert!(!check(r#"{"files":[{"not_exercised":null,"unsupported":[]}]}"#));
        assert!(!check(""));
    }

    #[test]
    fn what_ended_a_check_is_named() {
        let report = r#"{"files":[{"error":null,"limits":[],"unsupported":["x"]}]}"#;
        assert_eq!(super::remarks(report), "unsupported: [\"x\"]");
        assert_eq!(super::remarks(""), "");
    }

    #[test]
    fn a_report_of_another_shape_is_an_error() {
        assert!(findings("").is_err());
        assert!(findings(r#"{"schema_version":2,"files":[]}"#).is_err());
        assert!(findings(r#"{"schema_version":1}"#).is_err());
    }
}
