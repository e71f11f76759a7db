//! Free moments: before and after a kernel call of the driver, and after an inline change of its
//! IRQL, somebody else may go on.
//!
//! Who runs stays where it is, on its processor or ready, for as long as the schedule says. While
//! nobody else could run, time may pass until the next timer is due.

use choice_tape::Switch;
use events::{Event, FreeMoment, LIST_PREEMPTIONS, PREEMPTION, Preemption, STANDSTILL};
use happens_before::Lane;
use nt_abi::Irql;

use crate::{
    Core, Kernel,
    ke::ThreadState,
    kernel::{DIGEST_START, digest_of},
};

/// The lane of time: where priorities say who goes on, it may be ahead of a thread.
const TIME: u64 = u64::MAX;

/// Standstills of a run: with a periodic timer nothing would ever come to rest.
const MOST_STANDSTILLS: u32 = 16;

/// For how long somebody stands still at most while a wait of somebody else may time out: 100 ms.
/// A time out is there for what does not come at all, and no thread is starved for seconds.
const MOST_HELD_100NS: u64 = 1_000_000;

impl Kernel {
    /// Asks whether the turn ends at this moment; says whether it does.
    pub(crate) fn is_preempted_here(&mut self, moment: FreeMoment) -> bool {
        let others = if self.is_contended() { self.others() } else { Vec::new() };
        if others.is_empty() {
            return self.stands_still_here(moment);
        }
        let mut lanes = vec![self.lane()];
        lanes.extend(others);
        let ordinal = self.tape.asked(PREEMPTION);
        let numbers: Vec<u64> = lanes.iter().map(|lane| lane.0.into()).collect();
        let answer = self.tape.ask_who(PREEMPTION, Switch::Step, &numbers);
        self.tell_preemption(PREEMPTION.number, (ordinal, answer), moment, &lanes);
        let next = lanes.get(answer as usize).copied().filter(|_| answer > 0);
        if let Some(next) = next {
            self.cut_turn();
            self.turn.next = Some(next);
            self.end_patience(next);
        }
        next.is_some()
    }

    /// Asks whether the next timer is due just when a routine begins, while nobody else can run.
    /// What the timer leads to comes first where it was set, and the routine goes on on another
    /// processor.
    pub(crate) fn stands_still_at_entry(&mut self) {
        let Some(id) = self.core().thread else { return };
        if self.cores.len() < 2 || self.irql() > Irql::PASSIVE_LEVEL {
            return;
        }
        let timer = self.ke.next_timer_processor();
        let Some(processor) = timer.filter(|_| self.stands_still_here(FreeMoment::AtEntry)) else {
            return;
        };
        self.put_away(ThreadState::Ready);
        self.ke.make_ready(id);
        self.cut_turn();
        self.turn.next = Some(Self::lane_of_dpcs(processor));
    }

    /// Asks whether the thread stands still until the next timer is due, while nobody else can run.
    fn stands_still_here(&mut self, moment: FreeMoment) -> bool {
        let is_too_often = self.turn.standstills >= MOST_STANDSTILLS;
        if self.irql() >= Irql::DISPATCH_LEVEL || self.is_contended() || is_too_often {
            return false;
        }
        let now = self.interrupt_time_100ns();
        let Some(due) = self.end_of_standstill(now) else { return false };
        let ordinal = self.tape.asked(STANDSTILL);
        let lane = self.lane();
        let answer = self.tape.ask_who(STANDSTILL, Switch::Step, &[lane.0.into(), TIME]);
        self.tell_preemption(STANDSTILL.number, (ordinal, answer), moment, &[lane]);
        if answer == 0 {
            return false;
        }
        self.idle_100ns += due.saturating_sub(now);
        self.cut_turn();
        self.turn.standstills += 1;
        true
    }

