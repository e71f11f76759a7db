//! Who is current, and who has this id.

use guest_memory::GuestAddr;
use nt_abi::NtStatus;
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports, ke::ThreadState, ob};

exports![
    IoGetCurrentProcess,
    PsGetCurrentProcess,
    PsGetCurrentProcessId,
    PsGetCurrentThread,
    PsGetCurrentThreadId,
    PsGetProcessId,
    PsGetThreadId,
    PsGetThreadProcessId,
    PsGetThreadProcess,
    PsIsSystemThread,
    PsLookupProcessByProcessId,
    PsLookupThreadByThreadId,
];

fn current_process(k: &mut Kernel) -> GuestAddr {
    k.current_thread().process
}

fn pid(k: &Kernel, process: GuestAddr) -> CallResult<u64> {
    let found = k.ps.processes.get(&process).map(|process| process.pid);
    found.ok_or_else(|| Stop::unsupported(format!("{process} used as a process")))
}

/// Returns the `EPROCESS` of the current process.
#[export(irql = .., ddi = "wdm/nf-wdm-iogetcurrentprocess")]
fn IoGetCurrentProcess(k: &mut Kernel) -> GuestAddr {
    current_process(k)
}

/// Returns the `EPROCESS` of the current process.
#[export(irql = .., ddi = "ntddk/nf-ntddk-psgetcurrentprocess")]
fn PsGetCurrentProcess(k: &mut Kernel) -> GuestAddr {
    current_process(k)
}

/// Returns the id of the current process.
#[export(irql = .., ddi = "ntddk/nf-ntddk-psgetcurrentprocessid")]
fn PsGetCurrentProcessId(k: &mut Kernel) -> CallResult<u64> {
    let process = current_process(k);
    pid(k, process)
}

/// Returns the `ETHREAD` of the current thread.
#[export(irql = .., ddi = "wdm/nf-wdm-psgetcurrentthread")]
fn PsGetCurrentThread(k: &mut Kernel) -> GuestAddr {
    k.current_thread_object()
}

/// Returns the id of the current thread.
#[export(irql = .., ddi = "ntddk/nf-ntddk-psgetcurrentthreadid")]
fn PsGetCurrentThreadId(k: &mut Kernel) -> u64 {
    k.current_thread().tid
}

/// Returns the id of a process.
#[export(irql = .., ddi = "ntddk/nf-ntddk-psgetprocessid")]
fn PsGetProcessId(k: &mut Kernel, process: GuestAddr) -> CallResult<u64> {
    pid(k, process)
}

fn thread_of(k: &Kernel, object: GuestAddr) -> CallResult<&crate::ke::Thread> {
    let unknown = || Stop::unsupported(format!("{object} used as a thread"));
    k.ke.thread_at(object).ok_or_else(unknown)
}

/// Returns the id of a thread.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntddk/nf-ntddk-psgetthreadid")]
fn PsGetThreadId(k: &mut Kernel, thread: GuestAddr) -> CallResult<u64> {
    thread_of(k, thread).map(|thread| thread.tid)
}

/// Returns the id of a thread's process.
#[export(irql = .., ddi = "ntddk/nf-ntddk-psgetthreadprocessid")]
fn PsGetThreadProcessId(k: &mut Kernel, thread: GuestAddr) -> CallResult<u64> {
    let process = thread_of(k, thread)?.process;
    pid(k, process)
}

/// Returns the process of a thread.
#[export(irql = .., ddi = "ntifs/nf-ntifs-psgetthreadprocess")]
fn PsGetThreadProcess(k: &mut Kernel, thread: GuestAddr) -> CallResult<GuestAddr> {
    thread_of(k, thread).map(|thread| thread.process)
}

/// Says whether a thread never runs in user mode.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "ntifs/nf-ntifs-psissystemthread")]
fn PsIsSystemThread(k: &mut Kernel, thread: GuestAddr) -> CallResult<bool> {
    thread_of(k, thread).map(|thread| thread.is_system)
}

/// Finds a process by id and references it. Source of the failure: the page, `STATUS_INVALID_CID`.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-pslookupprocessbyprocessid")]
fn PsLookupProcessByProcessId(k: &mut Kernel, id: u64, to: GuestAddr) -> CallResult<NtStatus> {
    let found =
        k.ps.processes.iter().find(|(_, process)| process.pid == id).map(|(&object, _)| object);
    let Some(object) = found else { return Ok(NtStatus::STATUS_INVALID_CID) };
    ob::reference_for_driver(k, object)?;
    k.write_scalar(to, object.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Finds a thread by id and references it. The page names `STATUS_INVALID_PARAMETER` for an id that
/// is none.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-pslookupthreadbythreadid")]
fn PsLookupThreadByThreadId(k: &mut Kernel, id: u64, to: GuestAddr) -> CallResult<NtStatus> {
    let is_it =
        |thread: &&crate::ke::Thread| thread.tid == id && thread.state != ThreadState::Terminated;
    let found = k.ke.threads.values().find(is_it).map(|thread| thread.object);
    let Some(object) = found else { return Ok(NtStatus::STATUS_INVALID_PARAMETER) };
    ob::reference_for_driver(k, object)?;
    k.write_scalar(to, object.0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}
