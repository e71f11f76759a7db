//! Asynchronous procedure calls: special and normal kernel APCs, and user APCs.
//!
//! A kernel APC interrupts its thread at `PASSIVE_LEVEL`, also in a wait, which then goes on. The
//! kernel routine runs at `APC_LEVEL`, the normal routine of a normal one at `PASSIVE_LEVEL`.
//! Critical regions hold back normal kernel APCs, guarded regions all. Source:
//! `kernel/types-of-apcs`, `kernel/disabling-apcs`, `kernel/waits-and-apcs`.

use std::collections::VecDeque;

use events::{
    EntryPoint, Event, KeptFault, KeptKind, KeptObject, Resource, ResourceTaken, Seq, ThreadId,
};
use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::ke::KAPC};
use nt_macros::export;

use crate::{
    Activation, CallResult, Flow, GuestCall, Kernel, Stop, Wait, exports, frame,
    ke::ThreadState,
    registers::{INTERRUPT_FLAG, RSP},
};

exports![KeInitializeApc, KeInsertQueueApc, KeRemoveQueueApc];

/// `ApcObject`, as debuggers show it.
const APC_OBJECT: u8 = 0x12;
/// `KPROCESSOR_MODE.UserMode`.
const USER_MODE: u8 = 1;

/// A queued APC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queued {
    at: GuestAddr,
    since: Seq,
    /// It has no normal routine.
    is_special: bool,
}

/// The APCs of a thread.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Kernel APCs: special ones first.
    kernel: VecDeque<Queued>,
    /// User APCs.
    user: VecDeque<Queued>,
    /// A normal kernel APC is running; others wait for its end.
    is_normal_running: bool,
    /// A wait was ended for the user APCs, which run on the way back to user mode.
    is_user_due: bool,
}

impl Pending {
    /// All of them, and since when.
    pub(crate) fn all(&self) -> impl Iterator<Item = (GuestAddr, Seq)> + '_ {
        self.kernel.iter().chain(&self.user).map(|queued| (queued.at, queued.since))
    }

    /// Whether a user APC waits.
    pub(crate) fn has_user(&self) -> bool {
        !self.user.is_empty()
    }

    /// Whether user APCs run before the thread goes on in user mode.
    pub(crate) fn is_user_due(&self) -> bool {
        self.is_user_due
    }

    /// A wait ends for the user APCs.
    pub(crate) fn set_user_due(&mut self) {
        self.is_user_due = true;
    }

    fn push(&mut self, queued: Queued, is_user: bool) {
        if is_user {
            self.user.push_back(queued);
        } else if queued.is_special {
            let normal = self.kernel.iter().position(|other| !other.is_special);
            self.kernel.insert(normal.unwrap_or(self.kernel.len()), queued);
        } else {
            self.kernel.push_back(queued);
        }
    }

    fn remove(&mut self, at: GuestAddr) -> bool {
        let before = self.kernel.len() + self.user.len();
        self.kernel.retain(|queued| queued.at != at);
        self.user.retain(|queued| queued.at != at);
        self.kernel.len() + self.user.len() != before
    }

    /// Takes any, kernel APCs first.
    fn take(&mut self) -> Option<Queued> {
        self.kernel.pop_front().or_else(|| self.user.pop_front())
    }
}

/// Initialises an APC for a thread. Without a normal routine it is a special kernel APC, whatever
/// the mode.
#[export(irql = .., ddi = "kernel/types-of-apcs")]
fn KeInitializeApc(
    k: &mut Kernel,
    apc: GuestAddr,
    thread: GuestAddr,
    environment: u32,
    kernel_routine: GuestAddr,
    rundown_routine: GuestAddr,
    normal_routine: GuestAddr,
    mode: u8,
    context: u64,
) -> CallResult<()> {
    k.initialize_kept(apc, KeptKind::Apc)?;
    let is_normal = !normal_routine.is_null();
    let (mode, context) = if is_normal { (mode, context) } else { (0, 0) };
    k.set(apc, KAPC::Type, APC_OBJECT)?;
    k.set(apc, KAPC::Size, u8::try_from(KAPC::SIZE_BYTES).unwrap_or(u8::MAX))?;
    k.set(apc, KAPC::Thread, thread.0)?;
    k.set(apc, KAPC::KernelRoutine, kernel_routine.0)?;
    k.set(apc, KAPC::RundownRoutine, rundown_routine.0)?;
    k.set(apc, KAPC::NormalRoutine, normal_routine.0)?;
    k.set(apc, KAPC::NormalContext, context)?;
    k.set(apc, KAPC::ApcStateIndex, environment.to_le_bytes()[0])?;
    k.set(apc, KAPC::ApcMode, mode)?;
    k.set(apc, KAPC::Inserted, 0)
}

