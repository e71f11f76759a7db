//! Carries out commands: the calling process and the service control manager.

use events::ThreadId;
use guest_memory::{Accessor, GuestAddr};
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_COUNT, IRP_MJ_NAMES,
        io::{
            FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT,
            OBJ_CASE_INSENSITIVE, SYNCHRONIZE,
        },
    },
    structures::io::DRIVER_OBJECT,
};
use ntoskrnl::{
    CallResult, Flow, Kernel, Rest, Stop,
    io::service::{self, CreateFile, DeviceControl, Transfer},
    ke::ThreadState,
    mm,
    ob::{Handle, Name, ObjectAttributes, PreviousMode},
    ps,
};

use crate::{
    BufferSpec, CallMode, Command, DeviceAccess, DeviceInfo, FileRef, Machine, Reply,
    buffer::Buffer, elsewhere, image, other, together,
};

/// The name of the driver's service.
const SERVICE: &str = "driver";
/// Length of an `IO_STATUS_BLOCK`: status, padding, information.
const STATUS_BLOCK_BYTES: u64 = 0x10;
/// `FILE_SHARE_READ | FILE_SHARE_WRITE`.
const FILE_SHARE_READ_WRITE: u32 = 3;
/// Rounds of system work after a command; each may cause more.
const MOST_SYSTEM_WORK: usize = 10_000;

/// How long neighbours of the driver get at the end to let go of requests: 100 ms.
const NEIGHBOURS_REST_100NS: u64 = 1_000_000;

/// Carries out one command.
pub(crate) fn execute(m: &mut Machine, command: &Command) -> CallResult<Reply> {
    let reply = match command {
        Command::Load => load(m),
        Command::Unload => system_service(m, |k| service::unload_driver(k, SERVICE)),
        Command::Shutdown => system_service(m, service::shutdown),
        Command::Open { file, path, access, share, mode } => {
            open(m, *file, path, (*access, *share), *mode)
        }
        Command::Close { file } => close(m, *file),
        Command::Read { file, buffer, offset_bytes } => elsewhere::request(m, *file, |m| {
            transfer(m, *file, buffer, *offset_bytes, service::read_file)
        }),
        Command::Write { file, buffer, offset_bytes } => elsewhere::request(m, *file, |m| {
            transfer(m, *file, buffer, *offset_bytes, service::write_file)
        }),
        Command::DeviceControl { file, code, input, output } => {
            let wish = Control { code: *code, is_file_system: false };
            elsewhere::request(m, *file, |m| control(m, *file, wish, (input, output)))
        }
        Command::Cancel { file } => {
            with_file(m, *file, |m, handle| caller_service(m, |k| service::cancel_file(k, handle)))
        }
        Command::Other { file, request } => other::execute(m, *file, *request),
        Command::OpenRelative { file, root, name } => open_relative(m, *file, *root, name),
        Command::Idle { time_100ns } => idle(m, *time_100ns),
        Command::Interrupt { vector, after_100ns } => interrupt(m, *vector, *after_100ns),
        Command::Together(commands) => together::execute(m, commands),
        // A caller alone does one thing after the other in any case.
        Command::Sequence(_) => Ok(done(NtStatus::STATUS_INVALID_PARAMETER)),
    }?;
    system_work(m)?;
    Ok(reply)
}

/// End of the run, and of the calling process: what nobody completed.
pub(crate) fn finish(m: &mut Machine) -> CallResult<()> {
    if service::had_neighbours(&m.kernel) {
        // What they still keep goes on its way.
        idle(m, NEIGHBOURS_REST_100NS)?;
    }
    system_work(m)?;
    if service::outstanding_requests(&m.kernel) > 0 {
        end_caller(m)?;
    }
    service::report_stuck_requests(&mut m.kernel)
}

