//! Another process that got a duplicate of the caller's handle.
//!
//! It is there only where the tape says so ([`HANDLE_ELSEWHERE`], [`REQUEST_ELSEWHERE`]).

use events::{HANDLE_ELSEWHERE, REQUEST_ELSEWHERE};
use guest_memory::GuestAddr;
use ntoskrnl::{CallResult, ob, ob::Handle, ps};

use crate::{
    FileRef, Machine, Reply,
    service::{self, caller_process},
};

/// Lets the caller carry out a request about a file, or the other process if it comes from there.
pub(crate) fn request(
    m: &mut Machine,
    file: FileRef,
    carry_out: impl FnOnce(&mut Machine) -> CallResult<Reply>,
) -> CallResult<Reply> {
    let Some(&handle) = m.state.files.get(&file) else { return carry_out(m) };
    if m.kernel.ask(REQUEST_ELSEWHERE, 2) == 0 {
        return carry_out(m);
    }
    let Some(duplicate) = duplicate(m, handle)? else { return carry_out(m) };
    m.state.files.insert(file, duplicate);
    swap(m);
    let reply = carry_out(m);
    let reply = reply.and_then(|reply| service::close_handle(m, duplicate).map(|_| reply));
    swap(m);
    m.state.files.insert(file, handle);
    reply
}

/// Lets the caller close a handle, and after it the other process if it has a duplicate.
pub(crate) fn close(m: &mut Machine, handle: Handle) -> CallResult<Reply> {
    if m.kernel.ask(HANDLE_ELSEWHERE, 2) == 0 {
        return service::close_handle(m, handle);
    }
    let Some(duplicate) = duplicate(m, handle)? else { return service::close_handle(m, handle) };
    service::close_handle(m, handle)?;
    swap(m);
    let reply = service::close_handle(m, duplicate);
    swap(m);
    reply
}

/// Duplicates a handle of the caller for the other process; `None` if it is none.
fn duplicate(m: &mut Machine, handle: Handle) -> CallResult<Option<Handle>> {
    let (from, to) = (caller_process(m), other_process(m)?);
    Ok(ob::duplicate(&mut m.kernel, (from, handle), to)?.ok())
}

/// The other process, made when it is needed first.
fn other_process(m: &mut Machine) -> CallResult<GuestAddr> {
    if let Some(first) = m.state.elsewhere.first() {
        return Ok(m.kernel.ke.thread(*first).process);
    }
    let process = ps::create_process(&mut m.kernel, "other.exe")?;
    let thread = ps::create_thread(&mut m.kernel, process, false)?;
    m.state.elsewhere.push(thread);
    Ok(process)
}

/// Exchanges the caller and the other process.
fn swap(m: &mut Machine) {
    std::mem::swap(&mut m.state.callers, &mut m.state.elsewhere);
}
