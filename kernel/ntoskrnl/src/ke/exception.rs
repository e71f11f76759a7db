//! Exceptions: raising, the search for a handler, and unwinding to it.
//!
//! As on Windows, a language handler is guest code: it gets records in guest memory and usually
//! jumps to `__C_specific_handler`. Source: "x64 exception handling"; `RtlUnwindEx` documentation
//! page.

use events::{Event, ExceptionEscape};
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{
    NtStatus,
    structures::ke::{CONTEXT, DISPATCHER_CONTEXT, EXCEPTION_RECORD},
};

use crate::{
    Activation, CallResult, Exception, Flow, GuestCall, Kernel, Stop, TrapTarget, frame,
    ke::unwind::{Cursor, FrameFacts},
    registers::{RAX, RSP},
};

/// `ExceptionFlags`. Source: `ntdef.h`.
pub(crate) const EXCEPTION_UNWINDING: u32 = 0x2;
pub(crate) const EXCEPTION_EXIT_UNWIND: u32 = 0x4;
pub(crate) const EXCEPTION_TARGET_UNWIND: u32 = 0x20;

/// More frames than there are words on a kernel stack.
const MOST_FRAMES: usize = 4_096;
/// What a frame costs, in units of `GuestMemory::exert`.
const FRAME_EFFORT: u64 = 512;
/// What an exception costs beside that.
const RAISE_EFFORT: u64 = 4_096;

/// Guest addresses of the records of one exception, on the stack of the thread that raised it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records {
    pub(crate) record: GuestAddr,
    pub(crate) context: GuestAddr,
    pub(crate) dispatcher: GuestAddr,
}

/// The search for a handler, between two frames.
#[derive(Clone, Debug)]
struct Search {
    exception: Exception,
    raised_at: GuestAddr,
    records: Records,
    next: Option<Cursor>,
    /// Frames that are looked at still.
    left: usize,
}
frame!(Search, Search::handled);

/// Unwinding to a target, between two termination handlers.
#[derive(Clone, Debug)]
struct Unwinding {
    records: Records,
    target: Target,
    here: Cursor,
    /// The handler of this frame was called.
    is_asked: bool,
    /// Frames that are unwound still.
    left: usize,
}
frame!(Unwinding, |mut this, k, _| {
    this.is_asked = true;
    this.go_on(k)
});

/// Where unwinding ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Establisher frame of the function that handles.
    pub(crate) frame: u64,
    /// Where it goes on.
    pub(crate) ip: u64,
    /// What rax holds there.
    pub(crate) value: u64,
}

impl Kernel {
    /// Raises an exception at the current instruction, or at the export that the guest called.
    pub(crate) fn raise(&mut self, exception: Exception) -> CallResult<Flow> {
        let cursor = self.cursor();
        let regs = Box::new(self.core().regs.clone());
        let Some(records) = self.write_records(&exception, &cursor)? else {
            return Err(self.unhandled(&exception, GuestAddr(cursor.regs.rip))?);
        };
        self.memory.exert(RAISE_EFFORT);
        let raised_at = self.origin().ip;
        self.activations().push(Activation::Raised(regs));
        let left = MOST_FRAMES;
        Search { exception, raised_at, records, next: Some(cursor), left }.go_on(self)
    }

    /// Raises an exception from a frame of the kernel: at the export on whose behalf it runs.
    pub(crate) fn raise_from_frame(&mut self, exception: Exception) -> CallResult<Flow> {
        loop {
            match self.activations().pop() {
                Some(Activation::Frame(frame)) => frame.unwound(self),
                Some(Activation::Export(regs, _)) => {
                    self.restore_registers(*regs);
                    return self.raise(exception);
                }
                // A service of the kernel itself raised: nobody handles that.
                _ => return Err(self.unhandled(&exception, GuestAddr::NULL)?),
            }
        }
    }

    /// Writes the records below the stack pointer; `None` if the stack cannot hold them.
    fn write_records(
        &mut self,
        exception: &Exception,
        cursor: &Cursor,
    ) -> CallResult<Option<Records>> {
        let rsp = cursor.regs.gpr.get(RSP).copied().unwrap_or_default();
        let top = GuestAddr((rsp & !0xf).wrapping_sub(0x20));
        let context = GuestAddr(top.0.wrapping_sub(CONTEXT::SIZE_BYTES));
        let record = GuestAddr(context.0.wrapping_sub(0xa0));
        let dispatcher = GuestAddr(record.0.wrapping_sub(DISPATCHER_CONTEXT::SIZE_BYTES));
        let size_bytes = top.0.wrapping_sub(dispatcher.0);
        let machine = guest_memory::Accessor::Machine;
        if self.memory.fill(machine, dispatcher, 0, size_bytes).is_err() {
            return Ok(None);
        }
        self.write_context(context, cursor)?;
        self.set(record, EXCEPTION_RECORD::ExceptionCode, exception.code.0)?;
        self.set(record, EXCEPTION_RECORD::ExceptionAddress, cursor.regs.rip)?;
        if exception.code == NtStatus::STATUS_ACCESS_VIOLATION {
            let (at, kind) = exception.access.unwrap_or((GuestAddr(u64::MAX), AccessKind::Read));
            let how = match kind {
                AccessKind::Read => 0,
                AccessKind::Write => 1,
                AccessKind::Execute => 8,
            };
            self.set(record, EXCEPTION_RECORD::NumberParameters, 2)?;
            self.set(record, EXCEPTION_RECORD::Information0, how)?;
            self.set(record, EXCEPTION_RECORD::Information1, at.0)?;
        }
        Ok(Some(Records { record, context, dispatcher }))
    }

