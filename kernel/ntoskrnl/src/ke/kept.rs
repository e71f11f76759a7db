//! What the kernel has hold of in a driver's memory: set timers, queued DPCs and APCs, objects that
//! threads wait for. A driver must not take that memory away.

use events::{Event, KeptFault, KeptKind, KeptObject, Seq};
use guest_memory::{AccessKind, Accessor, GuestAddr, Reason};
use nt_abi::structures::ke::{KAPC, KDPC, KTIMER};

use crate::{CallResult, Kernel, Stop};

/// TIMER_OR_DPC_INVALID: "a kernel timer or delayed procedure call was found somewhere in memory
/// where it is not permitted".
const TIMER_OR_DPC_INVALID: u32 = 0xc7;

/// One structure that the kernel has in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) kind: KeptKind,
    pub(crate) at: GuestAddr,
    pub(crate) size_bytes: u64,
    pub(crate) since: Option<Seq>,
}

/// Length of the shortest dispatcher object.
const DISPATCHER_BYTES: u64 = 0x18;

/// What one of them costs whoever looks through all, in units of `GuestMemory::exert`.
pub(super) const KEPT_EFFORT: u64 = 16;

impl Kernel {
    /// Everything in the kernel's lists, in a fixed order.
    fn kept(&self) -> impl Iterator<Item = Kept> + '_ {
        let timer = |(at, since): (GuestAddr, Seq)| Kept {
            kind: KeptKind::Timer,
            at,
            size_bytes: KTIMER::SIZE_BYTES,
            since: Some(since),
        };
        let dpc = |(at, since): (GuestAddr, Seq)| Kept {
            kind: KeptKind::Dpc,
            at,
            size_bytes: KDPC::SIZE_BYTES,
            since: Some(since),
        };
        let apc = |(at, since): (GuestAddr, Seq)| Kept {
            kind: KeptKind::Apc,
            at,
            size_bytes: KAPC::SIZE_BYTES,
            since: Some(since),
        };
        let awaited = |at: GuestAddr| Kept {
            kind: KeptKind::Dispatcher,
            at,
            size_bytes: DISPATCHER_BYTES,
            since: None,
        };
        let threads = || self.ke.threads.values();
        let waits = threads().filter_map(|thread| thread.wait.as_ref());
        let timers = self.ke.set_timers().map(timer);
        let dpcs = self.ke.queued_dpcs().map(dpc);
        let apcs = threads().flat_map(|thread| thread.apcs.all()).map(apc);
        let objects = waits.flat_map(|(wait, _)| wait.objects.iter().copied()).map(awaited);
        timers.chain(dpcs).chain(apcs).chain(objects)
    }

    /// Counts the work of looking through the lists.
    fn exert_for_lists(&mut self) {
        let kept = self.ke.set_timers().len() + self.ke.queued_dpcs().len();
        self.memory.exert((kept + self.ke.threads.len()) as u64 * KEPT_EFFORT);
    }

    /// What the kernel has hold of in a range.
    fn kept_in(&self, base: GuestAddr, size_bytes: u64) -> Option<Kept> {
        let touches = |kept: &Kept| {
            kept.at.0 < base.0.saturating_add(size_bytes)
                && base.0 < kept.at.0.saturating_add(kept.size_bytes)
        };
        self.kept().find(touches)
    }

    /// The driver gives memory back: nothing in it may be in the kernel's lists.
    pub fn give_up_memory(&mut self, base: GuestAddr, size_bytes: u64) -> CallResult<()> {
        self.lose(base, size_bytes, KeptFault::Freed)
    }

    /// The frames of a stack below this address are gone.
    pub(crate) fn give_up_stack(&mut self, low: GuestAddr, high: GuestAddr) -> CallResult<()> {
        let size_bytes = high.0.saturating_sub(low.0);
        self.lose(low, size_bytes, KeptFault::OnReturnedStack)
    }

    /// The driver initialises a structure: it may not be in the kernel's lists. Only those of its
    /// own kind count, since the memory may be put to another use by right.
    pub(crate) fn initialize_kept(&mut self, at: GuestAddr, kind: KeptKind) -> CallResult<()> {
        let is_it = |kept: &Kept| kept.at == at && kept.kind == kind;
        self.exert_for_lists();
        let found = self.kept().find(is_it);
        match found {
            Some(kept) => self.report_kept(kept, KeptFault::Initialized, at, kept.size_bytes),
            None => Ok(()),
        }
    }

    fn lose(&mut self, base: GuestAddr, size_bytes: u64, fault: KeptFault) -> CallResult<()> {
        self.exert_for_lists();
        match self.kept_in(base, size_bytes) {
            Some(kept) => self.report_kept(kept, fault, base, size_bytes),
            None => Ok(()),
        }
    }

    fn report_kept(
        &mut self,
        kept: Kept,
        fault: KeptFault,
        base: GuestAddr,
        size_bytes: u64,
    ) -> CallResult<()> {
        let Kept { kind, at, since, .. } = kept;
        self.emit(Event::KeptObject(KeptObject { kind, at, fault, since }))?;
        let what = match kind {
            KeptKind::Timer => 0,
            // Of lists that Windows does not look through: it follows a pointer into what else the
            // memory holds by then.
            _ => 1,
        };
        let end = base.0.saturating_add(size_bytes);
        Err(Stop::bug_check(TIMER_OR_DPC_INVALID, [what, at.0, base.0, end]))
    }

    /// The kernel will touch a structure at `DISPATCH_LEVEL`: its memory must be resident.
    pub(crate) fn require_resident(
        &mut self,
        kind: KeptKind,
        at: GuestAddr,
        size_bytes: u64,
    ) -> CallResult<()> {
        let is_low = self.irql() < nt_abi::Irql::DISPATCH_LEVEL;
        self.memory.set_pageable_allowed(false);
        let checked = self.memory.check(Accessor::Supervisor, AccessKind::Write, at, size_bytes);
        self.memory.set_pageable_allowed(is_low);
        match checked {
            Err(objection) if objection.reason == Reason::Pageable => {
                let fault = KeptFault::Pageable;
                self.emit(Event::KeptObject(KeptObject { kind, at, fault, since: None }))?;
                // As if the page were out: the kernel touches it at DISPATCH_LEVEL.
                Err(Stop::bug_check(0x0a, [at.0, 2, 1, 0]))
            }
            _ => Ok(()),
        }
    }
}
