//! The run loop: picks a thread, runs guest code, carries out its exits, and applies flows.

use cpu::{Exit, Fault, Grant, Vector};
use events::{EntryPoint, EntryReturn, Event, IrqlLimit, LimitBroken, ThreadId, UndefinedDecision};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};

use crate::{
    Activation, CallResult, Export, ExportTable, Flow, GuestCall, Kernel, Stop, TrapTarget, io,
    ke::ThreadState,
};

const RAX: usize = 0;
const RCX: usize = 1;
const RSP: usize = 4;

/// Events after which a thread of equal priority gets its turn. NT's quantum is in clock ticks;
/// drivers may not rely on its length.
const QUANTUM_EVENTS: u64 = 100_000;

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
        self.switch_to(thread);
        let t = self.ke.thread_mut(thread);
        t.result = None;
        t.regs = cpu::Registers::new();
        let (high, gs) = (t.stack_high.0, self.core().control.0);
        *self.regs() = cpu::Registers::new();
        self.core_mut().returned = GuestAddr::NULL;
        self.set_gpr(RSP, high - 0x100);
        self.regs().gs_base = gs;
        let flow = service(self);
        self.apply(flow)
    }

    /// Runs until the thread's service is finished, or nothing can run any more.
    ///
    /// Virtual time jumps to the next timer while everything waits, at most to `until_100ns` of
    /// interrupt time.
    pub fn run(&mut self, thread: ThreadId, until_100ns: u64) -> CallResult<Rest> {
        loop {
            if self.clock.events >= self.config.limit_events {
                return Err(Stop::Limit { what: format!("{} events", self.config.limit_events) });
            }
            self.expire_timers()?;
            if self.deliver_dpc()? {
                continue;
            }
            if self.core().thread.is_none() {
                let Some(next) = self.ke.next_ready() else {
                    if io::start_work(self)? {
                        continue;
                    }
                    if self.ke.thread(thread).result.is_some() {
                        return Ok(Rest::Finished);
                    }
                    match self.next_due_100ns().filter(|&due| due <= until_100ns) {
                        Some(due) => {
                            let now = self.interrupt_time_100ns();
                            self.idle_100ns += due.saturating_sub(now);
                            continue;
                        }
                        None => return Ok(Rest::Blocked),
                    }
                };
                self.switch_to(next);
                if let Some(value) = self.ke.thread_mut(next).wake.take() {
                    self.apply(Ok(Flow::Return(value)))?;
                }
                continue;
            }
            self.run_guest()?;
        }
    }

    /// Makes a thread current. The old one, if any, is put away with its registers.
    fn switch_to(&mut self, thread: ThreadId) {
        self.put_away(ThreadState::Ready);
        let index = self.core().index;
        let t = self.ke.thread_mut(thread);
        t.state = ThreadState::Running(index);
        let (regs, process) = (t.regs.clone(), t.process);
        let (low, high) = (t.stack_low, t.stack_high);
        let core = self.core_mut();
        core.regs = regs;
        core.thread = Some(thread);
        core.cpu.set_stack_range(low.0..high.0);
        self.enter_process(process);
        self.show_current_thread(thread);
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
        let regs = core.regs.clone();
        let t = self.ke.thread_mut(id);
        t.regs = regs;
        if matches!(t.state, ThreadState::Running(_)) {
            t.state = state;
        }
    }

    /// Runs guest code of the current thread up to its next exit, and carries that out.
    fn run_guest(&mut self) -> CallResult<()> {
        let quantum_end = self.clock.events + QUANTUM_EVENTS;
        self.clock.limit_events =
            self.config.limit_events.min(quantum_end).min(self.events_to_next_due());
        let limit = self.clock.limit_events;
        let exit = self.with_cpu(|cpu, regs, memory, clock| cpu.run(regs, memory, clock));
        let result = self.carry_out(exit);
        if self.clock.events >= limit
            && self.irql() < Irql::DISPATCH_LEVEL
            && self.core().thread.is_some()
        {
            self.end_quantum();
        }
        match result {
            // Raised by the guest's own instruction.
            Err(Stop::Exception(exception)) => {
                let flow = self.raise(exception);
                self.apply(flow)
            }
            other => other,
        }
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
                Ok(())
            }
            Exit::Watched(objection) => {
                self.watched(&objection)?;
                self.step(Grant::Watch)
            }
            Exit::UndefinedDecides { is_address } => {
                self.emit(Event::UndefinedDecision(UndefinedDecision { is_address }))?;
                self.step(Grant::Undefined)
            }
            Exit::ClockLimit | Exit::Stepped => Ok(()),
            Exit::Breakpoint => self.step(Grant::None),
            Exit::Unsupported { bytes, text } => {
                let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                Err(Stop::unsupported(format!("instruction `{text}` ({})", bytes.join(" "))))
            }
        }
    }

    /// Executes one instruction that the owner has looked at.
    fn step(&mut self, grant: Grant) -> CallResult<()> {
        match self.with_cpu(|cpu, regs, memory, clock| cpu.step(regs, memory, clock, grant)) {
            // One instruction may need several grants (a copy from watched to watched memory).
            Exit::Watched(objection) if grant == Grant::Undefined => {
                self.watched(&objection)?;
                self.step(Grant::Watch)
            }
            Exit::Stepped => Ok(()),
            other => self.carry_out(other),
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
        self.clock.events += 1;
        let from = self.return_address()?;
        self.core_mut().call = Some((export.written_as.unwrap_or(export.name), from));
        self.check_irql(export.irql, export.ddi)?;
        match (export.call)(self) {
            Ok(Flow::Return(value)) => {
                self.finish_export(value, from);
                Ok(())
            }
            Err(Stop::Exception(exception)) => {
                self.core_mut().call = None;
                let flow = self.raise(exception);
                self.apply(flow)
            }
            Err(stop) => Err(stop),
            flow => {
                if !matches!(flow, Ok(Flow::Resume)) {
                    let regs = Box::new(self.core().regs.clone());
                    self.activations().push(Activation::Export(regs, export.name));
                }
                self.core_mut().call = None;
                self.apply(flow)
            }
        }
    }

    /// Reports a call outside of its documented limit. The name is that of the current call.
    pub(crate) fn check_irql(&mut self, limit: IrqlLimit, ddi: &'static str) -> CallResult<()> {
        let irql = self.irql();
        if irql >= limit.min && irql <= limit.max {
            return Ok(());
        }
        let export = self.core().call.map_or("", |(name, _)| name);
        let raised = self.core().irql_changed;
        self.emit(Event::LimitBroken(LimitBroken { export, limit, ddi, raised }))?;
        Ok(())
    }

    fn return_address(&mut self) -> CallResult<GuestAddr> {
        let rsp = GuestAddr(self.gpr(RSP));
        self.read_scalar(rsp).map(GuestAddr)
    }

    fn finish_export(&mut self, value: u64, from: GuestAddr) {
        self.core_mut().call = None;
        let rsp = self.gpr(RSP);
        self.set_gpr(RSP, rsp.wrapping_add(8));
        self.set_gpr(RAX, value);
        self.regs().rip = from.0;
    }

    /// A routine that the kernel called has returned.
    fn entry_returned(&mut self) -> CallResult<()> {
        let value = self.gpr(RAX);
        let Some(Activation::Entry { entry, irql, routine }) = self.activations().pop() else {
            return Err(Stop::unsupported("a return into the kernel that nothing called"));
        };
        if let Some(entry) = entry {
            self.core_mut().returned = routine;
            let (irql_after, changed) = (self.irql(), self.core().irql_changed);
            let event = EntryReturn { entry, value, irql_before: irql, irql_after, changed };
            self.emit(Event::EntryReturn(event))?;
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
                    match self.block(wait)? {
                        Some(status) => u64::from(status.0),
                        None => return Ok(()),
                    }
                }
                Ok(Flow::Resume) => return Ok(()),
                Ok(Flow::Terminate) => return self.end_thread(),
                Err(Stop::Exception(exception)) => {
                    flow = self.raise_from_frame(exception);
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            match self.activations().pop() {
                None => {
                    self.finish_service(value);
                    return Ok(());
                }
                Some(Activation::Export(regs, _)) => {
                    // The export may have changed the IRQL; nothing else of the processor.
                    *self.regs() = *regs;
                    let from = self.return_address()?;
                    self.finish_export(value, from);
                    return Ok(());
                }
                Some(Activation::Interrupted(regs) | Activation::Raised(regs)) => {
                    *self.regs() = *regs;
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
    fn enclosing_call(&mut self) -> Option<(&'static str, GuestAddr)> {
        let found = self.activations().iter().rev().find_map(|activation| match activation {
            Activation::Export(regs, name) => Some(Some((regs.gpr[RSP], *name))),
            Activation::Frame(_) => None,
            _ => Some(None),
        });
        let (rsp, name) = found.flatten()?;
        let mut bytes = [0; 8];
        let machine = guest_memory::Accessor::Machine;
        self.memory.read(machine, GuestAddr(rsp), &mut bytes).ok()?;
        Some((name, GuestAddr(u64::from_le_bytes(bytes))))
    }

    /// Frames come innermost first.
    fn push_frames(&mut self, frames: Vec<Box<dyn crate::Frame>>) {
        let activations = self.activations();
        activations.extend(frames.into_iter().rev().map(Activation::Frame));
    }

    /// Starts guest code as the kernel calls it: arguments in registers and above the home space,
    /// the return address a trap. Source: "x64 calling convention".
    pub(crate) fn enter(&mut self, call: &GuestCall) -> CallResult<()> {
        let irql = self.irql();
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
        self.regs().rip = call.target.0;
        self.regs().rflags &= !0x400;
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