    fn write_context(&mut self, at: GuestAddr, cursor: &Cursor) -> CallResult<()> {
        let regs = &cursor.regs;
        /// `CONTEXT_AMD64 | CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_FLOATING_POINT`.
        const CONTEXT_FULL: u32 = 0x10_000b;
        self.set(at, CONTEXT::ContextFlags, CONTEXT_FULL)?;
        self.set(at, CONTEXT::MxCsr, regs.mxcsr)?;
        self.set(at, CONTEXT::SegCs, 0x10)?;
        self.set(at, CONTEXT::SegSs, 0x18)?;
        self.set(
            at,
            CONTEXT::EFlags,
            u32::try_from(regs.rflags & 0xffff_ffff).unwrap_or_default(),
        )?;
        self.set(at, CONTEXT::Rip, regs.rip)?;
        for (index, &value) in (0u64..).zip(&regs.gpr) {
            self.write_scalar(at.add(CONTEXT::Rax.offset_bytes + 8 * index), value)?;
        }
        for (index, value) in (0u64..).zip(&regs.xmm) {
            self.write(at.add(CONTEXT::Xmm0.offset_bytes + 16 * index), &value.to_le_bytes())?;
        }
        Ok(())
    }

    /// Reads back what a handler may have changed, for `EXCEPTION_CONTINUE_EXECUTION`.
    fn read_context(&mut self, at: GuestAddr, regs: &mut cpu::Registers) -> CallResult<()> {
        regs.rip = self.get(at, CONTEXT::Rip)?;
        regs.mxcsr = self.get(at, CONTEXT::MxCsr)?;
        regs.rflags = u64::from(self.get(at, CONTEXT::EFlags)?) | 2;
        for (index, value) in (0u64..).zip(&mut regs.gpr) {
            *value = self.read_scalar(at.add(CONTEXT::Rax.offset_bytes + 8 * index))?;
        }
        for (index, value) in (0u64..).zip(&mut regs.xmm) {
            let mut bytes = [0; 16];
            self.read(at.add(CONTEXT::Xmm0.offset_bytes + 16 * index), &mut bytes)?;
            *value = u128::from_le_bytes(bytes);
        }
        regs.undefined = None;
        Ok(())
    }

    /// No handler took the exception: the fact, and the bug check that follows.
    ///
    /// 0x3B in a system call, 0x7E in a system thread (bug check reference).
    fn unhandled(&mut self, exception: &Exception, raised_at: GuestAddr) -> CallResult<Stop> {
        self.forget_handlers();
        let raised_by = match self.exports.target(GuestAddr(self.core().regs.rip)) {
            Some(TrapTarget::Export(export)) => Some(export.written_as.unwrap_or(export.name)),
            _ => None,
        };
        let is_callers_buffer =
            exception.access.is_some_and(|(at, _)| self.io.is_callers_buffer(at));
        self.emit(Event::ExceptionEscape(ExceptionEscape {
            code: exception.code,
            raised_at,
            access: exception.access,
            is_callers_buffer,
            is_provoked: exception.is_provoked,
            raised_by,
        }))?;
        let code = match self.core().thread {
            Some(id) if self.ke.thread(id).is_system => 0x7e,
            _ => 0x3b,
        };
        Ok(Stop::bug_check(code, [u64::from(exception.code.0), raised_at.0, 0, 0]))
    }

    /// Goes back to the registers of the code that raised: the handlers that were asked are
    /// history.
    fn forget_handlers(&mut self) {
        let raised = |activation: &Activation| matches!(activation, Activation::Raised(_));
        let Some(index) = self.activations().iter().rposition(raised) else { return };
        self.activations().truncate(index + 1);
        if let Some(Activation::Raised(regs)) = self.activations().pop() {
            *self.regs() = *regs;
        }
    }

