//! A call of an export by guest code, from the trap to the instruction behind the call.

use events::{Event, FreeMoment, IrqlLimit, LimitBroken};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};

use crate::{
    Activation, Call, CallResult, Export, FailedCall, Flow, Kernel, Stop,
    io::{self, CallStage},
    ke::ThreadState,
    registers::{RAX, RSP},
};

impl Kernel {
    /// Makes a call: its return address is on the stack, its arguments are where they belong.
    pub(crate) fn call_export(&mut self, export: &Export) -> CallResult<()> {
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

    /// The return address of a call that begins.
    pub(crate) fn return_address(&mut self) -> CallResult<GuestAddr> {
        let rsp = GuestAddr(self.gpr(RSP));
        self.read_scalar(rsp).map(GuestAddr)
    }

    /// Goes on behind the call with its value.
    pub(crate) fn finish_export(
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
        let status = u32::try_from(value).map(NtStatus).ok().filter(|status| status.is_error());
        if let Some(status) = status {
            self.failed_call = Some(FailedCall { status, name, from });
        }
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

    /// A call that began with this stack pointer.
    pub(crate) fn call_at(&self, rsp: u64, name: &'static str, from: GuestAddr) -> Call {
        Call { name, from, jump: self.tail_jump(rsp) }
    }
}