/// Queues an APC to its thread; FALSE if it is queued already, or the thread takes none any more.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "kernel/types-of-apcs")]
fn KeInsertQueueApc(
    k: &mut Kernel,
    apc: GuestAddr,
    first: u64,
    second: u64,
    _increment: i32,
) -> CallResult<bool> {
    let id = target(k, apc)?;
    if k.get(apc, KAPC::Inserted)? != 0 || k.ke.thread(id).is_ending {
        return Ok(false);
    }
    k.require_resident(KeptKind::Apc, apc, KAPC::SIZE_BYTES)?;
    let since =
        k.emit(Event::ResourceTaken(ResourceTaken { resource: Resource::Running("APC") }))?;
    k.set(apc, KAPC::SystemArgument1, first)?;
    k.set(apc, KAPC::SystemArgument2, second)?;
    k.set(apc, KAPC::Inserted, 1)?;
    let is_special = k.get(apc, KAPC::NormalRoutine)? == 0;
    let is_user = k.get(apc, KAPC::ApcMode)? == USER_MODE;
    k.order_release(apc);
    k.ke.thread_mut(id).apcs.push(Queued { at: apc, since, is_special }, is_user);
    k.notice_apc(id)?;
    k.bound_turn();
    Ok(true)
}

/// Takes an APC off its thread's queue; FALSE if it was not there.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "kernel/types-of-apcs")]
fn KeRemoveQueueApc(k: &mut Kernel, apc: GuestAddr) -> CallResult<bool> {
    let id = target(k, apc)?;
    let was_queued = k.ke.thread_mut(id).apcs.remove(apc);
    if was_queued {
        k.set(apc, KAPC::Inserted, 0)?;
    }
    Ok(was_queued)
}

/// The thread that an APC was initialised for.
fn target(k: &mut Kernel, apc: GuestAddr) -> CallResult<ThreadId> {
    let is_apc = k.get(apc, KAPC::Type)? == APC_OBJECT;
    let thread = GuestAddr(k.get(apc, KAPC::Thread)?);
    if let Some(found) = k.ke.thread_at(thread).filter(|_| is_apc) {
        return Ok(found.id);
    }
    let (kind, fault) = (KeptKind::Apc, KeptFault::NotInitialized);
    k.emit(Event::KeptObject(KeptObject { kind, at: apc, fault, since: None }))?;
    // The kernel looks for the lock in the thread, at DISPATCH_LEVEL.
    Err(Stop::bug_check(0x0a, [thread.0, 2, 1, 0]))
}

/// A wait that an APC interrupted.
#[derive(Clone, Debug)]
struct WaitAgain {
    wait: Wait,
    is_user: bool,
}
frame!(WaitAgain, |this, k, _| {
    k.current_thread().is_user_wait = this.is_user;
    Ok(Flow::Wait(this.wait, Vec::new()))
});

impl Kernel {
    /// The kernel APC that a thread at this level gets next.
    fn next_apc(&self, id: ThreadId, irql: Irql) -> Option<Queued> {
        let thread = self.ke.thread(id);
        if irql > Irql::PASSIVE_LEVEL || thread.guarded_regions > 0 {
            return None;
        }
        let first = *thread.apcs.kernel.front()?;
        let is_normal_held = thread.critical_regions > 0 || thread.apcs.is_normal_running;
        (first.is_special || !is_normal_held).then_some(first)
    }

