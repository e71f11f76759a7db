//! What a caller can tell a machine, and what it answers. Plain data.

use nt_abi::NtStatus;

/// An open file of the calling process, numbered by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRef(pub u32);

/// A marked value in an input: when it arrives at a privileged operation, the event says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes from the start of the input.
    pub offset_bytes: u32,
    /// Length: 1, 2, 4 or 8.
    pub size_bytes: u8,
    /// The value.
    pub value: u64,
}

/// What stands in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes, the rest 0.
    Bytes(Vec<u8>),
    /// Marked values, one behind the other, so that each can be recognised.
    Marks(Vec<Mark>),
    /// Values at these offsets, the rest 0. Those outside the buffer are cut off.
    Fields(Vec<FieldSpec>),
}

/// A value in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Bytes from the start of the buffer.
    pub offset_bytes: u32,
    /// Length: 1, 2, 4 or 8. Longer values are cut off.
    pub size_bytes: u8,
    /// The value.
    pub value: FieldValue,
}

/// A value that may only be known when the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// This number.
    Number(u64),
    /// This number, looked for at privileged operations like a [`Mark`]. An operand matches if it
    /// equals the value cut to the width of both, and the value is not 0 there.
    Mark(u64),
    /// Thread id of the calling thread.
    CallerThreadId,
    /// Process id of the calling process.
    CallerProcessId,
    /// A valid handle of the calling process (to an event).
    CallerHandle,
    /// The address of some writable user memory of the caller.
    UserPointer,
    /// A kernel-half address that user mode may not touch (the marked canary region).
    CanaryPointer,
}

/// A buffer that a caller passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BufferSpec {
    /// A null pointer with this length.
    Null {
        /// Length told.
        length_bytes: u32,
    },
    /// Ordinary user memory of exactly this length, ending at the end of a page so that one byte
    /// more is unmapped.
    User {
        /// Length.
        length_bytes: u32,
        /// What stands in it.
        content: Content,
    },
    /// A kernel-half address that user mode may not touch (a marked canary region).
    Canary {
        /// Length told.
        length_bytes: u32,
    },
}

/// How the caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMode {
    /// A synchronous file object: the call returns when the request is complete.
    Synchronous,
    /// An overlapped call: returns at once if the driver pends.
    Overlapped,
}

/// Requests beside reads, writes and device controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherRequest {
    /// `NtFlushBuffersFile`.
    Flush,
    /// `NtFsControlFile` with this code and two buffers of eight bytes.
    FileSystemControl {
        /// The code.
        code: u32,
    },
    /// `NtQueryInformationFile`.
    QueryInformation,
    /// `NtSetInformationFile`.
    SetInformation,
    /// `NtQueryVolumeInformationFile`.
    QueryVolumeInformation,
}

/// One action of the outside world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Calls DriverEntry in a system thread.
    Load,
    /// Asks for the driver to be unloaded, as `sc stop` does.
    Unload,
    /// Opens a path such as `\??\Zero` from user mode.
    Open {
        /// The number that later commands use.
        file: FileRef,
        /// The NT path.
        path: String,
        /// Desired access.
        access: u32,
        /// Share access.
        share: u32,
        /// Whether the file object is synchronous.
        mode: CallMode,
    },
    /// Closes the handle: cleanup and, when nothing is outstanding, close.
    Close {
        /// The file.
        file: FileRef,
    },
    /// Reads.
    Read {
        /// The file.
        file: FileRef,
        /// Where to.
        buffer: BufferSpec,
        /// Position.
        offset_bytes: i64,
    },
    /// Writes.
    Write {
        /// The file.
        file: FileRef,
        /// Where from.
        buffer: BufferSpec,
        /// Position.
        offset_bytes: i64,
    },
    /// Another request that user mode can send to any file.
    Other {
        /// The file.
        file: FileRef,
        /// Which.
        request: OtherRequest,
    },
    /// Opens a name relative to an open file.
    OpenRelative {
        /// The number that later commands use.
        file: FileRef,
        /// The open file.
        root: FileRef,
        /// The name.
        name: String,
    },
    /// `DeviceIoControl`.
    DeviceControl {
        /// The file.
        file: FileRef,
        /// Control code.
        code: u32,
        /// Input.
        input: BufferSpec,
        /// Output.
        output: BufferSpec,
    },
    /// Cancels the outstanding requests of a file (`CancelIoEx`).
    Cancel {
        /// The file.
        file: FileRef,
    },
    /// Lets virtual time pass with nothing else happening.
    Idle {
        /// How long.
        time_100ns: u64,
    },
    /// Callers that act at once, each on a thread of its own: one command each, or a sequence. See
    /// [`Self::together_problem`] for what may stand in it.
    Together(Vec<Command>),
    /// What one caller does, one after the other. Stands only in [`Self::Together`].
    Sequence(Vec<Command>),
    /// A device raises an interrupt.
    Interrupt {
        /// Its vector.
        vector: u32,
        /// How long from now. With 0, the reply says whether a routine claimed it.
        after_100ns: u64,
    },
    /// Announces the shutdown to drivers that registered for it.
    Shutdown,
}

