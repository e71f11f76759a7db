//! Requests as values, so that several callers can make them at once.

use system::{CallMode, Command};

use crate::{Buffer, File};

/// A request of a caller, for [`Machine::together`](crate::Machine::together) and
/// [`Machine::callers`](crate::Machine::callers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) command: Command,
}

impl Request {
    /// `ReadFile`, at offset 0.
    pub fn read(file: File, buffer: &Buffer) -> Self {
        Command::Read { file: file.0, buffer: buffer.spec(), offset_bytes: 0 }.into()
    }

    /// `WriteFile`, at offset 0.
    pub fn write(file: File, buffer: &Buffer) -> Self {
        Command::Write { file: file.0, buffer: buffer.spec(), offset_bytes: 0 }.into()
    }

    /// `DeviceIoControl`.
    pub fn ioctl(file: File, code: u32, input: &Buffer, output: &Buffer) -> Self {
        let (input, output) = (input.spec(), output.spec());
        Command::DeviceControl { file: file.0, code, input, output }.into()
    }

    /// Opens a device, as [`Machine::open`](crate::Machine::open) does, under a number that
    /// [`Machine::new_file`](crate::Machine::new_file) gave.
    pub fn open(file: File, path: &str) -> Self {
        Self::open_as(file, path, CallMode::Synchronous)
    }

    /// Opens a device for requests that may stay pending.
    pub fn open_overlapped(file: File, path: &str) -> Self {
        Self::open_as(file, path, CallMode::Overlapped)
    }

    pub(crate) fn open_as(file: File, path: &str, mode: CallMode) -> Self {
        let path =
            path.strip_prefix(r"\\.\").map_or(path.to_owned(), |name| format!(r"\??\{name}"));
        let (access, share) = (GENERIC_READ_WRITE, SHARE_READ_WRITE);
        Command::Open { file: file.0, path, access, share, mode }.into()
    }

    /// Waits, in milliseconds of virtual time, while the other callers go on.
    pub fn sleep_ms(time_ms: u32) -> Self {
        Command::Idle { time_100ns: u64::from(time_ms) * 10_000 }.into()
    }

    /// `CancelIoEx`.
    pub fn cancel(file: File) -> Self {
        Command::Cancel { file: file.0 }.into()
    }

    /// `CloseHandle`.
    pub fn close(file: File) -> Self {
        Command::Close { file: file.0 }.into()
    }
}

/// `GENERIC_READ | GENERIC_WRITE`.
const GENERIC_READ_WRITE: u32 = 0xc000_0000;
/// `FILE_SHARE_READ | FILE_SHARE_WRITE`.
const SHARE_READ_WRITE: u32 = 3;

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command }
    }
}