/// A caller that ends with requests outstanding: waits of its threads on behalf of user mode end
/// (`kernel/waits-and-apcs`), the I/O manager cancels the requests of its threads and waits for
/// them, then the handles are closed (`kernel/canceling-irps`). Whatever the
/// commands before did, a request is stuck only after that. The process that shares its handles
/// ends with it.
fn end_caller(m: &mut Machine) -> CallResult<()> {
    let threads = m.state.callers.iter().chain(&m.state.elsewhere).copied();
    for thread in threads.collect::<Vec<ThreadId>>() {
        // On another thread: its own may be blocked in a call.
        let ending = idle_caller(m, &[])?;
        run_service(m, ending, |k| service::terminate_thread(k, thread))?;
    }
    let files: Vec<FileRef> = m.state.files.keys().copied().collect();
    for file in files {
        close(m, file)?;
    }
    system_work(m)
}

pub(crate) fn done(status: NtStatus) -> Reply {
    Reply::Done { status, information: 0, output: Vec::new() }
}

/// Runs a service on a thread; `None` if it never finished.
fn run_service(
    m: &mut Machine,
    thread: ThreadId,
    body: impl FnOnce(&mut Kernel) -> CallResult<Flow>,
) -> CallResult<Option<NtStatus>> {
    m.kernel.begin(thread, body)?;
    Ok(match m.run(thread)? {
        Rest::Finished => m.kernel.ke.thread(thread).result.map(status_of),
        Rest::Blocked => None,
    })
}

/// A status is the low half of the value.
pub(crate) fn status_of(value: u64) -> NtStatus {
    NtStatus(<u32 as nt_abi::Scalar>::from_u64(value))
}

fn system_service(
    m: &mut Machine,
    body: impl FnOnce(&mut Kernel) -> CallResult<Flow>,
) -> CallResult<Reply> {
    let thread = *m.state.system_thread;
    Ok(run_service(m, thread, body)?.map_or(Reply::Blocked, done))
}

fn caller_service(
    m: &mut Machine,
    body: impl FnOnce(&mut Kernel) -> CallResult<Flow>,
) -> CallResult<Reply> {
    let thread = idle_caller(m, &[])?;
    Ok(run_service(m, thread, body)?.map_or(Reply::Blocked, done))
}

/// Most threads that one caller has.
const MOST_CALLERS: usize = 64;

/// A thread of the calling process that is not blocked in a call, and none of those just given one.
pub(crate) fn idle_caller(m: &mut Machine, taken: &[ThreadId]) -> CallResult<ThreadId> {
    let is_idle =
        |id: &&ThreadId| m.kernel.ke.thread(**id).state == ThreadState::Idle && !taken.contains(id);
    if let Some(&idle) = m.state.callers.iter().find(is_idle) {
        return Ok(idle);
    }
    if m.state.callers.len() >= MOST_CALLERS {
        return Err(Stop::Limit { what: format!("{MOST_CALLERS} blocked threads of the caller") });
    }
    let process = caller_process(m);
    let thread = ps::create_thread(&mut m.kernel, process, false)?;
    m.state.callers.push(thread);
    Ok(thread)
}

/// The calling process.
pub(crate) fn caller_process(m: &Machine) -> GuestAddr {
    let first = m.state.callers.first().expect("the caller has a thread from the start");
    m.kernel.ke.thread(*first).process
}

/// System threads do what waits for them: work items, deferred unloads and deletions.
fn system_work(m: &mut Machine) -> CallResult<()> {
    for _ in 0..MOST_SYSTEM_WORK {
        let is_free = m.kernel.ke.thread(*m.state.system_thread).state == ThreadState::Idle;
        if !is_free || !service::has_system_work(&m.kernel) {
            break;
        }
        let thread = *m.state.system_thread;
        run_service(m, thread, service::system_work)?;
    }
    leave_image(m);
    Ok(())
}

