//! System threads of drivers.

use cpu::Registers;
use events::{EntryPoint, Event, Resource, ResourceTaken, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ps::CLIENT_ID};
use nt_macros::export;

use crate::{
    Activation, CallResult, Flow, GuestCall, GuestPtr, Kernel, Stop, exports, frame,
    ob::{self, Handle, ObjectAttributes, ObjectType, PreviousMode},
    registers::RSP,
};

use super::create_thread;

exports![PsCreateSystemThread, IoCreateSystemThread, PsTerminateSystemThread];

/// What a driver asks of a new thread.
struct Wish {
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
    process: Handle,
    client_id: GuestAddr,
    /// The routine and its argument.
    start: (GuestAddr, u64),
}

/// Creates a system thread that runs a routine of the driver; it starts when the scheduler picks
/// it.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-pscreatesystemthread")]
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
    let start = (routine, context);
    let created = create(k, Wish { into, desired, attributes, process, client_id, start })?;
    Ok(created.err().unwrap_or(NtStatus::STATUS_SUCCESS))
}

/// The same, and references a driver or device object until the thread has ended, so that the
/// driver stays loaded.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iocreatesystemthread")]
fn IoCreateSystemThread(
    k: &mut Kernel,
    object: GuestAddr,
    into: GuestPtr<Handle>,
    desired: u32,
    attributes: GuestAddr,
    process: Handle,
    client_id: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<NtStatus> {
    ob::referenceable(k, object)?;
    let start = (routine, context);
    match create(k, Wish { into, desired, attributes, process, client_id, start })? {
        Ok(id) => {
            ob::reference(k, object);
            k.ke.thread_mut(id).keeps = Some(object);
            Ok(NtStatus::STATUS_SUCCESS)
        }
        Err(status) => Ok(status),
    }
}

fn create(k: &mut Kernel, wish: Wish) -> CallResult<Result<ThreadId, NtStatus>> {
    let attributes = match ObjectAttributes::capture(k, wish.attributes)? {
        Ok(attributes) => attributes,
        Err(status) => return Ok(Err(status)),
    };
    let process = match wish.process {
        Handle(0) => ob::system_process(k).ok_or(NtStatus::STATUS_INVALID_HANDLE),
        Handle::CURRENT_PROCESS => Ok(k.current_thread().process),
        handle => process_of(k, handle),
    };
    let process = match process {
        Ok(process) => process,
        Err(status) => return Ok(Err(status)),
    };
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(Err(NtStatus::STATUS_INSUFFICIENT_RESOURCES));
    }
    let resource = Resource::Running("system thread");
    let created = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
    let id = create_thread(k, process, true)?;
    let gs_base = k.core().control.0;
    let (routine, context) = wish.start;
    let thread = k.ke.thread_mut(id);
    let (object, tid) = (thread.object, thread.tid);
    thread.start = Some((routine, created));
    thread.regs = Registers { gs_base, ..Registers::new() };
    thread.regs.gpr[RSP] = thread.first_rsp();
    thread.activations.push(Activation::Frame(Box::new(Starting { routine, context })));
    thread.wake = Some(0);
    // What the creator did so far comes before what the thread does.
    k.order_release(object);
    k.order_acquire_for(id, object);
    k.ke.make_ready(id);
    let handle = ob::create_handle(k, object, wish.desired, attributes.attributes)?;
    k.write_scalar(wish.into.at, handle.0)?;
    if !wish.client_id.is_null() {
        let pid = k.ps.processes.get(&process).map_or(0, |process| process.pid);
        k.set(wish.client_id, CLIENT_ID::UniqueProcess, pid)?;
        k.set(wish.client_id, CLIENT_ID::UniqueThread, tid)?;
    }
    Ok(Ok(id))
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
    if thread.start.is_none() {
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

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::{
        Flow, Kernel,
        ke::ThreadState,
        ob::{self, ObjectType},
        testing::{
            block, call_by_name, irql_recorder, kernel, recorded, result_of, run_call, with_threads,
        },
    };

    /// A kernel in whose first thread exports are called.
    fn start() -> (Kernel, events::ThreadId) {
        let mut k = kernel();
        let caller = with_threads(&mut k, 2);
        k.begin(caller[0], |_| Ok(Flow::Resume)).unwrap();
        (k, caller[1])
    }

    #[test]
    fn a_thread_runs_and_is_joined() {
        let (mut k, waiter) = start();
        let (list, room) = (block(&mut k, &[0; 0x40]), block(&mut k, &[0; 0x40]));
        let routine = irql_recorder(&mut k, list, 0x10);
        let arguments = [room, 0x1f_ffff, 0, 0, room + 0x10, routine, 0];
        let created = call_by_name(&mut k, "PsCreateSystemThread", &arguments);
        assert_eq!(created, Ok(u64::from(NtStatus::STATUS_SUCCESS.0)));
        let tid: u64 = k.read_scalar(GuestAddr(room + 0x18)).unwrap();
        let handle: u64 = k.read_scalar(GuestAddr(room)).unwrap();
        let object = room + 0x20;
        call_by_name(&mut k, "ObReferenceObjectByHandle", &[handle, 0, 0, 0, object, 0]).unwrap();
        let object: u64 = k.read_scalar(GuestAddr(object)).unwrap();
        let id = k.ke.thread_at(GuestAddr(object)).map(|thread| thread.id).unwrap();
        assert_eq!(k.ke.thread(id).tid, tid);
        let stack_low = k.ke.thread(id).stack_low;
        let caller = k.core().thread.unwrap();
        k.put_away(ThreadState::Idle);
        k.ke.thread_mut(caller).state = ThreadState::Idle;
        let joined = run_call(&mut k, waiter, "KeWaitForSingleObject", &[object, 0, 0, 0, 0]);
        assert_eq!(joined, Ok(Some(0)));
        assert_eq!(recorded(&mut k, list), [0x10]);
        // Its stack is given back; its object stays as long as somebody refers to it.
        assert_eq!(k.ke.thread(id).state, ThreadState::Terminated);
        assert!(k.memory.block(stack_low).is_none_or(|block| block.freed.is_some()));
        assert_eq!(ob::object(&k, GuestAddr(object)).kind, ObjectType::Thread);
    }

    #[test]
    fn a_process_must_be_one() {
        let (mut k, _) = start();
        let room = block(&mut k, &[0; 0x40]);
        let arguments = [room, 0, 0, 0x1234, 0, 0, 0];
        let created = call_by_name(&mut k, "PsCreateSystemThread", &arguments);
        assert_eq!(created, Ok(u64::from(NtStatus::STATUS_INVALID_HANDLE.0)));
    }

    #[test]
    fn a_thread_of_its_own_keeps_the_object() {
        let (mut k, waiter) = start();
        let (list, room) = (block(&mut k, &[0; 0x40]), block(&mut k, &[0; 0x40]));
        let routine = irql_recorder(&mut k, list, 0x10);
        let kept = ob::create(&mut k, ObjectType::Event, 0x18).unwrap();
        let arguments = [kept.0, room, 0, 0, 0, 0, routine, 0];
        assert_eq!(call_by_name(&mut k, "IoCreateSystemThread", &arguments), Ok(0));
        assert_eq!(ob::object(&k, kept).pointer_count, 2);
        let caller = k.core().thread.unwrap();
        k.put_away(ThreadState::Idle);
        k.ke.thread_mut(caller).state = ThreadState::Idle;
        let interval = block(&mut k, &(-10_000_i64).to_le_bytes());
        run_call(&mut k, waiter, "KeDelayExecutionThread", &[0, 0, interval]).unwrap();
        assert_eq!(result_of(&mut k, waiter), Ok(Some(0)));
        assert_eq!(recorded(&mut k, list), [0x10]);
        assert_eq!(ob::object(&k, kept).pointer_count, 1);
    }
}
