//! System threads of drivers.

use cpu::Registers;
use events::EntryPoint;
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ps::CLIENT_ID};
use nt_macros::export;

use crate::{
    Activation, CallResult, Flow, GuestCall, GuestPtr, Kernel, Stop, exports, frame,
    ob::{self, Handle, ObjectAttributes, ObjectType, PreviousMode},
};

use super::create_thread;

exports![PsCreateSystemThread, PsTerminateSystemThread];

const RSP: usize = 4;
/// Room above the first frame of a stack, which the kernel's own start routine uses.
const START_FRAME_BYTES: u64 = 0x100;

/// Creates a system thread that runs a routine of the driver; it starts when the scheduler picks
/// it.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-pscreatesystemthread")]
#[expect(clippy::too_many_arguments, reason = "the signature is the documented one")]
fn PsCreateSystemThread(
    k: &mut Kernel,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
    process: Handle,
    client_id: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<NtStatus> {
    let attributes = match ObjectAttributes::capture(k, attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(status),
    };
    let process = match process {
        Handle(0) => ob::system_process(k).ok_or(NtStatus::STATUS_INVALID_HANDLE),
        Handle::CURRENT_PROCESS => Ok(k.current_thread().process),
        handle => process_of(k, handle),
    };
    let process = match process {
        Ok(process) => process,
        Err(status) => return Ok(status),
    };
    let id = create_thread(k, process, true)?;
    let gs_base = k.core().control.0;
    let thread = k.ke.thread_mut(id);
    let (object, tid) = (thread.object, thread.tid);
    thread.regs = Registers { gs_base, ..Registers::new() };
    if let Some(rsp) = thread.regs.gpr.get_mut(RSP) {
        *rsp = thread.stack_high.0 - START_FRAME_BYTES;
    }
    thread.activations.push(Activation::Frame(Box::new(Starting { routine, context })));
    thread.wake = Some(0);
    k.ps.driver_threads.insert(id);
    k.ke.make_ready(id);
    let handle = ob::create_handle(k, object, desired, attributes.attributes)?;
    k.write_scalar(into.at, handle.0)?;
    if !client_id.is_null() {
        let pid = k.ps.processes.get(&process).map_or(0, |process| process.pid);
        k.set(client_id, CLIENT_ID::UniqueProcess, pid)?;
        k.set(client_id, CLIENT_ID::UniqueThread, tid)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

fn process_of(k: &mut Kernel, handle: Handle) -> Result<GuestAddr, NtStatus> {
    let entry = ob::entry(k, handle, PreviousMode::Kernel)?;
    if ob::object(k, entry.object).kind != ObjectType::Process {
        return Err(NtStatus::STATUS_OBJECT_TYPE_MISMATCH);
    }
    Ok(entry.object)
}

/// Ends the current thread, which the driver created.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-psterminatesystemthread")]
fn PsTerminateSystemThread(k: &mut Kernel, _status: NtStatus) -> CallResult<Flow> {
    let thread = k.current_thread();
    if !thread.is_system {
        return Ok(Flow::Return(u64::from(NtStatus::STATUS_INVALID_PARAMETER.0)));
    }
    let id = thread.id;
    if !k.ps.driver_threads.contains(&id) {
        return Err(Stop::unsupported("PsTerminateSystemThread in a thread of the system"));
    }
    Ok(Flow::Terminate)
}

/// A thread that has not run yet.
#[derive(Clone, Debug)]
struct Starting {
    routine: GuestAddr,
    context: u64,
}
frame!(Starting, |this, _, _| {
    let call = GuestCall::entry(this.routine, vec![this.context], EntryPoint::SystemThread);
    Ok(Flow::call(call, Returned))
});

/// The routine of a thread has returned: the thread ends as by `PsTerminateSystemThread`.
#[derive(Clone, Debug)]
struct Returned;
frame!(Returned, |_, _, _| Ok(Flow::Terminate));
