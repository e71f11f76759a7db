//! The program `bugcheck`.

mod arguments;
mod choice_of_engine;
mod files;
mod output;
mod progress;
mod worker;

use std::{any::Any, process::ExitCode, time::Duration};

use bugcheck::{
    CheckRequest, Driver, Engine, FriendlyOptions, Limits, Outcome, Progress, ReplayFile, Report,
    ScenarioError, ScenarioResult,
};
use clap::Parser;

use arguments::{
    Arguments, CheckArguments, Format, MachineOptions, Options, ReplayArguments, RunArguments, Verb,
};

fn main() -> ExitCode {
    // A panic inside a run is caught and becomes an internal error of the report.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            if error.use_stderr() {
                let text = error.render().to_string();
                let sentence = text.lines().next().unwrap_or_default();
                tell_tools(Outcome::InputError, sentence.trim_start_matches("error: "));
            }
            // Nobody is left to tell if the terminal is gone.
            let _ = error.print();
            let is_error = error.use_stderr();
            return ExitCode::from(if is_error { Outcome::InputError.exit_code() } else { 0 });
        }
    };
    let done = std::panic::catch_unwind(|| carry_out(arguments.verb));
    let (outcome, kind, sentence) = match done {
        Ok(Ok(outcome)) => return ExitCode::from(outcome.exit_code()),
        Ok(Err(Ended { outcome, kind, sentence })) => (outcome, kind, sentence),
        Err(payload) => {
            let text = panic_text(&*payload);
            let sentence = format!("{text} (bugcheck {}); please report it", bugcheck::VERSION);
            (Outcome::InternalError, "internal error", sentence)
        }
    };
    tell_tools(outcome, &sentence);
    output::error(&format!("{kind}: {sentence}"));
    ExitCode::from(outcome.exit_code())
}

/// Why there is no report.
struct Ended {
    outcome: Outcome,
    /// What stands before the sentence.
    kind: &'static str,
    sentence: String,
}

/// What people type wrong.
impl From<String> for Ended {
    fn from(sentence: String) -> Self {
        Self { outcome: Outcome::InputError, kind: "error", sentence }
    }
}

/// A text for what a panic carried.
fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Who asked for JSON gets JSON, also if there is no report.
fn tell_tools(outcome: Outcome, sentence: &str) {
    if Format::is_json_asked_for(std::env::args_os()) {
        let report = Report::of_error(bugcheck::VERSION, outcome, sentence.to_owned());
        // If that cannot be written, the sentence for people still can.
        let _ = output::print(&report.to_json());
    }
}

fn carry_out(verb: Verb) -> Result<Outcome, Ended> {
    match verb {
        Verb::Check(arguments) => check(&arguments),
        Verb::Run(arguments) => {
            let driver = files::driver(&arguments.file);
            let run = match arguments.engine.of_library() {
                Engine::Translator => worker::host::run_friendly(&driver),
                Engine::Interpreter => bugcheck::run_friendly(&driver, &friendly(&arguments)),
            };
            let run = run.map_err(|sentence| format!("{}: {sentence}", driver.path))?;
            Ok(output::friendly_run(run)?)
        }
        Verb::Replay(arguments) => replay(&arguments),
        Verb::Explain { name } => {
            output::print(&bugcheck::explain_topic(&name)?)?;
            Ok(Outcome::Clean)
        }
        Verb::Rules => {
            output::print(&bugcheck::rule_list(&bugcheck::rules()))?;
            Ok(Outcome::Clean)
        }
        Verb::Work { arguments } => std::process::exit(worker::work(&arguments)),
        Verb::Inspect { file } => {
            Ok(output::inspection(&file.display().to_string(), &files::driver(&file))?)
        }
    }
}

/// How a friendly run is made.
fn friendly(arguments: &RunArguments) -> FriendlyOptions {
    let RunArguments { events, limit_events, machine, engine, .. } = arguments;
    let MachineOptions { seed, processors } = *machine;
    let engine = engine.of_library();
    FriendlyOptions { limit_events: *limit_events, with_trace: *events, processors, seed, engine }
}

fn replay(arguments: &ReplayArguments) -> Result<Outcome, Ended> {
    let ReplayArguments { token, file, options, .. } = arguments;
    let request = judged(options, CheckRequest::of(files::driver(file)));
    let report = match (&options.scenario, files::replay(token)) {
        (_, Some(text)) => {
            refuse_held_by_file(options)?;
            match request.engine {
                Engine::Translator => worker::host::replay(&request, Some(text?))?,
                Engine::Interpreter => bugcheck::replay_file(&request, &text?)?,
            }
        }
        (Some(path), None) => {
            refuse_translator(options)?;
            let scenario = files::scenario(path)?;
            let driver = files::driver(file);
            let result = bugcheck::replay_scenario(driver, &scenario, &request, token);
            return scenario_outcome(result, options);
        }
        (None, None) => match request.engine {
            Engine::Translator => worker::host::replay(&request, None)?,
            Engine::Interpreter => bugcheck::replay(&request, token)?,
        },
    };
    show(&report, options)?;
    Ok(report.outcome)
}

