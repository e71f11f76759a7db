//! Replay files: all that is needed, beside the driver, to see a finding again.
//!
//! A file holds the token and what a token has no room for: the whole hash of the image, the
//! version, the settings, and the requests of a scenario. One from a stranger is bounded and
//! believed in nothing.

use nt_abi::Irql;
use report::{Report, printable_char};
use serde::{Deserialize, Serialize};
use strategies::Plan;
use system::{
    BufferSpec, CallMode, Command, Content, FieldSpec, FieldValue, FileRef, InterruptLine, LineKind,
};
use workloads::Script;

use crate::{CheckRequest, Limits, VERSION, check};

/// Version of the form.
const FORMAT: u32 = 1;
/// Bytes of a file.
const MAX_FILE_BYTES: usize = 4 << 20;
/// Requests in a file.
const MAX_COMMANDS: usize = 10_000;
/// Bytes of all buffers of a file together, and of the content of each.
const MAX_BUFFERS_BYTES: u64 = 64 << 20;
/// Events of the run.
const MAX_EVENTS: u64 = 1 << 30;
/// The longest time of anything: 49 days, as for a test.
const MAX_TIME_100NS: u64 = u32::MAX as u64 * 10_000;
/// Device IRQLs on x64: above `DISPATCH_LEVEL`, below `CLOCK_LEVEL`.
const DEVICE_LEVELS: std::ops::RangeInclusive<u8> = 3..=12;
/// Interrupts of a device.
const MAX_LINES: usize = 16;

