//! The parent's side: starts workers, and answers for one that dies.

use std::{
    env,
    ffi::OsString,
    io::{BufReader, Write},
    ops::ControlFlow,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use bugcheck::{CheckRequest, Cut, FileReport, FriendlyRun, Outcome, Progress, Report, VERSION};
use report::{InternalError, printable};

use super::wire::{Job, Message, Step, byte_of, next_line};

/// How long nothing is heard before it is asked whether to go on.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a worker may take to stop.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// How long one that says nothing more may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Lines that wait to be heard; then the worker waits.
const MOST_WAITING: usize = 16;

/// Hears of progress, and may end the work.
type Listener<'l> = dyn FnMut(&Progress<'_>) -> ControlFlow<Cut> + 'l;

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done.
    Report(Box<Report>),
    /// It was a friendly run.
    Friendly(FriendlyRun),
    /// One sentence about a request that makes no sense here.
    Refused(String),
    /// The worker did not survive it: why, and the token of the run that it was in.
    Died(String, String),
}

/// Checks the drivers of a request, each in a process of its own.
pub(crate) fn check(request: &CheckRequest, listener: &mut Listener<'_>) -> Result<Report, String> {
    let mut files = Vec::new();
    for driver in &request.drivers {
        let job = Job { driver: driver.clone(), replay: None };
        match ask(&mut worker(&own_arguments())?, &job, listener) {
            Answer::Report(report) => files.extend(report.files),
            Answer::Refused(sentence) => return Err(sentence),
            answer => files.push(bug(&driver.path, answer)),
        }
    }
    Ok(Report::new(VERSION, request.seed, request.profile.name(), files))
}

/// Makes a run again in a process of its own; `replay`: the text of a replay file.
pub(crate) fn replay(request: &CheckRequest, replay: Option<String>) -> Result<Report, String> {
    let [driver] = request.drivers.as_slice() else {
        return Err("a token is replayed with one driver".to_owned());
    };
    let job = Job { driver: driver.clone(), replay };
    match ask(&mut worker(&own_arguments())?, &job, &mut bugcheck::go_on) {
        Answer::Report(report) => Ok(*report),
        Answer::Refused(sentence) => Err(sentence),
        answer => {
            let files = vec![bug(&driver.path, answer)];
            Ok(Report::new(VERSION, request.seed, request.profile.name(), files))
        }
    }
}

/// A friendly run in a process of its own.
pub(crate) fn run_friendly(driver: &bugcheck::Driver) -> Result<FriendlyRun, String> {
    let job = Job { driver: driver.clone(), replay: None };
    match ask(&mut worker(&own_arguments())?, &job, &mut bugcheck::go_on) {
        Answer::Friendly(run) => Ok(run),
        Answer::Refused(sentence) => Err(sentence),
        answer => {
            let message = format!("internal error: {}", why(answer).0);
            let stopped = Some((message, Outcome::InternalError));
            Ok(FriendlyRun { stopped, ..FriendlyRun::default() })
        }
    }
}

fn own_arguments() -> Vec<OsString> {
    env::args_os().skip(1).collect()
}

/// The program again, as a worker with these arguments.
fn worker(arguments: &[OsString]) -> Result<Command, String> {
    let program = env::current_exe()
        .map_err(|error| format!("the program cannot be started again: {error}"))?;
    let mut command = Command::new(program);
    command.arg(super::VERB).args(arguments);
    Ok(command)
}

/// A report of a driver whose worker gave none.
fn bug(path: &str, answer: Answer) -> FileReport {
    let (message, replay) = why(answer);
    FileReport {
        outcome: Outcome::InternalError,
        error: None,
        internal_errors: vec![InternalError { message, replay }],
        ..FileReport::not_checked(path, String::new())
    }
}

fn why(answer: Answer) -> (String, String) {
    match answer {
        Answer::Died(why, token) => (why, token),
        _ => ("the worker process answered something else".to_owned(), String::new()),
    }
}

/// Starts a worker, gives it the job, and waits for what comes of it.
pub(crate) fn ask(command: &mut Command, job: &Job, listener: &mut Listener<'_>) -> Answer {
    // Nor does it write to the terminal.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Ctrl-C goes to the group of processes in front; the worker hears of it from its parent.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    match command.spawn() {
        Ok(mut child) => {
            let answer = converse(&mut child, job, listener);
            // Whatever it does now, nobody listens.
            let _ = child.kill();
            let _ = child.wait();
            answer
        }
        Err(error) => Answer::Refused(format!("the worker process cannot be started: {error}")),
    }
}

