//! The run loop: picks a processor and a thread, and runs guest code.

use cpu::{Exit, Grant};
use events::{START_PROCESSOR, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{CallResult, ExportTable, Flow, Kernel, Stop, io, ke::ThreadState, registers::RSP};

/// Events that others get to come to rest after a service has finished.
const SETTLE_EVENTS: u64 = 500_000;
/// Turns between two events: a machine that only switches is at an end.
const MOST_ROUNDS: u32 = 1 << 20;
/// Work of a run that no event stands for, in units of `GuestMemory::exert`: some ten seconds.
pub(crate) const MOST_EFFORT: u64 = 1 << 31;
/// What a round in which nobody ran costs.
const ROUND_EFFORT: u64 = 256;
/// Events of the first slice of guest code, after which its work is looked at, and of later ones.
const FIRST_SLICE_EVENTS: u64 = 64;
const LAST_SLICE_EVENTS: u64 = 4096;
/// Work in a slice after which the next one is one event.
const SLICE_EFFORT: u64 = 1 << 24;
/// What each thread adds to a round.
const THREAD_EFFORT: u64 = 4;

/// How a stretch of running ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The thread's service is finished.
    Finished,
    /// Nothing can run and no timer is set.
    Blocked,
}

impl Kernel {
    /// Starts a service on an idle thread. It runs when the loop picks the thread.
    pub fn begin(
        &mut self,
        thread: ThreadId,
        service: impl FnOnce(&mut Self) -> CallResult<Flow>,
    ) -> CallResult<()> {
        self.free_processor()?;
        self.begin_here(thread, service)
    }

    /// Starts a service on the current processor, which runs no thread.
    pub(crate) fn begin_here(
        &mut self,
        thread: ThreadId,
        service: impl FnOnce(&mut Self) -> CallResult<Flow>,
    ) -> CallResult<()> {
        let t = self.ke.thread_mut(thread);
        t.result = None;
        t.is_terminated = false;
        t.irql = (Irql::PASSIVE_LEVEL, None);
        let rsp = t.first_rsp();
        t.regs = cpu::Registers::new();
        self.switch_to(thread);
        self.core_mut().returned = GuestAddr::NULL;
        self.set_gpr(RSP, rsp);
        // The kernel's own code runs: nobody looks for the driver's on a stack that is empty.
        self.regs().rip = ExportTable::return_address().0;
        let flow = service(self);
        self.apply(flow)
    }

    /// Whether a service can start on some processor now.
    fn can_begin(&self) -> bool {
        self.cores.iter().any(|core| core.irql < Irql::DISPATCH_LEVEL)
    }

    /// Makes a processor current on which a service can start.
    fn free_processor(&mut self) -> CallResult<()> {
        let is_low = |core: &crate::Core| core.irql < Irql::DISPATCH_LEVEL;
        let cores = self.cores.iter().enumerate();
        let idle = cores.filter(|(_, core)| core.thread.is_none() && is_low(core));
        let idle: Vec<usize> = idle.map(|(index, _)| index).collect();
        let choice = match u32::try_from(idle.len()) {
            Ok(options @ 2..) => self.tape.ask_lot(START_PROCESSOR, options),
            _ => 0,
        };
        let idle = idle.get(choice as usize).copied();
        let Some(index) = idle.or_else(|| self.cores.iter().position(is_low)) else {
            return Err(Stop::unsupported("a call while every processor is at DISPATCH_LEVEL"));
        };
        self.enter_processor(index);
        if let Some(busy) = self.core().thread {
            self.put_away(ThreadState::Ready);
            self.ke.make_ready(busy);
        }
        Ok(())
    }

    /// Runs until the thread's service is finished and all else is at rest, or nothing can run any
    /// more.
    ///
    /// Virtual time jumps to the next timer while everything waits, at most to `until_100ns` of
    /// interrupt time.
    pub fn run(&mut self, thread: ThreadId, until_100ns: u64) -> CallResult<Rest> {
        self.run_or_first(thread, &[], until_100ns)
    }

