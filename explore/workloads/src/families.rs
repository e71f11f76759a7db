//! Sequences that a driver's author may not have thought of, each a move of its own.
//!
//! Every one is legal for any user who may open the device. The pages that leave them free stand
//! beside them; docs/moves.md lists them with their tests.

use system::{CallMode, Command, FileRef, OtherRequest};

use crate::{
    Script,
    content::Filling,
    pairs,
    plan::{Target, script},
};

/// A second request of a kind on a file while the first is pending. Source: `CreateFile`,
/// `FILE_FLAG_OVERLAPPED`: several requests of a file may be outstanding.
const SECOND_REQUEST: &str = "second_request";
/// The handle is closed while a request on it is on its way. Source: "DispatchCleanup routines".
const CLOSE_WITH_REQUEST: &str = "close_with_request";
/// Requests on a file that is open when the unload is asked for. Source: "Writing an Unload
/// Routine": it is called only when no device has an open handle.
const REQUEST_AFTER_UNLOAD: &str = "request_after_unload";
/// Requests of the other major functions that user mode can send. Source: "IRP Major Function
/// Codes".
const OTHER_MAJOR: &str = "other_major";
/// A name relative to an open file. Source: `OBJECT_ATTRIBUTES`, `RootDirectory`; `FILE_OBJECT`,
/// `RelatedFileObject`.
const RELATIVE_OPEN: &str = "relative_open";
/// A name behind the device's that is as long as a name can be. Source: `UNICODE_STRING`: at most
/// 65,534 bytes, not terminated.
const LONG_NAME: &str = "long_name";
/// Offsets at which an addition of the length wraps, and the end of the file. Source: "ZwReadFile",
/// "ZwWriteFile": `ByteOffset` is the caller's.
const FAR_OFFSET: &str = "far_offset";
/// The same code with other access bits: another code. Source: "Defining I/O Control Codes".
const OTHER_ACCESS: &str = "other_access";

/// All of them.
pub(crate) const ALL: &[&str] = &[
    SECOND_REQUEST,
    CLOSE_WITH_REQUEST,
    REQUEST_AFTER_UNLOAD,
    OTHER_MAJOR,
    RELATIVE_OPEN,
    LONG_NAME,
    FAR_OFFSET,
    OTHER_ACCESS,
];

const FILE: FileRef = FileRef(1);
const OTHER_FILE: FileRef = FileRef(2);
/// One second.
const SECOND_100NS: u64 = 10_000_000;
/// Kinds of request that are doubled or raced with the close, per device.
const MOST_KINDS: usize = 8;
/// Characters of the longest name.
const LONGEST_NAME_CHARACTERS: usize = 32_767;
/// Offset and length of a transfer whose end wraps.
const FAR_OFFSETS: [i64; 3] = [i64::MAX, i64::MAX - 4, 0xffff_fffc];
/// `FILE_WRITE_TO_END_OF_FILE` as an offset.
const END_OF_FILE: i64 = -1;

/// The scripts for a device.
pub(crate) fn of_device(target: &Target<'_>) -> Vec<Script> {
    let mut list = Vec::new();
    let mut add = |family, scripts: Vec<Script>| {
        list.extend(scripts.into_iter().map(|script| Script { family, ..script }));
    };
    add(SECOND_REQUEST, second_requests(target));
    add(CLOSE_WITH_REQUEST, closes(target));
    add(REQUEST_AFTER_UNLOAD, after_unload(target));
    add(OTHER_MAJOR, other_majors(target));
    add(RELATIVE_OPEN, vec![relative(target)]);
    add(LONG_NAME, vec![long_name(target)]);
    add(FAR_OFFSET, far_offsets(target));
    add(OTHER_ACCESS, other_access(target));
    list
}

fn close(file: FileRef) -> Command {
    Command::Close { file }
}

fn second_requests(target: &Target<'_>) -> Vec<Script> {
    let mut list = Vec::new();
    for (about, request) in pairs::kinds(target).iter().take(MOST_KINDS) {
        for is_cancelled in [true, false] {
            let mut commands =
                vec![target.open(FILE, CallMode::Overlapped), request(FILE), request(FILE)];
            commands.push(Command::Idle { time_100ns: SECOND_100NS });
            if is_cancelled {
                commands.push(Command::Cancel { file: FILE });
            }
            commands.push(close(FILE));
            list.push(script(format!("{about} of {} twice at a time", target.path), commands));
        }
    }
    list
}