impl Command {
    /// The open file that it is about.
    pub fn file(&self) -> Option<FileRef> {
        match self {
            Self::Close { file }
            | Self::Read { file, .. }
            | Self::Write { file, .. }
            | Self::DeviceControl { file, .. }
            | Self::Other { file, .. }
            | Self::Cancel { file } => Some(*file),
            Self::Load
            | Self::Unload
            | Self::Open { .. }
            | Self::OpenRelative { .. }
            | Self::Idle { .. }
            | Self::Interrupt { .. }
            | Self::Together(_)
            | Self::Sequence(_)
            | Self::Shutdown => None,
        }
    }

    /// The commands that it is made of: those of all callers, or itself.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Together(list) | Self::Sequence(list) => {
                list.iter().flat_map(Self::parts).collect()
            }
            single => vec![single],
        }
    }

    /// Why callers cannot do this at once, in a sentence.
    pub fn together_problem(callers: &[Self]) -> Option<String> {
        if callers.len() > MOST_CALLERS {
            return Some(format!("at most {MOST_CALLERS} callers act at once"));
        }
        let is_interrupt = |command: &Self| matches!(command, Self::Interrupt { .. });
        callers.iter().find_map(|caller| match caller {
            Self::Sequence(list) if list.len() > MOST_IN_SEQUENCE => {
                let most = MOST_IN_SEQUENCE;
                Some(format!("a caller that acts beside others does at most {most} things"))
            }
            Self::Sequence(list) => list.iter().find_map(Self::problem_beside_others),
            single if is_interrupt(single) => None,
            single => single.problem_beside_others(),
        })
    }

    fn problem_beside_others(&self) -> Option<String> {
        let is_of_caller = matches!(self, Self::Open { .. } | Self::Idle { .. });
        let is_request = self.file().is_some() && !matches!(self, Self::Other { .. });
        let text = "callers that act at once open, close, read, write, control, cancel and wait";
        (!is_of_caller && !is_request).then(|| text.to_owned())
    }
}

/// Callers that act at once: more show nothing new, and each costs a thread.
const MOST_CALLERS: usize = 32;
/// Commands of one of several callers.
const MOST_IN_SEQUENCE: usize = 64;

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The call returned to user mode.
    Done {
        /// Its status.
        status: NtStatus,
        /// `IoStatusBlock.Information`, 0 if none was written.
        information: u64,
        /// The output buffer afterwards (user memory only).
        output: Vec<u8>,
    },
    /// The request is pending.
    Pending,
    /// What each of several callers came to.
    Together(Vec<Reply>),
    /// What the commands of one of them came to, as far as it got.
    Sequence(Vec<Reply>),
    /// The thread blocked and nothing can make it go on.
    Blocked,
}

/// Why a run ended early. Findings are not among these: the observer has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The observer asked for it.
    Violation,
    /// The kernel raised a bug check.
    BugCheck {
        /// The code.
        code: u32,
        /// Its parameters.
        parameters: [u64; 4],
    },
    /// Something that is not modelled, by name.
    Unsupported {
        /// `ntoskrnl.exe!ExFoo`, or an instruction.
        feature: String,
    },
    /// A bound of the configuration was reached.
    Limit {
        /// Which.
        what: String,
    },
}

/// A device that user mode can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `\Device\Zero`; empty for an unnamed one.
    pub name: String,
    /// Symbolic links to it, such as `\??\Zero`.
    pub links: Vec<String>,
    /// `FILE_DEVICE_XXX`.
    pub device_type: u32,
    /// `DO_XXX` flags.
    pub flags: u32,
    /// Only one open at a time.
    pub is_exclusive: bool,
    /// Who may open it.
    pub access: DeviceAccess,
}

/// Who may open a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// The default descriptor of `IoCreateDevice` for a legacy device: everybody may open it.
    Default,
    /// An SDDL string was given.
    Sddl(String),
}

#[cfg(test)]
mod tests {
    use super::{Command, FileRef, MOST_CALLERS, MOST_IN_SEQUENCE};

    #[test]
    fn what_callers_do_at_once_is_bounded() {
        let close = Command::Close { file: FileRef(1) };
        let sequence = |count| Command::Sequence(vec![close.clone(); count]);
        let problem = |list: &[Command]| Command::together_problem(list);
        assert_eq!(problem(&vec![sequence(MOST_IN_SEQUENCE); MOST_CALLERS]), None);
        let callers = problem(&vec![close.clone(); MOST_CALLERS + 1]);
        assert!(callers.is_some_and(|text| text.contains("32 callers")));
        let things = problem(&[sequence(MOST_IN_SEQUENCE + 1)]);
        assert!(things.is_some_and(|text| text.contains("64 things")));
        let nested = Command::Sequence(vec![sequence(1)]);
        let interrupt = Command::Interrupt { vector: 1, after_100ns: 0 };
        assert_eq!(problem(std::slice::from_ref(&interrupt)), None);
        let beside = [nested, Command::Unload, Command::Sequence(vec![interrupt])];
        for command in beside {
            assert!(problem(&[command]).is_some());
        }
    }

    #[test]
    fn the_parts_of_a_command_are_those_of_all_callers() {
        let cancel = |file| Command::Cancel { file: FileRef(file) };
        let sequence = Command::Sequence(vec![cancel(2), cancel(3)]);
        let together = Command::Together(vec![cancel(1), sequence]);
        assert_eq!(together.parts(), [&cancel(1), &cancel(2), &cancel(3)]);
        assert_eq!(cancel(1).parts(), [&cancel(1)]);
    }
}