    /// The same, or until the service of one of some threads is finished, whatever else goes on:
    /// its caller has more to do at once.
    pub fn run_or_first(
        &mut self,
        thread: ThreadId,
        others: &[ThreadId],
        until_100ns: u64,
    ) -> CallResult<Rest> {
        let mut settled_events = None;
        let mut standing = (0, 0);
        self.end_turn();
        // Whoever looked at memory since may have looked at that of another process.
        self.enter_processor(self.current);
        loop {
            if self.clock.events >= self.config.limit_events {
                let limit_events = self.config.limit_events;
                let things = if limit_events == 1 { "event" } else { "events" };
                return Err(Stop::Limit { what: format!("{limit_events} {things}") });
            }
            standing = match standing {
                (events, rounds) if events == self.clock.events => (events, rounds + 1),
                _ => (self.clock.events, 0),
            };
            if standing.1 > MOST_ROUNDS {
                let what = format!("{MOST_ROUNDS} switches in a row in which nobody ran");
                return Err(Stop::Limit { what });
            }
            if standing.1 > 0 && self.turn.instructions.is_none() {
                self.memory.exert(ROUND_EFFORT);
            }
            self.memory.exert(self.ke.threads.len() as u64 * THREAD_EFFORT);
            self.check_effort()?;
            if others.iter().any(|&id| self.ke.thread(id).result.is_some()) && self.can_begin() {
                return Ok(Rest::Finished);
            }
            if self.ke.thread(thread).result.is_some() {
                let end = self.clock.events.saturating_add(SETTLE_EVENTS);
                let is_settled = self.clock.events >= *settled_events.get_or_insert(end);
                // What comes next needs a processor: nobody is left with a lock on the only one.
                if is_settled && self.can_begin() {
                    return Ok(Rest::Finished);
                }
            }
            self.expire_timers()?;
            self.bound_turn_if_contended();
            if !self.is_turn_over() && self.is_runnable(self.current) || self.begin_turn() {
                self.advance()?;
                continue;
            }
            if io::start_work(self)? || self.resume_suspended() {
                continue;
            }
            let is_finished = self.ke.thread(thread).result.is_some();
            if is_finished && self.stuck_processor().is_none() {
                if self.next_due_100ns().is_none() {
                    self.report_standstill()?;
                }
                return Ok(Rest::Finished);
            }
            match self.next_due_100ns() {
                Some(due) if due <= until_100ns => {
                    let now = self.interrupt_time_100ns();
                    self.idle_100ns += due.saturating_sub(now);
                }
                due => {
                    // A later timer may still end it.
                    if due.is_none() {
                        self.report_hang()?;
                    }
                    self.report_standstill()?;
                    return Ok(if is_finished { Rest::Finished } else { Rest::Blocked });
                }
            }
        }
    }

    /// Carries out one stretch on the current processor: an interrupt, a DPC, a switch of threads,
    /// or guest code up to its next exit.
    fn advance(&mut self) -> CallResult<()> {
        if self.deliver_interrupt()? || self.deliver_dpc()? {
            self.note_progress();
            return Ok(());
        }
        if self.give_way() {
            self.turn.was_cut = false;
        }
        if self.deliver_apc()? {
            self.note_progress();
            return Ok(());
        }
        let Some(id) = self.core().thread else {
            self.dispatch()?;
            return Ok(());
        };
        match self.ke.thread(id).spin {
            Some(_) => {
                self.ke.set_spin(id, None);
                self.apply(Ok(Flow::Return(0)))
            }
            None => {
                self.note_progress();
                self.run_guest()
            }
        }
    }

    /// Makes a thread current. The old one, if any, is put away with its registers.
    pub(crate) fn switch_to(&mut self, thread: ThreadId) {
        self.put_away(ThreadState::Ready);
        let index = self.core().index;
        let gs_base = self.core().control.0;
        let t = self.ke.thread_mut(thread);
        t.state = ThreadState::Running(index);
        let (regs, process) = (t.regs.clone(), t.process);
        let (low, high) = (t.stack_low, t.stack_high);
        let (irql, changed) = t.irql;
        let core = self.core_mut();
        (core.irql, core.irql_changed) = (irql, changed);
        core.regs = regs;
        core.regs.gs_base = gs_base;
        core.thread = Some(thread);
        core.cpu.set_stack_range(low.0..high.0);
        self.memory.set_pageable_allowed(irql < Irql::DISPATCH_LEVEL);
        self.enter_process(process);
        self.show_current_thread(thread);
    }

    /// Takes registers back that were put away; the thread may be on another processor since.
    pub(crate) fn restore_registers(&mut self, regs: cpu::Registers) {
        let core = self.core_mut();
        core.regs = regs;
        core.regs.gs_base = core.control.0;
    }

    /// Makes the user half of a process the current one.
    pub fn enter_process(&mut self, process: GuestAddr) {
        let space = self.ps.space_of(process);
        self.memory.set_space(space);
    }

    /// Takes the current thread off the processor.
    pub(crate) fn put_away(&mut self, state: ThreadState) {
        let core = self.core_mut();
        let Some(id) = core.thread.take() else { return };
        if self.tape.has_priorities() {
            // Whoever has the highest priority of all goes on, not who is next here.
            self.end_turn();
        }
        let core = self.core_mut();
        let regs = core.regs.clone();
        // Below DISPATCH_LEVEL the level belongs to the thread.
        let irql = (core.irql, core.irql_changed);
        (core.irql, core.irql_changed) = (Irql::PASSIVE_LEVEL, None);
        self.memory.set_pageable_allowed(true);
        let t = self.ke.thread_mut(id);
        t.regs = regs;
        t.irql = irql;
        if matches!(t.state, ThreadState::Running(_)) {
            t.state = state;
        }
    }