    /// Tells a language handler about one frame.
    fn call_handler(
        &mut self,
        facts: &FrameFacts,
        at: &Cursor,
        records: Records,
        target_ip: u64,
    ) -> CallResult<GuestCall> {
        let handler = facts.handler.expect("only frames with a handler are asked");
        let Records { record, context, dispatcher } = records;
        let function = facts.image_base.add(u64::from(facts.function.begin_rva));
        self.set(dispatcher, DISPATCHER_CONTEXT::ControlPc, at.regs.rip)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::ImageBase, facts.image_base.0)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::FunctionEntry, function.0)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::EstablisherFrame, facts.establisher)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::TargetIp, target_ip)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::ContextRecord, context.0)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::LanguageHandler, handler.routine.0)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::HandlerData, handler.data.0)?;
        self.set(dispatcher, DISPATCHER_CONTEXT::ScopeIndex, 0)?;
        Ok(GuestCall {
            target: handler.routine,
            arguments: vec![record.0, facts.establisher, context.0, dispatcher.0],
            entry: None,
            // Handlers run below everything they may look at.
            below: Some(dispatcher),
        })
    }

    /// `RtlUnwindEx`: unwinds to a frame and goes on there. Starts where the exception was raised.
    pub(crate) fn unwind_to(&mut self, records: Records, target: Target) -> CallResult<Flow> {
        let raised = self.activations().iter().enumerate().rev().find_map(|(index, activation)| {
            match activation {
                Activation::Raised(regs) => Some((index, regs.clone())),
                _ => None,
            }
        });
        let Some((level, regs)) = raised else {
            return Err(Stop::unsupported("RtlUnwindEx without an exception"));
        };
        let flags = self.get(records.record, EXCEPTION_RECORD::ExceptionFlags)?;
        self.set(records.record, EXCEPTION_RECORD::ExceptionFlags, flags | EXCEPTION_UNWINDING)?;
        let here = Cursor { regs: *regs, is_return: false, level };
        let left = MOST_FRAMES;
        Unwinding { records, target, here, is_asked: false, left }.go_on(self)
    }
}

/// The caller's frame. Unwind data and what lies on the stack can lead in a circle: that is the end
/// of the stack, too.
fn next_frame(k: &mut Kernel, at: &Cursor, left: &mut usize) -> Option<Cursor> {
    k.memory.exert(FRAME_EFFORT);
    *left = left.checked_sub(1)?;
    k.unwind(at)
}

impl Search {
    /// Asks the next frame that has a handler.
    fn go_on(mut self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(at) = self.next.take() {
            self.next = next_frame(k, &at, &mut self.left);
            let Some(facts) = k.frame_facts(&at) else { continue };
            if facts.handler.is_some_and(|h| h.is_exception) {
                let call = k.call_handler(&facts, &at, self.records, 0)?;
                return Ok(Flow::call(call, self));
            }
        }
        Err(k.unhandled(&self.exception, self.raised_at)?)
    }

    /// A handler answered.
    fn handled(self, k: &mut Kernel, disposition: u64) -> CallResult<Flow> {
        match disposition & 0xffff_ffff {
            // ExceptionContinueExecution: back to the registers of the context record.
            0 => {
                let Some(Activation::Raised(mut regs)) = k.activations().pop() else {
                    unreachable!("a search stands on the exception it serves")
                };
                k.read_context(self.records.context, &mut regs)?;
                *k.regs() = *regs;
                Ok(Flow::Resume)
            }
            1 => self.go_on(k),
            other => Err(Stop::unsupported(format!("exception disposition {other}"))),
        }
    }
}

impl Unwinding {
    /// Calls the next termination handler, or arrives.
    fn go_on(mut self, k: &mut Kernel) -> CallResult<Flow> {
        loop {
            let facts = k.frame_facts(&self.here);
            let is_target = facts.as_ref().is_some_and(|f| f.establisher == self.target.frame);
            let handler = facts.filter(|f| f.handler.is_some_and(|h| h.is_termination));
            if let Some(facts) = handler.filter(|_| !self.is_asked) {
                let field = EXCEPTION_RECORD::ExceptionFlags;
                let flags = k.get(self.records.record, field)? & !EXCEPTION_TARGET_UNWIND;
                let target = if is_target { EXCEPTION_TARGET_UNWIND } else { 0 };
                k.set(self.records.record, field, flags | target)?;
                let call = k.call_handler(&facts, &self.here, self.records, self.target.ip)?;
                return Ok(Flow::call(call, self));
            }
            if is_target {
                return self.arrive(k);
            }
            match next_frame(k, &self.here, &mut self.left) {
                Some(next) => (self.here, self.is_asked) = (next, false),
                None => return Err(Stop::unsupported("an unwind past the end of the stack")),
            }
        }
    }

    /// The target frame is reached: its registers, its instruction.
    fn arrive(self, k: &mut Kernel) -> CallResult<Flow> {
        while k.activations().len() > self.here.level {
            if let Some(Activation::Frame(frame)) = k.activations().pop() {
                frame.unwound(k);
            }
        }
        let mut regs = self.here.regs;
        regs.rip = self.target.ip;
        regs.undefined = None;
        *k.regs() = regs;
        k.set_gpr(RAX, self.target.value);
        Ok(Flow::Resume)
    }
}
