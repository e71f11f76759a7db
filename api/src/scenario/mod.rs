//! Scenarios: what callers do, as a script, for people without Rust.
//!
//! The script is written in Rhai. It drives a friendly run, sees every answer, and says what it
//! expects; what it did is then repeated under the other answers that a kernel may give. A script
//! from a stranger is bounded, and reaches nothing but the machine.

mod expect;
mod words;

use std::{cell::RefCell, rc::Rc};

use rhai::{Blob, Engine, EvalAltResult, INT, NativeCallContext};

use crate::{
    Buffer, CheckRequest, Driver, File, Listener, Machine, MachineError, ReplayFile, Reply, Report,
    Request,
};
use expect::Expectations;
use verifier::counted;

/// A script.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, as a report is to show it.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Why a scenario came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The script, the driver or the request makes no sense.
    #[error("{0}")]
    Input(String),
    /// The run could not go on.
    #[error("{path}:{line}: {error}")]
    Machine {
        /// The script.
        path: String,
        /// The line, from 1.
        line: usize,
        /// Why.
        error: MachineError,
    },
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct ScenarioResult {
    /// Lines that the script printed.
    pub printed: Vec<String>,
    /// What the exploration of its requests found, and the expectations that were not met.
    pub report: Report,
    /// A file for each finding, to replay it with.
    pub replay_files: Vec<ReplayFile>,
}

/// Bounds of a script. Source: "Rhai: safety and protection against DoS attacks".
const MAX_OPERATIONS: u64 = 1_000_000;
const MAX_CALL_LEVELS: usize = 64;
const MAX_EXPRESSION_DEPTH: usize = 64;
const MAX_STRING_BYTES: usize = 1 << 16;
const MAX_ELEMENTS: usize = 1 << 16;
const MAX_VARIABLES: usize = 256;
const MAX_FUNCTIONS: usize = 256;
/// Bytes of a script, of a buffer in it, of all buffers passed, and lines printed.
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_BUFFER_BYTES: INT = 1 << 24;
const MAX_PASSED_BYTES: u64 = 64 << 20;
const MAX_PRINTED: usize = 10_000;
/// Fields of a buffer, which is copied whenever one is added.
const MAX_FIELDS: usize = 1_024;
/// Requests of a script.
const MAX_REQUESTS: usize = 10_000;

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// What the functions of a script share.
struct State {
    machine: Machine,
    printed: Vec<String>,
    expectations: Expectations,
    /// Bytes of all buffers passed so far.
    passed_bytes: u64,
    /// Why the machine could not go on.
    broken: Option<MachineError>,
}

/// A handle in a script.
#[derive(Clone, Debug)]
struct Handle {
    status: String,
    file: Option<File>,
    /// The path that was opened, and the line.
    opened: (String, Option<usize>),
}

/// An answer in a script.
#[derive(Clone, Debug)]
struct Answer {
    status: String,
    information: INT,
    output: Rc<Vec<u8>>,
}

/// Runs a scenario, and explores what it did. `listener` hears of every run, and may end that.
pub fn run_scenario(
    driver: Driver,
    scenario: &Scenario,
    request: &CheckRequest,
    listener: &mut Listener<'_>,
) -> Result<ScenarioResult, ScenarioError> {
    let State { machine, printed, expectations, .. } = play(driver, scenario)?;
    if machine.request_count() == 0 && expectations.is_empty() {
        let path = &scenario.path;
        let error = format!("{path}: the script makes no request and expects nothing");
        return Err(ScenarioError::Input(error));
    }
    let report = machine.explore_expecting(request, expectations.failed(), listener);
    let report = report.map_err(ScenarioError::Input)?;
    let replay_files = machine.replay_files(request, &report);
    Ok(ScenarioResult { printed, report, replay_files })
}

/// Makes the run of a scenario again that a token names.
pub fn replay_scenario(
    driver: Driver,
    scenario: &Scenario,
    request: &CheckRequest,
    token: &str,
) -> Result<ScenarioResult, ScenarioError> {
    let State { machine, printed, .. } = play(driver, scenario)?;
    let report = machine.replay(request, token).map_err(ScenarioError::Input)?;
    Ok(ScenarioResult { printed, report, replay_files: Vec::new() })
}

