//! Waiting: `KeWaitForSingleObject`, `KeWaitForMultipleObjects`, `KeDelayExecutionThread`.

use events::{IrqlLimit, ThreadId, WAIT_TIMES_OUT};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus, structures::ke::DISPATCHER_HEADER};
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, Wait, exports,
    ke::{ThreadState, mutex},
};

exports![KeWaitForSingleObject, KeWaitForMultipleObjects, KeDelayExecutionThread];

/// `MAXIMUM_WAIT_OBJECTS` and `THREAD_WAIT_OBJECTS`. Source: `wdm/nf-wdm-kewaitformultipleobjects`.
const MAXIMUM_WAIT_OBJECTS: u32 = 64;
const THREAD_WAIT_OBJECTS: u32 = 3;
/// The latest interrupt time for which anything is set: 14,600 years, beyond which the clocks of
/// the kernel would overflow.
const LATEST_100NS: u64 = 1 << 62;

impl Kernel {
    /// Blocks the current thread. `Some`: the wait was over at once.
    pub(crate) fn block(&mut self, wait: Wait) -> CallResult<Option<NtStatus>> {
        let id = self.core().thread.expect("a thread waits");
        let thread = self.ke.thread(id).object;
        if let Some(status) = self.try_satisfy(&wait, thread)? {
            self.ke.thread_mut(id).is_user_wait = false;
            return Ok(Some(status));
        }
        if wait.due_100ns.is_some_and(|due| due <= self.interrupt_time_100ns()) {
            self.ke.thread_mut(id).is_user_wait = false;
            return Ok(Some(NtStatus::STATUS_TIMEOUT));
        }
        let is_user = self.ke.thread(id).is_user_wait;
        let has_apc = is_user && wait.is_alertable && self.has_user_apc(id);
        if has_apc || self.is_wait_terminated(id, self.irql()) {
            self.ke.thread_mut(id).is_user_wait = false;
            return Ok(Some(NtStatus::STATUS_USER_APC));
        }
        self.trace(|k| format!("thread {} waits", k.ke.thread(id).tid));
        self.put_away(ThreadState::Waiting);
        let order = self.ke.next_wait;
        self.ke.next_wait += 1;
        let queue = self.queue_left_by(id, &wait);
        if let Some(due) = wait.due_100ns {
            self.ke.due_waits.insert((due, id), ());
        }
        self.ke.thread_mut(id).wait = Some((wait, order));
        self.stop_serving(queue)?;
        Ok(None)
    }

    /// Ends a thread's wait.
    pub(crate) fn wake(&mut self, id: ThreadId, status: NtStatus) -> CallResult<()> {
        let thread = self.ke.thread_mut(id);
        let wait = thread.wait.take();
        thread.wake = Some(u64::from(status.0));
        thread.is_user_wait = false;
        self.ke.make_ready(id);
        if let Some((Wait { due_100ns: Some(due), .. }, _)) = wait {
            self.ke.due_waits.remove(&(due, id));
        }
        let queue = wait.and_then(|(wait, _)| self.queue_left_by(id, &wait));
        self.resume_serving(queue)
    }

    /// A thread of a process that ends: a wait of user mode, alertable or not, is over, now and
    /// later. Source: `kernel/waits-and-apcs`.
    pub(crate) fn terminate(&mut self, id: ThreadId) -> CallResult<()> {
        let thread = self.ke.thread_mut(id);
        thread.is_terminated = true;
        let (irql, waits) = (thread.irql.0, thread.wait.is_some());
        if waits && thread.state == ThreadState::Waiting && self.is_wait_terminated(id, irql) {
            self.wake(id, NtStatus::STATUS_USER_APC)?;
        }
        Ok(())
    }

    /// Whether the wait of a thread is over because the thread is to end. "If you disable kernel
    /// APCs for a thread, you also disable [...] thread termination."
    fn is_wait_terminated(&self, id: ThreadId, irql: Irql) -> bool {
        let thread = self.ke.thread(id);
        let gets_apcs = thread.critical_regions == 0 && thread.guarded_regions == 0;
        thread.is_terminated && thread.is_user_wait && gets_apcs && irql == Irql::PASSIVE_LEVEL
    }

    /// The queue whose work a thread interrupts by a wait for something else.
    fn queue_left_by(&self, id: ThreadId, wait: &Wait) -> Option<GuestAddr> {
        self.ke.thread(id).queue.filter(|queue| !wait.objects.contains(queue))
    }

