//! Exits of guest code: what made it stop, and what is done about it.

use cpu::{Exit, Fault, Grant, PrivilegedOp, Vector};
use events::{Decided, Event, FreeMoment, UndefinedDecision};
use guest_memory::GuestAddr;
use nt_abi::NtStatus;

use crate::{CallResult, Kernel, Stop, TrapTarget, registers::RCX};

impl Kernel {
    /// Carries out what guest code stopped for.
    pub(crate) fn carry_out(&mut self, exit: Exit) -> CallResult<()> {
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

    /// Raises what an exception of the processor means.
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
}
