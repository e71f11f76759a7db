//! Interrupts: devices raise them, processors take them, the routines of drivers serve them.
//!
//! An interrupt that is raised waits at one processor until its level is below that of the
//! interrupt; then it comes between two instructions, whatever runs there. The routines that are
//! connected to its vector run one after the other, each at the level and with the spin lock of its
//! interrupt object, until one says that its device raised the interrupt.

use std::collections::BTreeMap;

use events::{
    EntryPoint, Event, INTERRUPT_DELAY, INTERRUPT_DELAYS, INTERRUPT_PROCESSOR, INTERRUPT_TIME,
    INTERRUPT_TIMES, Lock, LockKind, Resource, ResourceTaken, SHARED_INTERRUPT, Seq,
};
use guest_memory::GuestAddr;
use nt_abi::Irql;

use super::{SpinLockRequest, State};
use crate::{CallResult, Flow, GuestCall, Kernel, frame, map, registers::INTERRUPT_FLAG};

/// Length of a `KINTERRUPT`. Opaque: nothing in it is documented.
const INTERRUPT_BYTES: u64 = 0x110;
/// Where an interrupt object keeps the spin lock of its own.
const OWN_LOCK: u64 = 0x50;
/// Interrupts that can wait or be on their way at a time.
const MOST_RAISED: usize = 1024;
/// Where a write to a device's port publishes what came before it, for the routine that the
/// device's interrupt starts.
const DEVICE: GuestAddr = GuestAddr(map::PROCESSOR_CONTROL.0 + 0xf000);

/// How a device interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineKind {
    /// By a line, which several devices may share.
    #[default]
    Line,
    /// By a message of its own.
    Message,
}

/// An interrupt of the device that belongs to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptLine {
    /// Its vector.
    pub vector: u32,
    /// Its device level.
    pub irql: Irql,
    /// Line or message.
    pub kind: LineKind,
    /// A write to this port makes the device raise it.
    pub raised_by_port: Option<u16>,
    /// How long after the write.
    pub latency_100ns: u64,
}

/// What a routine is connected with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) vector: u32,
    /// At which level the processor takes it.
    pub(crate) irql: Irql,
    /// At which level its routine runs.
    pub(crate) synchronize_irql: Irql,
    pub(crate) routine: GuestAddr,
    pub(crate) context: u64,
    /// Its spin lock: the driver's, or null for one of the object's own.
    pub(crate) lock: GuestAddr,
    /// Processors that can take it.
    pub(crate) processors: u64,
    /// Other devices may raise it too.
    pub(crate) is_shared: bool,
    /// The number of its message, of one that is a message.
    pub(crate) message: Option<u32>,
}

/// An interrupt object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupt {
    /// What it was made from, with its own spin lock if the driver gave none.
    pub(crate) connection: Connection,
    /// `IoReportInterruptInactive` has not been called.
    pub(crate) is_active: bool,
    /// Processors on which its routine is running or about to.
    running: u32,
    /// The order in which they were connected, and when.
    connected: Seq,
}

/// An interrupt that waits at a processor.
#[derive(Clone, Copy, Debug)]
struct Raised {
    vector: u32,
    irql: Irql,
    processor: u8,
    /// The tape was asked how long it waits.
    was_asked: bool,
}

/// An interrupt that a device will raise.
#[derive(Clone, Copy, Debug)]
struct Expected {
    vector: u32,
    /// When the processors stand still until its time.
    hurry_100ns: Option<u64>,
}

/// Lines, interrupt objects, and what was raised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupts {
    lines: Vec<InterruptLine>,
    objects: BTreeMap<GuestAddr, Interrupt>,
    raised: Vec<Raised>,
    /// By time and order.
    expected: BTreeMap<(u64, u64), Expected>,
    next_order: u64,
    /// How many were claimed by a routine.
    claimed: u64,
}

impl Interrupts {
    /// The first moment at which something about a device happens.
    pub(crate) fn next_due_100ns(&self) -> Option<u64> {
        let moment = |(&(due, _), expected): (&(u64, u64), &Expected)| {
            expected.hurry_100ns.map_or(due, |hurry| hurry.min(due))
        };
        self.expected.iter().map(moment).min()
    }
}

impl State {
    /// Interrupts of the driver's device, as declared.
    pub(crate) fn lines(&self) -> &[InterruptLine] {
        &self.interrupts.lines
    }

    /// An interrupt object.
    pub(crate) fn interrupt(&self, object: GuestAddr) -> Option<&Interrupt> {
        self.interrupts.objects.get(&object)
    }

