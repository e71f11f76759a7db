//! Facts that the kernel reports and that rules judge. No behaviour, no rule names.
//!
//! Every event carries an [`Origin`]: who was running where. Events are numbered within a run; a
//! rule that wants to show history keeps the numbers, and the second run of a finding records the
//! stacks of just those events.

mod bug_check;
mod choices;
mod event;
mod exposure;
mod io;
mod kept;
mod memory;
mod observer;
mod race;
mod sync;

pub use bug_check::BugCheckRaised;
pub use choices::{
    CANCEL_HERE, CHOICE_KINDS, COMPARISON, CREATION_FAILURE, FILTER_ABOVE, FIRST_CALLER,
    FREE_INSTRUCTION, HANDLE_ELSEWHERE, INTERRUPT_DELAY, INTERRUPT_DELAYS, INTERRUPT_PROCESSOR,
    INTERRUPT_TIME, INTERRUPT_TIMES, LIST_PREEMPTIONS, LOCK_STEP, LOWER_DRIVER, LOWER_DRIVERS,
    MAPPING_FAILURE, NAME_TAKEN, NEIGHBOURS, NEXT_PROCESSOR, NEXT_THREAD, NO_SWITCH, NewBytes,
    POOL_FAILURE, PREEMPTION, PRIORITY_SCHEDULE, RANDOM_SCHEDULE, READ_ONLY_BUFFER,
    REQUEST_ELSEWHERE, SHARED_INTERRUPT, STANDSTILL, START_PROCESSOR, SUSPENSION, SWITCH_AFTER,
    SWITCH_BEFORE, SWITCH_POINT, SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS, TIMER_EXPIRES,
    TURN_LENGTH, TURN_LENGTHS, USER_BYTES_CHANGE, USER_PAGE_GONE, UserBytesChange, WAIT_TIMES_OUT,
    priority_schedule, random_schedule, tape_of,
};
pub use event::{Event, EventKind, Origin, Seq, ThreadId};
pub use exposure::{Privileged, PrivilegedSink};
pub use io::{
    EntryPoint, EntryReturn, IrpComplete, IrpCreate, IrpDispatch, IrpId, IrpReturn, IrpStuck,
    LeftBehind, PendingLost, Resource, ResourceTaken, TransferMethod, TransferOut, WorkItemFault,
};
pub use kept::{
    IrqlMisuse, KeptFault, KeptKind, KeptObject, MutexAbandon, Region, RegionFault, RegionMisuse,
};
pub use memory::{
    ArgumentOutOfRange, BlockKind, CanaryTouch, Comparison, Decided, ExceptionEscape, FaultOutcome,
    IrqlChange, IrqlLimit, LimitBroken, MemoryFault, PoolAllocate, PoolFree, PoolFreeOutcome,
    Question, ReadLockWrite, UndefinedDecision, UserFetch,
};
pub use observer::{Observer, Silent, Verdict};
pub use race::{DataRace, FreeMoment, Preemption, RacingAccess, SharedKind, SwitchPoint, Who};
pub use sync::{
    Hang, Lock, LockAcquire, LockFault, LockKind, LockLife, LockMisuse, LockMode, LockRelease,
    LockRequest, LockStage, SleepingThread, Standstill,
};
