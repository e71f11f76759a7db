//! `cargo xtask fuzz-tokens`: damaged tokens, replay files and scenarios get one clear sentence.
//!
//! Each case comes from the seed and its number alone. It fails if it panics, takes too long, is
//! answered by several lines or by an internal error. All cases run in a process with an
//! address-space limit. What is damaged so little that it still means something is carried out.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bugcheck::{
    CheckRequest, Driver, Limits, Outcome, Report, Scenario, ScenarioError, replay_files,
};

use crate::{
    fuzz_images::mutate::{self, Random},
    repo, ui,
};

/// What one case may take; a script that uses all it may takes a tenth of that.
const CASE_LIMIT: Duration = Duration::from_secs(60);
/// Address space of the process.
const MEMORY_LIMIT_KIB: u32 = 4 << 20;
/// One of so many cases goes through the program instead of the library.
const PROGRAM_EVERY: u64 = 500;

/// Options of `fuzz-tokens`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Cases to try, a third of each kind.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Seed of the damage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First case.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Runs the cases in this process, which has its limits already.
    #[arg(long, hide = true)]
    inside_limits: bool,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    ReplayFile,
    Scenario,
}

const KINDS: [Kind; 3] = [Kind::Token, Kind::ReplayFile, Kind::Scenario];

/// Good texts before they are damaged, and the driver they belong to.
struct Originals {
    request: CheckRequest,
    driver: Driver,
    tokens: Vec<String>,
    replay_files: Vec<String>,
    scenarios: Vec<String>,
}

/// The driver: it has findings of several kinds.
const DRIVER: &str = "samples/priority_booster.sys";

const SCENARIO: &str = r#"
let file = open("\\\\.\\PriorityBooster");
let other = open_overlapped("\\\\.\\PriorityBooster");
let sent = zeros(8).thread_id(0).u32(4, 12);
for i in 0..3 { print(ioctl(file, 0x80002003, sent, none()).status); }
fn f(x) { x.output.len() + x.u8(0) }
let a = [bytes(blob(8, 1)), null_pointer(4), kernel_address(4)];
for b in a { let r = read(file, b); write(other, b); }
cancel(other); sleep_ms(5); expect(debug_output().len() == 0, `it is ${"silent"}`);
close(other); close(file); unload();
"#;

/// Tries all cases and prints counts; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.inside_limits || !cfg!(target_os = "linux") {
        return run_cases(args);
    }
    let program = env::current_exe().context("this program has no path")?;
    let mut command = Command::new("sh");
    let script = format!("ulimit -v {MEMORY_LIMIT_KIB} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(program).args(["fuzz-tokens", "--inside-limits"]);
    for (option, value) in [("--count", args.count), ("--seed", args.seed), ("--first", args.first)]
    {
        command.arg(option).arg(value.to_string());
    }
    let status = command.status().context("cannot start a shell")?;
    if !status.success() {
        bail!("damaged tokens were not answered ({status})");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program speaks to its terminal")]
fn run_cases(args: &Args) -> Result<()> {
    let program = ui::build_bugcheck()?;
    let originals = originals()?;
    // Expected panics are told by their case.
    std::panic::set_hook(Box::new(|_| {}));
    let (send, receive) = mpsc::channel();
    let (count, seed, first) = (args.count, args.seed, args.first);
    // The worker is not joined: one that hangs ends with the process.
    thread::spawn(move || {
        for number in first..first.saturating_add(count) {
            let (kind, text) = damaged(&originals, seed, number);
            let by_program = number % PROGRAM_EVERY == 0;
            let answer = match by_program {
                true => through_program(&program, kind, &text),
                false => through_library(&originals, kind, &text),
            };
            if send.send((kind, text, answer)).is_err() {
                return;
            }
        }
    });
    let (mut passed, mut refused, mut failed) = (0_u64, 0_u64, 0_u64);
    for number in first..first.saturating_add(count) {
        let Ok((kind, text, answer)) = receive.recv_timeout(CASE_LIMIT) else {
            bail!("case {number} of seed {seed} took over {CASE_LIMIT:?}");
        };
        match answer {
            Ok(is_refused) => {
                passed += 1;
                refused += u64::from(is_refused);
            }
            Err(complaint) => {
                failed += 1;
                println!("{kind:?} case {number} of seed {seed}: {complaint}\n{text:?}");
            }
        }
    }
    println!("cases: {count}, of which {refused} were refused");
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} cases failed");
    }
    Ok(())
}