    /// Whether a user APC ends a wait that allows it; it runs on the way back to user mode.
    fn has_user_apc(&mut self, id: ThreadId) -> bool {
        let apcs = &mut self.ke.thread_mut(id).apcs;
        if apcs.has_user() {
            apcs.set_user_due();
        }
        apcs.has_user()
    }

    /// Signals an object at once, or, if the caller announced a wait, together with that wait:
    /// until then the dispatcher lock is kept, the IRQL stays at `DISPATCH_LEVEL`, and nobody sees
    /// the signal. Source: `wdm/nf-wdm-kesetevent`, remarks on Wait.
    pub(crate) fn signal_or_announce(
        &mut self,
        object: GuestAddr,
        state: i32,
        is_wait_next: bool,
    ) -> CallResult<()> {
        if !is_wait_next {
            return self.signal(object, state);
        }
        let irql = self.irql();
        self.current_thread().announced = Some((object, state, irql));
        self.set_irql(Irql::DISPATCH_LEVEL);
        Ok(())
    }

    /// The wait that was announced begins: what was to be signalled is.
    fn begin_announced_wait(&mut self) -> CallResult<()> {
        let Some((object, state, irql)) = self.current_thread().announced.take() else {
            return Ok(());
        };
        self.set_irql(irql);
        if object.is_null() {
            // A pulse, which is over.
            return Ok(());
        }
        self.signal(object, state)
    }

    /// Interrupt time of a `LARGE_INTEGER` time out: negative is relative, positive is system time.
    pub(crate) fn due_time(&self, value: i64) -> u64 {
        let due = if value < 0 {
            self.interrupt_time_100ns().saturating_add(value.unsigned_abs())
        } else {
            let ahead = value.unsigned_abs().saturating_sub(self.system_time_100ns());
            self.interrupt_time_100ns().saturating_add(ahead)
        };
        due.min(LATEST_100NS)
    }

    /// Reads an optional time out.
    pub(crate) fn timeout(&mut self, at: GuestAddr) -> CallResult<Option<u64>> {
        if at.is_null() {
            return Ok(None);
        }
        let value: i64 = self.read_scalar(at)?;
        Ok(Some(self.due_time(value)))
    }

    /// Asks whether the time out of a wait passes before its objects are signalled; what else is
    /// due by then takes effect first.
    fn time_out_if_chosen(&mut self, wait: &Wait) -> CallResult<()> {
        let Some(due) = wait.due_100ns else { return Ok(()) };
        if due <= self.interrupt_time_100ns() || self.has_signalled(wait)? {
            return Ok(());
        }
        match self.ask_here(WAIT_TIMES_OUT, 2, 0)? {
            0 => Ok(()),
            _ => {
                // What is due now may still have to run when the thread goes on.
                self.current_thread().moves_after_call = true;
                self.pass_time(due)
            }
        }
    }

    /// Whether an object of a wait is signalled.
    fn has_signalled(&mut self, wait: &Wait) -> CallResult<bool> {
        for &object in &wait.objects {
            if self.get(object, DISPATCHER_HEADER::SignalState)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// At `DISPATCH_LEVEL` only a wait with a time out of zero is allowed.
    pub(crate) fn check_wait_irql(
        &mut self,
        due_100ns: Option<u64>,
        ddi: &'static str,
    ) -> CallResult<()> {
        self.begin_announced_wait()?;
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
    limits = "no thread is alerted",
    irql_when = "DISPATCH_LEVEL only with a time out of zero")]
fn KeWaitForSingleObject(
    k: &mut Kernel,
    object: GuestAddr,
    _reason: u32,
    mode: u8,
    is_alertable: bool,
    timeout: GuestAddr,
) -> CallResult<Flow> {
    let due_100ns = k.timeout(timeout)?;
    k.check_wait_irql(due_100ns, "wdm/nf-wdm-kewaitforsingleobject")?;
    k.require_dispatcher(object)?;
    k.current_thread().is_user_wait = mode != 0;
    let wait = Wait { objects: vec![object], is_all: false, due_100ns, is_alertable };
    k.time_out_if_chosen(&wait)?;
    let frames = mutex::watch_wait(k, &wait)?;
    Ok(Flow::Wait(wait, frames))
}

/// Waits for any or all of several objects.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kewaitformultipleobjects",
    limits = "no thread is alerted",
    irql_when = "DISPATCH_LEVEL only with a time out of zero")]
