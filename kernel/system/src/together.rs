//! Several callers that act at once, each on a thread of its own: one command, or a sequence.
//!
//! The first command of each starts before any of them is waited for; which goes on when is then up
//! to the schedule. A caller with a sequence starts its next command as soon as the one before has
//! returned, whatever the others do.

use std::slice;

use events::{FIRST_CALLER, ThreadId};
use nt_abi::{NtStatus, constants::io::OBJ_CASE_INSENSITIVE};
use ntoskrnl::{
    CallResult, Flow, Kernel, Rest, Stop,
    io::service::{self, DeviceControl, Transfer},
    ob::{Handle, Name, ObjectAttributes},
};

use guest_memory::GuestAddr;

use crate::{
    Command, FileRef, Machine, Reply,
    buffer::Buffer,
    machine::PATIENCE_100NS,
    service::{
        answer, begin_idle, done, idle_caller, note_open, open_wish, request_buffers, status_of,
    },
};

/// What is to be done when a call returns.
enum Ending {
    /// Nothing but to look at its status.
    Status,
    /// Nothing: time passed.
    Rest,
    /// The handle is taken from there.
    Open(FileRef, GuestAddr),
    /// The file is closed.
    Close(FileRef, Handle),
    /// Status block, buffers to give back, and the one with the output.
    Request(Buffer, Vec<Buffer>, Buffer),
}

/// One of the callers.
struct Caller<'c> {
    thread: ThreadId,
    /// What it has still to do.
    rest: slice::Iter<'c, Command>,
    /// The call under way.
    under_way: Option<Ending>,
    replies: Vec<Reply>,
    is_sequence: bool,
}

/// Carries out what the callers do; the replies are in their order.
pub(crate) fn execute(m: &mut Machine, commands: &[Command]) -> CallResult<Reply> {
    if let Some(what) = Command::together_problem(commands) {
        return Err(Stop::Limit { what });
    }
    let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
    let first = usize::try_from(m.kernel.tape.ask(FIRST_CALLER, count)).unwrap_or(0);
    let (behind, before) = commands.split_at(first.min(commands.len()));
    let mut callers: Vec<Result<Caller<'_>, Reply>> = Vec::new();
    for command in before.iter().chain(behind) {
        if let Command::Interrupt { vector, after_100ns } = *command {
            m.kernel.expect_interrupt(vector, after_100ns);
            callers.push(Err(done(NtStatus::STATUS_SUCCESS)));
            continue;
        }
        let (list, is_sequence) = match command {
            Command::Sequence(list) => (list.as_slice(), true),
            single => (slice::from_ref(single), false),
        };
        let taken: Vec<ThreadId> = callers.iter().flatten().map(|caller| caller.thread).collect();
        let thread = idle_caller(m, &taken)?;
        let (rest, replies) = (list.iter(), Vec::new());
        let mut caller = Caller { thread, rest, under_way: None, replies, is_sequence };
        caller.start_next(m)?;
        callers.push(Ok(caller));
    }
    for index in 0..callers.len() {
        wait_for(m, &mut callers, index)?;
    }
    callers.rotate_right(first.min(commands.len()));
    let reply = |caller: Result<Caller<'_>, Reply>| match caller {
        Ok(caller) if caller.is_sequence => Reply::Sequence(caller.replies),
        Ok(caller) => caller.replies.into_iter().next().unwrap_or(Reply::Blocked),
        Err(reply) => reply,
    };
    Ok(Reply::Together(callers.into_iter().map(reply).collect()))
}

