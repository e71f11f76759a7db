//! Facts that several rules need, kept once.

use std::collections::BTreeSet;

use events::{
    Comparison, DataRace, Decided, EntryPoint, Event, IrpId, IrqlChange, Origin, Preemption,
    Question, Seq, SwitchPoint, ThreadId, UserFetch,
};
use guest_memory::{Block, GuestAddr};
use nt_abi::NtStatus;
use saved::{Saved, SavedMap, kept};

use crate::{HeldLock, HeldLocks};

/// What happened to an IRP.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IrpRecord {
    /// Its address.
    pub address: GuestAddr,
    /// When it was created.
    pub created: Seq,
    /// Major function of its latest dispatch.
    pub major: u8,
    /// Control code of its latest dispatch.
    pub control_code: u32,
    /// Its latest dispatch.
    pub dispatched: Option<Seq>,
    /// The question that was asked for the undefined tail of its system buffer.
    pub tail: Option<u32>,
    /// When its latest dispatch routine returned, and which.
    pub returned: Option<(Seq, GuestAddr)>,
    /// Its latest completion: when, from where, with which status.
    pub completed: Option<(Seq, GuestAddr, NtStatus)>,
}

/// A touch of user memory by driver code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fetch {
    /// The touch.
    pub fetch: UserFetch,
    /// Who and when.
    pub origin: Origin,
    /// The request that was being handled.
    pub irp: Option<IrpId>,
}

/// Somebody arrived at a point that the tape set.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When and where.
    pub origin: Origin,
    /// Who, and what became of it.
    pub point: SwitchPoint,
    /// What they held.
    pub holds: Vec<HeldLock>,
}

kept! {
    /// The shared facts of a run so far.
    #[derive(Clone, Debug, Default)]
    pub struct Ledgers as LedgersCopy {
        irps: SavedMap<IrpId, IrpRecord>,
        entries: SavedMap<ThreadId, Vec<(EntryPoint, Seq)>>,
        fetches: Saved<Vec<Fetch>>,
        taken: SavedMap<Seq, GuestAddr>,
        irql_changes: SavedMap<u8, (Seq, IrqlChange)>,
        faults: SavedMap<ThreadId, GuestAddr>,
        locks: HeldLocks,
        races: Saved<Vec<DataRace>>,
        switch_points: Saved<Vec<Arrival>>,
        has_company: bool,
        preemptions: Saved<Vec<(Preemption, Origin)>>,
        questions: Saved<Vec<(Question, Origin)>>,
        comparisons: Saved<Vec<Comparison>>,
        /// Where each thread was asked since the last unfriendly answer.
        places: Saved<BTreeSet<(Place, ThreadId)>>,
        undefined: Saved<Vec<(GuestAddr, u64)>>,
        undefined_status: Option<u64>,
    }
}

/// Touches of user memory that are kept per run; a driver that copies by bytes makes thousands.
const MAX_FETCHES: usize = 4096;

/// Questions at different places, and decisions on undefined bytes, that are kept per run.
const MAX_KEPT: usize = 1024;

/// Free moments that are kept per run, when all are listed.
const MAX_PREEMPTIONS: usize = 4096;
/// What makes two questions the same: kind, instruction, call stack.
pub type Place = (u16, GuestAddr, u64);

impl Ledgers {
    /// Returns what is known of an IRP.
    pub fn irp(&self, irp: IrpId) -> Option<&IrpRecord> {
        self.irps.get(&irp)
    }

    /// Lists the IRPs, in order of creation.
    pub fn irps(&self) -> impl Iterator<Item = &IrpRecord> {
        self.irps.values()
    }

    /// Returns the latest IRP that was created at this address.
    pub fn irp_at(&self, address: GuestAddr) -> Option<(IrpId, &IrpRecord)> {
        self.irps.iter().rev().find(|(_, r)| r.address == address).map(|(id, r)| (*id, r))
    }

    /// Returns the IRP that the thread's innermost dispatch routine was called for.
    pub fn current_irp(&self, thread: ThreadId) -> Option<IrpId> {
        self.entries.get(&thread)?.iter().rev().find_map(|(entry, _)| match entry {
            EntryPoint::Dispatch { irp, .. } => Some(*irp),
            _ => None,
        })
    }