    /// Whether the current thread gets an APC before it goes on.
    pub(crate) fn has_deliverable_apc(&self) -> bool {
        let core = self.core();
        let Some(id) = core.thread else { return false };
        core.regs.rflags & INTERRUPT_FLAG != 0 && self.next_apc(id, core.irql).is_some()
    }

    /// An APC was queued: a wait that it may interrupt is interrupted.
    fn notice_apc(&mut self, id: ThreadId) -> CallResult<()> {
        let thread = self.ke.thread(id);
        let Some((wait, _)) = thread.wait.as_ref().filter(|_| thread.state == ThreadState::Waiting)
        else {
            return Ok(());
        };
        if thread.is_user_wait && wait.is_alertable && thread.apcs.has_user() {
            self.ke.thread_mut(id).apcs.set_user_due();
            return self.wake(id, nt_abi::NtStatus::STATUS_USER_APC);
        }
        if self.next_apc(id, thread.irql.0).is_some() {
            self.interrupt_wait(id)?;
        }
        Ok(())
    }

    /// Takes a thread out of its wait; it begins to wait again when its APCs have run.
    fn interrupt_wait(&mut self, id: ThreadId) -> CallResult<()> {
        let thread = self.ke.thread_mut(id);
        let Some((wait, _)) = thread.wait.clone() else { return Ok(()) };
        let is_user = thread.is_user_wait;
        thread.activations.push(Activation::Frame(Box::new(WaitAgain { wait, is_user })));
        self.wake(id, nt_abi::NtStatus::STATUS_SUCCESS)
    }

    /// Lets the current thread's next APC run before its wait begins; `None` if there is none.
    pub(crate) fn apc_before_wait(&mut self, wait: &Wait) -> Option<CallResult<Flow>> {
        if !self.has_deliverable_apc() {
            return None;
        }
        let is_user = self.current_thread().is_user_wait;
        let again = WaitAgain { wait: wait.clone(), is_user };
        self.activations().push(Activation::Frame(Box::new(again)));
        Some(self.start_apc())
    }

    /// Delivers the current thread's next APC on top of what it does; says whether it did.
    pub(crate) fn deliver_apc(&mut self) -> CallResult<bool> {
        if !self.has_deliverable_apc() {
            return Ok(false);
        }
        self.push_interruption();
        let flow = self.start_apc();
        self.apply(flow)?;
        Ok(true)
    }

    /// Calls the kernel routine of the current thread's next APC.
    fn start_apc(&mut self) -> CallResult<Flow> {
        let Some(queued) = self.current_thread().apcs.kernel.pop_front() else {
            return Ok(Flow::Return(0));
        };
        let apc = queued.at;
        self.order_acquire(apc);
        self.set(apc, KAPC::Inserted, 0)?;
        let routine = GuestAddr(self.get(apc, KAPC::KernelRoutine)?);
        let values = [
            self.get(apc, KAPC::NormalRoutine)?,
            self.get(apc, KAPC::NormalContext)?,
            self.get(apc, KAPC::SystemArgument1)?,
            self.get(apc, KAPC::SystemArgument2)?,
        ];
        // The kernel routine may change them: they stand in the frame of its caller.
        let slots = GuestAddr((self.gpr(RSP) & !0xf) - 0x20);
        for (index, value) in (0u64..).zip(values) {
            self.write_scalar(slots.add(8 * index), value)?;
        }
        self.set_irql(Irql::APC_LEVEL);
        let pointers = (0..4).map(|index| slots.add(8 * index).0);
        let arguments = [apc.0].into_iter().chain(pointers).collect();
        let entry = Some(EntryPoint::Callback("APC kernel routine"));
        let call = GuestCall { target: routine, arguments, entry, below: Some(slots) };
        Ok(Flow::call(call, KernelRoutineDone { slots, is_special: queued.is_special }))
    }

