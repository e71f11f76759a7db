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
    CHOICE_KINDS, CREATION_FAILURE, MAPPING_FAILURE, NEXT_PROCESSOR, NO_SWITCH, NewBytes,
    POOL_FAILURE, PREEMPTION, SUSPENSION, SWITCH_POINT, SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS,
    TURN_LENGTH, TURN_LENGTHS, USER_BYTES_CHANGE, USER_PAGE_GONE, UserBytesChange, random_schedule,
};
pub use event::{Event, EventKind, Origin, Seq, ThreadId};
pub use exposure::{Privileged, PrivilegedSink};
pub use io::{
    EntryPoint, EntryReturn, IrpComplete, IrpCreate, IrpDispatch, IrpId, IrpReturn, IrpStuck,
    LeftBehind, Resource, ResourceTaken, TransferMethod, TransferOut,
};
pub use kept::{
    IrqlMisuse, KeptFault, KeptKind, KeptObject, MutexAbandon, Region, RegionFault, RegionMisuse,
};
pub use memory::{
    ArgumentOutOfRange, BlockKind, CanaryTouch, Decided, ExceptionEscape, FaultOutcome, IrqlChange,
    IrqlLimit, LimitBroken, MayFail, MemoryFault, PoolAllocate, PoolFree, PoolFreeOutcome,
    UndefinedDecision, UserFetch,
};
pub use observer::{Observer, Silent, Verdict};
pub use race::{DataRace, RacingAccess, SharedKind, SwitchPoint, Who};
pub use sync::{
    Hang, Lock, LockAcquire, LockFault, LockKind, LockLife, LockMisuse, LockMode, LockRelease,
    LockRequest, LockStage,
};
