//! Requests of several callers that are under way together.
//!
//! Every request starts on a thread of its own before any of them is waited for; which goes on
//! when is then up to the schedule.

use events::ThreadId;
use nt_abi::NtStatus;
use ntoskrnl::{
    CallResult, Flow, Kernel, Rest,
    io::service::{self, DeviceControl, Transfer},
    ob::Handle,
};

use crate::{
    Command, FileRef, Machine, Reply,
    buffer::Buffer,
    service::{answer, done, idle_caller, request_buffers, status_of},
};

/// A request under way.
struct Started {
    thread: ThreadId,
    /// Status block, buffers to give back, and the one with the output; none for a call without.
    buffers: Option<(Buffer, Vec<Buffer>, Buffer)>,
}

/// Carries the commands out together; the replies are in their order.
pub(crate) fn execute(m: &mut Machine, commands: &[Command]) -> CallResult<Reply> {
    let mut started: Vec<Result<Started, NtStatus>> = Vec::new();
    let mut closed = Vec::new();
    for command in commands {
        if let Command::Interrupt { vector, after_100ns } = *command {
            m.kernel.expect_interrupt(vector, after_100ns);
            started.push(Err(NtStatus::STATUS_SUCCESS));
            continue;
        }
        let taken: Vec<ThreadId> = started.iter().flatten().map(|s| s.thread).collect();
        let thread = idle_caller(m, &taken)?;
        started.push(start(m, thread, command)?);
        if let Command::Close { file } = command {
            closed.push(*file);
        }
    }
    let mut replies = Vec::new();
    for request in started {
        replies.push(match request {
            Ok(request) => finish(m, request)?,
            Err(status) => done(status),
        });
    }
    for file in closed {
        m.state.files.remove(&file);
    }
    Ok(Reply::Together(replies))
}

fn handle_of(m: &Machine, file: FileRef) -> Result<Handle, NtStatus> {
    m.state.files.get(&file).copied().ok_or(NtStatus::STATUS_INVALID_HANDLE)
}

fn start(
    m: &mut Machine,
    thread: ThreadId,
    command: &Command,
) -> CallResult<Result<Started, NtStatus>> {
    let Some(handle) = command.file().map(|file| handle_of(m, file)) else {
        return Ok(Err(NtStatus::STATUS_INVALID_PARAMETER));
    };
    let handle = match handle {
        Ok(handle) => handle,
        Err(status) => return Ok(Err(status)),
    };
    let begin = |m: &mut Machine, service: &dyn Fn(&mut Kernel) -> CallResult<Flow>| {
        m.kernel.begin(thread, |k| service(k))
    };
    let buffers = match command {
        Command::Read { buffer, offset_bytes, .. }
        | Command::Write { buffer, offset_bytes, .. } => {
            let (buffer, iosb) = request_buffers(m, buffer)?;
            let (at, length_bytes) = (buffer.at, buffer.length_bytes);
            let offset_bytes = *offset_bytes;
            let wish = Transfer { handle, iosb: iosb.at, buffer: at, length_bytes, offset_bytes };
            let is_read = matches!(command, Command::Read { .. });
            begin(m, &|k| match is_read {
                true => service::read_file(k, wish),
                false => service::write_file(k, wish),
            })?;
            Some((iosb, vec![buffer], buffer))
        }
        Command::DeviceControl { code, input, output, .. } => {
            let (input, iosb) = request_buffers(m, input)?;
            let output = Buffer::build(&mut m.kernel, &m.state, output)?;
            let wish = DeviceControl {
                handle,
                iosb: iosb.at,
                code: *code,
                is_file_system: false,
                input: (input.at, input.length_bytes),
                output: (output.at, output.length_bytes),
            };
            begin(m, &|k| service::device_control(k, wish))?;
            Some((iosb, vec![input, output], output))
        }
        Command::Cancel { .. } => {
            begin(m, &|k| service::cancel_file(k, handle))?;
            None
        }
        Command::Close { .. } => {
            begin(m, &|k| service::close(k, handle))?;
            None
        }
        _ => return Ok(Err(NtStatus::STATUS_INVALID_PARAMETER)),
    };
    Ok(Ok(Started { thread, buffers }))
}

fn finish(m: &mut Machine, request: Started) -> CallResult<Reply> {
    let Started { thread, buffers } = request;
    if m.run(thread)? == Rest::Blocked {
        return Ok(Reply::Blocked);
    }
    let status = m.kernel.ke.thread(thread).result.map_or(NtStatus::default(), status_of);
    Ok(match buffers {
        Some((iosb, buffers, output)) => answer(m, status, iosb, &buffers, output),
        None => done(status),
    })
}