/// The friendly run of a scenario.
fn play(driver: Driver, scenario: &Scenario) -> Result<State, ScenarioError> {
    let Scenario { path, text } = scenario;
    if text.len() > MAX_TEXT_BYTES {
        let error = format!("{path}: a scenario has at most {MAX_TEXT_BYTES} bytes");
        return Err(ScenarioError::Input(error));
    }
    let machine = Machine::load(driver).map_err(|error| match error {
        MachineError::Input(text) => ScenarioError::Input(text),
        error => ScenarioError::Machine { path: path.clone(), line: 0, error },
    })?;
    let (printed, expectations) = (Vec::new(), Expectations::default());
    let state = State { machine, printed, expectations, passed_bytes: 0, broken: None };
    let shared = Rc::new(RefCell::new(state));
    let ended = engine(&shared, path).run(text);
    let state = Rc::into_inner(shared).expect("the engine with its functions is gone");
    let mut state = state.into_inner();
    match (ended, state.broken.take()) {
        (Ok(()), _) => Ok(state),
        (Err(error), Some(MachineError::Input(_)) | None) => {
            Err(ScenarioError::Input(format!("{path}: {}", words::in_words(&error))))
        }
        (Err(error), Some(broken)) => {
            let line = error.unwrap_inner().position().line().unwrap_or(0);
            Err(ScenarioError::Machine { path: path.clone(), line, error: broken })
        }
    }
}

fn engine(state: &Rc<RefCell<State>>, path: &str) -> Engine {
    let mut engine = Engine::new();
    engine.set_max_operations(MAX_OPERATIONS);
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.set_max_string_size(MAX_STRING_BYTES);
    engine.set_max_array_size(MAX_ELEMENTS);
    engine.set_max_map_size(MAX_ELEMENTS);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_max_functions(MAX_FUNCTIONS);
    engine.disable_symbol("eval");
    let heard = Rc::clone(state);
    engine.on_print(move |line| {
        let printed = &mut heard.borrow_mut().printed;
        if printed.len() < MAX_PRINTED {
            printed.push(line.to_owned());
        }
    });
    register_buffers(&mut engine);
    register_answers(&mut engine);
    register_requests(&mut engine, state);
    register_callers(&mut engine, state);
    register_interrupts(&mut engine, state);
    expect::register(&mut engine, state, path);
    engine
}

fn refuse<T>(text: impl Into<String>) -> Fallible<T> {
    Err(text.into().into())
}

fn length(length_bytes: INT) -> Fallible<u32> {
    match u32::try_from(length_bytes) {
        Ok(length) if length_bytes <= MAX_BUFFER_BYTES => Ok(length),
        _ => refuse(format!("a length of 0 to {MAX_BUFFER_BYTES} bytes was expected")),
    }
}

fn register_buffers(engine: &mut Engine) {
    engine.register_type_with_name::<Buffer>("Buffer");
    engine.register_fn("none", Buffer::none);
    engine.register_fn("bytes", |bytes: Blob| Buffer::bytes(&bytes));
    engine.register_fn("zeros", |bytes: INT| -> Fallible<Buffer> {
        Ok(Buffer::zeros(length(bytes)?))
    });
    engine.register_fn("null_pointer", |bytes: INT| -> Fallible<Buffer> {
        Ok(Buffer::null(length(bytes)?))
    });
    engine.register_fn("kernel_address", |bytes: INT| -> Fallible<Buffer> {
        Ok(Buffer::kernel_address(length(bytes)?))
    });
    for (name, size_bytes) in [("u8", 1_u8), ("u16", 2), ("u32", 4), ("u64", 8)] {
        engine.register_fn(name, move |buffer: Buffer, at: INT, value: INT| -> Fallible<Buffer> {
            let at = length(at)?;
            let value = fitting(value, size_bytes)?;
            Ok(roomy(buffer, at, size_bytes)?.number(at, size_bytes, value))
        });
    }
    type Put = fn(Buffer, u32) -> Buffer;
    let fields: [(&str, u8, Put); 4] = [
        ("thread_id", 4, Buffer::thread_id),
        ("process_id", 4, Buffer::process_id),
        ("event_handle", 8, Buffer::event_handle),
        ("user_pointer", 8, Buffer::user_pointer),
    ];
    for (name, size_bytes, put) in fields {
        engine.register_fn(name, move |buffer: Buffer, at: INT| -> Fallible<Buffer> {
            let at = length(at)?;
            Ok(put(roomy(buffer, at, size_bytes)?, at))
        });
    }
}