    /// Interrupt objects whose routine lies in an image: their vectors, and since when.
    pub(crate) fn interrupts_left_in(&self, base: GuestAddr, size_bytes: u64) -> Vec<(u32, Seq)> {
        let objects = self.interrupts.objects.values();
        let left = objects.filter(|o| o.connection.routine.0.wrapping_sub(base.0) < size_bytes);
        left.map(|object| (object.connection.vector, object.connected)).collect()
    }

    /// How many interrupts a routine claimed so far.
    pub fn claimed_interrupts(&self) -> u64 {
        self.interrupts.claimed
    }

    /// Whether a routine is connected to a vector.
    pub fn is_connected(&self, vector: u32) -> bool {
        self.interrupts.objects.values().any(|object| object.connection.vector == vector)
    }

    /// Makes an interrupt object active, or not.
    pub(crate) fn set_interrupt_active(&mut self, object: GuestAddr, is_active: bool) {
        if let Some(interrupt) = self.interrupts.objects.get_mut(&object) {
            interrupt.is_active = is_active;
        }
    }
}

impl Kernel {
    /// Declares an interrupt of the driver's device, before the driver is loaded.
    pub fn declare_line(&mut self, line: InterruptLine) {
        self.ke.interrupts.lines.push(line);
    }

    /// Connects a routine to a vector; the interrupt object.
    pub(crate) fn connect_interrupt(&mut self, wish: Connection) -> CallResult<GuestAddr> {
        let kind = events::BlockKind::KernelPool;
        let object = self.new_block(kind, INTERRUPT_BYTES)?;
        let resource = Resource::Interrupt(wish.vector);
        let connected = self.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
        let lock = if wish.lock.is_null() { object.add(OWN_LOCK) } else { wish.lock };
        let connection = Connection { lock, ..wish };
        let interrupt = Interrupt { connection, is_active: true, running: 0, connected };
        self.ke.interrupts.objects.insert(object, interrupt);
        // What the driver did so far comes before what the routine does.
        self.order_release(object);
        Ok(object)
    }

    /// Disconnects an interrupt object; the value is 0 when its routine runs on no processor any
    /// more.
    pub(crate) fn disconnect_interrupt(&mut self, object: GuestAddr) -> CallResult<Flow> {
        if let Some(interrupt) = self.ke.interrupts.objects.get_mut(&object) {
            interrupt.is_active = false;
            if interrupt.running > 0 {
                return Ok(Flow::spin(GuestAddr::NULL, Disconnecting { object }));
            }
            self.ke.interrupts.objects.remove(&object);
            // What the routine did comes before what the driver does now.
            self.order_acquire(object);
            self.give_block_back(object);
        }
        Ok(Flow::Return(0))
    }

    /// A device raises an interrupt after so long.
    pub fn expect_interrupt(&mut self, vector: u32, after_100ns: u64) {
        if self.ke.interrupts.expected.len() >= MOST_RAISED {
            return;
        }
        let now = self.interrupt_time_100ns();
        let hurry = if after_100ns > 0 { self.ask(INTERRUPT_TIME, INTERRUPT_TIMES) } else { 0 };
        let hurry_100ns = hurry.checked_sub(1).map(|events| now.saturating_add(events.into()));
        let interrupts = &mut self.ke.interrupts;
        let order = interrupts.next_order;
        interrupts.next_order += 1;
        let due = now.saturating_add(after_100ns);
        interrupts.expected.insert((due, order), Expected { vector, hurry_100ns });
    }

    /// The driver wrote to a port: a device whose port it is will raise its interrupt.
    pub(crate) fn note_port_write(&mut self, port: u16) {
        self.order_release(DEVICE);
        let lines = self.ke.interrupts.lines.clone();
        for line in lines.iter().filter(|line| line.raised_by_port == Some(port)) {
            self.expect_interrupt(line.vector, line.latency_100ns);
        }
    }

    /// Lets the devices raise what is due.
    pub(crate) fn raise_due_interrupts(&mut self) {
        if self.ke.interrupts.expected.is_empty() {
            return;
        }
        let now = self.interrupt_time_100ns();
        let hurried = self.ke.interrupts.expected.iter();
        let hurried = hurried.filter(|(_, e)| e.hurry_100ns.is_some_and(|hurry| hurry <= now));
        if let Some(due) = hurried.map(|(&(due, _), _)| due).max() {
            self.idle_100ns += due.saturating_sub(now);
        }
        let now = self.interrupt_time_100ns();
        while let Some((&(due, order), &expected)) = self.ke.interrupts.expected.first_key_value() {
            if due > now {
                break;
            }
            self.ke.interrupts.expected.remove(&(due, order));
            self.raise_interrupt(expected.vector);
        }
    }