/// Unmaps the image once its driver is gone.
fn leave_image(m: &mut Machine) {
    if m.state.is_loaded && !service::is_image_needed(&m.kernel, SERVICE) {
        m.state.is_loaded = false;
        let base = m.image_base();
        image::unload(&mut m.kernel, base);
    }
}

fn load(m: &mut Machine) -> CallResult<Reply> {
    let base = m.image_base();
    let Some(entry) = m.image.entry_point_rva() else {
        return Ok(done(NtStatus::STATUS_INVALID_IMAGE_FORMAT));
    };
    let size_bytes = u64::from(m.image.image_bytes());
    m.state.is_loaded = true;
    let entry = base.add(u64::from(entry));
    let reply = system_service(m, |k| service::load_driver(k, SERVICE, (base, size_bytes), entry))?;
    image::discard(&mut m.kernel, base);
    Ok(reply)
}

pub(crate) fn with_file(
    m: &mut Machine,
    file: FileRef,
    then: impl FnOnce(&mut Machine, Handle) -> CallResult<Reply>,
) -> CallResult<Reply> {
    match m.state.files.get(&file) {
        Some(&handle) => then(m, handle),
        None => Ok(done(NtStatus::STATUS_INVALID_HANDLE)),
    }
}

fn open(
    m: &mut Machine,
    file: FileRef,
    path: &str,
    (access, share): (u32, u32),
    mode: CallMode,
) -> CallResult<Reply> {
    let attributes = ObjectAttributes::path(Name::new(path), OBJ_CASE_INSENSITIVE);
    open_object(m, file, attributes, (access, share), mode)
}

/// Opens a name relative to an open file, for everything, shared with all.
fn open_relative(m: &mut Machine, file: FileRef, root: FileRef, name: &str) -> CallResult<Reply> {
    with_file(m, root, |m, handle| {
        let mut attributes = ObjectAttributes::path(Name::new(name), OBJ_CASE_INSENSITIVE);
        attributes.root = Some(handle);
        let access = (FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_SHARE_READ_WRITE);
        open_object(m, file, attributes, access, CallMode::Synchronous)
    })
}

fn open_object(
    m: &mut Machine,
    file: FileRef,
    attributes: ObjectAttributes,
    access: (u32, u32),
    mode: CallMode,
) -> CallResult<Reply> {
    let (wish, handle_at) = open_wish(m, attributes, access, mode)?;
    let reply = caller_service(m, |k| service::create_file(k, wish))?;
    if let Reply::Done { status, .. } = reply {
        note_open(m, file, handle_at, status);
    }
    Ok(reply)
}

/// An open as the system call gets it, and where it puts the handle.
pub(crate) fn open_wish(
    m: &mut Machine,
    attributes: ObjectAttributes,
    (access, share): (u32, u32),
    mode: CallMode,
) -> CallResult<(CreateFile, GuestAddr)> {
    let caller = caller_process(m);
    m.kernel.enter_process(caller);
    let block = mm::map_user(&mut m.kernel, STATUS_BLOCK_BYTES + 8)?;
    let (iosb, handle_at) = (block, block.add(STATUS_BLOCK_BYTES));
    let options = match mode {
        CallMode::Synchronous => FILE_SYNCHRONOUS_IO_NONALERT,
        CallMode::Overlapped => 0,
    };
    let wish = CreateFile {
        attributes,
        access: access | SYNCHRONIZE,
        share,
        disposition: FILE_OPEN,
        options,
        file_attributes: 0,
        mode: PreviousMode::User,
        handle_at,
        iosb,
    };
    Ok((wish, handle_at))
}

/// Takes the handle of an open that succeeded.
pub(crate) fn note_open(m: &mut Machine, file: FileRef, handle_at: GuestAddr, status: NtStatus) {
    if status.is_success() {
        // Whoever ran last may be of another process.
        let caller = caller_process(m);
        m.kernel.enter_process(caller);
        let handle = Handle(peek(&m.kernel, handle_at));
        m.state.files.insert(file, handle);
    }
}

