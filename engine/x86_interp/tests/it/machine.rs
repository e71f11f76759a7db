//! A small machine: one code region, one data region, one stack, a trap address to return to.

#![expect(clippy::unwrap_used, reason = "a test may stop where its own setup fails")]

use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};
use iced_x86::code_asm::CodeAssembler;
use x86_interp::{Clock, Engine, Exit, Grant, Registers};

pub(crate) const CODE: u64 = 0xffff_f800_0001_0000;
pub(crate) const DATA: u64 = 0xffff_f800_0010_0000;
pub(crate) const STACK_TOP: u64 = 0xffff_f800_0021_0000;
const STACK_BYTES: u64 = 0x1_0000;
pub(crate) const TRAP: u64 = 0xffff_f8ff_0000_0000;

pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) r: Registers,
    pub(crate) m: GuestMemory,
    pub(crate) clock: Clock,
}

/// Assembles at [`CODE`].
pub(crate) fn assemble(program: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut asm = CodeAssembler::new(64).unwrap();
    program(&mut asm);
    asm.assemble(CODE).unwrap()
}

impl Machine {
    /// A machine about to run `code`, with a return address that traps.
    pub(crate) fn new(code: &[u8]) -> Self {
        let mut m = GuestMemory::new(Limits { frames: 1024, blocks: 16, spaces: 2 });
        let data = Perms::READ | Perms::WRITE;
        let all = data | Perms::EXECUTE;
        m.map(GuestAddr(CODE), 0x4000, all, ByteState::DEFINED, 0xcc).unwrap();
        m.map(GuestAddr(DATA), 0x4000, data, ByteState::DEFINED, 0).unwrap();
        let bottom = GuestAddr(STACK_TOP - STACK_BYTES);
        m.map(bottom, STACK_BYTES, data, ByteState::DEFINED, 0).unwrap();
        m.write(Accessor::Machine, GuestAddr(CODE), code).unwrap();
        let mut engine = Engine::new(TRAP..TRAP + 0x1000);
        engine.set_stack_range(STACK_TOP - STACK_BYTES..STACK_TOP);
        let mut r = Registers::new();
        r.rip = CODE;
        r.gpr[4] = STACK_TOP - 0x108;
        let mut machine =
            Self { engine, r, m, clock: Clock { events: 0, limit_events: 1_000_000 } };
        machine.poke(machine.r.gpr[4], &TRAP.to_le_bytes());
        machine
    }

    /// A machine about to run an assembled program.
    pub(crate) fn of(program: impl FnOnce(&mut CodeAssembler)) -> Self {
        Self::new(&assemble(program))
    }

    pub(crate) fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.m.write(Accessor::Machine, GuestAddr(at), bytes).unwrap();
    }

    pub(crate) fn peek<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.m.read(Accessor::Machine, GuestAddr(at), &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn peek64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.peek(at))
    }

    pub(crate) fn run(&mut self) -> Exit {
        self.engine.run(&mut self.r, &mut self.m, &mut self.clock)
    }

    pub(crate) fn step(&mut self, grant: Grant) -> Exit {
        self.engine.step(&mut self.r, &mut self.m, &mut self.clock, grant)
    }

    /// Runs until the program returns.
    pub(crate) fn finish(&mut self) {
        assert_eq!(self.run(), Exit::Trap(GuestAddr(TRAP)), "rip {:x}", self.r.rip);
    }

    /// Runs until the program returns, one instruction at a time.
    pub(crate) fn finish_by_steps(&mut self) {
        loop {
            match self.step(Grant::None) {
                Exit::Stepped => {}
                exit => {
                    assert_eq!(exit, Exit::Trap(GuestAddr(TRAP)));
                    return;
                }
            }
        }
    }
}