fn converse(child: &mut Child, job: &Job, listener: &mut Listener<'_>) -> Answer {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Answer::Refused("the worker process has no pipes".to_owned());
    };
    let (sender, messages) = mpsc::sync_channel(MOST_WAITING);
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        while let Some(line) = next_line(&mut stdout) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    // A worker that does not take its job says why, or dies.
    let _ = job.write(&mut stdin);
    let mut talk = Talk { stdin, path: &job.driver.path, token: String::new(), ordered: None };
    match talk.listen(&messages, listener) {
        Ok(answer) => answer,
        Err(Silence::Late) => Answer::Died(
            format!("the worker process did not stop within {} s", GRACE.as_secs()),
            talk.token,
        ),
        Err(Silence::End) => {
            let how = end_of(child);
            Answer::Died(format!("the worker process ended early ({how})"), talk.token)
        }
    }
}

/// How a worker ended that says nothing more. It need not have.
fn end_of(child: &mut Child) -> String {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(how)) => return how.to_string(),
            Ok(None) if began.elapsed() >= FAREWELL => return "it says no more".to_owned(),
            Ok(None) => thread::sleep(PATIENCE / 10),
            Err(error) => return error.to_string(),
        }
    }
}

/// Why nothing more is heard.
enum Silence {
    End,
    Late,
}

struct Talk<'a> {
    stdin: ChildStdin,
    path: &'a str,
    /// The run that it is in.
    token: String,
    /// When it was ordered to stop.
    ordered: Option<Instant>,
}

impl Talk<'_> {
    fn listen(
        &mut self,
        messages: &Receiver<String>,
        listener: &mut Listener<'_>,
    ) -> Result<Answer, Silence> {
        let mut is_ready = false;
        let mut step = Step::default();
        let mut told = Instant::now();
        loop {
            let heard = messages.recv_timeout(PATIENCE);
            // One that talks all the time ends as well.
            if told.elapsed() >= PATIENCE {
                self.tell(&step, listener)?;
                told = Instant::now();
            }
            let line = match heard {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::End),
                Err(RecvTimeoutError::Timeout) => continue,
            };
            let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
            match message {
                Message::Ready => is_ready = true,
                Message::Refused(sentence) => return Ok(Answer::Refused(printable(&sentence))),
                // Nothing else is true before the worker is contained.
                _ if !is_ready => {}
                Message::Run(token) => self.token = token,
                Message::Progress(next) => {
                    step = next;
                    self.tell(&step, listener)?;
                }
                Message::Report(report) if !is_about(&report, self.path) => {
                    let why = "the worker process reports something else".to_owned();
                    return Ok(Answer::Died(why, std::mem::take(&mut self.token)));
                }
                Message::Report(report) => return Ok(Answer::Report(report)),
                Message::Friendly(run) => return Ok(Answer::Friendly(run)),
                Message::Panicked(text) => {
                    return Ok(Answer::Died(text, std::mem::take(&mut self.token)));
                }
            }
        }
    }

    /// Tells the listener how far the worker is, and the worker if it is to stop.
    fn tell(&mut self, step: &Step, listener: &mut Listener<'_>) -> Result<(), Silence> {
        if let Some(ordered) = self.ordered {
            return if ordered.elapsed() < GRACE { Ok(()) } else { Err(Silence::Late) };
        }
        let Step { done, planned, strategy, about, findings, codes, events } = step;
        let progress = Progress {
            path: self.path,
            done: *done,
            planned: *planned,
            strategy,
            about,
            findings: *findings,
            codes: *codes,
            events: *events,
        };
        if let ControlFlow::Break(cut) = listener(&progress) {
            self.ordered = Some(Instant::now());
            // One that cannot be told has gone, which is heard next.
            let _ = self.stdin.write_all(&[byte_of(cut)]);
            let _ = self.stdin.flush();
        }
        Ok(())
    }
}