    /// Runs down the APCs of the current thread, which ends: each rundown routine instead of the
    /// others.
    pub(crate) fn run_down_apcs(&mut self) -> CallResult<Flow> {
        while let Some(queued) = self.current_thread().apcs.take() {
            self.order_acquire(queued.at);
            self.set(queued.at, KAPC::Inserted, 0)?;
            let routine = GuestAddr(self.get(queued.at, KAPC::RundownRoutine)?);
            if !routine.is_null() {
                let entry = EntryPoint::Callback("APC rundown routine");
                let call = GuestCall::entry(routine, vec![queued.at.0], entry);
                return Ok(Flow::call(call, RunDownNext));
            }
        }
        Ok(Flow::Return(0))
    }
}

/// A rundown routine returned.
#[derive(Clone, Debug)]
struct RunDownNext;
frame!(RunDownNext, |_, k, _| k.run_down_apcs());

/// The kernel routine returned.
#[derive(Clone, Debug)]
struct KernelRoutineDone {
    slots: GuestAddr,
    is_special: bool,
}
frame!(KernelRoutineDone, |this, k, _| {
    let mut values = [0u64; 4];
    for (index, value) in (0u64..).zip(&mut values) {
        *value = k.read_scalar(this.slots.add(8 * index))?;
    }
    k.set_irql(Irql::PASSIVE_LEVEL);
    let [routine, context, first, second] = values;
    // A kernel routine may take the normal routine away.
    if this.is_special || routine == 0 {
        return Ok(Flow::Return(0));
    }
    k.current_thread().apcs.is_normal_running = true;
    let entry = EntryPoint::Callback("APC normal routine");
    let call = GuestCall::entry(GuestAddr(routine), vec![context, first, second], entry);
    Ok(Flow::call(call, NormalRoutineDone))
});

/// The normal routine returned.
#[derive(Clone, Debug)]
struct NormalRoutineDone;
frame!(NormalRoutineDone, |_, k, _| {
    k.current_thread().apcs.is_normal_running = false;
    Ok(Flow::Return(0))
});

#[cfg(test)]
mod tests {
    use events::ThreadId;
    use guest_memory::GuestAddr;

    use crate::{
        Kernel,
        testing::{
            block, bug_check_code, call_by_name, irql_recorder, kernel, recorded, result_of,
            run_call, with_threads,
        },
    };

    /// What the routines of an APC add to the IRQL that they record.
    const KERNEL: u8 = 0x10;
    const NORMAL: u8 = 0x20;
    const RUNDOWN: u8 = 0x40;

    struct Bench {
        k: Kernel,
        thread: ThreadId,
        list: u64,
        event: u64,
    }

    impl Bench {
        fn new() -> Self {
            let mut k = kernel();
            let thread = with_threads(&mut k, 1)[0];
            let (list, event) = (block(&mut k, &[0; 0x40]), block(&mut k, &[0; 0x18]));
            call_by_name(&mut k, "KeInitializeEvent", &[event, 0, 0]).unwrap();
            Self { k, thread, list, event }
        }

        /// Initialises an APC; a special one without `is_normal`.
        fn apc(&mut self, is_normal: bool, mode: u64) -> u64 {
            let k = &mut self.k;
            let kernel = irql_recorder(k, self.list, KERNEL);
            let normal = if is_normal { irql_recorder(k, self.list, NORMAL) } else { 0 };
            let rundown = irql_recorder(k, self.list, RUNDOWN);
            let (apc, object) = (block(k, &[0; 0x58]), k.ke.thread(self.thread).object.0);
            let arguments = [apc, object, 0, kernel, rundown, normal, mode, 0];
            call_by_name(k, "KeInitializeApc", &arguments).unwrap();
            apc
        }

        fn wait(&mut self, mode: u64, is_alertable: u64) -> Option<u64> {
            let arguments = [self.event, 0, mode, is_alertable, 0];
            run_call(&mut self.k, self.thread, "KeWaitForSingleObject", &arguments).unwrap()
        }

        fn insert(&mut self, apc: u64) -> bool {
            call_by_name(&mut self.k, "KeInsertQueueApc", &[apc, 0, 0, 0]).unwrap() != 0
        }

        fn run(&mut self) -> Option<u64> {
            result_of(&mut self.k, self.thread).unwrap()
        }

        fn recorded(&mut self) -> Vec<u8> {
            recorded(&mut self.k, self.list)
        }
    }

