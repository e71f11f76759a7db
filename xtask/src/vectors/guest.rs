//! Runs cases in the interpreter.

use anyhow::Context;
use cpu::{Clock, Exit, Fault, Grant, Processor, Undefined, Vector};
use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms, Reason};

use super::case::{
    CODE, CODE_BYTES, Case, Ending, Outcome, PAD, READ_ONLY_BYTES, WINDOW, WINDOW_BYTES,
};
use super::generator::END;

/// How the interpreter is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whole blocks.
    Run,
    /// One instruction at a time.
    Step,
    /// As `Step`, with an unrelated part of a register undefined, so that labels are followed.
    Careful,
}

/// One machine per ring, since ring 0 may not execute the pages of ring 3.
#[derive(Debug)]
pub(crate) struct Guest {
    rings: [Ring; 2],
}

#[derive(Debug)]
struct Ring {
    memory: GuestMemory,
    processor: Processor,
    line: Processor,
    /// Where the last run was between two steps.
    trail: Vec<u64>,
}

impl Guest {
    /// Maps the same fixed memory as the host has.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { rings: [Ring::new(Perms::empty())?, Ring::new(Perms::USER)?] })
    }

    /// Runs a case that ends at `END`.
    pub(crate) fn run(&mut self, case: &Case, mode: Mode) -> anyhow::Result<Outcome> {
        let [supervisor, user] = &mut self.rings;
        let ring = if case.before.is_user { user } else { supervisor };
        ring.run(case, mode)
    }

    /// The addresses of the instructions that the last run of a case in ring 0 stepped to.
    pub(crate) fn trail(&self) -> &[u64] {
        &self.rings[0].trail
    }
}

impl Ring {
    fn new(user: Perms) -> anyhow::Result<Self> {
        let mut memory = GuestMemory::new(Limits { frames: 64, blocks: 16, spaces: 2 });
        let space = memory.create_space().context("no space")?;
        memory.set_space(Some(space));
        let defined = ByteState::DEFINED;
        let window = WINDOW_BYTES as u64;
        let read = Perms::READ | user;
        memory.map(GuestAddr(CODE), CODE_BYTES, read | Perms::EXECUTE, defined, PAD)?;
        memory.map(GuestAddr(WINDOW), window, read | Perms::WRITE, defined, 0)?;
        memory.map(GuestAddr(WINDOW + window), READ_ONLY_BYTES, read, defined, 0)?;
        let processor = Processor::new(END..CODE + CODE_BYTES);
        Ok(Self { memory, processor, line: Processor::new(0..0), trail: Vec::new() })
    }

    fn run(&mut self, case: &Case, mode: Mode) -> anyhow::Result<Outcome> {
        let mut registers = case.before.clone();
        self.prepare(case)?;
        if mode == Mode::Careful {
            // The top of xmm15 and a flag that no instruction reads.
            let mut undefined = Undefined::default();
            undefined.xmm[15] = 1 << 127;
            registers.undefined = Some(Box::new(undefined));
        }
        let at_end = case.end() == END;
        let processor = if at_end { &mut self.processor } else { &mut self.line };
        let mut clock = Clock { events: 0, limit_events: u64::MAX };
        let mut grant = Grant::None;
        self.trail.clear();
        let ending = loop {
            let exit = if mode == Mode::Run && at_end {
                processor.run(&mut registers, &mut self.memory, &mut clock)
            } else {
                processor.step(&mut registers, &mut self.memory, &mut clock, grant)
            };
            grant = Grant::None;
            match exit {
                // A jump to elsewhere than the code page is going to fault there.
                Exit::Stepped if goes_on(case, registers.rip) => self.trail.push(registers.rip),
                Exit::Stepped | Exit::Trap(_) => break Ending::Done,
                Exit::UndefinedDecides { .. } => grant = Grant::Undefined,
                Exit::Fault(fault) => break ending_of(&fault),
                other => break Ending::Other(format!("{other:?}")),
            }
        };
        registers.undefined = None;
        let mut memory = Box::new([0; WINDOW_BYTES]);
        self.memory
            .read(Accessor::Machine, GuestAddr(WINDOW), memory.as_mut_slice())
            .map_err(|objection| anyhow::anyhow!("the window cannot be read: {objection:?}"))?;
        Ok(Outcome { ending, after: registers, memory })
    }

    fn prepare(&mut self, case: &Case) -> anyhow::Result<()> {
        for (at, bytes) in [(case.address, case.code.as_slice()), (WINDOW, case.memory.as_slice())]
        {
            self.memory
                .write(Accessor::Machine, GuestAddr(at), bytes)
                .map_err(|objection| anyhow::anyhow!("cannot be written: {objection:?}"))?;
        }
        Ok(())
    }
}

fn goes_on(case: &Case, rip: u64) -> bool {
    (case.address..case.end()).contains(&rip) || !(CODE..CODE + CODE_BYTES).contains(&rip)
}

fn ending_of(fault: &Fault) -> Ending {
    match fault {
        Fault::Memory(objection) => match objection.reason {
            Reason::NonCanonical => Ending::GeneralProtection,
            Reason::NotMapped { .. } | Reason::NotPermitted { .. } => Ending::Page {
                at: objection.at.0,
                is_write: objection.kind == guest_memory::AccessKind::Write,
            },
            other => Ending::Other(format!("{other:?}")),
        },
        Fault::Vector(vector) => match vector {
            Vector::DivideError => Ending::DivideError,
            Vector::InvalidOpcode => Ending::InvalidOpcode,
            Vector::GeneralProtection => Ending::GeneralProtection,
            Vector::FloatingPoint => Ending::FloatingPoint,
            // The host reports where the breakpoint is, as an end of the case.
            Vector::Breakpoint => Ending::Done,
            Vector::Interrupt(number) => Ending::Other(format!("interrupt {number}")),
        },
    }
}
