//! Facts that the kernel reports and that rules judge. No behaviour, no rule names.
//!
//! Every event carries an [`Origin`]: who was running where. Events are numbered within a run; a
//! rule that wants to show history keeps the numbers, and the second run of a finding records the
//! stacks of just those events.

mod choices;
mod event;
mod exposure;
mod io;
mod memory;
mod observer;

pub use choices::{
    CHOICE_KINDS, MAPPING_FAILURE, NewBytes, POOL_FAILURE, SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS,
    USER_BYTES_CHANGE, USER_PAGE_GONE, UserBytesChange,
};
pub use event::{Event, EventKind, Origin, Seq, ThreadId};
pub use exposure::{Privileged, PrivilegedSink};
pub use io::{
    EntryPoint, EntryReturn, IrpComplete, IrpCreate, IrpDispatch, IrpId, IrpReturn, IrpStuck,
    LeftBehind, Resource, ResourceTaken, TransferMethod, TransferOut,
};
pub use memory::{
    BlockKind, CanaryTouch, ExceptionEscape, FaultOutcome, IrqlChange, IrqlLimit, LimitBroken,
    MemoryFault, PoolAllocate, PoolFree, PoolFreeOutcome, UndefinedDecision, UserFetch,
};
pub use observer::{Observer, Silent, Verdict};