/// Whether a report is one of this driver, by rules that there are: files are named after both.
fn is_about(report: &Report, path: &str) -> bool {
    let [file] = report.files.as_slice() else { return false };
    let is_rule = |name: &str| bugcheck::rules().iter().any(|rule| rule.id == name);
    file.file == path && file.findings.iter().all(|finding| is_rule(&finding.rule))
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::{
        env, fs,
        io::{self, Write},
        net::TcpStream,
        ops::ControlFlow,
        process::{self, Command},
        thread,
    };

    use bugcheck::{Cut, Driver, FileReport, Progress, Report};

    use super::{Answer, ask};
    use crate::worker::{
        lockdown,
        wire::{Job, Message},
    };

    /// Says to this program that it is the worker of a test, and what it does wrong.
    const DEED: &str = "BUGCHECK_TEST_DEED";
    const TOKEN: &str = "5.00000001.0.0.1";

    fn job() -> Job {
        Job { driver: Driver::from_bytes("a.sys", b"MZ".to_vec()), replay: None }
    }

    /// This program again, as a worker that does this.
    fn worker(deed: &str) -> Command {
        let mut command = Command::new(env::current_exe().expect("it runs"));
        let test = "worker::host::tests::a_worker_that_dies_is_a_bug_with_the_token_of_its_run";
        command.args(["--exact", test, "--nocapture"]).env(DEED, deed);
        command
    }

    fn misbehave(deed: &str) {
        Job::read(&mut io::stdin().lock()).expect("the job is whole");
        lockdown::enter().expect("this host has filters of system calls");
        let mut out = io::stdout().lock();
        // What the harness prints stands before.
        out.write_all(b"\n").expect("the parent listens");
        Message::Ready.send(&mut out);
        Message::Run(TOKEN.to_owned()).send(&mut out);
        let survived = match deed {
            "opens a file" => fs::File::open("/etc/passwd").is_ok(),
            "writes a file" => fs::write(env::temp_dir().join("bugcheck-worker"), b"x").is_ok(),
            "calls somebody" => TcpStream::connect("127.0.0.1:1").is_ok(),
            "starts a program" => Command::new("/bin/true").spawn().is_ok(),
            "starts a thread" => thread::Builder::new().spawn(|| {}).is_ok(),
            "gives up" => process::abort(),
            "goes" => process::exit(3),
            "is silent" => loop {
                let byte = b"x";
                // What follows is no line; nor does it ever stop.
                let _ = out.write_all(byte.repeat(0x1_0000).as_slice());
            },
            "is no text" => loop {
                let _ = out.write_all(b"\xff\n");
            },
            "talks" => loop {
                Message::Run(TOKEN.to_owned()).send(&mut out);
            },
            "talks to nobody" => loop {
                let _ = out.write_all(b"\n");
            },
            "tells of another" => {
                let file = FileReport::not_checked("/b.sys", String::new());
                report(vec![file]).send(&mut out);
                true
            }
            "tells of several" => {
                let file = FileReport::not_checked("a.sys", String::new());
                report(vec![file.clone(), file]).send(&mut out);
                true
            }
            "tells" => {
                report(vec![FileReport::not_checked("a.sys", String::new())]).send(&mut out);
                true
            }
            _ => true,
        };
        Message::Refused(format!("it lives: {survived}")).send(&mut out);
    }

    fn report(files: Vec<FileReport>) -> Message {
        Message::Report(Box::new(Report::new("0", 1, "standard", files)))
    }

    /// Whoever started it wants it to end.
    fn enough(_: &Progress<'_>) -> ControlFlow<Cut> {
        ControlFlow::Break(Cut::Interrupt)
    }

    #[test]
    fn a_worker_that_dies_is_a_bug_with_the_token_of_its_run() {
        if let Ok(deed) = env::var(DEED) {
            misbehave(&deed);
            return;
        }
        let rows = [
            ("opens a file", "SIGSYS"),
            ("writes a file", "SIGSYS"),
            ("calls somebody", "SIGSYS"),
            ("starts a program", "SIGSYS"),
            ("starts a thread", "SIGSYS"),
            ("gives up", "SIGABRT"),
            ("goes", "exit status: 3"),
            ("is silent", "it says no more"),
            ("is no text", "it says no more"),
            ("tells of another", "reports something else"),
            ("tells of several", "reports something else"),
        ];
        for (deed, how) in rows {
            match ask(&mut worker(deed), &job(), &mut bugcheck::go_on) {
                Answer::Died(why, token) => {
                    assert!(why.contains(how), "{deed}: {why}");
                    assert_eq!(token, TOKEN, "{deed}");
                }
                answer => panic!("{deed}: {answer:?}"),
            }
        }
        for deed in ["talks", "talks to nobody"] {
            match ask(&mut worker(deed), &job(), &mut enough) {
                Answer::Died(why, _) => assert!(why.contains("did not stop"), "{deed}: {why}"),
                answer => panic!("{deed}: {answer:?}"),
            }
        }
        let told = ask(&mut worker("tells"), &job(), &mut bugcheck::go_on);
        assert!(matches!(told, Answer::Report(_)), "{told:?}");
        let alive = ask(&mut worker("nothing"), &job(), &mut bugcheck::go_on);
        assert!(matches!(alive, Answer::Refused(said) if said == "it lives: true"));
    }
}