    #[test]
    fn kernel_apcs_interrupt_a_wait_which_goes_on() {
        let mut bench = Bench::new();
        assert_eq!(bench.wait(0, 0), None);
        let (normal, special) = (bench.apc(true, 0), bench.apc(false, 0));
        assert!(bench.insert(normal));
        assert!(bench.insert(special));
        assert!(!bench.insert(special));
        assert_eq!(bench.run(), None);
        // The special one overtakes; kernel routines at APC_LEVEL, the normal one at PASSIVE_LEVEL.
        assert_eq!(bench.recorded(), [KERNEL + 1, KERNEL + 1, NORMAL]);
        assert!(bench.insert(special));
        assert_eq!(bench.run(), None);
        let event = bench.event;
        call_by_name(&mut bench.k, "KeSetEvent", &[event, 0, 0]).unwrap();
        assert_eq!(bench.run(), Some(0));
    }

    #[test]
    fn regions_hold_apcs_back() {
        for (is_guarded, expected) in [(false, vec![KERNEL + 1]), (true, vec![])] {
            let mut bench = Bench::new();
            assert_eq!(bench.wait(0, 0), None);
            let thread = bench.k.ke.thread_mut(bench.thread);
            match is_guarded {
                true => thread.guarded_regions = 1,
                false => thread.critical_regions = 1,
            }
            let (normal, special) = (bench.apc(true, 0), bench.apc(false, 0));
            assert!(bench.insert(normal) && bench.insert(special));
            assert_eq!(bench.run(), None);
            assert_eq!(bench.recorded(), expected);
            assert_eq!(call_by_name(&mut bench.k, "KeRemoveQueueApc", &[normal]), Ok(1));
            assert_eq!(call_by_name(&mut bench.k, "KeRemoveQueueApc", &[normal]), Ok(0));
        }
    }

    #[test]
    fn a_user_apc_ends_an_alertable_wait_of_user_mode_only() {
        for (mode, alertable, expected) in [(1, 1, Some(0xc0)), (1, 0, None), (0, 1, None)] {
            let mut bench = Bench::new();
            assert_eq!(bench.wait(mode, alertable), None);
            let apc = bench.apc(true, 1);
            assert!(bench.insert(apc));
            // The routine itself belongs to user mode, which is not modelled.
            let thread = bench.thread;
            let until = bench.k.interrupt_time_100ns();
            let ran = bench.k.run(thread, until);
            match expected {
                Some(_) => assert!(matches!(ran, Err(crate::Stop::Unsupported { .. })), "{ran:?}"),
                None => assert_eq!(bench.k.ke.thread(thread).result, None),
            }
            assert_eq!(bench.recorded(), []);
        }
    }

    #[test]
    fn the_end_of_a_thread_runs_its_apcs_down() {
        let mut bench = Bench::new();
        bench.k.ke.thread_mut(bench.thread).guarded_regions = 1;
        let (normal, user) = (bench.apc(true, 0), bench.apc(true, 1));
        assert!(bench.insert(normal) && bench.insert(user));
        bench.k.ke.thread_mut(bench.thread).guarded_regions = 0;
        let thread = bench.thread;
        bench.k.begin(thread, |_| Ok(crate::Flow::Terminate)).unwrap();
        bench.run();
        assert_eq!(bench.recorded(), [RUNDOWN, RUNDOWN]);
        assert!(!bench.insert(normal));
    }

    #[test]
    fn what_was_never_initialised_is_no_apc() {
        let mut bench = Bench::new();
        let apc = block(&mut bench.k, &[0; 0x58]);
        let inserted = call_by_name(&mut bench.k, "KeInsertQueueApc", &[apc, 0, 0, 0]);
        assert_eq!(bug_check_code(inserted), 0x0a);
        let at = bench.apc(false, 0);
        bench.k.write_scalar(GuestAddr(at + 8), 0x1234_u64).unwrap();
        let inserted = call_by_name(&mut bench.k, "KeInsertQueueApc", &[at, 0, 0, 0]);
        assert_eq!(bug_check_code(inserted), 0x0a);
    }
}