fn register_answers(engine: &mut Engine) {
    engine.register_type_with_name::<Handle>("File");
    engine.register_get("status", |handle: &mut Handle| handle.status.clone());
    engine.register_type_with_name::<Answer>("Reply");
    engine.register_get("status", |answer: &mut Answer| answer.status.clone());
    engine.register_get("information", |answer: &mut Answer| answer.information);
    engine.register_get("output", |answer: &mut Answer| -> Blob { answer.output.to_vec() });
    for (name, size_bytes) in [("u8", 1_usize), ("u16", 2), ("u32", 4), ("u64", 8)] {
        engine.register_fn(name, move |answer: &mut Answer, at: INT| -> Fallible<INT> {
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            let end = start.saturating_add(size_bytes);
            let Some(bytes) = answer.output.get(start..end) else {
                let have = answer.output.len();
                let (field, output) =
                    (counted(size_bytes as u64, "byte"), counted(have as u64, "byte"));
                return refuse(format!("{field} at offset {at} are not in an output of {output}"));
            };
            let mut wide = [0; 8];
            wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            Ok(INT::from_le_bytes(wide))
        });
    }
}

/// Does something with the machine; what breaks it ends the script.
fn with<T>(
    state: &Rc<RefCell<State>>,
    work: impl FnOnce(&mut Machine) -> Result<T, MachineError>,
) -> Fallible<T> {
    let mut state = state.borrow_mut();
    if state.machine.request_count() >= MAX_REQUESTS {
        return refuse(format!("a scenario makes at most {MAX_REQUESTS} requests"));
    }
    work(&mut state.machine).or_else(|error| {
        let text = error.to_string();
        state.broken = Some(error);
        refuse(text)
    })
}

/// Counts the bytes of buffers that are passed; what a script may hold is bounded by it.
fn pass(state: &Rc<RefCell<State>>, buffers: &[&Buffer]) -> Fallible<()> {
    let mut state = state.borrow_mut();
    let bytes: u64 = buffers.iter().map(|buffer| u64::from(buffer.length_bytes())).sum();
    state.passed_bytes = state.passed_bytes.saturating_add(bytes);
    match state.passed_bytes <= MAX_PASSED_BYTES {
        true => Ok(()),
        false => refuse(format!("a scenario passes at most {MAX_PASSED_BYTES} bytes")),
    }
}

/// A buffer that may get one more field at this offset.
fn roomy(buffer: Buffer, offset_bytes: u32, size_bytes: u8) -> Fallible<Buffer> {
    match buffer.refuses(offset_bytes, size_bytes) {
        Some(reason) => refuse(reason),
        None if buffer.field_count() < MAX_FIELDS => Ok(buffer),
        None => refuse(format!("a buffer has at most {MAX_FIELDS} fields")),
    }
}

/// The bits of a number that has so many bytes, with a sign or without.
fn fitting(value: INT, size_bytes: u8) -> Fallible<u64> {
    let bits = u32::from(size_bytes) * 8;
    let above = value.checked_shr(bits).unwrap_or(0);
    let is_negative = value < 0 && value.checked_shr(bits - 1).is_none_or(|rest| rest == -1);
    match above == 0 || is_negative {
        true => Ok(value.cast_unsigned()),
        false => refuse(format!("{value} does not fit {}", counted(size_bytes, "byte"))),
    }
}

/// The file of a handle that was opened.
fn opened(handle: &Handle) -> Fallible<File> {
    match handle.file {
        Some(file) => Ok(file),
        None => {
            let (path, line) = &handle.opened;
            let line = line.map_or_else(String::new, |line| format!(" in line {line}"));
            refuse(format!("the file is not open: `{path}` gave {}{line}", handle.status))
        }
    }
}