fn closes(target: &Target<'_>) -> Vec<Script> {
    let mut list = Vec::new();
    for (about, request) in pairs::kinds(target).iter().take(MOST_KINDS) {
        let commands = vec![
            target.open(FILE, CallMode::Overlapped),
            Command::Together(vec![request(FILE), close(FILE)]),
            Command::Idle { time_100ns: SECOND_100NS },
        ];
        list.push(script(format!("{about} of {} together with the close", target.path), commands));
    }
    list
}

fn after_unload(target: &Target<'_>) -> Vec<Script> {
    let mut list = Vec::new();
    for (about, request) in pairs::kinds(target).iter().take(MOST_KINDS) {
        let commands = vec![
            target.open(FILE, CallMode::Synchronous),
            Command::Unload,
            request(FILE),
            Command::Idle { time_100ns: SECOND_100NS },
            close(FILE),
        ];
        let about = format!("{about} of {} after the unload was asked for", target.path);
        list.push(script(about, commands));
    }
    list
}

fn other_majors(target: &Target<'_>) -> Vec<Script> {
    let code = target.facts.codes.first().copied().unwrap_or_else(|| target.any_code());
    let requests = [
        OtherRequest::Flush,
        OtherRequest::QueryInformation,
        OtherRequest::SetInformation,
        OtherRequest::QueryVolumeInformation,
        OtherRequest::FileSystemControl { code },
    ];
    let one = |request: OtherRequest| {
        let open = target.open(FILE, CallMode::Synchronous);
        let commands = vec![open, Command::Other { file: FILE, request }, close(FILE)];
        script(format!("{request:?} of {}", target.path), commands)
    };
    requests.into_iter().map(one).collect()
}

fn relative(target: &Target<'_>) -> Script {
    let name = "relative".to_owned();
    let commands = vec![
        target.open(FILE, CallMode::Synchronous),
        Command::OpenRelative { file: OTHER_FILE, root: FILE, name },
        close(FILE),
        close(OTHER_FILE),
    ];
    script(format!("an open relative to {}", target.path), commands)
}

fn long_name(target: &Target<'_>) -> Script {
    // The name must have room behind the device's own name, to which a link leads.
    let device = target.names().map(|name| name.encode_utf16().count()).max().unwrap_or(0);
    let count = LONGEST_NAME_CHARACTERS.saturating_sub(device + 2);
    let path = format!("{}\\{}", target.path, "n".repeat(count));
    let open = target.open_path(FILE, path, CallMode::Synchronous);
    script(format!("an open of a long name behind {}", target.path), vec![open, close(FILE)])
}

fn far_offsets(target: &Target<'_>) -> Vec<Script> {
    let mut list = Vec::new();
    let mut add = |about: &str, request: Command| {
        let commands = vec![target.open(FILE, CallMode::Synchronous), request, close(FILE)];
        list.push(script(format!("{about} of {}", target.path), commands));
    };
    for offset_bytes in FAR_OFFSETS {
        let buffer = target.zeros(8);
        add("far read", Command::Read { file: FILE, buffer, offset_bytes });
        let buffer = target.user(8, Filling::Marks);
        add("far write", Command::Write { file: FILE, buffer, offset_bytes });
    }
    let buffer = target.user(8, Filling::Marks);
    let offset_bytes = END_OF_FILE;
    add("write at the end", Command::Write { file: FILE, buffer, offset_bytes });
    list
}

fn other_access(target: &Target<'_>) -> Vec<Script> {
    let codes = target.facts.codes.iter().take(MOST_KINDS);
    let one = |&code: &u32| {
        let code = code ^ 0xc000;
        let request = Command::DeviceControl {
            file: FILE,
            code,
            input: target.user(8, Filling::SmallNumbers),
            output: target.zeros(8),
        };
        let about = format!("control code {code:#010x} of {}", target.path);
        script(about, vec![target.open(FILE, CallMode::Synchronous), request, close(FILE)])
    };
    codes.map(one).collect()
}
