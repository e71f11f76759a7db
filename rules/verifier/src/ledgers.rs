//! Facts that several rules need, kept once.

use std::collections::BTreeMap;

use events::{EntryPoint, Event, IrpId, IrqlChange, Origin, Seq, ThreadId, UserFetch};
use guest_memory::{Block, GuestAddr};
use nt_abi::NtStatus;

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

/// The shared facts of a run so far.
#[derive(Clone, Debug, Default)]
pub struct Ledgers {
    irps: BTreeMap<IrpId, IrpRecord>,
    entries: BTreeMap<ThreadId, Vec<(EntryPoint, Seq)>>,
    fetches: Vec<Fetch>,
    taken: BTreeMap<Seq, GuestAddr>,
    irql_changes: BTreeMap<u8, (Seq, IrqlChange)>,
    faults: BTreeMap<ThreadId, GuestAddr>,
}

/// Touches of user memory that are kept per run; a driver that copies by bytes makes thousands.
const MAX_FETCHES: usize = 4096;

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

    /// Returns whether any access to memory faulted, handled or not.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Takes note of an event, after the monitors heard it.
    pub(crate) fn note(&mut self, origin: &Origin, event: &Event) {
        match event {
            Event::EntryCall(entry) => {
                self.entries.entry(origin.thread).or_default().push((*entry, origin.seq));
            }
            Event::EntryReturn(_) => {
                if let Some(stack) = self.entries.get_mut(&origin.thread) {
                    stack.pop();
                }
            }
            Event::MemoryFault(e) => {
                self.faults.insert(origin.thread, e.objection.at);
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