    /// When the next timer is due, until which somebody who has stood still since then may go on
    /// doing so; `None` if there is no timer, or if a wait of somebody else would time out too far
    /// from then.
    pub(crate) fn end_of_standstill(&self, since_100ns: u64) -> Option<u64> {
        let due = self.next_due_100ns()?;
        let mut waits = self.ke.threads.values().filter_map(|thread| thread.wait.as_ref());
        let times_out = |end: u64| end <= due;
        let is_far = due > since_100ns.saturating_add(MOST_HELD_100NS)
            && waits
                .any(|(wait, _)| !wait.objects.is_empty() && wait.due_100ns.is_some_and(times_out));
        (!is_far).then_some(due)
    }

    /// Reports a free moment at which something happens, or every one if the tape lists them. The
    /// first lane is the one that runs.
    fn tell_preemption(
        &mut self,
        kind: u16,
        (ordinal, answer): (u32, u32),
        moment: FreeMoment,
        lanes: &[Lane],
    ) {
        if answer == 0 && self.tape.points(LIST_PREEMPTIONS).next().is_none() {
            return;
        }
        let stack = self.stack_digest(0);
        let mut who = lanes.iter().map(|&lane| Self::who(lane));
        let Some(first) = who.next() else { return };
        let others = who.collect();
        let others_at = self.stand_of(lanes.get(1..).unwrap_or_default());
        let event =
            Preemption { kind, ordinal, moment, stack, who: first, others, others_at, answer };
        // Who goes on breaks no rule, so nobody stops the run here.
        let _ = self.emit(Event::Preemption(event));
    }

    /// A digest of where these lanes stand: of what runs on a processor, and of ready threads.
    fn stand_of(&self, lanes: &[Lane]) -> u64 {
        let place = |lane: &Lane| {
            let runs = |core: &&Core| core.thread.map(Self::lane_of_thread) == Some(*lane);
            match self.cores.iter().find(runs) {
                Some(core) => core.regs.rip,
                None => {
                    let mut ready = self.ke.ready_threads();
                    let id = ready.find(|&id| Self::lane_of_thread(id) == *lane);
                    id.map_or(0, |id| self.ke.thread(id).regs.rip)
                }
            }
        };
        lanes.iter().fold(DIGEST_START, |digest, lane| digest_of(digest, place(lane)))
    }

