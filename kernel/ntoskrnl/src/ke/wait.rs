//! Waiting: `KeWaitForSingleObject`, `KeWaitForMultipleObjects`, `KeDelayExecutionThread`.

use events::{IrqlLimit, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};
use nt_macros::export;

use crate::{CallResult, Flow, Kernel, Stop, Wait, exports, ke::ThreadState};

exports![KeWaitForSingleObject, KeWaitForMultipleObjects, KeDelayExecutionThread];

/// `MAXIMUM_WAIT_OBJECTS` and `THREAD_WAIT_OBJECTS`. Source: `wdm/nf-wdm-kewaitformultipleobjects`.
const MAXIMUM_WAIT_OBJECTS: u32 = 64;
const THREAD_WAIT_OBJECTS: u32 = 3;

impl Kernel {
    /// Blocks the current thread. `Some`: the wait was over at once.
    pub(crate) fn block(&mut self, wait: Wait) -> CallResult<Option<NtStatus>> {
        let id = self.core().thread.expect("a thread waits");
        let thread = self.ke.thread(id).object;
        if let Some(status) = self.try_satisfy(&wait, thread)? {
            return Ok(Some(status));
        }
        if wait.due_100ns.is_some_and(|due| due <= self.interrupt_time_100ns()) {
            return Ok(Some(NtStatus::STATUS_TIMEOUT));
        }
        self.trace(|k| format!("thread {} waits", k.ke.thread(id).tid));
        self.put_away(ThreadState::Waiting);
        let order = self.ke.next_wait;
        self.ke.next_wait += 1;
        self.ke.thread_mut(id).wait = Some((wait, order));
        Ok(None)
    }

    /// Ends a thread's wait.
    pub(crate) fn wake(&mut self, id: ThreadId, status: NtStatus) {
        let thread = self.ke.thread_mut(id);
        thread.wait = None;
        thread.wake = Some(u64::from(status.0));
        self.ke.make_ready(id);
    }

    /// Interrupt time of a `LARGE_INTEGER` time out: negative is relative, positive is system time.
    pub(crate) fn due_time(&self, value: i64) -> u64 {
        if value < 0 {
            self.interrupt_time_100ns().saturating_add(value.unsigned_abs())
        } else {
            let ahead = value.unsigned_abs().saturating_sub(self.system_time_100ns());
            self.interrupt_time_100ns().saturating_add(ahead)
        }
    }

    /// Reads an optional time out.
    fn timeout(&mut self, at: GuestAddr) -> CallResult<Option<u64>> {
        if at.is_null() {
            return Ok(None);
        }
        let value: i64 = self.read_scalar(at)?;
        Ok(Some(self.due_time(value)))
    }

    /// At `DISPATCH_LEVEL` only a wait with a time out of zero is allowed.
    fn check_wait_irql(&mut self, due_100ns: Option<u64>, ddi: &'static str) -> CallResult<()> {
        let is_poll = due_100ns.is_some_and(|due| due <= self.interrupt_time_100ns());
        let max = if is_poll { Irql::DISPATCH_LEVEL } else { Irql::APC_LEVEL };
        self.check_irql(IrqlLimit { min: Irql::PASSIVE_LEVEL, max }, ddi)?;
        if self.irql() > max {
            // ATTEMPTED_SWITCH_FROM_DPC: a wait where no other thread can run.
            return Err(Stop::bug_check(0xb8, [0; 4]));
        }
        Ok(())
    }

    /// `Wait` announces a wait that follows: not at `DISPATCH_LEVEL`.
    pub(crate) fn check_wait_flag(&mut self, wait: bool, ddi: &'static str) -> CallResult<()> {
        let max = if wait { Irql::APC_LEVEL } else { Irql::DISPATCH_LEVEL };
        self.check_irql(IrqlLimit { min: Irql::PASSIVE_LEVEL, max }, ddi)
    }
}

/// Waits for one object.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kewaitforsingleobject",
    irql_note = "DISPATCH_LEVEL only with a time out of zero; checked in the body",
    limits = "no APC interrupts the wait")]
fn KeWaitForSingleObject(
    k: &mut Kernel,
    object: GuestAddr,
    _reason: u32,
    _mode: u8,
    is_alertable: bool,
    timeout: GuestAddr,
) -> CallResult<Flow> {
    let due_100ns = k.timeout(timeout)?;
    k.check_wait_irql(due_100ns, "wdm/nf-wdm-kewaitforsingleobject")?;
    k.dispatcher_type(object)?;
    Ok(Flow::Wait(
        Wait { objects: vec![object], is_all: false, due_100ns, is_alertable },
        Vec::new(),
    ))
}

/// Waits for any or all of several objects.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kewaitformultipleobjects",
    irql_note = "DISPATCH_LEVEL only with a time out of zero; checked in the body",
    limits = "no APC interrupts the wait")]
fn KeWaitForMultipleObjects(
    k: &mut Kernel,
    count: u32,
    objects: GuestAddr,
    wait_type: u32,
    _reason: u32,
    _mode: u8,
    is_alertable: bool,
    timeout: GuestAddr,
    wait_blocks: GuestAddr,
) -> CallResult<Flow> {
    let most = if wait_blocks.is_null() { THREAD_WAIT_OBJECTS } else { MAXIMUM_WAIT_OBJECTS };
    if count == 0 || count > most {
        // MAXIMUM_WAIT_OBJECTS_EXCEEDED.
        return Err(Stop::bug_check(0x0c, [0; 4]));
    }
    let due_100ns = k.timeout(timeout)?;
    k.check_wait_irql(due_100ns, "wdm/nf-wdm-kewaitformultipleobjects")?;
    let mut list = Vec::new();
    for index in 0..u64::from(count) {
        let object = GuestAddr(k.read_scalar(objects.add(8 * index))?);
        k.dispatcher_type(object)?;
        list.push(object);
    }
    // WAIT_TYPE: WaitAll is 0, WaitAny is 1.
    Ok(Flow::Wait(
        Wait { objects: list, is_all: wait_type == 0, due_100ns, is_alertable },
        Vec::new(),
    ))
}

/// Puts the current thread to sleep.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-kedelayexecutionthread")]
fn KeDelayExecutionThread(
    k: &mut Kernel,
    _mode: u8,
    is_alertable: bool,
    interval: GuestAddr,
) -> CallResult<Flow> {
    let value: i64 = k.read_scalar(interval)?;
    let due_100ns = Some(k.due_time(value));
    let wait = Wait { objects: Vec::new(), is_all: false, due_100ns, is_alertable };
    // The routine reports an elapsed interval as success, not as a time out.
    Ok(Flow::wait(wait, Slept))
}

/// The interval is over.
#[derive(Clone, Debug)]
struct Slept;
crate::frame!(Slept, |_, _, status| {
    let timeout = u64::from(NtStatus::STATUS_TIMEOUT.0);
    Ok(Flow::Return(if status == timeout { 0 } else { status }))
});
