//! Threads: kernel stacks, continuations, states.

use cpu::Registers;
use events::{Seq, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;

use super::apc;
use crate::{Activation, Spin, Wait};

/// What a thread is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// In user mode, or a worker without work: nothing to run in the kernel.
    Idle,
    /// Could run.
    Ready,
    /// Runs on this processor.
    Running(u8),
    /// Waits; see `wait`.
    Waiting,
    /// Ended.
    Terminated,
}

/// A thread that spins inside a kernel routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpinState {
    /// On what.
    pub on: Spin,
    /// Nothing else has run since it tried last, so another try is in vain.
    pub is_vain: bool,
}

/// A thread.
#[derive(Clone, Debug)]
pub struct Thread {
    // Configuration
    /// Its number.
    pub id: ThreadId,
    /// Its `ETHREAD` body.
    pub object: GuestAddr,
    /// The `EPROCESS` body of its process.
    pub process: GuestAddr,
    /// Its thread id, as `PsGetCurrentThreadId` returns it.
    pub tid: u64,
    /// Lowest address of its kernel stack.
    pub stack_low: GuestAddr,
    /// One past the highest address.
    pub stack_high: GuestAddr,
    /// True for threads that never run in user mode.
    pub is_system: bool,
    /// The routine of a driver that it was created for, and when.
    pub start: Option<(GuestAddr, Seq)>,
    /// The object that it keeps, so that its driver stays loaded.
    pub keeps: Option<GuestAddr>,

    // State
    /// What it does.
    pub state: ThreadState,
    /// Registers while it does not run.
    pub regs: Registers,
    /// Its IRQL while it does not run, and where that was changed last. Below `DISPATCH_LEVEL` a
    /// thread takes its level along.
    pub irql: (Irql, Option<Seq>),
    /// Continuations, innermost last.
    pub activations: Vec<Activation>,
    /// What it waits for, with the order in which it began to wait.
    pub wait: Option<(Wait, u64)>,
    /// The wait it is in, or about to begin, is one of user mode.
    pub is_user_wait: bool,
    /// Its process ends: no wait of user mode lasts any more.
    pub is_terminated: bool,
    /// The value that its next running starts with: a wait status.
    pub wake: Option<u64>,
    /// The result of the service it ran last.
    pub result: Option<u64>,
    /// It spins inside a kernel routine, and whether somebody else has run since it tried last.
    pub spin: Option<SpinState>,
    /// It was switched away from at its current call into the kernel, which goes on now.
    pub was_preempted_at_call: bool,
    /// Jumps by which routines that are gone from the stack led to kernel routines, with the stack
    /// pointer there, outermost first.
    pub tail_jumps: Vec<(u64, GuestAddr)>,
    /// After the call under way it goes on on another processor, so that what is due on this one
    /// runs at the same time.
    pub moves_after_call: bool,
    /// Processors on which it may run, one bit each.
    pub affinity: u64,
    /// Scheduling priority, 1 to 31.
    pub priority: i32,
    /// What was added to the base priority of its process.
    pub base_increment: i32,
    /// Affinity to go back to, while a system affinity is set.
    pub user_affinity: Option<u64>,
    /// How often normal kernel APCs were disabled (critical regions, mutexes).
    pub critical_regions: u32,
    /// How often all APCs were disabled (guarded regions).
    pub guarded_regions: u32,
    /// When it entered a region last.
    pub region_entered: Option<Seq>,
    /// APCs that wait for it.
    pub apcs: apc::Pending,
    /// Mutexes it acquired and may still own, with the moment.
    pub mutexes: Vec<(GuestAddr, Seq)>,
    /// The queue it serves.
    pub queue: Option<GuestAddr>,
    /// The entry that its wait on a queue came to.
    pub queue_entry: Option<GuestAddr>,
    /// A signal that takes effect with its next wait, and the IRQL to go back to.
    pub announced: Option<(GuestAddr, i32, Irql)>,
    /// User mode suspended it; it goes on when nothing else can.
    pub is_suspended: bool,
    /// Its end has begun: requests are cancelled, APCs run down.
    pub is_ending: bool,
}

/// Room above the first frame of a stack, which the kernel's own start routine uses.
const START_FRAME_BYTES: u64 = 0x100;

impl Thread {
    /// The stack pointer of a thread that begins, or begins to end: nothing is on its stack.
    pub(crate) fn first_rsp(&self) -> u64 {
        self.stack_high.0 - START_FRAME_BYTES
    }

    /// Whether it spins, and nothing has happened that could let it go on.
    pub(crate) fn spins_in_vain(&self) -> bool {
        self.spin.is_some_and(|spin| spin.is_vain)
    }

    /// An idle thread of priority 8 on this stack.
    pub fn new(
        id: ThreadId,
        (object, process): (GuestAddr, GuestAddr),
        tid: u64,
        (stack_low, stack_high): (GuestAddr, GuestAddr),
        is_system: bool,
    ) -> Self {
        Self {
            id,
            object,
            process,
            tid,
            stack_low,
            stack_high,
            is_system,
            start: None,
            keeps: None,
            state: ThreadState::Idle,
            regs: Registers::new(),
            irql: (Irql::PASSIVE_LEVEL, None),
            activations: Vec::new(),
            wait: None,
            is_user_wait: false,
            is_terminated: false,
            wake: None,
            result: None,
            spin: None,
            was_preempted_at_call: false,
            tail_jumps: Vec::new(),
            moves_after_call: false,
            affinity: u64::MAX,
            priority: 8,
            base_increment: 0,
            user_affinity: None,
            critical_regions: 0,
            guarded_regions: 0,
            region_entered: None,
            apcs: apc::Pending::default(),
            mutexes: Vec::new(),
            queue: None,
            queue_entry: None,
            announced: None,
            is_suspended: false,
            is_ending: false,
        }
    }
}