fn originals() -> Result<Originals> {
    let bytes = fs::read(repo::root().join(DRIVER)).context("samples are part of the project")?;
    let name = DRIVER.rsplit('/').next().unwrap_or_default().to_owned();
    let driver = Driver { path: DRIVER.to_owned(), name, bytes: Ok(bytes), pdb: None };
    let request = CheckRequest { drivers: vec![driver.clone()], ..CheckRequest::default() };
    let mut go_on = bugcheck::go_on;
    let report = bugcheck::check(&request, &mut go_on).map_err(anyhow::Error::msg)?;
    let mut files = replay_files(&request, &report);
    let scenario = Scenario { path: "a.rhai".to_owned(), text: SCENARIO.to_owned() };
    let played = bugcheck::run_scenario(driver.clone(), &scenario, &request, &mut go_on)?;
    files.extend(played.replay_files);
    let findings = report.files.iter().chain(&played.report.files).flat_map(|f| &f.findings);
    let mut tokens: Vec<String> = findings.map(|finding| finding.replay.clone()).collect();
    tokens.push(tokens.first().context("the sample has findings")?.to_owned() + ".1_2_1.1-4");
    let example = fs::read_to_string(repo::root().join("docs/examples/zero.rhai"))?;
    // Little is explored around what a damaged text still asks for.
    let limits = Limits { runs: 3, events: 100_000 };
    Ok(Originals {
        request: CheckRequest { limits, ..request },
        driver,
        tokens,
        replay_files: files.into_iter().map(|file| file.text).collect(),
        scenarios: vec![SCENARIO.to_owned(), example],
    })
}

fn damaged(originals: &Originals, seed: u64, number: u64) -> (Kind, String) {
    let mut random = Random::new(seed, number, 3);
    let kind = KINDS.get(usize::try_from(number % 3).unwrap_or(0)).copied();
    let kind = kind.unwrap_or(Kind::Token);
    let list = match kind {
        Kind::Token => &originals.tokens,
        Kind::ReplayFile => &originals.replay_files,
        Kind::Scenario => &originals.scenarios,
    };
    let mut bytes = random.pick(list).cloned().unwrap_or_default().into_bytes();
    let other = random.pick(list).cloned().unwrap_or_default();
    mutate::damage_text(&mut bytes, other.as_bytes(), &mut random);
    (kind, String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the text was refused; `Err` tells what is wrong with the answer.
fn through_library(originals: &Originals, kind: Kind, text: &str) -> Result<bool, String> {
    let Originals { request, driver, .. } = originals;
    let answer = catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::Token => bugcheck::replay(request, text),
        Kind::ReplayFile => bugcheck::replay_file(request, text),
        Kind::Scenario => {
            let scenario = Scenario { path: "a.rhai".to_owned(), text: text.to_owned() };
            let mut go_on = bugcheck::go_on;
            match bugcheck::run_scenario(driver.clone(), &scenario, request, &mut go_on) {
                Ok(result) => Ok(result.report),
                Err(ScenarioError::Machine { error, .. })
                    if error.outcome() == Outcome::InternalError =>
                {
                    panic!("{error}")
                }
                Err(error) => Err(error.to_string()),
            }
        }
    }));
    judge(answer.map_err(|_| "it panicked".to_owned())?)
}

fn judge(answer: Result<Report, String>) -> Result<bool, String> {
    match answer {
        Ok(report) if report.outcome == Outcome::InternalError => {
            let errors = report.files.iter().flat_map(|file| &file.internal_errors);
            Err(errors.map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "))
        }
        Ok(_) => Ok(false),
        Err(sentence) if is_sentence(&sentence) => Ok(true),
        Err(text) => Err(format!("the answer is no sentence: {text:?}")),
    }
}

fn is_sentence(text: &str) -> bool {
    (8..=600).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn through_program(program: &std::path::Path, kind: Kind, text: &str) -> Result<bool, String> {
    let folder = repo::target_dir().join("tmp/fuzz-tokens");
    let wrong = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&folder).map_err(wrong)?;
    let mut command = Command::new(program);
    command.current_dir(repo::root());
    match kind {
        // No argument holds a zero byte.
        Kind::Token => command.args(["replay", "--", &text.replace('\0', "0")]).arg(DRIVER),
        Kind::ReplayFile => {
            let file = folder.join("case.json");
            fs::write(&file, text).map_err(wrong)?;
            command.arg("replay").arg(file).arg(DRIVER)
        }
        Kind::Scenario => {
            let file = folder.join("case.rhai");
            fs::write(&file, text).map_err(wrong)?;
            command.args(["check", DRIVER, "--runs", "3", "--scenario"]).arg(file)
        }
    };
    let output = command.output().map_err(wrong)?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(2) if said.starts_with("error: ") && is_sentence(said.trim_end()) => Ok(true),
        Some(0 | 1 | 3 | 4) => Ok(false),
        code => Err(format!("exit code {code:?}: {said}")),
    }
}
