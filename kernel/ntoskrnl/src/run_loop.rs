//! The run loop: picks a thread, runs guest code, carries out its exits, and applies flows.

use cpu::{Exit, Fault, Grant, PrivilegedOp, Vector};
use events::{
    Decided, EntryPoint, EntryReturn, Event, FreeMoment, IrqlLimit, LimitBroken, RegionFault,
    RegionMisuse, START_PROCESSOR, ThreadId, UndefinedDecision,
};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};

use crate::{
    Activation, Call, CallResult, Export, ExportTable, Flow, GuestCall, Kernel, Stop, TrapTarget,
    frame,
    io::{self, CallStage},
    ke::{RegionDepth, SpinState, ThreadState},
    ps,
};

const RAX: usize = 0;
const RCX: usize = 1;
const RSP: usize = 4;

/// Events that others get to come to rest after a service has finished.
const SETTLE_EVENTS: u64 = 500_000;
/// Turns between two events: a machine that only switches is at an end.
const MOST_ROUNDS: u32 = 1 << 20;

/// The APCs of a thread that ends are run down; its requests are cancelled.
#[derive(Clone, Debug)]
struct CancelRequests {
    of: ThreadId,
}
frame!(CancelRequests, |this, k, _| { io::service::end_thread(k, this.of)?.then(k, EndNow) });

