//! The worker's side.

use std::{
    ffi::OsString,
    io::{self, Read},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bugcheck::{CheckRequest, Cut, Engine, OnRun, Progress};
use clap::Parser;

use super::{
    lockdown,
    wire::{Job, Message, Step, cut_of},
};
use crate::{
    arguments::{Arguments, Verb},
    friendly, judged, panic_text, request,
};

/// Exit code of a worker that has told everything, whatever that was.
const TOLD: i32 = 0;
/// Exit code of one that was given no job.
const NO_JOB: i32 = 1;
/// Time between two messages about progress.
const PROGRESS_PERIOD: Duration = Duration::from_millis(50);

/// Does what the arguments say to the driver that comes through standard input, and says what came
/// of it. Returns the exit code of the process.
pub(crate) fn work(arguments: &[OsString]) -> i32 {
    let program = [OsString::from("bugcheck")];
    let parsed = Arguments::try_parse_from(program.iter().chain(arguments));
    let job = Job::read(&mut io::stdin().lock());
    let (Ok(Arguments { verb }), Ok(job)) = (parsed, job) else { return NO_JOB };
    // What the host has to be asked for comes first: executable memory, and how it is.
    let ready = bugcheck::prepare_engine(Engine::Translator);
    let request = whole_request(&verb, &job);
    let ordered = orders();
    let ready = ready.and_then(|()| lockdown::enter());
    if let Err(sentence) = ready {
        tell(&Message::Refused(sentence));
        return TOLD;
    }
    tell(&Message::Ready);
    let done = catch_unwind(AssertUnwindSafe(|| carry_out(&verb, &job, &request, &ordered)));
    tell(&match done {
        Ok(Ok(message)) => message,
        Ok(Err(sentence)) => Message::Refused(sentence),
        Err(payload) => Message::Panicked(panic_text(&*payload)),
    });
    TOLD
}

/// What the verb asks for, with the driver of the job.
fn whole_request(verb: &Verb, job: &Job) -> CheckRequest {
    let drivers = vec![job.driver.clone()];
    let request = match verb {
        Verb::Check(check) => request(check, drivers),
        Verb::Replay(replay) => {
            judged(&replay.options, CheckRequest { drivers, ..CheckRequest::default() })
        }
        _ => CheckRequest { drivers, ..CheckRequest::default() },
    };
    let on_run = Some(OnRun::new(|token| tell(&Message::Run(token.to_string()))));
    CheckRequest { engine: Engine::Translator, on_run, ..request }
}

fn carry_out(
    verb: &Verb,
    job: &Job,
    request: &CheckRequest,
    ordered: &AtomicU8,
) -> Result<Message, String> {
    let report = match verb {
        Verb::Check(_) => {
            let mut told = Instant::now();
            let mut listener = |progress: &Progress<'_>| hear(progress, &mut told, ordered);
            bugcheck::check(request, &mut listener)?
        }
        Verb::Replay(replay) => match &job.replay {
            Some(text) => bugcheck::replay_file(request, text)?,
            None => bugcheck::replay(request, &replay.token)?,
        },
        Verb::Run(arguments) => {
            let run = bugcheck::run_friendly(&job.driver, &friendly(arguments))?;
            return Ok(Message::Friendly(run));
        }
        _ => return Err("this is not for a worker".to_owned()),
    };
    Ok(Message::Report(Box::new(report)))
}

fn tell(message: &Message) {
    message.send(&mut io::stdout().lock());
}

fn hear(progress: &Progress<'_>, told: &mut Instant, ordered: &AtomicU8) -> ControlFlow<Cut> {
    if let Some(cut) = cut_of(ordered.load(Ordering::Relaxed)) {
        return ControlFlow::Break(cut);
    }
    let Progress { done, planned, strategy, about, findings, codes, events, .. } = *progress;
    if done == 0 || told.elapsed() >= PROGRESS_PERIOD {
        *told = Instant::now();
        let (strategy, about) = (strategy.to_owned(), about.to_owned());
        let step = Step { done, planned, strategy, about, findings, codes, events };
        tell(&Message::Progress(step));
    }
    ControlFlow::Continue(())
}

/// The last order that came, or 0. When nobody is left to give one, the process ends.
fn orders() -> Arc<AtomicU8> {
    let last = Arc::new(AtomicU8::new(0));
    let ordered = Arc::clone(&last);
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {
            ordered.store(byte[0], Ordering::Relaxed);
        }
        process::exit(TOLD);
    });
    last
}
