//! Words for what the outside world does in a run.

use system::{
    BufferSpec, Command, Content, DeviceAccess, DeviceInfo, FieldSpec, FieldValue, OtherRequest,
};
use verifier::{Step, counted};
use workloads::Script;

/// Numbers of an input that are shown.
const MOST_NUMBERS: usize = 4;
/// Numbers with which whole buffers are filled.
const FILLINGS: [u64; 2] = [1, 10];

/// A command in words: `write of 8 bytes to \??\Zero`.
pub(crate) fn in_words(command: &Command, script: Option<&Script>) -> String {
    let path = script.and_then(path).unwrap_or("the device");
    match command {
        Command::Load => "load (DriverEntry)".to_owned(),
        Command::Unload => "unload".to_owned(),
        Command::Open { path, .. } => format!("open of `{path}`"),
        Command::Close { .. } => format!("close of `{path}`"),
        Command::Read { buffer, offset_bytes, .. } => {
            format!("read into {} from `{path}`{}", place(buffer), offset(*offset_bytes))
        }
        Command::Write { buffer, offset_bytes, .. } => {
            format!("write from {} to `{path}`{}", input_in_words(buffer), offset(*offset_bytes))
        }
        Command::DeviceControl { code, input, output, .. } => format!(
            "control code {code:#010x} to `{path}`, input: {}, output: {}",
            input_in_words(input),
            place(output)
        ),
        Command::Other { request, .. } => format!("{} of `{path}`", other_in_words(*request)),
        Command::OpenRelative { name, .. } => format!("open of `{name}` relative to `{path}`"),
        Command::Cancel { .. } => format!("cancel of the requests to `{path}`"),
        Command::Idle { .. } => "rest".to_owned(),
        Command::Interrupt { vector, .. } => format!("interrupt {vector:#x}"),
        Command::Together(commands) => together(&list_in_words(commands, script)),
        Command::Sequence(commands) => list_in_words(commands, script).join(", then "),
        Command::Shutdown => "system shutdown".to_owned(),
    }
}

fn list_in_words(commands: &[Command], script: Option<&Script>) -> Vec<String> {
    commands.iter().map(|command| in_words(command, script)).collect()
}

/// What is done at once; callers that do the same are told once.
fn together(each: &[String]) -> String {
    match each {
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|other| other == first) => {
            format!("{} callers at once, each: {first}", each.len())
        }
        _ => format!("together: {}", each.join(" | ")),
    }
}

fn other_in_words(request: OtherRequest) -> &'static str {
    match request {
        OtherRequest::Flush => "flush",
        OtherRequest::FileSystemControl { .. } => "file system control",
        OtherRequest::QueryInformation => "query of the size",
        OtherRequest::SetInformation => "setting of times and attributes",
        OtherRequest::QueryVolumeInformation => "query of the volume's size",
    }
}

fn offset(offset_bytes: i64) -> String {
    match offset_bytes {
        0 => String::new(),
        -1 => " at its end".to_owned(),
        offset => format!(" at offset {offset:#x}"),
    }
}

fn place(buffer: &BufferSpec) -> String {
    match buffer {
        BufferSpec::Null { length_bytes: 0 } => "none".to_owned(),
        BufferSpec::Null { length_bytes } => format!("{} at a null pointer", bytes(*length_bytes)),
        BufferSpec::User { length_bytes, .. } => bytes(*length_bytes),
        BufferSpec::Canary { length_bytes } => {
            format!("{} at a kernel address", bytes(*length_bytes))
        }
    }
}

/// The same with the numbers in it that no filling has: two requests may differ in nothing else.
fn input_in_words(buffer: &BufferSpec) -> String {
    let numbers = numbers(buffer);
    let mut shown: Vec<String> =
        numbers.iter().take(MOST_NUMBERS).map(|(at, n)| format!("{n:#x} at {at}")).collect();
    if numbers.len() > MOST_NUMBERS {
        shown.push("...".to_owned());
    }
    match shown.as_slice() {
        [] => place(buffer),
        _ => format!("{} ({})", place(buffer), shown.join(", ")),
    }
}

/// Numbers that stand in a buffer besides what fills it, and their offsets.
fn numbers(buffer: &BufferSpec) -> Vec<(u32, u64)> {
    let BufferSpec::User { content: Content::Fields(fields), .. } = buffer else {
        return Vec::new();
    };
    let number = |field: &FieldSpec| match field.value {
        FieldValue::Number(number) => Some((field.offset_bytes, number)),
        _ => None,
    };
    let each = fields.iter().filter_map(number);
    each.filter(|(_, number)| !FILLINGS.contains(number)).collect()
}

fn bytes(length_bytes: u32) -> String {
    counted(length_bytes, "byte")
}

fn path(script: &Script) -> Option<&str> {
    let mut each = script.commands.iter().flat_map(Command::parts);
    each.find_map(|command| match command {
        Command::Open { path, .. } => Some(path.as_str()),
        _ => None,
    })
}

/// What is unusual about a script, if it makes a move, as a step of a history.
pub(crate) fn family_in_words(script: &Script) -> Option<Step> {
    let is_move = !script.family.is_empty();
    is_move.then(|| Step { message: format!("in this run: {}", script.about), site: None })
}

/// Who may do what a script does: who may open its device.
pub(crate) fn who_may_open(devices: &[DeviceInfo], script: &Script) -> Option<String> {
    let path = path(script)?;
    let is_it = |d: &&DeviceInfo| d.name == path || d.links.iter().any(|link| link == path);
    let device = devices.iter().find(is_it)?;
    Some(match &device.access {
        DeviceAccess::Default => format!(
            "every user may open `{path}`: the device was created without a security descriptor"
        ),
        DeviceAccess::Sddl(sddl) => {
            format!("the security descriptor of `{path}` says who may open it: {sddl}")
        }
    })
}

#[cfg(test)]
mod tests {
    use system::{BufferSpec, Content, FieldSpec, FieldValue};

    use super::input_in_words;

    #[test]
    fn numbers_that_fill_no_buffer_are_told() {
        let field = |offset_bytes, value| FieldSpec { offset_bytes, size_bytes: 4, value };
        let fill = [field(0, FieldValue::Number(1)), field(4, FieldValue::Mark(7))];
        let input = |learned: &[(u32, u64)]| {
            let learned = learned.iter().map(|(at, n)| field(*at, FieldValue::Number(*n)));
            let content = Content::Fields(fill.iter().copied().chain(learned).collect());
            input_in_words(&BufferSpec::User { length_bytes: 8, content })
        };
        assert_eq!(input(&[]), "8 bytes");
        assert_eq!(input(&[(4, 3), (0, 0x4f4c_4548)]), "8 bytes (0x3 at 4, 0x4f4c4548 at 0)");
        let many = [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6)];
        assert_eq!(input(&many), "8 bytes (0x2 at 0, 0x3 at 1, 0x4 at 2, 0x5 at 3, ...)");
    }
}