/// A path that can be one of a device; any other is a mistake in the script.
fn named(path: &str) -> Result<&str, MachineError> {
    if path.starts_with('\\') && !path.starts_with(r"\.\") {
        return Ok(path);
    }
    let text = format!(
        r"a path such as `\\.\Zero` or `\Device\Zero` was expected, found `{path}` {}",
        r"(each `\` is written twice within quotes)"
    );
    Err(MachineError::Input(text))
}

/// The path of an open in a list of requests.
fn sent_to(path: &str) -> Fallible<&str> {
    named(path).or_else(|error| refuse(error.to_string()))
}

fn answer(reply: Reply) -> Answer {
    let status = reply.status().name_or_number();
    match reply {
        Reply::Done(done) => {
            let information = done.information.cast_signed();
            Answer { status, information, output: Rc::new(done.output) }
        }
        Reply::Pending => Answer { status, information: 0, output: Rc::default() },
    }
}

fn vector_of(vector: INT) -> Fallible<u32> {
    u32::try_from(vector).or_else(|_| refuse("a vector of 0 to 4294967295 was expected"))
}

fn register_requests(engine: &mut Engine, state: &Rc<RefCell<State>>) {
    type Open = fn(&mut Machine, &str) -> Result<Result<File, nt_abi::NtStatus>, MachineError>;
    let opens: [(&str, Open); 2] =
        [("open", Machine::open), ("open_overlapped", Machine::open_overlapped)];
    for (name, open) in opens {
        let state = Rc::clone(state);
        engine.register_fn(
            name,
            move |context: NativeCallContext<'_>, path: &str| -> Fallible<Handle> {
                let line = context.call_position().line();
                let file = with(&state, |machine| open(machine, named(path)?))?;
                let success = nt_abi::NtStatus::STATUS_SUCCESS;
                let status = file.err().unwrap_or(success).name_or_number();
                Ok(Handle { status, file: file.ok(), opened: (path.to_owned(), line) })
            },
        );
    }
    type Transfer = fn(&mut Machine, File, &Buffer) -> Result<Reply, MachineError>;
    let transfers: [(&str, Transfer); 2] = [("read", Machine::read), ("write", Machine::write)];
    for (name, transfer) in transfers {
        let state = Rc::clone(state);
        engine.register_fn(name, move |handle: Handle, buffer: Buffer| -> Fallible<Answer> {
            let file = opened(&handle)?;
            pass(&state, &[&buffer])?;
            with(&state, |machine| transfer(machine, file, &buffer)).map(answer)
        });
    }
    let control = Rc::clone(state);
    engine.register_fn(
        "ioctl",
        move |handle: Handle, code: INT, input: Buffer, output: Buffer| -> Fallible<Answer> {
            let file = opened(&handle)?;
            let Ok(code) = u32::try_from(code) else {
                return refuse("a control code has 32 bits");
            };
            pass(&control, &[&input, &output])?;
            with(&control, |machine| machine.ioctl(file, code, &input, &output)).map(answer)
        },
    );
    type OnFile = fn(&mut Machine, File) -> Result<(), MachineError>;
    let on_files: [(&str, OnFile); 2] = [("close", Machine::close), ("cancel", Machine::cancel)];
    for (name, act) in on_files {
        let state = Rc::clone(state);
        engine.register_fn(name, move |handle: Handle| -> Fallible<()> {
            let file = opened(&handle)?;
            with(&state, |machine| act(machine, file))
        });
    }
    let sleeping = Rc::clone(state);
    engine.register_fn("sleep_ms", move |time_ms: INT| -> Fallible<()> {
        let Ok(time_ms) = u32::try_from(time_ms) else {
            return refuse("a time of 0 to 4294967295 ms was expected");
        };
        with(&sleeping, |machine| machine.sleep_ms(time_ms))
    });
    let unloading = Rc::clone(state);
    engine.register_fn("unload", move || with(&unloading, Machine::unload));
    let printed = Rc::clone(state);
    engine.register_fn("debug_output", move || -> rhai::Array {
        let lines = printed.borrow().machine.debug_output().to_vec();
        lines.into_iter().map(rhai::Dynamic::from).collect()
    });
}

