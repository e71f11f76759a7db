//! Limits as data: every export is called one level outside of its declared IRQL range, by guest
//! code, and the rule `irql::export_above_limit` speaks; at the ends of the range it is silent.
//!
//! The cases are the export tables themselves, so that a new export is a new case.

use std::collections::BTreeSet;

use bugcheck::{FileReport, Outcome};

use crate::program::{Step, Value, check};

const RULE: &str = "irql::export_above_limit";
const HIGH_LEVEL: u8 = 15;

/// An export that the tables declare.
struct Case {
    module: &'static str,
    name: &'static str,
    /// The name that a report shows.
    shown: &'static str,
    min: u8,
    max: u8,
    /// The page allows less under some condition on arguments or state.
    is_conditional: bool,
}

fn cases() -> Vec<Case> {
    let modules = system::modules();
    let exports = modules.iter().flat_map(|module| {
        let lists = module.exports.iter().flat_map(|list| list.iter());
        lists.map(|export| Case {
            module: module.name,
            name: export.name,
            shown: export.written_as.unwrap_or(export.name),
            min: export.irql.min.0,
            max: export.irql.max.0,
            is_conditional: export.irql_when.is_some(),
        })
    });
    exports.collect()
}

/// What a check says about a call with zeroes at this level.
fn call_at(case: &Case, irql: u8) -> FileReport {
    let call = Step::Call(case.module, case.name, vec![Value::Number(0); 12]);
    check(&format!("{} at {irql}", case.name), &[Step::Irql(irql), call, Step::Irql(0)])
}

fn breaks_the_limit(file: &FileReport) -> bool {
    file.findings.iter().any(|finding| finding.rule == RULE)
}

#[test]
fn one_level_outside_of_the_range_is_reported() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| (case.module, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "an export is declared once");
    let (mut above, mut below, mut unlimited) = (0, 0, 0);
    for case in &cases {
        let upper = (case.max < HIGH_LEVEL).then(|| case.max + 1);
        let lower = (case.min > 0).then(|| case.min - 1);
        above += usize::from(upper.is_some());
        below += usize::from(lower.is_some());
        unlimited += usize::from(upper.is_none() && lower.is_none());
        for irql in upper.into_iter().chain(lower) {
            let file = call_at(case, irql);
            let about = format!("{} at IRQL {irql}: {file:#?}", case.name);
            assert_eq!(file.outcome, Outcome::Findings, "{about}");
            let [finding] = file.findings.as_slice() else { panic!("{about}") };
            assert_eq!(finding.rule, RULE, "{about}");
            let start = format!("`{}` called at ", case.shown);
            assert!(finding.message.starts_with(&start), "{about}");
        }
    }
    let total = cases.len();
    let counts = format!("{total} exports: {above} above, {below} below, {unlimited} unlimited");
    assert!(above >= 200 && below >= 8 && above + below + unlimited >= total, "{counts}");
}

#[test]
fn the_ends_of_the_range_are_not_reported() {
    for case in cases() {
        for irql in BTreeSet::from([case.min, case.max]) {
            let is_reported = breaks_the_limit(&call_at(&case, irql));
            // With zeroes for arguments the condition may hold or not.
            let is_allowed = case.is_conditional || !is_reported;
            assert!(is_allowed, "{} at IRQL {irql}: no `irql_when` says why", case.name);
        }
    }
}