    /// Who could go on instead of what runs now: the other processors in rotation, then the ready
    /// threads that one of them, or this one, could take at once.
    fn others(&self) -> Vec<Lane> {
        let count = self.cores.len();
        let rotation = (1..count).map(|step| (self.current + step) % count);
        let able = rotation.filter(|&index| self.is_runnable(index));
        let mut lanes: Vec<Lane> = able.filter_map(|index| self.next_lane(index)).collect();
        for id in self.ke.ready_threads() {
            let lane = Self::lane_of_thread(id);
            if !lanes.contains(&lane) && (0..count).any(|index| self.may_take(index, id)) {
                lanes.push(lane);
            }
        }
        lanes
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{Event, FreeMoment, PREEMPTION, Preemption, STANDSTILL, ThreadId, Who};
    use nt_abi::Irql;

    use crate::{
        Flow, Kernel,
        testing::{call_by_name, kernel_of, take_events, with_threads},
    };

    const HERE: FreeMoment = FreeMoment::AfterCall("KeSetEvent");

    /// Three threads on two processors: the third runs on the first one, the first is ready.
    fn three(deviation: Deviation) -> (Kernel, [ThreadId; 3]) {
        let mut k = kernel_of(2, [deviation]);
        let threads = with_threads(&mut k, 3);
        for &thread in &threads {
            k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
        }
        for core in &mut k.cores {
            core.quantum_end_events = 1_000;
        }
        take_events(&mut k);
        (k, [threads[0], threads[1], threads[2]])
    }

    fn told(k: &mut Kernel) -> Vec<Preemption> {
        let events = take_events(k).into_iter();
        let told = events.filter_map(|event| match event {
            Event::Preemption(preemption) => Some(preemption),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn another_processor_or_a_ready_thread_goes_on() {
        for (answer, place) in [(1, 1), (2, 0)] {
            let deviation = Deviation { kind: PREEMPTION.number, ordinal: 1, answer };
            let (mut k, threads) = three(deviation);
            assert!(!k.is_preempted_here(HERE), "the first question is answered kindly");
            assert_eq!(told(&mut k), []);
            assert!(k.is_preempted_here(HERE));
            let [event] = &told(&mut k)[..] else { panic!("one event") };
            assert_eq!(event.who, Who::Thread(threads[2]));
            assert_eq!(event.others, [Who::Thread(threads[1]), Who::Thread(threads[0])]);
            assert_eq!(event.next(), Some(Who::Thread(threads[place])));
            assert!(k.begin_turn());
            if k.give_way() {
                k.dispatch().unwrap();
            }
            assert_eq!(k.core().thread, Some(threads[place]));
            // On the other processor it stands in nobody's way and stays where it is.
            let is_ready = k.ke.ready_threads().any(|id| id == threads[2]);
            assert_eq!(is_ready, answer == 2);
        }
    }

    #[test]
    fn a_raised_thread_stays_on_its_processor() {
        let deviation = Deviation { kind: PREEMPTION.number, ordinal: 0, answer: 1 };
        let (mut k, threads) = three(deviation);
        k.set_irql(Irql::DISPATCH_LEVEL);
        take_events(&mut k);
        assert!(k.is_preempted_here(HERE));
        let [event] = &told(&mut k)[..] else { panic!("one event") };
        assert_eq!(event.others, [Who::Thread(threads[1])]);
    }

    #[test]
    fn a_timer_is_due_just_when_a_routine_begins() {
        for (answer, processors) in [(1, 2), (0, 2), (1, 1)] {
            let deviation = Deviation { kind: STANDSTILL.number, ordinal: 0, answer };
            let mut k = kernel_of(processors, [deviation].into_iter().filter(|d| d.answer > 0));
            let thread = with_threads(&mut k, 1)[0];
            k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
            let timer = call_by_name(&mut k, "ExAllocatePoolWithTag", &[0, 64, 0x31]).unwrap();
            call_by_name(&mut k, "KeInitializeTimer", &[timer]).unwrap();
            let due = (-5_000_i64).cast_unsigned();
            call_by_name(&mut k, "KeSetTimer", &[timer, due, 0]).unwrap();
            let due_100ns = k.next_due_100ns();
            take_events(&mut k);
            k.stands_still_at_entry();
            // On another processor only: what the timer leads to runs beside the routine.
            let passes = answer == 1 && processors == 2;
            assert_eq!(Some(k.interrupt_time_100ns()) == due_100ns, passes);
            assert_eq!(k.ke.ready_threads().any(|id| id == thread), passes);
            assert_eq!(k.turn.next, passes.then(|| Kernel::lane_of_dpcs(0)));
            let told = told(&mut k);
            assert!(told.iter().all(|event| event.moment == FreeMoment::AtEntry));
            assert_eq!(told.len(), usize::from(passes));
        }
    }

    #[test]
    fn time_passes_while_a_thread_stands_still() {
        let deviation = Deviation { kind: STANDSTILL.number, ordinal: 0, answer: 1 };
        for irql in [Irql::PASSIVE_LEVEL, Irql::DISPATCH_LEVEL] {
            let mut k = kernel_of(1, [deviation]);
            let thread = with_threads(&mut k, 1)[0];
            k.begin(thread, |_| Ok(Flow::Resume)).unwrap();
            assert!(!k.is_preempted_here(HERE), "no timer is set");
            let timer = call_by_name(&mut k, "ExAllocatePoolWithTag", &[0, 64, 0x31]).unwrap();
            call_by_name(&mut k, "KeInitializeTimer", &[timer]).unwrap();
            let due = (-5_000_i64).cast_unsigned();
            call_by_name(&mut k, "KeSetTimer", &[timer, due, 0]).unwrap();
            let due_100ns = k.next_due_100ns();
            k.set_irql(irql);
            take_events(&mut k);
            let is_low = irql == Irql::PASSIVE_LEVEL;
            assert_eq!(k.is_preempted_here(HERE), is_low);
            assert_eq!(Some(k.interrupt_time_100ns()) == due_100ns, is_low);
            assert_eq!(told(&mut k).len(), usize::from(is_low));
        }
    }
}