/// Runs until one of the callers has done everything, or does not return; the others go on
/// meanwhile.
fn wait_for(
    m: &mut Machine,
    callers: &mut [Result<Caller<'_>, Reply>],
    index: usize,
) -> CallResult<()> {
    loop {
        let Some(Ok(caller)) = callers.get(index) else { return Ok(()) };
        let thread = caller.thread;
        if caller.under_way.is_none() {
            return Ok(());
        }
        let with_more: Vec<ThreadId> = callers
            .iter()
            .flatten()
            .filter(|caller| caller.under_way.is_some() && caller.rest.len() > 0)
            .map(|caller| caller.thread)
            .collect();
        let until = m.kernel.interrupt_time_100ns() + PATIENCE_100NS;
        let rest = m.kernel.run_or_first(thread, &with_more, until)?;
        let has_returned = |m: &Machine, id: ThreadId| m.kernel.ke.thread(id).result.is_some();
        let next = with_more.into_iter().find(|&id| has_returned(m, id));
        if let Some(next) = next {
            let mut each = callers.iter_mut().flatten();
            if let Some(caller) = each.find(|caller| caller.thread == next) {
                caller.finish(m);
                caller.start_next(m)?;
            }
            continue;
        }
        let Some(Ok(caller)) = callers.get_mut(index) else { return Ok(()) };
        match rest {
            Rest::Finished => caller.finish(m),
            Rest::Blocked => {
                caller.under_way = None;
                caller.replies.push(Reply::Blocked);
            }
        }
    }
}

impl Caller<'_> {
    /// Starts the next command that leads to a call.
    fn start_next(&mut self, m: &mut Machine) -> CallResult<()> {
        while self.under_way.is_none()
            && let Some(command) = self.rest.next()
        {
            match start(m, self.thread, command)? {
                Ok(ending) => self.under_way = Some(ending),
                Err(status) => self.replies.push(done(status)),
            }
        }
        Ok(())
    }

    /// Takes what came of a call that returned.
    fn finish(&mut self, m: &mut Machine) {
        let result = m.kernel.ke.thread(self.thread).result;
        let status = result.map_or(NtStatus::default(), status_of);
        self.replies.push(match self.under_way.take() {
            Some(Ending::Request(iosb, buffers, output)) => {
                answer(m, status, iosb, &buffers, output)
            }
            Some(Ending::Open(file, handle_at)) => {
                note_open(m, file, handle_at, status);
                done(status)
            }
            Some(Ending::Close(file, handle)) => {
                if m.state.files.get(&file) == Some(&handle) {
                    m.state.files.remove(&file);
                }
                done(status)
            }
            Some(Ending::Rest) => done(NtStatus::STATUS_SUCCESS),
            Some(Ending::Status) | None => done(status),
        });
    }
}

fn start(
    m: &mut Machine,
    thread: ThreadId,
    command: &Command,
) -> CallResult<Result<Ending, NtStatus>> {
    match command {
        Command::Open { file, path, access, share, mode } => {
            let attributes = ObjectAttributes::path(Name::new(path), OBJ_CASE_INSENSITIVE);
            let (wish, handle_at) = open_wish(m, attributes, (*access, *share), *mode)?;
            m.kernel.begin(thread, |k| service::create_file(k, wish))?;
            return Ok(Ok(Ending::Open(*file, handle_at)));
        }
        Command::Idle { time_100ns } => {
            begin_idle(m, thread, *time_100ns)?;
            return Ok(Ok(Ending::Rest));
        }
        _ => {}
    }
    let Some(file) = command.file() else {
        return Ok(Err(NtStatus::STATUS_INVALID_PARAMETER));
    };
    match m.state.files.get(&file).copied() {
        Some(handle) => start_request(m, thread, command, (file, handle)),
        None => Ok(Err(NtStatus::STATUS_INVALID_HANDLE)),
    }
}

fn start_request(
    m: &mut Machine,
    thread: ThreadId,
    command: &Command,
    (file, handle): (FileRef, Handle),
) -> CallResult<Result<Ending, NtStatus>> {
    let begin = |m: &mut Machine, service: &dyn Fn(&mut Kernel) -> CallResult<Flow>| {
        m.kernel.begin(thread, |k| service(k))
    };
    Ok(Ok(match command {
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
            Ending::Request(iosb, vec![buffer], buffer)
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
            Ending::Request(iosb, vec![input, output], output)
        }
        Command::Cancel { .. } => {
            begin(m, &|k| service::cancel_file_beside(k, handle))?;
            Ending::Status
        }
        Command::Close { .. } => {
            begin(m, &|k| service::close(k, handle))?;
            Ending::Close(file, handle)
        }
        _ => return Ok(Err(NtStatus::STATUS_INVALID_PARAMETER)),
    }))
}