    /// An interrupt arrives at one of its processors. One that waits there already is the same.
    fn raise_interrupt(&mut self, vector: u32) {
        let all = (1u64 << self.cores.len()) - 1;
        let of_vector =
            |object: &&Interrupt| object.connection.vector == vector && object.is_active;
        let objects = self.ke.interrupts.objects.values().filter(of_vector);
        let Some((irql, wanted)) = objects.fold(None, |sum: Option<(Irql, u64)>, object| {
            let (irql, processors) = sum.unwrap_or_default();
            let Connection { irql: own, processors: wanted, .. } = object.connection;
            Some((irql.max(own), processors | wanted))
        }) else {
            self.trace(|_| format!("interrupt {vector:#x}: nothing is connected"));
            return;
        };
        let able = if wanted & all == 0 { all } else { wanted & all };
        let count = able.count_ones();
        let choice = if count > 1 { self.ask(INTERRUPT_PROCESSOR, count) } else { 0 };
        let mut processors = (0u8..64).filter(|&processor| able >> processor & 1 != 0);
        let processor = processors.nth(choice as usize).unwrap_or(0);
        let interrupts = &mut self.ke.interrupts;
        let is_same = |r: &Raised| r.vector == vector && r.processor == processor;
        if interrupts.raised.len() < MOST_RAISED && !interrupts.raised.iter().any(is_same) {
            interrupts.raised.push(Raised { vector, irql, processor, was_asked: false });
            self.bound_turn();
            self.trace(|_| format!("interrupt {vector:#x} raised at processor {processor}"));
        }
    }

    /// Asks whether another device raises an interrupt that it shares with the driver's.
    pub(crate) fn share_interrupt_if_chosen(&mut self) {
        let mut objects = self.ke.interrupts.objects.values();
        let Some(shared) = objects.find(|o| o.connection.is_shared && o.is_active) else { return };
        let vector = shared.connection.vector;
        if self.ask(SHARED_INTERRUPT, 2) == 1 {
            self.raise_interrupt(vector);
        }
    }

    /// Whether an interrupt waits at a processor that can take it.
    pub(crate) fn has_deliverable_interrupt(&self, processor: usize) -> bool {
        self.has_deliverable_broadcast(processor) || self.deliverable_interrupt(processor).is_some()
    }

    /// The interrupt of the highest level that a processor can take now.
    fn deliverable_interrupt(&self, processor: usize) -> Option<usize> {
        if self.ke.interrupts.raised.is_empty() {
            return None;
        }
        let core = self.cores.get(processor)?;
        if core.thread.is_some() && core.regs.rflags & INTERRUPT_FLAG == 0 {
            return None;
        }
        let raised = self.ke.interrupts.raised.iter().enumerate();
        let able = raised.filter(|(_, r)| r.processor == core.index && r.irql > core.irql);
        // Of equal level the first; `max_by_key` gives the last.
        able.rev().max_by_key(|(_, raised)| raised.irql).map(|(index, _)| index)
    }

    /// Lets the current processor take an interrupt if it can; says whether it did.
    pub(crate) fn deliver_interrupt(&mut self) -> CallResult<bool> {
        // The level of an interprocessor interrupt is above that of any device.
        if self.deliver_broadcast()? {
            return Ok(true);
        }
        let Some(index) = self.deliverable_interrupt(self.current) else { return Ok(false) };
        if self.is_interrupt_late(index) {
            return Ok(false);
        }
        let Raised { vector, .. } = self.ke.interrupts.raised.remove(index);
        let processor = self.core().index;
        let serves = |o: &Interrupt| {
            let Connection { vector: own, processors, .. } = o.connection;
            own == vector && o.is_active && processors >> processor & 1 != 0
        };
        let objects = self.ke.interrupts.objects.iter().filter(|(_, object)| serves(object));
        let mut chain: Vec<(Seq, GuestAddr)> =
            objects.map(|(&at, object)| (object.connected, at)).collect();
        chain.sort_unstable();
        // The next one is the last.
        let chain: Vec<GuestAddr> = chain.into_iter().rev().map(|(_, at)| at).collect();
        if chain.is_empty() {
            return Ok(true);
        }
        let irql = self.irql();
        self.interrupt_with(move |k| serve(k, Serving { chain, irql }))?;
        Ok(true)
    }

    /// Runs something on top of whatever the current processor does, as an interrupt.
    pub(crate) fn interrupt_with(
        &mut self,
        work: impl FnOnce(&mut Self) -> CallResult<Flow>,
    ) -> CallResult<()> {
        let lane = Self::lane_of_interrupts(self.core().index);
        self.core_mut().lanes.push(lane);
        if self.core().thread.is_some() {
            self.push_interruption();
            let flow = work(self);
            return self.apply(flow);
        }
        let idle = self.ke.idle_threads.get(self.current).copied();
        let idle = idle.ok_or_else(|| {
            crate::Stop::unsupported("an interrupt without a processor to take it")
        })?;
        self.begin_here(idle, work)
    }