/// A replay file holds what its run takes; what is typed beside it would do nothing.
fn refuse_held_by_file(options: &Options) -> Result<(), String> {
    let typed = [
        ("--scenario", options.scenario.is_some()),
        ("--events", options.limit_events.is_some()),
        ("--keep-going", options.keep_going),
        ("--without", !options.without.is_empty()),
    ];
    match typed.into_iter().find(|(_, is_typed)| *is_typed) {
        Some((name, _)) => Err(format!("a replay file holds what `{name}` says; leave it out")),
        None => Ok(()),
    }
}

fn check(arguments: &CheckArguments) -> Result<Outcome, Ended> {
    let mut drivers = files::drivers(&arguments.files);
    let timeout = arguments.timeout_s.map(Duration::from_secs);
    let mut watcher = progress::Watcher::new(timeout);
    let mut listener = |progress: &Progress<'_>| watcher.hear(progress);
    let save = |replays: &[ReplayFile]| match &arguments.save_replays {
        Some(folder) => files::save(folder, replays),
        None => Ok(()),
    };
    if let Some(path) = &arguments.options.scenario {
        refuse_translator(&arguments.options)?;
        let count = drivers.len();
        let (Some(driver), true) = (drivers.pop(), count == 1) else {
            let sentence = format!("a scenario is played with one driver, found {count}");
            return Err(sentence.into());
        };
        let scenario = files::scenario(path)?;
        let request = request(arguments, Vec::new());
        let result = bugcheck::run_scenario(driver, &scenario, &request, &mut listener);
        watcher.finish();
        save(result.as_ref().map_or(&[], |result| &result.replay_files))?;
        return scenario_outcome(result, &arguments.options);
    }
    let request = request(arguments, drivers);
    let report = match (request.engine, arguments.options.engine) {
        (Engine::Translator, _) => worker::host::check(&request, &mut listener)?,
        (Engine::Interpreter, arguments::Engine::Auto) => {
            choice_of_engine::check(&request, &mut listener)?
        }
        (Engine::Interpreter, _) => bugcheck::check(&request, &mut listener)?,
    };
    watcher.finish();
    save(&bugcheck::replay_files(&request, &report))?;
    show(&report, &arguments.options)?;
    Ok(report.outcome)
}

/// A scenario drives its machine step by step, from this process.
fn refuse_translator(options: &Options) -> Result<(), String> {
    match options.engine.of_library() {
        Engine::Interpreter => Ok(()),
        Engine::Translator => {
            Err("scenarios run in the interpreter; leave out `--engine jit`".to_owned())
        }
    }
}

/// Shows what came of a scenario.
fn scenario_outcome(
    result: Result<ScenarioResult, ScenarioError>,
    options: &Options,
) -> Result<Outcome, Ended> {
    match result {
        Ok(ScenarioResult { printed, report, .. }) => {
            // A report for tools is the only thing on standard output.
            if matches!(options.format, Format::Text) {
                for line in printed {
                    output::print(&format!("{line}\n"))?;
                }
            }
            show(&report, options)?;
            Ok(report.outcome)
        }
        Err(error @ ScenarioError::Input(_)) => Err(error.to_string().into()),
        Err(ScenarioError::Machine { path, line, error }) => {
            let sentence = format!("{path}:{line}: {error}");
            Err(Ended { outcome: error.outcome(), kind: "stopped", sentence })
        }
    }
}

fn request(arguments: &CheckArguments, drivers: Vec<Driver>) -> CheckRequest {
    let mut budget = arguments.budget.amounts();
    budget.schedule_runs = arguments.schedule_runs.unwrap_or(budget.schedule_runs);
    let request = judged(&arguments.options, CheckRequest { drivers, ..CheckRequest::default() });
    CheckRequest {
        seed: arguments.machine.seed,
        processors: arguments.machine.processors,
        profile: arguments.profile.of_library(),
        limits: Limits { runs: arguments.runs.unwrap_or(budget.runs), ..request.limits },
        budget,
        strategies: arguments.strategy.clone(),
        jobs: arguments.jobs.map_or(request.jobs, usize::from),
        ..request
    }
}

/// The request with what checks and replays have in common.
fn judged(options: &Options, request: CheckRequest) -> CheckRequest {
    let events = options.limit_events.unwrap_or(request.limits.events);
    CheckRequest {
        limits: Limits { events, ..request.limits },
        jobs: processors_here(),
        keep_going: options.keep_going,
        without: options.without.clone(),
        without_moves: options.without_moves.clone(),
        fail_on: options.fail_on.severity(),
        engine: options.engine.of_library(),
        ..request
    }
}

fn processors_here() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn show(report: &Report, options: &Options) -> Result<(), String> {
    match options.format {
        Format::Text => output::report(report),
        Format::Json => output::print(&report.to_json()),
    }
}
