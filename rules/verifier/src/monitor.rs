//! What a rule implements: a method per event that it hears.

use std::fmt::Debug;

use events::{
    ArgumentOutOfRange, BugCheckRaised, CanaryTouch, Comparison, DataRace, EntryPoint, EntryReturn,
    Event, EventKind, ExceptionEscape, Hang, IrpComplete, IrpCreate, IrpDispatch, IrpReturn,
    IrpStuck, IrqlChange, IrqlMisuse, KeptObject, LeftBehind, LimitBroken, LockAcquire, LockFault,
    LockLife, LockRelease, LockRequest, MemoryFault, MutexAbandon, Origin, PendingLost,
    PoolAllocate, PoolFree, Preemption, Privileged, Question, ReadLockWrite, Region, RegionFault,
    ResourceTaken, Standstill, SwitchPoint, TransferOut, UndefinedDecision, UserFetch,
    WorkItemFault,
};

use crate::{Findings, Ledgers};

/// The moment of an event: who was where, and what the ledgers knew before it.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Who was running where.
    pub origin: &'a Origin,
    /// What earlier events left behind.
    pub ledgers: &'a Ledgers,
}

/// Copies a boxed monitor; every `Clone` monitor has it.
pub trait BoxedClone {
    /// Copies itself.
    fn boxed_clone(&self) -> Box<dyn Monitor>;
}

impl<T: Monitor + Clone + 'static> BoxedClone for T {
    fn boxed_clone(&self) -> Box<dyn Monitor> {
        Box::new(self.clone())
    }
}

macro_rules! monitor {
    ($($method:ident: $event:ident($payload:ty),)*) => {
        /// Listens to a run for one rule.
        pub trait Monitor: Debug + Send + BoxedClone {
            /// The kinds of event it hears.
            fn hears(&self) -> &'static [EventKind];
            $(
                /// Hears this event.
                fn $method(&mut self, event: &$payload, at: Moment<'_>, out: &mut Findings) {
                    let _ = (event, at, out);
                }
            )*
        }

        /// Hands an event to the method of its kind.
        pub(crate) fn deliver(
            monitor: &mut dyn Monitor,
            event: &Event,
            at: Moment<'_>,
            out: &mut Findings,
        ) {
            match event { $(Event::$event(payload) => monitor.$method(payload, at, out),)* }
        }
    };
}

monitor! {
    memory_fault: MemoryFault(MemoryFault),
    canary_touch: CanaryTouch(CanaryTouch),
    read_lock_write: ReadLockWrite(ReadLockWrite),
    user_fetch: UserFetch(UserFetch),
    exception_escape: ExceptionEscape(ExceptionEscape),
    undefined_decision: UndefinedDecision(UndefinedDecision),
    argument_out_of_range: ArgumentOutOfRange(ArgumentOutOfRange),
    question: Question(Question),
    pool_allocate: PoolAllocate(PoolAllocate),
    pool_free: PoolFree(PoolFree),
    irql_change: IrqlChange(IrqlChange),
    limit_broken: LimitBroken(LimitBroken),
    entry_call: EntryCall(EntryPoint),
    entry_return: EntryReturn(EntryReturn),
    irp_create: IrpCreate(IrpCreate),
    irp_dispatch: IrpDispatch(IrpDispatch),
    irp_return: IrpReturn(IrpReturn),
    irp_complete: IrpComplete(IrpComplete),
    irp_stuck: IrpStuck(IrpStuck),
    transfer_out: TransferOut(TransferOut),
    resource_taken: ResourceTaken(ResourceTaken),
    left_behind: LeftBehind(LeftBehind),
    privileged: Privileged(Privileged),
    lock_request: LockRequest(LockRequest),
    lock_acquire: LockAcquire(LockAcquire),
    lock_release: LockRelease(LockRelease),
    lock_life: LockLife(LockLife),
    lock_fault: LockFault(LockFault),
    hang: Hang(Hang),
    standstill: Standstill(Standstill),
    work_item_fault: WorkItemFault(WorkItemFault),
    kept_object: KeptObject(KeptObject),
    region_enter: RegionEnter(Region),
    region_fault: RegionFault(RegionFault),
    irql_misuse: IrqlMisuse(IrqlMisuse),
    mutex_abandon: MutexAbandon(MutexAbandon),
    data_race: DataRace(DataRace),
    switch_point: SwitchPoint(SwitchPoint),
    preemption: Preemption(Preemption),
    comparison: Comparison(Comparison),
    pending_lost: PendingLost(PendingLost),
    bug_check_raised: BugCheckRaised(BugCheckRaised),
}
