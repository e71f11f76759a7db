//! Scenarios: what callers do, as a script, for people without Rust.
//!
//! The script is written in Rhai. It drives a friendly run, sees every answer, and says what it
//! expects; what it did is then repeated under the other answers that a kernel may give. A script
//! from a stranger is bounded, and reaches nothing but the machine.

use std::{cell::RefCell, rc::Rc};

use rhai::{Blob, Engine, EvalAltResult, INT, Position};

use crate::{
    Buffer, CheckRequest, Driver, Expectation, File, Machine, MachineError, Reply, Report,
};

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
}

/// Bounds of a script. Source: "Rhai: safety and protection against DoS attacks".
const MAX_OPERATIONS: u64 = 10_000_000;
const MAX_CALL_LEVELS: usize = 64;
const MAX_EXPRESSION_DEPTH: usize = 64;
const MAX_STRING_BYTES: usize = 1 << 20;
const MAX_ELEMENTS: usize = 1 << 20;
/// Bytes of a script, of a buffer in it, and lines printed.
const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_BUFFER_BYTES: INT = 1 << 24;
const MAX_PRINTED: usize = 10_000;

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// What the functions of a script share.
struct State {
    machine: Machine,
    printed: Vec<String>,
    failed: Vec<Expectation>,
    /// Why the machine could not go on.
    broken: Option<MachineError>,
}

/// A handle in a script.
#[derive(Clone, Debug)]
struct Handle {
    status: String,
    file: Option<File>,
}

/// An answer in a script.
#[derive(Clone, Debug)]
struct Answer {
    status: String,
    information: INT,
    output: Vec<u8>,
}

/// Runs a scenario, and explores what it did.
pub fn run_scenario(
    driver: Driver,
    scenario: &Scenario,
    request: &CheckRequest,
) -> Result<ScenarioResult, ScenarioError> {
    let State { machine, printed, failed, .. } = play(driver, scenario)?;
    let report = machine.explore_expecting(request, &failed).map_err(ScenarioError::Input)?;
    Ok(ScenarioResult { printed, report })
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
    Ok(ScenarioResult { printed, report })
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
    let state = State { machine, printed: Vec::new(), failed: Vec::new(), broken: None };
    let shared = Rc::new(RefCell::new(state));
    let ended = engine(&shared, path).run(text);
    let state = Rc::into_inner(shared).expect("the engine with its functions is gone");
    let mut state = state.into_inner();
    match (ended, state.broken.take()) {
        (Ok(()), _) => Ok(state),
        (Err(error), Some(broken)) => {
            let line = error.position().line().unwrap_or(0);
            Err(ScenarioError::Machine { path: path.clone(), line, error: broken })
        }
        (Err(error), None) => Err(ScenarioError::Input(format!("{path}: {error}"))),
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
    register_expectations(&mut engine, state, path);
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
    engine
        .register_fn("null", |bytes: INT| -> Fallible<Buffer> { Ok(Buffer::null(length(bytes)?)) });
    engine.register_fn("kernel_address", |bytes: INT| -> Fallible<Buffer> {
        Ok(Buffer::kernel_address(length(bytes)?))
    });
    for (name, size_bytes) in [("u8", 1_u8), ("u16", 2), ("u32", 4), ("u64", 8)] {
        engine.register_fn(name, move |buffer: Buffer, at: INT, value: INT| -> Fallible<Buffer> {
            Ok(buffer.number(length(at)?, size_bytes, value.cast_unsigned()))
        });
    }
    type Put = fn(Buffer, u32) -> Buffer;
    let fields: [(&str, Put); 4] = [
        ("thread_id", Buffer::thread_id),
        ("process_id", Buffer::process_id),
        ("event_handle", Buffer::event_handle),
        ("user_pointer", Buffer::user_pointer),
    ];
    for (name, put) in fields {
        engine.register_fn(name, move |buffer: Buffer, at: INT| -> Fallible<Buffer> {
            Ok(put(buffer, length(at)?))
        });
    }
}

fn register_answers(engine: &mut Engine) {
    engine.register_type_with_name::<Handle>("File");
    engine.register_get("status", |handle: &mut Handle| handle.status.clone());
    engine.register_type_with_name::<Answer>("Reply");
    engine.register_get("status", |answer: &mut Answer| answer.status.clone());
    engine.register_get("information", |answer: &mut Answer| answer.information);
    engine.register_get("output", |answer: &mut Answer| -> Blob { answer.output.clone() });
    for (name, size_bytes) in [("u8", 1_usize), ("u16", 2), ("u32", 4), ("u64", 8)] {
        engine.register_fn(name, move |answer: &mut Answer, at: INT| -> Fallible<INT> {
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            let end = start.saturating_add(size_bytes);
            let Some(bytes) = answer.output.get(start..end) else {
                let have = answer.output.len();
                return refuse(format!("{size_bytes} bytes at {at} of an output of {have} bytes"));
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
    work(&mut state.machine).or_else(|error| {
        let text = error.to_string();
        state.broken = Some(error);
        refuse(text)
    })
}

/// The file of a handle that was opened.
fn opened(handle: &Handle) -> Fallible<File> {
    match handle.file {
        Some(file) => Ok(file),
        None => refuse(format!("the file is not open: {}", handle.status)),
    }
}

fn answer(reply: Reply) -> Answer {
    let status = reply.status().name_or_number();
    match reply {
        Reply::Done(done) => {
            Answer { status, information: done.information.cast_signed(), output: done.output }
        }
        Reply::Pending => Answer { status, information: 0, output: Vec::new() },
    }
}

fn register_requests(engine: &mut Engine, state: &Rc<RefCell<State>>) {
    type Open = fn(&mut Machine, &str) -> Result<Result<File, nt_abi::NtStatus>, MachineError>;
    let opens: [(&str, Open); 2] =
        [("open", Machine::open), ("open_overlapped", Machine::open_overlapped)];
    for (name, open) in opens {
        let state = Rc::clone(state);
        engine.register_fn(name, move |path: &str| -> Fallible<Handle> {
            let file = with(&state, |machine| open(machine, path))?;
            let success = nt_abi::NtStatus::STATUS_SUCCESS;
            let status = file.err().unwrap_or(success).name_or_number();
            Ok(Handle { status, file: file.ok() })
        });
    }
    type Transfer = fn(&mut Machine, File, &Buffer) -> Result<Reply, MachineError>;
    let transfers: [(&str, Transfer); 2] = [("read", Machine::read), ("write", Machine::write)];
    for (name, transfer) in transfers {
        let state = Rc::clone(state);
        engine.register_fn(name, move |handle: Handle, buffer: Buffer| -> Fallible<Answer> {
            let file = opened(&handle)?;
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

fn register_expectations(engine: &mut Engine, state: &Rc<RefCell<State>>, path: &str) {
    let (state, path) = (Rc::clone(state), path.to_owned());
    engine.register_fn(
        "expect",
        move |context: rhai::NativeCallContext<'_>, is_met: bool, message: &str| {
            if !is_met {
                let position: Position = context.call_position();
                state.borrow_mut().failed.push(Expectation {
                    path: path.clone(),
                    line: position.line().and_then(|line| u32::try_from(line).ok()),
                    message: message.to_owned(),
                });
            }
        },
    );
}