/// The thread is gone.
#[derive(Clone, Debug)]
struct EndNow;
frame!(EndNow, |_, _, _| Ok(Flow::Terminate));

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
        t.irql = (Irql::PASSIVE_LEVEL, None);
        let rsp = t.stack_high.0 - 0x100;
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
            None => self.with_cpu(|cpu, regs, memory, clock| cpu.run(regs, memory, clock)),
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

    fn with_cpu<T>(
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

    fn carry_out(&mut self, exit: Exit) -> CallResult<()> {
        match exit {
            Exit::Trap(at) => self.trap(at),
            Exit::Fault(Fault::Memory(objection)) => Err(self.fault(&objection)),
            Exit::Fault(Fault::Vector(vector)) => self.vector(vector),
            Exit::Privileged { op, next } => {
                self.privileged(op)?;
                self.regs().rip = next.0;
                if matches!(op, PrivilegedOp::WriteControl { control: 8, .. }) {
                    self.is_preempted_here(FreeMoment::AfterIrqlChange);
                }
                Ok(())
            }
            Exit::Watched(objection) => {
                self.watched(&objection)?;
                self.step(Grant::Watch)
            }
            Exit::UndefinedDecides { is_address } => {
                let decided = if is_address { Decided::Address } else { Decided::Branch };
                self.note_undefined(decided)?;
                self.step(Grant::Undefined)
            }
            Exit::ClockLimit | Exit::Stepped => Ok(()),
            Exit::Breakpoint => self.at_point(),
            Exit::Unsupported { bytes, text } => {
                let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                Err(Stop::unsupported(format!("instruction `{text}` ({})", bytes.join(" "))))
            }
        }
    }

    /// Reports that an undefined value decides something.
    pub(crate) fn note_undefined(&mut self, decided: Decided) -> CallResult<()> {
        let at = self.core().cpu.undefined_load();
        let from = at.and_then(|at| self.memory.near(at));
        let calls = self.call_digest;
        self.emit(Event::UndefinedDecision(UndefinedDecision { decided, from, calls })).map(drop)
    }

    /// Executes one instruction that the owner has looked at.
    pub(crate) fn step(&mut self, mut grant: Grant) -> CallResult<()> {
        loop {
            match self.with_cpu(|cpu, regs, memory, clock| cpu.step(regs, memory, clock, grant)) {
                // One instruction may need several grants: a copy asks for each page.
                Exit::Watched(objection) => {
                    self.watched(&objection)?;
                    grant = Grant::Watch;
                }
                Exit::UndefinedDecides { is_address } => {
                    let decided = if is_address { Decided::Address } else { Decided::Branch };
                    self.note_undefined(decided)?;
                    grant = Grant::Undefined;
                }
                Exit::Stepped => return Ok(()),
                other => return self.carry_out(other),
            }
        }
    }

    /// Guest code entered the trap range.
    fn trap(&mut self, at: GuestAddr) -> CallResult<()> {
        match self.exports.target(at) {
            Some(TrapTarget::Return) => self.entry_returned(),
            Some(TrapTarget::Export(export)) => {
                let export = *export;
                self.call_export(&export)
            }
            Some(TrapTarget::Unmodelled(name)) => Err(Stop::unsupported(name.clone())),
            None => {
                let text = format!("a jump into the middle of the kernel at {at}");
                Err(Stop::unsupported(text))
            }
        }
    }

    fn call_export(&mut self, export: &Export) -> CallResult<()> {
        let from = self.return_address()?;
        let name = export.written_as.unwrap_or(export.name);
        self.note_jump(from);
        self.core_mut().call = Some(self.call_at(self.gpr(RSP), name, from));
        if self.is_cut_before_call(name)? {
            self.core_mut().call = None;
            return Ok(());
        }
        self.clock.events += 1;
        self.digest_call(export.name);
        self.check_irql(export.irql, export.ddi)?;
        match (export.call)(self) {
            Ok(Flow::Return(value)) => self.finish_export(value, (name, from)),
            Err(Stop::Exception(exception)) => {
                self.core_mut().call = None;
                let flow = self.raise(exception);
                self.apply(flow)
            }
            Err(stop) => Err(stop),
            flow => {
                if !matches!(flow, Ok(Flow::Resume)) {
                    let regs = Box::new(self.core().regs.clone());
                    self.activations().push(Activation::Export(regs, name));
                }
                // What is wrong with the end of a thread is wrong at the call that ends it.
                if !matches!(flow, Ok(Flow::Terminate)) {
                    self.core_mut().call = None;
                }
                self.apply(flow)
            }
        }
    }

    /// Asks whether another processor or thread goes on before this call; it is made when its
    /// thread goes on, without asking again.
    fn is_cut_before_call(&mut self, name: &'static str) -> CallResult<bool> {
        let thread = self.current_thread();
        if std::mem::take(&mut thread.was_preempted_at_call) {
            return Ok(false);
        }
        let id = thread.id;
        let is_cut = self.is_preempted_here(FreeMoment::BeforeCall(name))
            || io::cancel_if_chosen(self, CallStage::Before)?;
        self.ke.thread_mut(id).was_preempted_at_call = is_cut;
        Ok(is_cut)
    }

    /// Reports a call outside of its documented limit. The name is that of the current call.
    pub(crate) fn check_irql(&mut self, limit: IrqlLimit, ddi: &'static str) -> CallResult<()> {
        let irql = self.irql();
        if irql >= limit.min && irql <= limit.max {
            return Ok(());
        }
        let export = self.core().call.map_or("", |call| call.name);
        let raised = self.core().irql_changed;
        self.emit(Event::LimitBroken(LimitBroken { export, limit, ddi, raised }))?;
        Ok(())
    }

    fn return_address(&mut self) -> CallResult<GuestAddr> {
        let rsp = GuestAddr(self.gpr(RSP));
        self.read_scalar(rsp).map(GuestAddr)
    }

    fn finish_export(
        &mut self,
        value: u64,
        (name, from): (&'static str, GuestAddr),
    ) -> CallResult<()> {
        self.core_mut().call = Some(self.call_at(self.gpr(RSP), name, from));
        let is_cut = self.is_preempted_here(FreeMoment::AfterCall(name));
        self.core_mut().call = None;
        let rsp = self.gpr(RSP);
        self.set_gpr(RSP, rsp.wrapping_add(8));
        self.set_gpr(RAX, value);
        self.regs().rip = from.0;
        self.share_interrupt_if_chosen();
        if self.moves_now() || self.suspend_if_chosen()? || is_cut {
            return Ok(());
        }
        io::cancel_if_chosen(self, CallStage::After).map(drop)
    }

    /// Takes the current thread off its processor if it is to go on on another one; says whether it
    /// did.
    fn moves_now(&mut self) -> bool {
        let Some(id) = self.core().thread else { return false };
        let moves = std::mem::take(&mut self.ke.thread_mut(id).moves_after_call);
        if moves && self.cores.len() > 1 && self.irql() < Irql::DISPATCH_LEVEL {
            self.put_away(ThreadState::Ready);
            self.ke.make_ready(id);
            self.cut_turn();
        }
        moves
    }

    /// A routine that the kernel called has returned.
    fn entry_returned(&mut self) -> CallResult<()> {
        let value = self.gpr(RAX);
        let Some(Activation::Entry { entry, irql, routine, regions }) = self.activations().pop()
        else {
            return Err(Stop::unsupported("a return into the kernel that nothing called"));
        };
        if let Some(entry) = entry {
            // A routine whose last act was a jump into an export has no return of its own.
            let left_at = self.core().cpu.trapped_from();
            let left_at = left_at.filter(|&at| self.image_at(at).is_some());
            self.core_mut().returned = left_at.unwrap_or(routine);
            let gives_status = matches!(
                entry,
                EntryPoint::DriverEntry | EntryPoint::AddDevice | EntryPoint::Dispatch { .. }
            );
            let undefined = self.core().regs.undefined.as_ref();
            if gives_status && undefined.is_some_and(|bits| bits.gpr[RAX] & 0xffff_ffff != 0) {
                self.note_undefined(Decided::Status)?;
            }
            let (irql_after, changed) = (self.irql(), self.core().irql_changed);
            let event = EntryReturn { entry, value, irql_before: irql, irql_after, changed };
            self.emit(Event::EntryReturn(event))?;
            self.check_regions(entry, regions)?;
            self.check_stack()?;
            // Judged; what follows is no consequence. A cancel routine lowers to
            // `Irp->CancelIrql`, and its caller goes on there.
            if !matches!(entry, EntryPoint::CancelRoutine { .. }) {
                self.set_irql(irql);
            }
        }
        let is_of_exception = matches!(
            entry,
            None | Some(EntryPoint::ExceptionFilter | EntryPoint::TerminationHandler)
        );
        if is_of_exception {
            // What the kernel does next is about the code that raised it, which is on the stack.
            self.core_mut().returned = GuestAddr::NULL;
        }
        self.apply(Ok(Flow::Return(value)))
    }

    /// Regions are left by whom they were entered.
    fn check_regions(&mut self, entry: EntryPoint, before: RegionDepth) -> CallResult<()> {
        let after = self.region_depth();
        let Some((region, is_deeper)) = before.difference(after) else { return Ok(()) };
        let misuse = match is_deeper {
            true => RegionMisuse::NotLeft(entry),
            false => RegionMisuse::LeftForCaller(entry),
        };
        let entered = self.current_thread().region_entered;
        self.emit(Event::RegionFault(RegionFault { region, misuse, entered })).map(|_| ())
    }

    /// What a routine that returned had on its stack must not be in the kernel's lists.
    fn check_stack(&mut self) -> CallResult<()> {
        let low = self.current_thread().stack_low;
        let rsp = GuestAddr(self.gpr(RSP));
        self.give_up_stack(low, rsp)
    }

    /// Carries a flow on until guest code runs, the thread waits, or its service is finished.
    pub(crate) fn apply(&mut self, mut flow: CallResult<Flow>) -> CallResult<()> {
        loop {
            let value = match flow {
                Ok(Flow::Return(value)) => value,
                Ok(Flow::Call(call, frames)) => {
                    self.push_frames(frames);
                    return self.enter(&call);
                }
                Ok(Flow::Wait(wait, frames)) => {
                    self.push_frames(frames);
                    if let Some(apc) = self.apc_before_wait(&wait) {
                        flow = apc;
                        continue;
                    }
                    match self.block(wait)? {
                        Some(status) => u64::from(status.0),
                        None => return Ok(()),
                    }
                }
                Ok(Flow::Spin(on, frames)) => {
                    self.push_frames(frames);
                    let id = self.core().thread.expect("a thread spins");
                    self.ke.set_spin(id, Some(SpinState { on, is_vain: true }));
                    return Ok(());
                }
                Ok(Flow::Resume) => return Ok(()),
                Ok(Flow::Terminate) if self.current_thread().is_ending => {
                    let id = self.core().thread.expect("a thread ends");
                    self.end_thread()?;
                    return ps::thread_ended(self, id);
                }
                Ok(Flow::Terminate) => {
                    let requests = self.core().thread.expect("a thread ends");
                    let ending = self.begin_thread_end();
                    self.core_mut().call = None;
                    flow = ending.and_then(|flow| flow.then(self, CancelRequests { of: requests }));
                    continue;
                }
                Err(Stop::Exception(exception)) => {
                    flow = self.raise_from_frame(exception);
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            match self.activations().pop() {
                None => {
                    if self.current_thread().apcs.is_user_due() {
                        return Err(Stop::unsupported("a user APC's routine in user mode"));
                    }
                    self.finish_service(value);
                    return Ok(());
                }
                Some(Activation::Export(regs, name)) => {
                    // The export may have changed the IRQL; nothing else of the processor.
                    self.restore_registers(*regs);
                    let from = self.return_address()?;
                    return self.finish_export(value, (name, from));
                }
                Some(Activation::Interrupted(regs) | Activation::Raised(regs)) => {
                    self.restore_registers(*regs);
                    return Ok(());
                }
                Some(Activation::Frame(frame)) => {
                    self.core_mut().call = self.enclosing_call();
                    flow = frame.resume(self, value);
                    self.core_mut().call = None;
                }
                Some(Activation::Entry { .. }) => {
                    unreachable!("a value arrived while a guest routine is still running")
                }
            }
        }
    }

    /// The export on whose behalf the innermost frames run, and its caller.
    fn enclosing_call(&mut self) -> Option<Call> {
        let found = self.activations().iter().rev().find_map(|activation| match activation {
            Activation::Export(regs, name) => Some(Some((regs.gpr[RSP], *name))),
            Activation::Frame(_) => None,
            _ => Some(None),
        });
        let (rsp, name) = found.flatten()?;
        let mut bytes = [0; 8];
        let machine = guest_memory::Accessor::Machine;
        self.memory.read(machine, GuestAddr(rsp), &mut bytes).ok()?;
        Some(self.call_at(rsp, name, GuestAddr(u64::from_le_bytes(bytes))))
    }

    /// A call that began with this stack pointer.
    fn call_at(&self, rsp: u64, name: &'static str, from: GuestAddr) -> Call {
        Call { name, from, jump: self.tail_jump(rsp) }
    }

    /// Frames come innermost first.
    fn push_frames(&mut self, frames: Vec<Box<dyn crate::Frame>>) {
        let activations = self.activations();
        activations.extend(frames.into_iter().rev().map(Activation::Frame));
    }

    /// Starts guest code as the kernel calls it: arguments in registers and above the home space,
    /// the return address a trap. Source: "x64 calling convention".
    pub(crate) fn enter(&mut self, call: &GuestCall) -> CallResult<()> {
        let (irql, regions) = (self.irql(), self.region_depth());
        if let Some(entry) = call.entry {
            self.emit(Event::EntryCall(entry))?;
        }
        let slots = call.arguments.len().max(4) as u64;
        let above = call.below.map_or(self.gpr(RSP), |at| at.0);
        let rsp = ((above & !0xf) - slots.next_multiple_of(2) * 8) - 8;
        self.activations().push(Activation::Entry {
            entry: call.entry,
            irql,
            routine: call.target,
            regions,
        });
        let machine = guest_memory::Accessor::Machine;
        let mut words = vec![(rsp, ExportTable::return_address().0)];
        for (index, &argument) in call.arguments.iter().enumerate() {
            match [RCX, 2, 8, 9].get(index) {
                Some(&register) => self.set_gpr(register, argument),
                None => words.push((rsp + 8 + 8 * index as u64, argument)),
            }
        }
        for (at, word) in words {
            if let Err(objection) = self.memory.write(machine, GuestAddr(at), &word.to_le_bytes()) {
                return Err(self.fault(&objection));
            }
        }
        self.set_gpr(RSP, rsp);
        self.forget_jumps();
        self.regs().rip = call.target.0;
        self.regs().rflags &= !0x400;
        if matches!(call.entry, Some(EntryPoint::Unload | EntryPoint::Dispatch { .. })) {
            self.stands_still_at_entry();
        }
        Ok(())
    }

    /// The thread's service has its result.
    fn finish_service(&mut self, value: u64) {
        let id = self.core().thread.expect("a service runs on a thread");
        self.put_away(ThreadState::Idle);
        let t = self.ke.thread_mut(id);
        t.state = ThreadState::Idle;
        t.result = Some(value);
        self.core_mut().thread = None;
    }

    fn vector(&mut self, vector: Vector) -> CallResult<()> {
        let code = match vector {
            Vector::DivideError => NtStatus::STATUS_INTEGER_DIVIDE_BY_ZERO,
            Vector::Breakpoint => NtStatus::STATUS_BREAKPOINT,
            Vector::InvalidOpcode => NtStatus::STATUS_ILLEGAL_INSTRUCTION,
            // Windows turns a general protection fault into an access violation without a usable
            // address.
            Vector::GeneralProtection => NtStatus::STATUS_ACCESS_VIOLATION,
            Vector::FloatingPoint => NtStatus::STATUS_FLOAT_MULTIPLE_FAULTS,
            // `__fastfail`: bug check 0x139 with the code in rcx.
            Vector::Interrupt(0x29) => {
                return Err(Stop::bug_check(0x139, [self.gpr(RCX), 0, 0, 0]));
            }
            Vector::Interrupt(0x2c) => NtStatus::STATUS_ASSERTION_FAILURE,
            Vector::Interrupt(0x2d) => {
                // DebugService (DbgPrint and DbgBreakPoint of old compilers): nothing listens.
                return Err(Stop::unsupported("int 2Dh"));
            }
            Vector::Interrupt(number) => {
                return Err(Stop::unsupported(format!("int {number:02X}h")));
            }
        };
        Err(Stop::raise(code))
    }

    /// A general purpose register of the current processor, by encoding number.
    pub fn gpr(&self, number: usize) -> u64 {
        self.core().regs.gpr.get(number).copied().expect("register numbers are below 16")
    }

    /// Sets a general purpose register; its bits are defined.
    pub fn set_gpr(&mut self, number: usize, value: u64) {
        let regs = self.regs();
        *regs.gpr.get_mut(number).expect("register numbers are below 16") = value;
        if let Some(undefined) = &mut regs.undefined
            && let Some(bits) = undefined.gpr.get_mut(number)
        {
            *bits = 0;
        }
    }
}