    /// Whether what runs goes on for some instructions before it is interrupted.
    fn is_interrupt_late(&mut self, index: usize) -> bool {
        let Some(id) = self.core().thread else { return false };
        if self.ke.thread(id).spin.is_some() {
            return false;
        }
        let Some(raised) = self.ke.interrupts.raised.get_mut(index) else { return false };
        if std::mem::replace(&mut raised.was_asked, true) {
            return self.turn.instructions.is_some_and(|left| left > 0);
        }
        let delay = self.ask(INTERRUPT_DELAY, INTERRUPT_DELAYS);
        if delay > 0 {
            self.turn.instructions = Some(delay);
        }
        delay > 0
    }

    /// Acquires the spin lock of an interrupt object, at its level.
    pub(crate) fn acquire_interrupt_lock(
        &mut self,
        interrupt: &Interrupt,
        irql_before: Irql,
        value: u64,
    ) -> CallResult<Flow> {
        let lock = interrupt.spin_lock();
        self.acquire_spin_lock(SpinLockRequest { lock, irql_before, value })
    }
}

impl Interrupt {
    /// Its spin lock.
    pub(crate) fn spin_lock(&self) -> Lock {
        Lock { kind: LockKind::InterruptSpinLock, at: self.connection.lock }
    }
}

/// A thread that waits until the routine of an interrupt object has returned everywhere.
#[derive(Clone, Debug)]
struct Disconnecting {
    object: GuestAddr,
}
frame!(Disconnecting, |this, k, _| k.disconnect_interrupt(this.object));

/// An interrupt that is being served.
#[derive(Clone, Debug)]
struct Serving {
    /// Interrupt objects that were not asked yet; the last one is next.
    chain: Vec<GuestAddr>,
    /// The level that was interrupted.
    irql: Irql,
}

/// Goes on with the next routine of the vector.
fn serve(k: &mut Kernel, mut serving: Serving) -> CallResult<Flow> {
    while let Some(object) = serving.chain.pop() {
        let Some(interrupt) = k.ke.interrupts.objects.get_mut(&object) else { continue };
        if !interrupt.is_active {
            continue;
        }
        interrupt.running += 1;
        let interrupt = *interrupt;
        // From here on nothing of the same or a lower level comes between.
        k.set_irql(interrupt.connection.synchronize_irql);
        let before = k.irql();
        let locked = k.acquire_interrupt_lock(&interrupt, before, 0)?;
        return locked.then(k, Locked { object, serving });
    }
    k.set_irql(serving.irql);
    k.core_mut().lanes.pop();
    Ok(Flow::Return(0))
}

/// The spin lock is held: the routine runs.
#[derive(Clone, Debug)]
struct Locked {
    object: GuestAddr,
    serving: Serving,
}
frame!(Locked, |this, k, _| {
    let Locked { object, serving } = this;
    let Some(interrupt) = k.ke.interrupt(object) else { return serve(k, serving) };
    let connection = interrupt.connection;
    k.order_acquire(object);
    k.order_acquire(DEVICE);
    let mut arguments = vec![object.0, connection.context];
    arguments.extend(connection.message.map(u64::from));
    let name = match connection.message {
        None => "InterruptService",
        Some(_) => "InterruptMessageService",
    };
    let call = GuestCall::entry(connection.routine, arguments, EntryPoint::Callback(name));
    Ok(Flow::call(call, Served { object, serving }))
});

/// The routine returned whether it was its device.
#[derive(Clone, Debug)]
struct Served {
    object: GuestAddr,
    serving: Serving,
}
frame!(Served, |this, k, value| {
    let Served { object, mut serving } = this;
    let Some(&interrupt) = k.ke.interrupt(object) else { return serve(k, serving) };
    k.release_spin_lock(interrupt.spin_lock(), interrupt.connection.synchronize_irql)?;
    k.order_release(object);
    if let Some(interrupt) = k.ke.interrupts.objects.get_mut(&object) {
        interrupt.running -= 1;
    }
    // A BOOLEAN: one byte. "If the routine returns FALSE, the next one is called." A message is of
    // one device, and its routine is asked alone.
    if value & 0xff != 0 {
        k.ke.interrupts.claimed += 1;
        serving.chain.clear();
    }
    serve(k, serving)
});

#[cfg(test)]
pub(crate) mod tests;