    /// Returns the routine of the driver that the thread is in, and when it was called.
    pub fn current_entry(&self, thread: ThreadId) -> Option<(EntryPoint, Seq)> {
        self.entries.get(&thread)?.last().copied()
    }

    /// Lists the completion routines that were called and have not returned: on which thread, and
    /// when the request was completed, or else the routine called.
    pub fn completion_routines(&self) -> impl Iterator<Item = (ThreadId, Seq)> {
        self.entries.iter().flat_map(move |(&thread, stack)| {
            stack.iter().filter_map(move |&(entry, called)| {
                let EntryPoint::CompletionRoutine { irp } = entry else { return None };
                let completed = self.irps.get(&irp).and_then(|record| record.completed);
                Some((thread, completed.map_or(called, |(seq, ..)| seq)))
            })
        })
    }

    /// Returns whether the block went away because a request was completed.
    pub fn was_freed_by_completion(&self, block: &Block) -> bool {
        let Some(freed) = block.freed else { return false };
        self.irps.values().any(|irp| {
            irp.completed.is_some_and(|(when, ip, _)| {
                when.0 <= freed.when
                    && (irp.address == block.base || freed.who.is_null() || freed.who == ip)
            })
        })
    }

    /// Returns the completion that took a block away: the latest one before its end.
    pub fn completion_before(&self, seq: Seq) -> Option<Seq> {
        self.irps.values().filter_map(|i| i.completed).map(|c| c.0).filter(|c| *c <= seq).max()
    }

    /// Lists the touches of user memory, in order.
    pub fn fetches(&self) -> &[Fetch] {
        &self.fetches
    }

    /// Returns the driver's instruction that took a resource or a pool block at this moment.
    pub fn taken_by(&self, taken: Seq) -> Option<GuestAddr> {
        self.taken.get(&taken).copied()
    }

    /// Returns when a processor's IRQL changed last, and how.
    pub fn irql_change(&self, processor: u8) -> Option<(Seq, IrqlChange)> {
        self.irql_changes.get(&processor).copied()
    }

    /// Returns the address of the thread's latest memory fault. An access violation elsewhere was
    /// raised by a routine that promises to raise, such as `ProbeForRead`.
    pub fn latest_fault(&self, thread: ThreadId) -> Option<GuestAddr> {
        self.faults.get(&thread).copied()
    }

