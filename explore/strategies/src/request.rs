//! Words for what the outside world does in a run.

use system::{BufferSpec, Command, DeviceAccess, DeviceInfo};
use workloads::Script;

/// A command in words: `write of 8 bytes to \??\Zero`.
pub(crate) fn in_words(command: &Command, script: Option<&Script>) -> String {
    let path = script.and_then(path).unwrap_or("the device");
    match command {
        Command::Load => "load (DriverEntry)".to_owned(),
        Command::Unload => "unload".to_owned(),
        Command::Open { path, .. } => format!("open of `{path}`"),
        Command::Close { .. } => format!("close of `{path}`"),
        Command::Read { buffer, .. } => format!("read into {} from `{path}`", place(buffer)),
        Command::Write { buffer, .. } => format!("write from {} to `{path}`", place(buffer)),
        Command::DeviceControl { code, input, output, .. } => format!(
            "control code {code:#010x} to `{path}`, input: {}, output: {}",
            place(input),
            place(output)
        ),
        Command::Cancel { .. } => format!("cancel of the requests to `{path}`"),
        Command::Idle { .. } => "rest".to_owned(),
        Command::Together(commands) => {
            let words: Vec<String> =
                commands.iter().map(|command| in_words(command, script)).collect();
            format!("together: {}", words.join(" | "))
        }
        Command::Shutdown => "system shutdown".to_owned(),
    }
}

fn place(buffer: &BufferSpec) -> String {
    match buffer {
        BufferSpec::Null { length_bytes: 0 } => "none".to_owned(),
        BufferSpec::Null { length_bytes } => format!("{length_bytes} bytes at a null pointer"),
        BufferSpec::User { length_bytes, .. } => format!("{length_bytes} bytes"),
        BufferSpec::Canary { length_bytes } => {
            format!("{length_bytes} bytes at a kernel address")
        }
    }
}

fn path(script: &Script) -> Option<&str> {
    script.commands.iter().find_map(|command| match command {
        Command::Open { path, .. } => Some(path.as_str()),
        _ => None,
    })
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
