//! Requests as values, so that several callers can make them at once.

use system::Command;

use crate::{Buffer, File};

/// A request of a caller, for [`Machine::together`](crate::Machine::together).
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

    /// `CancelIoEx`.
    pub fn cancel(file: File) -> Self {
        Command::Cancel { file: file.0 }.into()
    }

    /// `CloseHandle`.
    pub fn close(file: File) -> Self {
        Command::Close { file: file.0 }.into()
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { command }
    }
}
