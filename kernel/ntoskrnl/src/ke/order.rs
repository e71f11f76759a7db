//! What the kernel orders: the edges of happens-before.
//!
//! A thread is a lane of its own, and so are the DPCs and the interrupts of each processor: they
//! borrow any thread, and nothing orders them with what that thread does. An object's address is
//! the place where one lane publishes and another observes.

use events::{DataRace, Event, RacingAccess, SharedKind, ThreadId, Who};
use guest_memory::GuestAddr;
use happens_before::{Access, Lane, Touch};
use nt_abi::Irql;

use crate::{Call, CallResult, Kernel, MAX_PROCESSORS};

impl Kernel {
    /// The lane of a thread.
    pub fn lane_of_thread(id: ThreadId) -> Lane {
        Lane(2 * u32::from(MAX_PROCESSORS) + id.0)
    }

    /// The lane of a processor's DPCs.
    pub(crate) fn lane_of_dpcs(processor: u8) -> Lane {
        Lane(u32::from(processor))
    }

    /// The lane of a processor's interrupts.
    pub(crate) fn lane_of_interrupts(processor: u8) -> Lane {
        Lane(u32::from(MAX_PROCESSORS) + u32::from(processor))
    }

    /// The lane of what runs now.
    pub fn lane(&self) -> Lane {
        let core = self.core();
        let thread = || Self::lane_of_thread(core.thread.unwrap_or_default());
        core.lanes.last().copied().unwrap_or_else(thread)
    }

    /// Who a lane is.
    pub(crate) fn who(lane: Lane) -> Who {
        let processors = u32::from(MAX_PROCESSORS);
        let number = u8::try_from(lane.0 % processors).unwrap_or(0);
        match lane.0 / processors {
            0 => Who::Dpcs(number),
            1 => Who::Interrupts(number),
            _ => Who::Thread(ThreadId(lane.0 - 2 * processors)),
        }
    }

    /// Tells memory who runs now.
    pub(crate) fn show_lane(&mut self) {
        let lane = self.lane();
        self.memory.set_lane(lane);
    }

    /// Reports the races that the latest stretch of guest code showed.
    pub(crate) fn report_races(&mut self) -> CallResult<()> {
        if !self.memory.has_races() {
            return Ok(());
        }
        for race in self.memory.take_races() {
            if self.is_unordered_count(GuestAddr(race.later.at)) {
                continue;
            }
            let [earlier, later] = [race.earlier, race.later].map(racing);
            self.emit(Event::DataRace(DataRace { earlier, later }))?;
        }
        Ok(())
    }

    /// Nothing orders accesses to these bytes, and nothing needs to: code that headers of the WDK
    /// inline into drivers counts there for statistics.
    pub(crate) fn leave_unordered(&mut self, at: GuestAddr, size_bytes: u64) {
        self.ke.unordered_counts.insert(at, size_bytes);
    }

    /// The bytes that begin here are memory like any other again.
    pub(crate) fn order_again(&mut self, at: GuestAddr) {
        self.ke.unordered_counts.remove(&at);
    }

    fn is_unordered_count(&self, at: GuestAddr) -> bool {
        let nearest = self.ke.unordered_counts.range(..=at).next_back();
        nearest.is_some_and(|(&begin, &size_bytes)| at.0 - begin.0 < size_bytes)
    }

    /// A routine of the kernel reads or writes plain memory for the driver's code that called it.
    pub(crate) fn note_plain(&mut self, at: GuestAddr, size_bytes: u64, is_store: bool) {
        if self.memory.is_tracking()
            && let Some(Call { from, .. }) = self.core().call
        {
            self.show_lane();
            self.memory.note_service(from.0, at, size_bytes, is_store);
        }
    }

    /// What ran here so far comes before whatever observes this object later.
    pub fn order_release(&mut self, at: GuestAddr) {
        let lane = self.lane();
        if let Some(order) = self.memory.order() {
            order.release(lane, at.0);
        }
    }

    /// What was published at this object comes before what runs here from now on.
    pub fn order_acquire(&mut self, at: GuestAddr) {
        let lane = self.lane();
        self.lane_acquires(lane, at);
    }

    /// The same for a thread whose wait another one ends.
    pub(crate) fn order_acquire_for(&mut self, thread: ThreadId, at: GuestAddr) {
        // A DPC that polls an object is no thread that waits.
        let lane = if self.core().thread == Some(thread) {
            self.lane()
        } else {
            Self::lane_of_thread(thread)
        };
        self.lane_acquires(lane, at);
    }

    fn lane_acquires(&mut self, lane: Lane, at: GuestAddr) {
        if let Some(order) = self.memory.order() {
            order.acquire(lane, at.0);
        }
    }

    /// What was published at one object is published at another: a timer hands on to its DPC.
    pub(crate) fn order_forward(&mut self, from: GuestAddr, to: GuestAddr) {
        if let Some(order) = self.memory.order() {
            order.forward(from.0, to.0);
        }
    }

    /// Code at `DISPATCH_LEVEL` on one processor runs in one order. Interrupts have no part in it:
    /// they come in the middle.
    pub(crate) fn order_dispatch_level(&mut self, from: Irql, to: Irql) {
        let index = self.core().index;
        if self.core().lanes.last() == Some(&Self::lane_of_interrupts(index)) {
            return;
        }
        let processor = self.core().control;
        let (was, is) = (from >= Irql::DISPATCH_LEVEL, to >= Irql::DISPATCH_LEVEL);
        if is && !was {
            self.order_acquire(processor);
        } else if was && !is {
            self.order_release(processor);
        }
    }
}

fn racing(access: Access) -> RacingAccess {
    RacingAccess {
        who: Kernel::who(access.lane),
        address: GuestAddr(access.at),
        size_bytes: access.size_bytes,
        kind: match access.touch {
            Touch::Load => SharedKind::Load,
            Touch::Store => SharedKind::Store,
            Touch::Interlocked => SharedKind::Interlocked,
        },
        ip: GuestAddr(access.ip),
    }
}
