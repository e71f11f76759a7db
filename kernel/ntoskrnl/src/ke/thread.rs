//! Threads: kernel stacks, continuations, states.

use cpu::Registers;
use events::ThreadId;
use guest_memory::GuestAddr;

use crate::{Activation, Wait};

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

    // State
    /// What it does.
    pub state: ThreadState,
    /// Registers while it does not run.
    pub regs: Registers,
    /// Continuations, innermost last.
    pub activations: Vec<Activation>,
    /// What it waits for, with the order in which it began to wait.
    pub wait: Option<(Wait, u64)>,
    /// The value that its next running starts with: a wait status.
    pub wake: Option<u64>,
    /// The result of the service it ran last.
    pub result: Option<u64>,
    /// Scheduling priority, 1 to 31.
    pub priority: i32,
    /// How often normal kernel APCs were disabled (critical regions, mutexes).
    pub critical_regions: u32,
    /// How often all APCs were disabled (guarded regions).
    pub guarded_regions: u32,
}

impl Thread {
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
            state: ThreadState::Idle,
            regs: Registers::new(),
            activations: Vec::new(),
            wait: None,
            wake: None,
            result: None,
            priority: 8,
            critical_regions: 0,
            guarded_regions: 0,
        }
    }
}
