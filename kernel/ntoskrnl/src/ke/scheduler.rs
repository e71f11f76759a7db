//! Which thread a processor runs: the ready one of highest priority, in turn among equals.

use choice_tape::Switch;
use events::{ArgumentOutOfRange, Event, NEXT_THREAD, RegionFault, RegionMisuse, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;
use nt_macros::export;

use crate::{
    CallResult, Flow, Kernel, Stop, exports,
    ke::{RegionDepth, SpinState, State, Thread, ThreadState},
    registers::RSP,
};

/// The priority of the zero page thread: "reserved for system use".
const LOW_PRIORITY: i32 = 0;
/// The highest real-time priority.
const HIGH_PRIORITY: i32 = 31;

exports![KeSetPriorityThread, KeSetBasePriorityThread, KeQueryPriorityThread];

/// Events after which a thread of equal priority gets its turn. NT's quantum is in clock ticks;
/// drivers may not rely on its length.
const QUANTUM_EVENTS: u64 = 100_000;

/// Base priority of a process of the normal class.
const PROCESS_PRIORITY: i32 = 8;

fn may_run_on(thread: &Thread, processor: u8) -> bool {
    thread.affinity >> processor & 1 != 0
}

impl State {
    /// Makes a thread ready.
    pub(crate) fn make_ready(&mut self, id: ThreadId) {
        self.thread_mut(id).state = ThreadState::Ready;
        self.ready.push_back(id);
    }

    /// The ready thread that a processor would run next: of those of highest priority the one
    /// that is wanted, or the first.
    pub(crate) fn best_ready(&self, processor: u8, wanted: Option<ThreadId>) -> Option<ThreadId> {
        let best = self.best_of_ready(processor);
        best.iter().copied().find(|&id| Some(id) == wanted).or_else(|| best.first().copied())
    }

    /// The ready threads of highest priority for a processor, in the order they became ready.
    fn best_of_ready(&self, processor: u8) -> Vec<ThreadId> {
        let able = || {
            let ready = self.ready_threads().map(|id| self.thread(id));
            ready.filter(|thread| may_run_on(thread, processor))
        };
        let Some(highest) = able().map(|thread| thread.priority).max() else { return Vec::new() };
        able().filter(|thread| thread.priority == highest).map(|thread| thread.id).collect()
    }

    /// Whether a thread is ready, on whatever processor.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready_threads().next().is_some()
    }

    /// Lists the ready threads that would not only spin in vain, in the order they became ready.
    pub(crate) fn ready_threads(&self) -> impl Iterator<Item = ThreadId> + '_ {
        self.ready.iter().copied().filter(|&id| !self.thread(id).spins_in_vain())
    }

    /// Whether a thread is ready for this processor.
    pub(crate) fn has_ready_for(&self, processor: u8) -> bool {
        self.ready_threads().any(|id| may_run_on(self.thread(id), processor))
    }

    /// Notes that a thread begins or ends to spin.
    pub(crate) fn set_spin(&mut self, id: ThreadId, spin: Option<SpinState>) {
        let thread = self.thread_mut(id);
        let was = std::mem::replace(&mut thread.spin, spin);
        self.spinning += usize::from(spin.is_some());
        self.spinning -= usize::from(was.is_some());
    }
}

impl Kernel {
    /// Takes the current thread off its processor if another one is to run there; says whether it
    /// did.
    pub(crate) fn give_way(&mut self) -> bool {
        let core = self.core();
        let (index, is_low) = (core.index, core.irql < Irql::DISPATCH_LEVEL);
        let Some(id) = core.thread.filter(|_| is_low) else { return false };
        let thread = self.ke.thread(id);
        let is_elsewhere = !may_run_on(thread, index);
        let is_behind = self.turn.was_cut || core.quantum_end_events <= self.clock.events;
        let gives = is_elsewhere
            || self.ke.best_ready(index, None).is_some_and(|best| {
                let best = self.ke.thread(best).priority;
                // Below `DISPATCH_LEVEL` a wait inside of a routine stands for one that lets
                // others run.
                thread.spins_in_vain()
                    || best > thread.priority
                    || (best == thread.priority && is_behind)
            });
        if gives {
            self.put_away(ThreadState::Ready);
            self.ke.ready.push_back(id);
        }
        let now = self.clock.events;
        let quantum_end = &mut self.core_mut().quantum_end_events;
        if *quantum_end <= now {
            *quantum_end = now.saturating_add(QUANTUM_EVENTS);
        }
        gives
    }

    /// The ready thread that goes on, as the tape says.
    fn choose_ready(&mut self, processor: u8) -> Option<ThreadId> {
        let wanted = self.take_wanted();
        let able = self.ke.best_of_ready(processor);
        if let Some(wanted) = wanted.filter(|wanted| able.contains(wanted)) {
            return Some(wanted);
        }
        if able.len() < 2 {
            return able.first().copied();
        }
        let lanes: Vec<u64> = able.iter().map(|&id| Self::lane_of_thread(id).0.into()).collect();
        let choice = self.tape.ask_who(NEXT_THREAD, Switch::EndOfTurn, &lanes);
        able.get(choice as usize).copied()
    }

