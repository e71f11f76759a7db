//! `--engine auto`: the interpreter, or for a driver whose first runs are long the translator.
//!
//! What is counted is events, so that the same request leads to the same engine. No byte of a
//! report depends on it.

use std::ops::ControlFlow;

use bugcheck::{CheckRequest, Cut, Listener, Progress, Report, VERSION};

use crate::worker;

/// Runs after which the engine is chosen.
const FIRST_RUNS: u32 = 16;
/// What a run costs beside guest code, in events that the interpreter carries out meanwhile.
const REST_EVENTS: u64 = 10_000;
/// What it costs more with the translator.
const MORE_EVENTS: u64 = 4_000;
/// How much faster the translator is.
const TIMES_FASTER: u64 = 8;

/// Checks each driver in the interpreter, and from the beginning with the translator if that is
/// likely to be faster.
pub(crate) fn check(request: &CheckRequest, listener: &mut Listener<'_>) -> Result<Report, String> {
    check_by(request, listener, is_long, |one, listener| {
        worker::host::check(one, listener).or_else(|_| bugcheck::check(one, listener))
    })
}

/// The same, with those that decide and that carry out long checks.
fn check_by(
    request: &CheckRequest,
    listener: &mut Listener<'_>,
    is_long: impl Fn(u64, usize) -> bool,
    check_long: impl Fn(&CheckRequest, &mut Listener<'_>) -> Result<Report, String>,
) -> Result<Report, String> {
    let mut files = Vec::new();
    for driver in &request.drivers {
        let one = CheckRequest { drivers: vec![driver.clone()], ..request.clone() };
        let (mut is_chosen, mut goes_elsewhere) = (false, false);
        let mut report = bugcheck::check(&one, &mut |progress: &Progress<'_>| {
            if !is_chosen && progress.done >= FIRST_RUNS {
                is_chosen = true;
                goes_elsewhere = is_long(progress.events / u64::from(progress.done), request.jobs);
            }
            if goes_elsewhere { ControlFlow::Break(Cut::Interrupt) } else { listener(progress) }
        })?;
        if goes_elsewhere {
            report = check_long(&one, listener)?;
        }
        files.extend(report.files);
    }
    Ok(Report::new(VERSION, request.seed, request.profile.name(), files))
}

/// Whether the translator is likely to be faster for runs of so many events each. It has one
/// thread, the interpreter as many as there are jobs.
fn is_long(events: u64, jobs: usize) -> bool {
    let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
    let translated = REST_EVENTS + MORE_EVENTS + events / TIMES_FASTER;
    REST_EVENTS.saturating_add(events) > translated.saturating_mul(jobs)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, ops::ControlFlow, path::Path};

    use bugcheck::{CheckRequest, Driver, Limits, Report};

    use super::{check_by, is_long};

    #[test]
    fn long_runs_pay_on_few_processors() {
        for (events, jobs, expected) in [
            (100, 1, false),
            (4_000, 1, false),
            (6_000, 1, true),
            (6_000, 2, false),
            (100_000, 2, true),
            (1_000_000, 4, true),
            (1_000_000, 8, false),
            (u64::MAX, 1, true),
        ] {
            assert_eq!(is_long(events, jobs), expected, "{events} events, {jobs} jobs");
        }
    }

    fn text(report: &Report) -> String {
        serde_json::to_string(report).expect("a report is plain data")
    }

    #[test]
    fn a_check_that_goes_elsewhere_begins_anew() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/settings.sys");
        let bytes = std::fs::read(sample).expect("the sample is there");
        let driver = Driver::from_bytes("settings.sys", bytes);
        let limits = Limits { runs: 40, ..Limits::default() };
        let drivers = vec![driver.clone(), driver];
        let request = CheckRequest { drivers, limits, ..CheckRequest::default() };
        let whole = bugcheck::check(&request, &mut bugcheck::go_on).map(|report| text(&report));
        let (asked, told, elsewhere) = (Cell::new(0), Cell::new(0), Cell::new(0));
        for goes in [false, true] {
            let is_long = |events: u64, _| {
                assert!(events > 0);
                asked.set(asked.get() + 1);
                goes
            };
            let check_long = |one: &CheckRequest, listener: &mut bugcheck::Listener<'_>| {
                elsewhere.set(elsewhere.get() + 1);
                bugcheck::check(one, listener)
            };
            let mut hear = |_: &bugcheck::Progress<'_>| {
                told.set(told.get() + 1);
                ControlFlow::Continue(())
            };
            let report = check_by(&request, &mut hear, is_long, check_long);
            assert_eq!(report.map(|report| text(&report)), whole);
        }
        assert_eq!((asked.get(), elsewhere.get()), (4, 2), "once for each driver");
        assert!(told.get() > 160);
    }
}