fn KeWaitForMultipleObjects(
    k: &mut Kernel,
    count: u32,
    objects: GuestAddr,
    wait_type: u32,
    _reason: u32,
    mode: u8,
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
        k.require_dispatcher(object)?;
        list.push(object);
    }
    k.current_thread().is_user_wait = mode != 0;
    // WAIT_TYPE: WaitAll is 0, WaitAny is 1.
    let wait = Wait { objects: list, is_all: wait_type == 0, due_100ns, is_alertable };
    k.time_out_if_chosen(&wait)?;
    let frames = mutex::watch_wait(k, &wait)?;
    Ok(Flow::Wait(wait, frames))
}

/// Puts the current thread to sleep.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-kedelayexecutionthread")]
fn KeDelayExecutionThread(
    k: &mut Kernel,
    mode: u8,
    is_alertable: bool,
    interval: GuestAddr,
) -> CallResult<Flow> {
    let value: i64 = k.read_scalar(interval)?;
    let due_100ns = Some(k.due_time(value));
    k.current_thread().is_user_wait = mode != 0;
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

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{Event, KeptFault, KeptKind, ThreadId, WAIT_TIMES_OUT};
    use guest_memory::GuestAddr;
    use nt_abi::{Irql, NtStatus};

    use crate::{
        Kernel,
        testing::{
            block, bug_check_code, call_by_name, flow_of, kernel, kernel_with, result_of, run_call,
            take_events, with_threads,
        },
    };

    const TIMEOUT: u64 = 0x102;

    /// A kernel with threads, and a room for objects.
    fn start(threads: usize) -> (Kernel, Vec<ThreadId>) {
        let mut k = kernel();
        let threads = with_threads(&mut k, threads);
        (k, threads)
    }

    fn object(k: &mut Kernel, initialize: &str, arguments: &[u64]) -> u64 {
        let at = block(k, &[0; 0x40]);
        let arguments: Vec<u64> = [at].iter().chain(arguments).copied().collect();
        call_by_name(k, initialize, &arguments).unwrap();
        at
    }

    fn due(k: &mut Kernel, value: i64) -> u64 {
        block(k, &value.to_le_bytes())
    }

    fn wait(k: &mut Kernel, thread: ThreadId, object: u64, timeout: u64) -> Option<u64> {
        run_call(k, thread, "KeWaitForSingleObject", &[object, 0, 0, 0, timeout]).unwrap()
    }

    #[test]
    fn timeouts() {
        let (mut k, threads) = start(1);
        let event = object(&mut k, "KeInitializeEvent", &[0, 0]);
        let now = k.interrupt_time_100ns();
        let zero = due(&mut k, 0);
        assert_eq!(wait(&mut k, threads[0], event, zero), Some(TIMEOUT));
        let relative = due(&mut k, -50_000);
        assert_eq!(wait(&mut k, threads[0], event, relative), Some(TIMEOUT));
        assert!(k.interrupt_time_100ns() >= now + 50_000);
        let at = k.system_time_100ns() + 70_000;
        let absolute = due(&mut k, i64::try_from(at).unwrap());
        assert_eq!(wait(&mut k, threads[0], event, absolute), Some(TIMEOUT));
        assert!(k.system_time_100ns() >= at);
        // Absolute and in the past: over at once.
        let past = due(&mut k, 1);
        assert_eq!(wait(&mut k, threads[0], event, past), Some(TIMEOUT));
        // Without one the wait does not end by itself.
        assert_eq!(wait(&mut k, threads[0], event, 0), None);
        call_by_name(&mut k, "KeSetEvent", &[event, 0, 0]).unwrap();
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(0)));
    }

    #[test]
    fn a_time_out_may_pass_first_where_there_is_one() {
        let passes = Deviation { kind: WAIT_TIMES_OUT.number, ordinal: 1, answer: 1 };
        let mut k = kernel_with([passes]);
        let thread = with_threads(&mut k, 1)[0];
        let timer = object(&mut k, "KeInitializeTimerEx", &[0]);
        let event = object(&mut k, "KeInitializeEvent", &[0, 0]);
        let signalled = object(&mut k, "KeInitializeEvent", &[0, 1]);
        let (zero, soon) = (due(&mut k, 0), due(&mut k, -50_000));
        let set = |k: &mut Kernel| {
            let ahead = (-20_000_i64).cast_unsigned();
            call_by_name(k, "KeSetTimer", &[timer, ahead, 0]).unwrap();
        };
        // Not asked: no time out, a time out of zero, an object that is signalled.
        set(&mut k);
        assert_eq!(wait(&mut k, thread, timer, 0), Some(0));
        assert_eq!(wait(&mut k, thread, event, zero), Some(TIMEOUT));
        assert_eq!(wait(&mut k, thread, signalled, soon), Some(0));
        assert_eq!(k.tape.asked(WAIT_TIMES_OUT), 0);
        set(&mut k);
        assert_eq!(wait(&mut k, thread, timer, soon), Some(0));
        // What is due before the time out still comes before it.
        set(&mut k);
        let before = k.interrupt_time_100ns();
        assert_eq!(wait(&mut k, thread, timer, soon), Some(0));
        assert!(k.interrupt_time_100ns() >= before + 49_000);
        assert_eq!(k.tape.asked(WAIT_TIMES_OUT), 2);
    }

    #[test]
    fn a_wait_at_dispatch_level_must_not_wait() {
        let (mut k, _) = start(1);
        let threads = with_threads(&mut k, 1);
        let event = object(&mut k, "KeInitializeEvent", &[0, 1]);
        let (zero, some) = (due(&mut k, 0), due(&mut k, -1));
        k.begin(threads[0], |_| Ok(crate::Flow::Resume)).unwrap();
        k.set_irql(Irql::DISPATCH_LEVEL);
        take_events(&mut k);
        let poll = call_poll(&mut k, event, zero);
        assert_eq!(poll, "waits [no limit broken]");
        assert_eq!(call_poll(&mut k, event, some), "bug check b8 [limit broken]");
        assert_eq!(call_poll(&mut k, event, 0), "bug check b8 [limit broken]");
    }

    fn call_poll(k: &mut Kernel, event: u64, timeout: u64) -> String {
        let result = flow_of(k, "KeWaitForSingleObject", &[event, 0, 0, 0, timeout]);
        let is_broken = take_events(k).iter().any(|e| matches!(e, Event::LimitBroken(_)));
        let broken = if is_broken { "limit broken" } else { "no limit broken" };
        match result {
            Ok(crate::Flow::Wait(..)) => format!("waits [{broken}]"),
            Err(crate::Stop::BugCheck(check)) => format!("bug check {:x} [{broken}]", check.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_of_event_and_waiters_in_order() {
        let (mut k, threads) = start(3);
        let sync = object(&mut k, "KeInitializeEvent", &[1, 0]);
        for &thread in &threads {
            assert_eq!(wait(&mut k, thread, sync, 0), None);
        }
        // A synchronization event lets one go, the first to wait, and is reset by that.
        assert_eq!(call_by_name(&mut k, "KeSetEvent", &[sync, 0, 0]), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[sync]), Ok(0));
        let results: Vec<_> = threads.iter().map(|&t| result_of(&mut k, t).unwrap()).collect();
        assert_eq!(results, [Some(0), None, None]);
        // A pulse lets those go that wait, and leaves the event not signalled.
        assert_eq!(call_by_name(&mut k, "KePulseEvent", &[sync, 0, 0]), Ok(0));
        let results: Vec<_> = threads.iter().map(|&t| result_of(&mut k, t).unwrap()).collect();
        assert_eq!(results, [Some(0), Some(0), None]);
        call_by_name(&mut k, "KeSetEvent", &[sync, 0, 0]).unwrap();

        let note = object(&mut k, "KeInitializeEvent", &[0, 0]);
        for &thread in &threads {
            assert_eq!(wait(&mut k, thread, note, 0), None);
        }
        call_by_name(&mut k, "KePulseEvent", &[note, 0, 0]).unwrap();
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[note]), Ok(0));
        for &thread in &threads {
            assert_eq!(result_of(&mut k, thread), Ok(Some(0)));
        }
        call_by_name(&mut k, "KeSetEvent", &[note, 0, 0]).unwrap();
        assert_eq!(wait(&mut k, threads[0], note, 0), Some(0));
        assert_eq!(wait(&mut k, threads[1], note, 0), Some(0));
        assert_eq!(call_by_name(&mut k, "KeResetEvent", &[note]), Ok(1));
    }

    #[test]
    fn any_and_all_of_several() {
        let (mut k, threads) = start(1);
        let event = object(&mut k, "KeInitializeEvent", &[1, 0]);
        let semaphore = object(&mut k, "KeInitializeSemaphore", &[0, 5]);
        let both: Vec<u8> = [event, semaphore].iter().flat_map(|at| at.to_le_bytes()).collect();
        let (array, zero) = (block(&mut k, &both), due(&mut k, 0));
        let wait = |k: &mut Kernel, kind: u64, timeout: u64| {
            let arguments = [2, array, kind, 0, 0, 0, timeout, 0];
            run_call(k, threads[0], "KeWaitForMultipleObjects", &arguments).unwrap()
        };
        assert_eq!(wait(&mut k, 1, zero), Some(TIMEOUT));
        call_by_name(&mut k, "KeReleaseSemaphore", &[semaphore, 0, 1, 0]).unwrap();
        // All: nothing is taken until every one can be.
        assert_eq!(wait(&mut k, 0, zero), Some(TIMEOUT));
        assert_eq!(call_by_name(&mut k, "KeReadStateSemaphore", &[semaphore]), Ok(1));
        // Any: the index of the first that is signalled.
        assert_eq!(wait(&mut k, 1, zero), Some(1));
        assert_eq!(call_by_name(&mut k, "KeReadStateSemaphore", &[semaphore]), Ok(0));
        assert_eq!(wait(&mut k, 0, 0), None);
        call_by_name(&mut k, "KeSetEvent", &[event, 0, 0]).unwrap();
        assert_eq!(result_of(&mut k, threads[0]), Ok(None));
        call_by_name(&mut k, "KeReleaseSemaphore", &[semaphore, 0, 3, 0]).unwrap();
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(0)));
        assert_eq!(call_by_name(&mut k, "KeReadStateSemaphore", &[semaphore]), Ok(2));
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[event]), Ok(0));
    }

    #[test]
    fn too_many_objects() {
        for (count, has_blocks, code) in
            [(3, false, 0), (4, false, 0xc), (64, true, 0), (65, true, 0xc)]
        {
            let (mut k, threads) = start(1);
            let event = object(&mut k, "KeInitializeEvent", &[0, 1]);
            let many: Vec<u8> = (0..65).flat_map(|_| event.to_le_bytes()).collect();
            let array = block(&mut k, &many);
            let blocks = if has_blocks { block(&mut k, &[0; 64 * 0x30]) } else { 0 };
            let arguments = [count, array, 1, 0, 0, 0, 0, blocks];
            let result = run_call(&mut k, threads[0], "KeWaitForMultipleObjects", &arguments);
            match code {
                0 => assert_eq!(result, Ok(Some(0)), "{count}"),
                code => assert_eq!(bug_check_code(result), code, "{count}"),
            }
        }
    }

    #[test]
    fn a_semaphore_has_a_limit() {
        let (mut k, _) = start(0);
        let semaphore = object(&mut k, "KeInitializeSemaphore", &[1, 3]);
        assert_eq!(call_by_name(&mut k, "KeReleaseSemaphore", &[semaphore, 0, 2, 0]), Ok(1));
        let above = call_by_name(&mut k, "KeReleaseSemaphore", &[semaphore, 0, 1, 0]);
        let raised = crate::Stop::raise(NtStatus::STATUS_SEMAPHORE_LIMIT_EXCEEDED);
        assert_eq!(above, Err(raised));
        assert_eq!(call_by_name(&mut k, "KeReadStateSemaphore", &[semaphore]), Ok(3));
    }

    #[test]
    fn a_mutex_is_recursive_and_may_be_abandoned() {
        let (mut k, threads) = start(2);
        let mutex = object(&mut k, "KeInitializeMutex", &[0]);
        assert_eq!(wait(&mut k, threads[0], mutex, 0), Some(0));
        assert_eq!(wait(&mut k, threads[0], mutex, 0), Some(0));
        assert_eq!(
            call_by_name(&mut k, "KeReadStateMutex", &[mutex]),
            Ok((-1_i64).cast_unsigned())
        );
        assert_eq!(k.ke.thread(threads[0]).critical_regions, 1);
        assert_eq!(wait(&mut k, threads[1], mutex, 0), None);
        k.begin(threads[0], |_| Ok(crate::Flow::Terminate)).unwrap();
        let heard = take_events(&mut k);
        let is_abandon = |event: &&Event| matches!(event, Event::MutexAbandon(_));
        assert_eq!(heard.iter().filter(is_abandon).count(), 1);
        assert_eq!(result_of(&mut k, threads[1]), Ok(Some(0x80)));
        // Told once.
        assert_eq!(wait(&mut k, threads[1], mutex, 0), Some(0));
    }

    #[test]
    fn an_announced_wait_signals_when_it_begins() {
        let (mut k, threads) = start(2);
        let one = object(&mut k, "KeInitializeEvent", &[1, 0]);
        let other = object(&mut k, "KeInitializeEvent", &[1, 0]);
        assert_eq!(wait(&mut k, threads[0], one, 0), None);
        k.begin(threads[1], |k| {
            k.set_gpr(4, k.gpr(4) - 0x100);
            flow_of(k, "KeSetEvent", &[one, 0, 1])?;
            assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
            assert_eq!(k.get(GuestAddr(one), nt_abi::structures::ke::KEVENT::SignalState), Ok(0));
            let flow = flow_of(k, "KeWaitForSingleObject", &[other, 0, 0, 0, 0]);
            assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
            flow
        })
        .unwrap();
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(0)));
        assert_eq!(k.ke.thread(threads[1]).result, None);
    }

    #[test]
    fn a_pulse_may_announce_a_wait() {
        let (mut k, threads) = start(2);
        let one = object(&mut k, "KeInitializeEvent", &[0, 0]);
        let other = object(&mut k, "KeInitializeEvent", &[1, 1]);
        assert_eq!(wait(&mut k, threads[0], one, 0), None);
        k.begin(threads[1], |k| {
            k.set_gpr(4, k.gpr(4) - 0x100);
            flow_of(k, "KePulseEvent", &[one, 0, 1])?;
            assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
            let flow = flow_of(k, "KeWaitForSingleObject", &[other, 0, 0, 0, 0]);
            assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
            flow
        })
        .unwrap();
        assert_eq!(result_of(&mut k, threads[0]), Ok(Some(0)));
        assert_eq!(k.ke.thread(threads[1]).result, Some(0));
        // The pulse is over for who comes now.
        assert_eq!(call_by_name(&mut k, "KeReadStateEvent", &[one]), Ok(0));
    }

    #[test]
    fn what_was_never_initialised_is_no_object() {
        let (mut k, threads) = start(1);
        let event = object(&mut k, "KeInitializeEvent", &[0, 1]);
        let mut copy = [0; 0x18];
        k.read(GuestAddr(event), &mut copy).unwrap();
        let cases = [block(&mut k, &[0; 0x40]), block(&mut k, &[0xcd; 0x40]), block(&mut k, &copy)];
        for at in cases {
            take_events(&mut k);
            let result = run_call(&mut k, threads[0], "KeWaitForSingleObject", &[at, 0, 0, 0, 0]);
            assert_eq!(bug_check_code(result), 0x0a);
            let kept = take_events(&mut k).into_iter().find_map(|event| match event {
                Event::KeptObject(kept) => Some((kept.kind, kept.fault)),
                _ => None,
            });
            assert_eq!(kept, Some((KeptKind::Dispatcher, KeptFault::NotInitialized)));
        }
    }

    #[test]
    fn the_end_of_a_thread_ends_its_waits_of_user_mode() {
        const USER_APC: u64 = 0xc0;
        // Wait mode, alertable, in a critical region; whether the wait is over.
        let cases = [
            (0, 0, false, false),
            (0, 1, false, false),
            (1, 0, false, true),
            (1, 1, false, true),
            (1, 0, true, false),
        ];
        for (mode, alertable, in_region, is_over) in cases {
            let (mut k, threads) = start(1);
            let event = object(&mut k, "KeInitializeEvent", &[0, 0]);
            if in_region {
                k.ke.thread_mut(threads[0]).critical_regions = 1;
            }
            let arguments = [event, 0, mode, alertable, 0];
            let result = run_call(&mut k, threads[0], "KeWaitForSingleObject", &arguments);
            assert_eq!(result, Ok(None), "nothing signals the event");
            k.terminate(threads[0]).unwrap();
            let expected = is_over.then_some(USER_APC);
            assert_eq!(result_of(&mut k, threads[0]), Ok(expected), "{mode} {alertable}");
        }
    }

    #[test]
    fn an_interval_passes() {
        let (mut k, threads) = start(1);
        let interval = due(&mut k, -30_000);
        let before = k.interrupt_time_100ns();
        let result = run_call(&mut k, threads[0], "KeDelayExecutionThread", &[0, 0, interval]);
        assert_eq!(result, Ok(Some(0)));
        assert!(k.interrupt_time_100ns() >= before + 30_000);
    }
}