fn close(m: &mut Machine, file: FileRef) -> CallResult<Reply> {
    let reply = with_file(m, file, elsewhere::close);
    m.state.files.remove(&file);
    reply
}

/// A thread of the caller closes a handle.
pub(crate) fn close_handle(m: &mut Machine, handle: Handle) -> CallResult<Reply> {
    caller_service(m, |k| service::close(k, handle))
}

fn transfer(
    m: &mut Machine,
    file: FileRef,
    spec: &BufferSpec,
    offset_bytes: i64,
    call: fn(&mut Kernel, Transfer) -> CallResult<Flow>,
) -> CallResult<Reply> {
    with_file(m, file, |m, handle| {
        let (buffer, iosb) = request_buffers(m, spec)?;
        let (at, length_bytes) = (buffer.at, buffer.length_bytes);
        let wish = Transfer { handle, iosb: iosb.at, buffer: at, length_bytes, offset_bytes };
        request(m, iosb, &[buffer], buffer, |k| call(k, wish))
    })
}

/// A control code, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) code: u32,
    /// A file system's.
    pub(crate) is_file_system: bool,
}

/// Sends a control code with its buffers.
pub(crate) fn control(
    m: &mut Machine,
    file: FileRef,
    Control { code, is_file_system }: Control,
    (input, output): (&BufferSpec, &BufferSpec),
) -> CallResult<Reply> {
    with_file(m, file, |m, handle| {
        let (input, iosb) = request_buffers(m, input)?;
        let output = Buffer::build(&mut m.kernel, &m.state, output)?;
        let wish = DeviceControl {
            handle,
            iosb: iosb.at,
            code,
            is_file_system,
            input: (input.at, input.length_bytes),
            output: (output.at, output.length_bytes),
        };
        request(m, iosb, &[input, output], output, |k| service::device_control(k, wish))
    })
}

/// Builds a request's first buffer and its status block in the caller's memory.
pub(crate) fn request_buffers(m: &mut Machine, spec: &BufferSpec) -> CallResult<(Buffer, Buffer)> {
    let caller = caller_process(m);
    m.kernel.enter_process(caller);
    m.kernel.mm.clear_marks();
    let buffer = Buffer::build(&mut m.kernel, &m.state, spec)?;
    let content = crate::Content::Bytes(Vec::new());
    let length_bytes = u32::try_from(STATUS_BLOCK_BYTES).expect("it is short");
    let iosb = Buffer::build(&mut m.kernel, &m.state, &BufferSpec::User { length_bytes, content })?;
    Ok((buffer, iosb))
}

/// Makes a call with buffers, and reads what came of it.
pub(crate) fn request(
    m: &mut Machine,
    iosb: Buffer,
    buffers: &[Buffer],
    output: Buffer,
    call: impl FnOnce(&mut Kernel) -> CallResult<Flow>,
) -> CallResult<Reply> {
    let status = match caller_service(m, call)? {
        Reply::Done { status, .. } => status,
        other => return Ok(other),
    };
    Ok(answer(m, status, iosb, buffers, output))
}

/// What came of a call with buffers that returned.
pub(crate) fn answer(
    m: &mut Machine,
    status: NtStatus,
    iosb: Buffer,
    buffers: &[Buffer],
    output: Buffer,
) -> Reply {
    let caller = caller_process(m);
    m.kernel.enter_process(caller);
    if status == NtStatus::STATUS_PENDING {
        // The buffers stay: the driver may still write to them.
        return Reply::Pending;
    }
    let information = peek(&m.kernel, iosb.at.add(8));
    let bytes = output.read(&m.kernel);
    for buffer in buffers.iter().chain([&iosb]) {
        buffer.release(&mut m.kernel);
    }
    Reply::Done { status, information, output: bytes }
}

