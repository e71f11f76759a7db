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
    /// Requests that are under way together: each comes from a thread of its own. Only commands
    /// about an open file can be, and
    /// interrupts.
    Together(Vec<Command>),
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
            | Self::Shutdown => None,
        }
    }
}

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
    /// What each of several commands came to.
    Together(Vec<Reply>),
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
