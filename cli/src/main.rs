//! The program `bugcheck`.

mod arguments;
mod files;
mod output;
mod progress;

use std::{process::ExitCode, time::Duration};

use bugcheck::{
    CheckRequest, Driver, Limits, Outcome, Progress, ReplayFile, Report, ScenarioError,
    ScenarioResult,
};
use clap::Parser;

use arguments::{Arguments, CheckArguments, Format, Verb};

fn main() -> ExitCode {
    // A panic inside a run is caught and becomes an internal error of the report.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell if the terminal is gone.
            let _ = error.print();
            let is_error = error.use_stderr();
            return ExitCode::from(if is_error { Outcome::InputError.exit_code() } else { 0 });
        }
    };
    let done = std::panic::catch_unwind(|| carry_out(arguments.verb));
    match done {
        Ok(Ok(outcome)) => ExitCode::from(outcome.exit_code()),
        Ok(Err(sentence)) => {
            output::error(&format!("error: {sentence}"));
            ExitCode::from(Outcome::InputError.exit_code())
        }
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            output::error(&format!(
                "internal error: {} (bugcheck {}); please report it",
                text.unwrap_or("a panic"),
                bugcheck::VERSION
            ));
            ExitCode::from(Outcome::InternalError.exit_code())
        }
    }
}

fn carry_out(verb: Verb) -> Result<Outcome, String> {
    match verb {
        Verb::Check(arguments) => check(&arguments),
        Verb::Run { file, events, limit_events } => {
            output::friendly_run(&files::driver(&file), limit_events, events)
        }
        Verb::Replay { token, file, check } => {
            if let Some(path) = &check.scenario {
                let scenario = files::scenario(path)?;
                let request = request(&check, Vec::new());
                let driver = files::driver(&file);
                return scenario_outcome(
                    bugcheck::replay_scenario(driver, &scenario, &request, &token),
                    &check,
                );
            }
            let request = request(&check, vec![files::driver(&file)]);
            let report = match files::replay(&token) {
                Some(text) => bugcheck::replay_file(&request, &text?)?,
                None => bugcheck::replay(&request, &token)?,
            };
            show(&report, &check);
            Ok(report.outcome)
        }
        Verb::Explain { rule } => {
            let page = bugcheck::explain(&rule).ok_or_else(|| {
                format!("no rule is called `{rule}`; `bugcheck rules` lists them")
            })?;
            output::print(&page);
            Ok(Outcome::Clean)
        }
        Verb::Rules => {
            output::rules();
            Ok(Outcome::Clean)
        }
        Verb::Inspect { file } => {
            output::inspection(&file.display().to_string(), &files::driver(&file))
        }
    }
}

fn check(arguments: &CheckArguments) -> Result<Outcome, String> {
    let mut drivers = files::drivers(&arguments.files)?;
    let timeout = arguments.timeout_s.map(Duration::from_secs);
    let mut watcher = progress::Watcher::new(timeout);
    let mut listener = |progress: &Progress<'_>| watcher.hear(progress);
    let save = |replays: &[ReplayFile]| match &arguments.save_replays {
        Some(folder) => files::save(folder, replays),
        None => Ok(()),
    };
    if let Some(path) = &arguments.options.scenario {
        let (Some(driver), true) = (drivers.pop(), drivers.is_empty()) else {
            return Err("a scenario is played with one driver".to_owned());
        };
        let scenario = files::scenario(path)?;
        let request = request(&arguments.options, Vec::new());
        let result = bugcheck::run_scenario(driver, &scenario, &request, &mut listener);
        watcher.finish();
        save(result.as_ref().map_or(&[], |result| &result.replay_files))?;
        return scenario_outcome(result, &arguments.options);
    }
    let request = request(&arguments.options, drivers);
    let report = bugcheck::check(&request, &mut listener)?;
    watcher.finish();
    save(&bugcheck::replay_files(&request, &report))?;
    show(&report, &arguments.options);
    Ok(report.outcome)
}

/// Shows what came of a scenario.
fn scenario_outcome(
    result: Result<ScenarioResult, ScenarioError>,
    options: &arguments::Options,
) -> Result<Outcome, String> {
    match result {
        Ok(ScenarioResult { printed, report, .. }) => {
            // A report for tools is the only thing on standard output.
            if matches!(options.format, Format::Text) {
                printed.iter().for_each(|line| output::print(&format!("{line}\n")));
            }
            show(&report, options);
            Ok(report.outcome)
        }
        Err(error @ ScenarioError::Input(_)) => Err(error.to_string()),
        Err(ScenarioError::Machine { path, line, error }) => {
            output::error(&format!("stopped: {path}:{line}: {error}"));
            Ok(error.outcome())
        }
    }
}

fn request(options: &arguments::Options, drivers: Vec<Driver>) -> CheckRequest {
    let mut budget = options.budget.amounts();
    budget.schedule_runs = options.schedule_runs.unwrap_or(budget.schedule_runs);
    CheckRequest {
        drivers,
        seed: options.seed,
        processors: options.processors,
        profile: options.profile.of_library(),
        limits: Limits { runs: options.runs.unwrap_or(budget.runs), events: options.limit_events },
        budget,
        strategies: options.strategy.clone(),
        jobs: options.jobs.map_or_else(processors_here, usize::from),
        keep_going: options.keep_going,
        without: options.without.clone(),
        without_moves: options.without_moves.clone(),
        fail_on: options.fail_on.severity(),
    }
}

fn processors_here() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn show(report: &Report, options: &arguments::Options) {
    match options.format {
        Format::Text => output::report(report),
        Format::Json => output::print(&report.to_json()),
    }
}