    /// Puts the next ready thread on the current processor; says whether there was one.
    pub(crate) fn dispatch(&mut self) -> CallResult<bool> {
        let index = self.core().index;
        let Some(next) = self.choose_ready(index) else { return Ok(false) };
        self.ke.ready.retain(|&id| id != next);
        self.switch_to(next);
        self.core_mut().quantum_end_events = self.clock.events.saturating_add(QUANTUM_EVENTS);
        if let Some(value) = self.ke.thread_mut(next).wake.take() {
            self.apply(Ok(Flow::Return(value)))?;
        }
        Ok(true)
    }

    /// The current thread begins to end: what stood on its stack is dropped, and its APCs are run
    /// down. The value of the flow says nothing.
    pub(crate) fn begin_thread_end(&mut self) -> CallResult<Flow> {
        let depth = self.region_depth();
        if let Some((region, true)) = RegionDepth::default().difference(depth) {
            let (misuse, entered) =
                (RegionMisuse::ThreadEnded, self.current_thread().region_entered);
            self.emit(Event::RegionFault(RegionFault { region, misuse, entered }))?;
            // KERNEL_APC_PENDING_DURING_EXIT: "the APC disable count of a thread is found when it
            // exits".
            let count = u64::from(depth.critical.max(depth.guarded));
            return Err(Stop::bug_check(0x20, [0, count, 0, 0]));
        }
        let id = self.current_thread().id;
        self.abandon_mutexes(id)?;
        let thread = self.current_thread();
        let rsp = thread.first_rsp();
        thread.is_ending = true;
        thread.activations.clear();
        self.set_gpr(RSP, rsp);
        self.set_irql(Irql::PASSIVE_LEVEL);
        self.run_down_apcs()
    }

    /// The current thread ends; who waits for it goes on.
    pub(crate) fn end_thread(&mut self) -> CallResult<()> {
        let Some(id) = self.core().thread else {
            return Err(Stop::unsupported("the end of a thread without one"));
        };
        let thread = self.ke.thread_mut(id);
        let (object, queue) = (thread.object, thread.queue.take());
        let (low, high) = (thread.stack_low, thread.stack_high);
        self.stop_serving(queue)?;
        self.give_up_stack(low, high)?;
        self.order_release(object);
        self.put_away(ThreadState::Terminated);
        let thread = self.ke.thread_mut(id);
        thread.state = ThreadState::Terminated;
        thread.activations.clear();
        thread.result = Some(0);
        self.set_signalled(object, 1)
    }
}

/// Sets the run-time priority of a thread; returns the old one.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-kesetprioritythread")]
fn KeSetPriorityThread(k: &mut Kernel, thread: GuestAddr, priority: i32) -> CallResult<i32> {
    let Some(id) = k.ke.thread_at(thread).map(|t| t.id) else {
        return Err(Stop::unsupported("KeSetPriorityThread on something that is no thread"));
    };
    if !(LOW_PRIORITY + 1..=HIGH_PRIORITY).contains(&priority) {
        k.emit(Event::ArgumentOutOfRange(ArgumentOutOfRange {
            export: KeSetPriorityThread::EXPORT.name,
            argument: "Priority",
            value: i64::from(priority),
            min: i64::from(LOW_PRIORITY + 1),
            max: i64::from(HIGH_PRIORITY),
            ddi: KeSetPriorityThread::EXPORT.ddi,
        }))?;
        // What Windows makes of it is not documented; this thread keeps what it has.
        return Ok(k.ke.thread(id).priority);
    }
    Ok(std::mem::replace(&mut k.ke.thread_mut(id).priority, priority))
}

/// Sets the base priority of a thread relative to that of its process; returns the increment
/// before.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-kesetbaseprioritythread")]
fn KeSetBasePriorityThread(k: &mut Kernel, thread: GuestAddr, increment: i32) -> CallResult<i32> {
    let Some(id) = k.ke.thread_at(thread).map(|t| t.id) else {
        return Err(Stop::unsupported("KeSetBasePriorityThread on something that is no thread"));
    };
    let thread = k.ke.thread_mut(id);
    // Every process of this machine has the normal base priority, whose class ends at 15.
    thread.priority = PROCESS_PRIORITY.saturating_add(increment).clamp(1, 15);
    Ok(std::mem::replace(&mut thread.base_increment, increment))
}

/// Returns the current priority of a thread.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-kequeryprioritythread")]
fn KeQueryPriorityThread(k: &mut Kernel, thread: GuestAddr) -> CallResult<Flow> {
    match k.ke.thread_at(thread) {
        Some(thread) => Ok(Flow::Return(u64::from(thread.priority.unsigned_abs()))),
        None => Err(Stop::unsupported("KeQueryPriorityThread on something that is no thread")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Flow,
        testing::{call_by_name, kernel, with_threads},
    };

    #[test]
    fn a_base_priority_is_relative_to_the_process() {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
        let object = k.ke.thread(thread).object.0;
        let increment = |value: i64| u64::from(u32::from_le_bytes(low(value)));
        for (value, before, priority) in [(2, 0, 10), (-3, 2, 5), (100, -3, 15), (-100, 100, 1)] {
            let set = call_by_name(&mut k, "KeSetBasePriorityThread", &[object, increment(value)]);
            assert_eq!(set.map(low_half), Ok(low_half(increment(before))));
            assert_eq!(call_by_name(&mut k, "KeQueryPriorityThread", &[object]), Ok(priority));
        }
    }

    fn low(value: i64) -> [u8; 4] {
        let [a, b, c, d, ..] = value.to_le_bytes();
        [a, b, c, d]
    }

    fn low_half(value: u64) -> u64 {
        value & 0xffff_ffff
    }
}