pub(crate) fn peek(k: &Kernel, at: GuestAddr) -> u64 {
    let mut bytes = [0; 8];
    let read = k.memory.read(Accessor::Machine, at, &mut bytes);
    read.expect("the caller's own status block is mapped");
    u64::from_le_bytes(bytes)
}

/// Virtual time passes while everybody waits.
fn idle(m: &mut Machine, time_100ns: u64) -> CallResult<Reply> {
    let thread = idle_caller(m, &[])?;
    let until = begin_idle(m, thread, time_100ns)?;
    m.kernel.run(thread, until)?;
    Ok(done(NtStatus::STATUS_SUCCESS))
}

/// A thread begins to wait for a time to pass; returns when that is over.
pub(crate) fn begin_idle(m: &mut Machine, thread: ThreadId, time_100ns: u64) -> CallResult<u64> {
    let until = m.kernel.interrupt_time_100ns().saturating_add(time_100ns);
    let wait = ntoskrnl::Wait {
        objects: Vec::new(),
        is_all: false,
        due_100ns: Some(until),
        is_alertable: false,
    };
    m.kernel.begin(thread, |_| Ok(Flow::Wait(wait, Vec::new())))?;
    Ok(until)
}

/// A device raises an interrupt, now or later.
fn interrupt(m: &mut Machine, vector: u32, after_100ns: u64) -> CallResult<Reply> {
    if !m.kernel.ke.is_connected(vector) {
        return Ok(done(NtStatus::STATUS_NOT_FOUND));
    }
    let claimed = m.kernel.ke.claimed_interrupts();
    m.kernel.expect_interrupt(vector, after_100ns);
    if after_100ns > 0 {
        return Ok(done(NtStatus::STATUS_SUCCESS));
    }
    // A call that does nothing: what the interrupt leads to comes to rest.
    let thread = idle_caller(m, &[])?;
    run_service(m, thread, |_| Ok(Flow::Return(0)))?;
    let was_claimed = m.kernel.ke.claimed_interrupts() > claimed;
    Ok(done(if was_claimed { NtStatus::STATUS_SUCCESS } else { NtStatus::STATUS_UNSUCCESSFUL }))
}

/// Devices that exist now.
pub(crate) fn devices(k: &mut Kernel) -> CallResult<Vec<DeviceInfo>> {
    let info = |facts: ntoskrnl::io::DeviceFacts| DeviceInfo {
        name: facts.name,
        links: facts.links,
        device_type: facts.device_type,
        flags: facts.flags,
        is_exclusive: facts.flags & nt_abi::constants::io::DO_EXCLUSIVE != 0,
        access: match facts.descriptor {
            ntoskrnl::io::Descriptor::Default => DeviceAccess::Default,
            ntoskrnl::io::Descriptor::Sddl(text) => DeviceAccess::Sddl(text),
        },
    };
    Ok(service::devices(k)?.into_iter().map(info).collect())
}

/// Routines that the driver registered, by name.
pub(crate) fn entry_points(k: &Kernel) -> Vec<(String, GuestAddr)> {
    let Some(driver) = service::driver_object(k, SERVICE) else { return Vec::new() };
    let word = |offset_bytes: u64| peek(k, driver.add(offset_bytes));
    let mut entries = vec![
        ("DriverUnload".to_owned(), word(DRIVER_OBJECT::DriverUnload.offset_bytes)),
        ("DriverStartIo".to_owned(), word(DRIVER_OBJECT::DriverStartIo.offset_bytes)),
    ];
    for (major, name) in (0u64..IRP_MJ_COUNT as u64).zip(IRP_MJ_NAMES) {
        entries
            .push((name.to_owned(), word(DRIVER_OBJECT::MajorFunction.offset_bytes + 8 * major)));
    }
    entries
        .into_iter()
        .map(|(name, at)| (name, GuestAddr(at)))
        .filter(|(_, at)| !at.is_null())
        .collect()
}