/// A replay file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayFile {
    /// What to call it.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// What stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Form {
    format: u32,
    bugcheck_version: String,
    /// SHA-256 of the image, in hex.
    image: String,
    /// For people: the rule that is broken.
    rule: String,
    token: String,
    limit_events: u64,
    keep_going: bool,
    without: Vec<String>,
    /// Interrupts of the driver's device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineForm>,
    /// What the caller does; absent if that is worked out from the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<Vec<RequestForm>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LineForm {
    vector: u32,
    irql: u8,
    is_message: bool,
    raised_by_port: Option<u16>,
    latency_100ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RequestForm {
    Unload,
    Shutdown,
    Open { file: u32, path: String, access: u32, share: u32, is_overlapped: bool },
    Close { file: u32 },
    Read { file: u32, buffer: BufferForm, offset_bytes: i64 },
    Write { file: u32, buffer: BufferForm, offset_bytes: i64 },
    DeviceControl { file: u32, code: u32, input: BufferForm, output: BufferForm },
    Cancel { file: u32 },
    Idle { time_100ns: u64 },
    Interrupt { vector: u32, after_100ns: u64 },
    Together(Vec<RequestForm>),
    Sequence(Vec<RequestForm>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BufferForm {
    Null { length_bytes: u32 },
    KernelAddress { length_bytes: u32 },
    Bytes { length_bytes: u32, hex: String },
    Fields { length_bytes: u32, fields: Vec<(u32, u8, ValueForm)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValueForm {
    Number(u64),
    Mark(u64),
    CallerThreadId,
    CallerProcessId,
    CallerHandle,
    UserPointer,
    CanaryPointer,
}

/// Writes a file for each finding of a report.
pub fn replay_files(request: &CheckRequest, report: &Report) -> Vec<ReplayFile> {
    of_report(request, report, None, &[])
}

/// The same, for the requests of a test.
pub(crate) fn of_report(
    request: &CheckRequest,
    report: &Report,
    commands: Option<&[Command]>,
    lines: &[InterruptLine],
) -> Vec<ReplayFile> {
    let mut files = Vec::new();
    for (file, finding) in report.files.iter().flat_map(|f| f.findings.iter().map(move |x| (f, x)))
    {
        let requests = commands.map(|list| list.iter().filter_map(request_form).collect());
        let form = Form {
            format: FORMAT,
            bugcheck_version: VERSION.to_owned(),
            image: file.sha256.clone(),
            rule: finding.rule.clone(),
            token: finding.replay.clone(),
            limit_events: request.limits.events,
            keep_going: request.keep_going,
            without: request.without.clone(),
            lines: lines.iter().map(line_form).collect(),
            requests,
        };
        let text = serde_json::to_string_pretty(&form).expect("plain strings and numbers");
        let driver = file.file.rsplit(['/', '\\']).next().unwrap_or_default();
        let number = files.len() + 1;
        let name = format!("{driver}-{number}-{}.json", finding.rule.replace("::", "-"));
        files.push(ReplayFile { name, text: text + "\n" });
    }
    files
}

/// Makes the run again that a file describes. `Err`: one sentence.
pub fn replay_file(request: &CheckRequest, text: &str) -> Result<Report, String> {
    let form = read(text)?;
    if form.bugcheck_version != VERSION {
        let made_by: String = form.bugcheck_version.chars().take(32).map(printable_char).collect();
        return Err(format!("the replay file was made by bugcheck {made_by}, this is {VERSION}"));
    }
    let [driver] = request.drivers.as_slice() else {
        return Err("a finding is replayed with one driver".to_owned());
    };
    let target = check::target(driver)?;
    let found = target.sha256_hex();
    if form.image != found {
        return Err(format!("the replay file was made for another image; this one is {found}"));
    }
    let plan = match form.requests {
        None => Plan::Automatic,
        Some(requests) => Plan::Given(vec![test_script(commands(requests)?)]),
    };
    let request = CheckRequest {
        limits: Limits { events: form.limit_events.min(MAX_EVENTS), ..request.limits },
        keep_going: form.keep_going,
        without: form.without,
        ..request.clone()
    };
    let lines: Option<Vec<InterruptLine>> = form.lines.into_iter().map(line).collect();
    let lines = lines.filter(|lines| lines.len() <= MAX_LINES);
    let lines = lines.ok_or("the interrupts in the replay file are damaged")?;
    check::replay_as(&request, &form.token, plan, &lines)
}

fn line_form(line: &InterruptLine) -> LineForm {
    let InterruptLine { vector, irql, kind, raised_by_port, latency_100ns } = *line;
    let is_message = kind == LineKind::Message;
    LineForm { vector, irql: irql.0, is_message, raised_by_port, latency_100ns }
}

/// `None` if no device has such an interrupt.
fn line(form: LineForm) -> Option<InterruptLine> {
    let LineForm { vector, irql, is_message, raised_by_port, latency_100ns } = form;
    let is_device_level = DEVICE_LEVELS.contains(&irql) && latency_100ns <= MAX_TIME_100NS;
    let kind = if is_message { LineKind::Message } else { LineKind::Line };
    let irql = Irql(irql);
    is_device_level.then_some(InterruptLine { vector, irql, kind, raised_by_port, latency_100ns })
}

/// What a test did, as a run of its own.
pub(crate) fn test_script(commands: Vec<Command>) -> Script {
    Script { about: "the test".to_owned(), family: "", commands }
}

fn read(text: &str) -> Result<Form, String> {
    if text.len() > MAX_FILE_BYTES {
        return Err(format!("a replay file has at most {MAX_FILE_BYTES} bytes"));
    }
    let form: Form = serde_json::from_str(text).map_err(|error| {
        let error: String = error.to_string().chars().take(200).map(printable_char).collect();
        format!("not a replay file: {error}")
    })?;
    if form.format != FORMAT {
        let found = form.format;
        return Err(format!("the replay file has format {found}, this program reads {FORMAT}"));
    }
    Ok(form)
}

/// `None` for what no test does.
fn request_form(command: &Command) -> Option<RequestForm> {
    Some(match command {
        Command::Load | Command::Other { .. } | Command::OpenRelative { .. } => return None,
        Command::Unload => RequestForm::Unload,
        Command::Shutdown => RequestForm::Shutdown,
        Command::Open { file, path, access, share, mode } => RequestForm::Open {
            file: file.0,
            path: path.clone(),
            access: *access,
            share: *share,
            is_overlapped: *mode == CallMode::Overlapped,
        },
        Command::Close { file } => RequestForm::Close { file: file.0 },
        Command::Read { file, buffer, offset_bytes } => {
            let (buffer, offset_bytes) = (buffer_form(buffer), *offset_bytes);
            RequestForm::Read { file: file.0, buffer, offset_bytes }
        }
        Command::Write { file, buffer, offset_bytes } => {
            let (buffer, offset_bytes) = (buffer_form(buffer), *offset_bytes);
            RequestForm::Write { file: file.0, buffer, offset_bytes }
        }
        Command::DeviceControl { file, code, input, output } => {
            let (input, output) = (buffer_form(input), buffer_form(output));
            RequestForm::DeviceControl { file: file.0, code: *code, input, output }
        }
        Command::Cancel { file } => RequestForm::Cancel { file: file.0 },
        Command::Interrupt { vector, after_100ns } => {
            RequestForm::Interrupt { vector: *vector, after_100ns: *after_100ns }
        }
        Command::Idle { time_100ns } => RequestForm::Idle { time_100ns: *time_100ns },
        Command::Together(list) => {
            RequestForm::Together(list.iter().filter_map(request_form).collect())
        }
        Command::Sequence(list) => {
            RequestForm::Sequence(list.iter().filter_map(request_form).collect())
        }
    })
}

fn buffer_form(buffer: &BufferSpec) -> BufferForm {
    match buffer {
        BufferSpec::Null { length_bytes } => BufferForm::Null { length_bytes: *length_bytes },
        BufferSpec::Canary { length_bytes } => {
            BufferForm::KernelAddress { length_bytes: *length_bytes }
        }
        BufferSpec::User { length_bytes, content } => {
            let length_bytes = *length_bytes;
            match content {
                Content::Bytes(bytes) => {
                    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    BufferForm::Bytes { length_bytes, hex }
                }
                Content::Fields(fields) => {
                    let field = |f: &FieldSpec| (f.offset_bytes, f.size_bytes, value_form(f.value));
                    BufferForm::Fields { length_bytes, fields: fields.iter().map(field).collect() }
                }
                Content::Marks(marks) => {
                    let fields = marks
                        .iter()
                        .map(|m| (m.offset_bytes, m.size_bytes, ValueForm::Mark(m.value)))
                        .collect();
                    BufferForm::Fields { length_bytes, fields }
                }
            }
        }
    }
}

fn value_form(value: FieldValue) -> ValueForm {
    match value {
        FieldValue::Number(number) => ValueForm::Number(number),
        FieldValue::Mark(number) => ValueForm::Mark(number),
        FieldValue::CallerThreadId => ValueForm::CallerThreadId,
        FieldValue::CallerProcessId => ValueForm::CallerProcessId,
        FieldValue::CallerHandle => ValueForm::CallerHandle,
        FieldValue::UserPointer => ValueForm::UserPointer,
        FieldValue::CanaryPointer => ValueForm::CanaryPointer,
    }
}

fn commands(requests: Vec<RequestForm>) -> Result<Vec<Command>, String> {
    let count: usize = requests.iter().map(parts).sum();
    if count > MAX_COMMANDS {
        return Err(format!("a replay file has at most {MAX_COMMANDS} requests"));
    }
    let mut bytes_left = MAX_BUFFERS_BYTES;
    requests.into_iter().map(|request| command(request, &mut bytes_left, Level::Run)).collect()
}

fn parts(request: &RequestForm) -> usize {
    match request {
        RequestForm::Together(list) | RequestForm::Sequence(list) => list.iter().map(parts).sum(),
        _ => 1,
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Run,
    Together,
    Sequence,
}

fn command(request: RequestForm, bytes_left: &mut u64, level: Level) -> Result<Command, String> {
    let mut spec = |buffer| buffer_spec(buffer, bytes_left);
    Ok(match request {
        RequestForm::Unload => Command::Unload,
        RequestForm::Shutdown => Command::Shutdown,
        RequestForm::Open { file, path, access, share, is_overlapped } => {
            let mode = if is_overlapped { CallMode::Overlapped } else { CallMode::Synchronous };
            Command::Open { file: FileRef(file), path, access, share, mode }
        }
        RequestForm::Close { file } => Command::Close { file: FileRef(file) },
        RequestForm::Read { file, buffer, offset_bytes } => {
            Command::Read { file: FileRef(file), buffer: spec(buffer)?, offset_bytes }
        }
        RequestForm::Write { file, buffer, offset_bytes } => {
            Command::Write { file: FileRef(file), buffer: spec(buffer)?, offset_bytes }
        }
        RequestForm::DeviceControl { file, code, input, output } => {
            let (input, output) = (spec(input)?, spec(output)?);
            Command::DeviceControl { file: FileRef(file), code, input, output }
        }
        RequestForm::Cancel { file } => Command::Cancel { file: FileRef(file) },
        RequestForm::Idle { time_100ns } => {
            Command::Idle { time_100ns: time_100ns.min(MAX_TIME_100NS) }
        }
        RequestForm::Interrupt { vector, after_100ns } => {
            Command::Interrupt { vector, after_100ns: after_100ns.min(MAX_TIME_100NS) }
        }
        RequestForm::Together(list) if level == Level::Run => {
            let list =
                list.into_iter().map(|request| command(request, bytes_left, Level::Together));
            let list: Vec<Command> = list.collect::<Result<_, String>>()?;
            if let Some(problem) = Command::together_problem(&list) {
                return Err(format!("the replay file is damaged: {problem}"));
            }
            Command::Together(list)
        }
        RequestForm::Sequence(list) if level == Level::Together => {
            let list =
                list.into_iter().map(|request| command(request, bytes_left, Level::Sequence));
            Command::Sequence(list.collect::<Result<_, String>>()?)
        }
        RequestForm::Together(_) | RequestForm::Sequence(_) => {
            return Err("requests go together once in a replay file".to_owned());
        }
    })
}

fn buffer_spec(buffer: BufferForm, bytes_left: &mut u64) -> Result<BufferSpec, String> {
    let (BufferForm::Null { length_bytes }
    | BufferForm::KernelAddress { length_bytes }
    | BufferForm::Bytes { length_bytes, .. }
    | BufferForm::Fields { length_bytes, .. }) = buffer;
    let is_user = matches!(buffer, BufferForm::Bytes { .. } | BufferForm::Fields { .. });
    if is_user {
        let left = bytes_left.checked_sub(u64::from(length_bytes));
        *bytes_left =
            left.ok_or(format!("a replay file has buffers of at most {MAX_BUFFERS_BYTES} bytes"))?;
    }
    let content = match buffer {
        BufferForm::Null { .. } => return Ok(BufferSpec::Null { length_bytes }),
        BufferForm::KernelAddress { .. } => return Ok(BufferSpec::Canary { length_bytes }),
        BufferForm::Bytes { hex, .. } => {
            let bytes = bytes_of(&hex).filter(|bytes| bytes.len() <= length_bytes as usize);
            Content::Bytes(bytes.ok_or("the bytes of a buffer in the replay file are damaged")?)
        }
        BufferForm::Fields { fields, .. } => {
            let field = |(offset_bytes, size_bytes, value)| match size_bytes {
                1 | 2 | 4 | 8 => {
                    Some(FieldSpec { offset_bytes, size_bytes, value: field_value(value) })
                }
                _ => None,
            };
            let fields: Option<Vec<FieldSpec>> = fields.into_iter().map(field).collect();
            Content::Fields(fields.ok_or("a field of a buffer in the replay file is damaged")?)
        }
    };
    Ok(BufferSpec::User { length_bytes, content })
}

fn field_value(value: ValueForm) -> FieldValue {
    match value {
        ValueForm::Number(number) => FieldValue::Number(number),
        ValueForm::Mark(number) => FieldValue::Mark(number),
        ValueForm::CallerThreadId => FieldValue::CallerThreadId,
        ValueForm::CallerProcessId => FieldValue::CallerProcessId,
        ValueForm::CallerHandle => FieldValue::CallerHandle,
        ValueForm::UserPointer => FieldValue::UserPointer,
        ValueForm::CanaryPointer => FieldValue::CanaryPointer,
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use system::{BufferSpec, CallMode, Command, Content, FieldSpec, FieldValue, FileRef};

    use super::{RequestForm, commands, request_form};

    #[test]
    fn requests_read_back() {
        let file = FileRef(1);
        let field = FieldSpec { offset_bytes: 4, size_bytes: 8, value: FieldValue::CallerHandle };
        let content = Content::Fields(vec![field]);
        let input = BufferSpec::User { length_bytes: 16, content };
        let bytes = Content::Bytes(vec![0, 0x7f, 0xff]);
        let output = BufferSpec::User { length_bytes: 3, content: bytes };
        let null = BufferSpec::Null { length_bytes: 9 };
        let path = r"\??\Zero".to_owned();
        let list = vec![
            Command::Open { file, path, access: 1, share: 3, mode: CallMode::Overlapped },
            Command::DeviceControl { file, code: 0x22_2003, input, output },
            Command::Together(vec![
                Command::Read { file, buffer: null, offset_bytes: -1 },
                Command::Cancel { file },
                Command::Sequence(vec![
                    Command::Open {
                        file: FileRef(2),
                        path: r"\??\Zero".to_owned(),
                        access: 1,
                        share: 3,
                        mode: CallMode::Synchronous,
                    },
                    Command::Idle { time_100ns: 7 },
                    Command::Close { file: FileRef(2) },
                ]),
            ]),
            Command::Idle { time_100ns: 7 },
            Command::Close { file },
            Command::Unload,
        ];
        let forms: Vec<RequestForm> = list.iter().filter_map(request_form).collect();
        let text = serde_json::to_string(&forms).expect("plain data");
        let forms = serde_json::from_str(&text).expect("it was written here");
        assert_eq!(commands(forms), Ok(list));
    }

    #[test]
    fn nonsense_is_refused() {
        let close = RequestForm::Close { file: 1 };
        let twice = RequestForm::Together(vec![RequestForm::Together(vec![close])]);
        assert!(commands(vec![twice]).is_err());
        assert!(commands(vec![RequestForm::Together(vec![RequestForm::Unload])]).is_err());
        assert!(commands(vec![RequestForm::Unload; 10_001]).is_err());
        let many = RequestForm::Together(vec![RequestForm::Close { file: 1 }; 33]);
        let error = commands(vec![many]).expect_err("they are too many");
        assert!(error.contains("at most 32 callers"), "{error}");
        let alone = RequestForm::Sequence(vec![RequestForm::Close { file: 1 }]);
        assert!(commands(vec![alone.clone()]).is_err());
        let nested = RequestForm::Together(vec![RequestForm::Sequence(vec![alone])]);
        assert!(commands(vec![nested]).is_err());
    }
}