    /// Returns how many threads ran routines of the driver.
    pub fn threads_entered(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether any access to memory faulted, handled or not.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Returns the locks that are held, and in which order they are taken.
    pub fn locks(&self) -> &HeldLocks {
        &self.locks
    }

    /// Lists the pairs of accesses that nothing orders, in order.
    pub fn races(&self) -> &[DataRace] {
        &self.races
    }

    /// Lists the arrivals at points that the tape set, in order.
    pub fn switch_points(&self) -> &[Arrival] {
        &self.switch_points
    }

    /// Returns whether code of the driver ran beside its callers: in a DPC, a thread or a worker.
    pub fn has_company(&self) -> bool {
        self.has_company
    }

    /// Lists what the driver compared where the tape asked for it, in order, each once.
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    /// Lists the free moments at which somebody else went on, in order; all free moments if the
    /// tape lists them.
    pub fn preemptions(&self) -> &[(Preemption, Origin)] {
        &self.preemptions
    }

    /// Lists the questions of the tape, in order: each with an unfriendly answer, and the first at
    /// each place of each thread before the first of those, between them, and behind.
    pub fn questions(&self) -> &[(Question, Origin)] {
        &self.questions
    }

    /// Whether these are all.
    pub fn has_all_questions(&self) -> bool {
        self.questions.len() < MAX_KEPT
    }

    /// Lists the decisions on undefined bytes, in order: the instruction, and the digest of the
    /// calls before it.
    pub fn undefined_decisions(&self) -> &[(GuestAddr, u64)] {
        &self.undefined
    }

    /// Takes note of an event, after the monitors heard it.
    pub(crate) fn note(&mut self, origin: &Origin, event: &Event) {
        let entry = self.current_entry(origin.thread);
        self.locks.note(origin, event, entry);
        match event {
            Event::EntryCall(entry) => {
                self.entries.entry(origin.thread).or_default().push((*entry, origin.seq));
                self.has_company |= matches!(
                    entry,
                    EntryPoint::Dpc
                        | EntryPoint::WorkItem
                        | EntryPoint::SystemThread
                        | EntryPoint::Callback(_)
                );
            }
            Event::EntryReturn(_) => {
                if let Some(stack) = self.entries.get_mut(&origin.thread) {
                    stack.pop();
                }
            }
            Event::MemoryFault(e) => {
                self.faults.insert(origin.thread, e.objection.at);
            }
            Event::Question(e) if self.questions.len() < MAX_KEPT => {
                let is_new = self.places.insert(((e.kind, origin.ip, e.stack), origin.thread));
                if e.answer != 0 {
                    self.places.clear();
                }
                if is_new || e.answer != 0 {
                    self.questions.push((*e, *origin));
                }
            }
            Event::UndefinedDecision(e) if self.undefined.len() < MAX_KEPT => {
                // The status that a routine returns is the one it completed the request with.
                let is_status = e.decided == Decided::Status;
                if !is_status || self.undefined_status != Some(e.calls) {
                    self.undefined.push((origin.ip, e.calls));
                }
                self.undefined_status = is_status.then_some(e.calls).or(self.undefined_status);
            }
            Event::IrqlChange(e) => {
                self.irql_changes.insert(origin.processor, (origin.seq, *e));
            }
            Event::IrpCreate(e) => {
                let record = IrpRecord {
                    address: e.address,
                    created: origin.seq,
                    major: e.major,
                    ..IrpRecord::default()
                };
                self.irps.insert(e.irp, record);
            }
            Event::IrpDispatch(e) => {
                let record = self.irps.entry(e.irp).or_default();
                record.major = e.major;
                record.control_code = e.control_code;
                record.dispatched = Some(origin.seq);
                record.tail = e.tail;
            }
            Event::IrpComplete(e) => {
                if let Some(record) = e.irp.and_then(|irp| self.irps.get_mut(&irp)) {
                    record.completed = Some((origin.seq, origin.ip, e.status));
                }
            }
            Event::DataRace(e) => self.races.push(*e),
            Event::SwitchPoint(e) => {
                let holds = self.locks.of(self.locks.holder(origin)).copied().collect();
                self.switch_points.push(Arrival { origin: *origin, point: *e, holds });
            }
            Event::Preemption(e) if self.preemptions.len() < MAX_PREEMPTIONS => {
                self.preemptions.push((e.clone(), *origin));
            }
            Event::Comparison(e)
                if self.comparisons.len() < MAX_KEPT && !self.comparisons.contains(e) =>
            {
                self.comparisons.push(*e);
            }
            Event::UserFetch(e) if self.fetches.len() < MAX_FETCHES => {
                let irp = self.current_irp(origin.thread);
                self.fetches.push(Fetch { fetch: *e, origin: *origin, irp });
            }
            Event::PoolAllocate(_) | Event::ResourceTaken(_) => {
                self.taken.insert(origin.seq, origin.ip);
            }
            Event::IrpReturn(e) => {
                if let Some(record) = self.irps.get_mut(&e.irp) {
                    record.returned = Some((origin.seq, origin.ip));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use events::{Event, Origin, Question, ThreadId};
    use guest_memory::GuestAddr;

    use super::Ledgers;

    #[test]
    fn a_place_is_listed_once_per_thread_and_anew_behind_an_unfriendly_answer() {
        let mut ledgers = Ledgers::default();
        let asked = [(1, 7, 0), (1, 7, 0), (2, 7, 0), (1, 8, 0), (1, 7, 1), (1, 7, 0), (1, 7, 0)];
        for (ordinal, (thread, ip, answer)) in (0..).zip(asked) {
            let origin =
                Origin { thread: ThreadId(thread), ip: GuestAddr(ip), ..Origin::default() };
            let question = Question { kind: 3, ordinal, options: 2, stack: 0, answer };
            ledgers.note(&origin, &Event::Question(question));
        }
        let listed: Vec<u32> = ledgers.questions().iter().map(|(q, _)| q.ordinal).collect();
        assert_eq!(listed, [0, 2, 3, 4, 5]);
    }
}