    /// Runs guest code of the current thread up to its next exit, and carries that out.
    fn run_guest(&mut self) -> CallResult<()> {
        let quantum_end = self.core().quantum_end_events.max(self.clock.events + 1);
        self.clock.limit_events = self
            .config
            .limit_events
            .min(quantum_end)
            .min(self.turn.ends_events.max(self.clock.events + 1))
            .min(self.events_to_next_due());
        self.show_lane();
        let exit = match self.turn.instructions {
            None => self.run_slices()?,
            Some(_) => self.run_instructions(),
        };
        self.report_races()?;
        match self.carry_out(exit) {
            // Raised by the guest's own instruction.
            Err(Stop::Exception(exception)) => {
                let flow = self.raise(exception);
                self.apply(flow)
            }
            other => other,
        }
    }

    /// Runs up to the limit of the clock in slices, between which the work that counts no events is
    /// looked at: both engines end a slice at the same instruction.
    fn run_slices(&mut self) -> CallResult<Exit> {
        let limit_events = self.clock.limit_events;
        let mut slice_events = FIRST_SLICE_EVENTS;
        loop {
            self.clock.limit_events =
                limit_events.min(self.clock.events.saturating_add(slice_events));
            let before = self.memory.effort();
            let exit = self.with_cpu(|cpu, regs, memory, clock| cpu.run(regs, memory, clock));
            if exit != Exit::ClockLimit || self.clock.events >= limit_events {
                self.clock.limit_events = limit_events;
                return Ok(exit);
            }
            self.check_effort()?;
            let is_hard = self.memory.effort() - before > SLICE_EFFORT;
            slice_events = if is_hard { 1 } else { (slice_events * 2).min(LAST_SLICE_EVENTS) };
        }
    }

    /// Ends a run whose work reached its bound.
    fn check_effort(&self) -> CallResult<()> {
        if !self.memory.is_exhausted() {
            return Ok(());
        }
        let bytes = MOST_EFFORT >> 30;
        let what = format!("work beside its events, as much as moving {bytes} GiB");
        Err(Stop::Limit { what })
    }

    /// Runs what is left of a turn that is counted in instructions.
    fn run_instructions(&mut self) -> Exit {
        while let Some(left) = self.turn.instructions.filter(|&left| left > 0) {
            if self.clock.events >= self.clock.limit_events {
                return Exit::ClockLimit;
            }
            if self.is_at_point() {
                return Exit::Breakpoint;
            }
            self.turn.instructions = Some(left - 1);
            self.turn.counted_instructions += 1;
            let grant = Grant::None;
            let exit =
                self.with_cpu(|cpu, regs, memory, clock| cpu.step(regs, memory, clock, grant));
            if exit != Exit::Stepped {
                return exit;
            }
        }
        self.turn.was_cut = true;
        Exit::Stepped
    }

    /// The event clock at which the next timer is due.
    fn events_to_next_due(&self) -> u64 {
        self.next_due_100ns().map_or(u64::MAX, |due| due.saturating_sub(self.idle_100ns))
    }

    pub(crate) fn with_cpu<T>(
        &mut self,
        run: impl FnOnce(
            &mut cpu::Processor,
            &mut cpu::Registers,
            &mut guest_memory::GuestMemory,
            &mut cpu::Clock,
        ) -> T,
    ) -> T {
        #[expect(clippy::indexing_slicing, reason = "`current` always names a processor")]
        let core = &mut self.cores[self.current];
        run(&mut core.cpu, &mut core.regs, &mut self.memory, &mut self.clock)
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::Irql;

    use crate::{
        Flow, GuestCall, Kernel, Stop, frame,
        testing::{call_by_name, code, kernel, result_of, with_threads},
    };

    #[derive(Clone, Debug)]
    struct Done;
    frame!(Done, |_, _, value| Ok(Flow::Return(value)));

    /// Runs this code with a block of a megabyte in rdx until it stops.
    fn stop_of(k: &mut Kernel, bytes: &[u8]) -> Stop {
        let thread = with_threads(k, 1)[0];
        let routine = GuestAddr(code(k, bytes));
        let room = call_by_name(k, "ExAllocatePoolWithTag", &[512, 1 << 20, 0x31]).unwrap();
        k.begin(thread, |_| Ok(Flow::call(GuestCall::helper(routine, vec![0, room]), Done)))
            .unwrap();
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
        result_of(k, thread).expect_err("it never ends")
    }

    #[test]
    fn work_that_counts_few_events_ends() {
        // again: mov rdi, rdx; mov ecx, 100000h; xor eax, eax; rep stosb; jmp again
        let fill = [0x48, 0x89, 0xd7, 0xb9, 0, 0, 0x10, 0, 0x31, 0xc0, 0xf3, 0xaa, 0xeb, 0xf2];
        let mut k = kernel();
        let what = "work beside its events, as much as moving 2 GiB".to_owned();
        assert_eq!(stop_of(&mut k, &fill), Stop::Limit { what });
        assert!((2_000..2_100).contains(&k.clock.events), "{}", k.clock.events);
        // again: jmp again. Events end it, and no work is counted for them.
        let mut k = kernel();
        let stop = stop_of(&mut k, &[0xeb, 0xfe]);
        assert_eq!(stop, Stop::Limit { what: "1000000 events".to_owned() });
        assert!(k.memory.effort() < 1 << 24, "{}", k.memory.effort());
    }
}