/// Requests as values, and several of them at once.
fn register_callers(engine: &mut Engine, state: &Rc<RefCell<State>>) {
    engine.register_type_with_name::<Request>("Request");
    type Transfer = fn(File, &Buffer) -> Request;
    let transfers: [(&str, Transfer); 2] =
        [("reading", Request::read), ("writing", Request::write)];
    for (name, transfer) in transfers {
        let state = Rc::clone(state);
        engine.register_fn(name, move |handle: Handle, buffer: Buffer| -> Fallible<Request> {
            pass(&state, &[&buffer])?;
            Ok(transfer(opened(&handle)?, &buffer))
        });
    }
    let control = Rc::clone(state);
    engine.register_fn(
        "controlling",
        move |handle: Handle, code: INT, input: Buffer, output: Buffer| -> Fallible<Request> {
            pass(&control, &[&input, &output])?;
            let Ok(code) = u32::try_from(code) else {
                return refuse("a control code has 32 bits");
            };
            Ok(Request::ioctl(opened(&handle)?, code, &input, &output))
        },
    );
    engine.register_fn("cancelling", |handle: Handle| -> Fallible<Request> {
        Ok(Request::cancel(opened(&handle)?))
    });
    engine.register_fn("closing", |handle: Handle| -> Fallible<Request> {
        Ok(Request::close(opened(&handle)?))
    });
    engine.register_fn("opening", |handle: Handle, path: &str| -> Fallible<Request> {
        Ok(Request::open(opened(&handle)?, sent_to(path)?))
    });
    engine.register_fn("opening_overlapped", |handle: Handle, path: &str| -> Fallible<Request> {
        Ok(Request::open_overlapped(opened(&handle)?, sent_to(path)?))
    });
    engine.register_fn("sleeping_ms", |time_ms: INT| -> Fallible<Request> {
        match u32::try_from(time_ms) {
            Ok(time_ms) => Ok(Request::sleep_ms(time_ms)),
            Err(_) => refuse("a time of 0 to 4294967295 ms was expected"),
        }
    });
    let numbering = Rc::clone(state);
    engine.register_fn("new_file", move || -> Fallible<Handle> {
        let file = with(&numbering, |machine| Ok(machine.new_file()))?;
        let status = nt_abi::NtStatus::STATUS_SUCCESS.name_or_number();
        Ok(Handle { status, file: Some(file), opened: (String::new(), None) })
    });
    let at_once = Rc::clone(state);
    engine.register_fn("together", move |requests: rhai::Array| -> Fallible<rhai::Array> {
        let Some(requests) = requests_of(requests) else {
            return refuse("together() takes requests: reading(..), writing(..), controlling(..)");
        };
        let replies = with(&at_once, |machine| machine.together(&requests))?;
        Ok(answers(replies))
    });
    let state = Rc::clone(state);
    engine.register_fn("callers", move |callers: rhai::Array| -> Fallible<rhai::Array> {
        let list = |caller: rhai::Dynamic| requests_of(caller.try_cast()?);
        let callers: Option<Vec<Vec<Request>>> = callers.into_iter().map(list).collect();
        let Some(callers) = callers else {
            return refuse("callers() takes a list of requests for each: [[opening(..), ..], ..]");
        };
        let replies = with(&state, |machine| machine.callers(&callers))?;
        Ok(replies.into_iter().map(|of_one| rhai::Dynamic::from(answers(of_one))).collect())
    });
}

fn requests_of(requests: rhai::Array) -> Option<Vec<Request>> {
    requests.into_iter().map(rhai::Dynamic::try_cast).collect()
}

fn answers(replies: Vec<Reply>) -> rhai::Array {
    replies.into_iter().map(|reply| rhai::Dynamic::from(answer(reply))).collect()
}

fn register_interrupts(engine: &mut Engine, state: &Rc<RefCell<State>>) {
    let raising = Rc::clone(state);
    engine.register_fn("interrupt", move |vector: INT| -> Fallible<bool> {
        let vector = vector_of(vector)?;
        with(&raising, |machine| machine.interrupt(vector))
    });
    let raising = Rc::clone(state);
    engine.register_fn("interrupt_after_us", move |vector: INT, time_us: INT| -> Fallible<()> {
        let vector = vector_of(vector)?;
        let Ok(time_us) = u32::try_from(time_us) else {
            return refuse("a time of 0 to 4294967295 us was expected");
        };
        with(&raising, |machine| machine.interrupt_after_us(vector, time_us))
    });
}
