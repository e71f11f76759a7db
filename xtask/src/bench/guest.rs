//! A kernel in an engine, with every check on.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
use cpu::{Clock, Exit, Grant, Processor, Registers};
use guest_memory::{
    Accessor, Arena, ArenaId, BlockSpec, ByteState, GuestAddr, GuestMemory, Limits, Perms,
    Provenance, Snapshot, Tracking,
};
use happens_before::Lane;
use pe_image::Image;

use super::{MEMORY_BYTES, place};

const IMAGE: u64 = 0xffff_f800_0100_0000;
const POOL: u64 = 0xffff_fa00_0000_0000;
const STACK: u64 = 0xffff_f900_0000_0000;
const STACK_BYTES: u64 = 0x6000;
const LIMITS: Limits = Limits { frames: 4096, blocks: 64, spaces: 1 };
/// Stack of a second lane.
const OTHER_STACK: u64 = STACK + 0x1_0000;
/// Events of a turn, as the kernel's fair turns have.
const TURN_EVENTS: u64 = 1000;
/// The service is here, the return from the kernel 16 bytes on.
const TRAP: u64 = 0xffff_ff00_0000_0000;
const RETURN: u64 = TRAP + 16;

/// What runs the guest.
enum Tier {
    Interpreter(Box<Processor>),
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    Translator(Box<x86_jit::Translator>),
}

impl Tier {
    fn run(&mut self, r: &mut Registers, m: &mut GuestMemory, clock: &mut Clock) -> Exit {
        match self {
            Self::Interpreter(engine) => engine.run(r, m, clock),
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Self::Translator(engine) => engine.run_with(r, m, clock, &mut Sum),
        }
    }

    fn set_stack_range(&mut self, stack: std::ops::Range<u64>) {
        match self {
            Self::Interpreter(engine) => engine.set_stack_range(stack),
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Self::Translator(engine) => engine.set_stack_range(stack),
        }
    }
}

/// The service, where calls are served in place.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
struct Sum;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl x86_jit::Services for Sum {
    fn call(&mut self, call: &mut x86_jit::Call<'_>) -> x86_jit::Reply {
        let [a, b, ..] = call.arguments();
        if call.at() == GuestAddr(TRAP) {
            x86_jit::Reply::Return(a.wrapping_add(b))
        } else {
            x86_jit::Reply::Leave
        }
    }
}

/// What must be equal whichever engine ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result: u64,
    events: u64,
    /// Callee-saved registers, rsp and rip.
    registers: [u64; 10],
}

pub(super) struct Kernel {
    tier: Tier,
    memory: GuestMemory,
    entry: u64,
    argument: u64,
    /// Argument of a second lane.
    other_argument: u64,
}

impl Kernel {
    /// In the interpreter.
    pub(super) fn load(image: &Image) -> Result<Self> {
        let processor = Box::new(Processor::new(TRAP..TRAP + 32));
        Self::in_tier(image, Tier::Interpreter(processor), GuestMemory::new(LIMITS))
    }

    /// In the translator; `None` where there is none.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub(super) fn translated(image: &Image) -> Result<Option<Self>> {
        let translator = match x86_jit::Translator::new(TRAP..TRAP + 32) {
            Ok(translator) => Box::new(translator),
            Err(_) => return Ok(None),
        };
        let Some(memory) = GuestMemory::new_shared(LIMITS) else { return Ok(None) };
        Ok(Some(Self::in_tier(image, Tier::Translator(translator), memory)?))
    }

    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    pub(super) fn translated(_image: &Image) -> Result<Option<Self>> {
        Ok(None)
    }

    fn in_tier(image: &Image, mut tier: Tier, mut memory: GuestMemory) -> Result<Self> {
        let (mapped, bytes) = place(image, IMAGE)?;
        for (page, part) in bytes.chunks(4096).enumerate() {
            let rva = u32::try_from(page * 4096)?;
            let at = GuestAddr(IMAGE).add(u64::from(rva));
            let allowed = mapped.page_perms(rva);
            let mut perms = Perms::READ;
            perms.set(Perms::WRITE, allowed.write);
            perms.set(Perms::EXECUTE, allowed.execute);
            memory.map(at, 4096, perms, ByteState::DEFINED, 0)?;
            let written = memory.write(Accessor::Machine, at, part);
            written.ok().context("an image page was just mapped")?;
        }
        let data = Perms::READ | Perms::WRITE;
        memory.map(GuestAddr(STACK), STACK_BYTES, data, ByteState::UNDEFINED, 0)?;
        memory.map(GuestAddr(OTHER_STACK), STACK_BYTES, data, ByteState::UNDEFINED, 0)?;
        let arena = memory.create_arena(Arena {
            base: GuestAddr(POOL),
            size_bytes: 16 << 20,
            perms: data,
            quarantine_bytes: 1 << 20,
        });
        let argument = allocate(&mut memory, arena)?;
        let other_argument = allocate(&mut memory, arena)?;
        let entry = image.entry_point_rva().context("no entry point")?;
        tier.set_stack_range(STACK..STACK + STACK_BYTES);
        Ok(Self { tier, memory, entry: IMAGE + u64::from(entry), argument, other_argument })
    }

    /// Runs the kernel once and returns its result.
    pub(super) fn run(&mut self) -> Result<Outcome> {
        let mut registers = self.start(self.argument, STACK)?;
        let mut clock = Clock { events: 0, limit_events: u64::MAX };
        loop {
            match self.tier.run(&mut registers, &mut self.memory, &mut clock) {
                Exit::Trap(GuestAddr(TRAP)) => self.serve(&mut registers)?,
                Exit::Trap(GuestAddr(RETURN)) => return Ok(Outcome::of(&registers, &clock)),
                exit => bail!("{exit:?} at {:x}", registers.rip),
            }
        }
    }

    /// How many instructions a run takes that calls no service; in the interpreter.
    pub(super) fn count_instructions(&mut self) -> Result<u32> {
        let mut registers = self.start(self.argument, STACK)?;
        let mut clock = Clock { events: 0, limit_events: u64::MAX };
        let mut count = 0;
        while registers.rip != RETURN {
            let engine = match &mut self.tier {
                Tier::Interpreter(engine) => engine,
                #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
                Tier::Translator(_) => bail!("the translator does not step"),
            };
            let exit = engine.step(&mut registers, &mut self.memory, &mut clock, Grant::None);
            ensure!(matches!(exit, Exit::Stepped), "{exit:?} at {:x}", registers.rip);
            count += 1;
        }
        Ok(count)
    }

    /// Captures the memory between two runs.
    pub(super) fn capture(&mut self) -> Snapshot {
        self.memory.capture()
    }

    /// Goes back.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        self.memory.restore(snapshot);
    }

    /// The registers of a first call.
    fn start(&mut self, argument: u64, stack: u64) -> Result<Registers> {
        let mut registers = Registers::new();
        registers.rip = self.entry;
        registers.gpr[1] = argument;
        // The caller's frame: its return address and the home of four arguments.
        let top = stack + STACK_BYTES - 0x48;
        registers.gpr[4] = top;
        let returns = RETURN.to_le_bytes();
        let written = self.memory.write(Accessor::Machine, GuestAddr(top), &returns);
        written.ok().context("the stack was mapped")?;
        Ok(registers)
    }

    /// Runs the kernel twice, on data of its own each, in turns and with race detection.
    pub(super) fn run_in_turns(&mut self) -> Result<()> {
        if !self.memory.is_tracking() {
            let stacks = [STACK, OTHER_STACK];
            let private = stacks.map(|low| low..low + STACK_BYTES).to_vec();
            self.memory.track(Tracking { private, ..Tracking::default() });
        }
        let lanes = [
            (self.start(self.argument, STACK)?, STACK),
            (self.start(self.other_argument, OTHER_STACK)?, OTHER_STACK),
        ];
        let mut waiting: VecDeque<_> = (0..).map(Lane).zip(lanes).collect();
        let mut clock = Clock { events: 0, limit_events: TURN_EVENTS };
        while let Some((lane, (mut registers, stack))) = waiting.pop_front() {
            self.memory.set_lane(lane);
            self.tier.set_stack_range(stack..stack + STACK_BYTES);
            clock.limit_events = clock.events + TURN_EVENTS;
            loop {
                match self.tier.run(&mut registers, &mut self.memory, &mut clock) {
                    Exit::Trap(GuestAddr(TRAP)) => self.serve(&mut registers)?,
                    Exit::Trap(GuestAddr(RETURN)) => break,
                    Exit::ClockLimit => {
                        waiting.push_back((lane, (registers, stack)));
                        break;
                    }
                    exit => bail!("{exit:?} at {:x}", registers.rip),
                }
            }
        }
        Ok(())
    }

    /// The service: adds its arguments and returns.
    fn serve(&mut self, registers: &mut Registers) -> Result<()> {
        registers.gpr[0] = registers.gpr[1].wrapping_add(registers.gpr[2]);
        let top = registers.gpr[4];
        let Ok(rip) = self.memory.load::<u64>(false, top) else { bail!("no return address") };
        registers.rip = rip;
        registers.gpr[4] = top + 8;
        Ok(())
    }
}

impl Outcome {
    fn of(r: &Registers, clock: &Clock) -> Self {
        let [rax, _, _, rbx, rsp, rbp, rsi, rdi, .., r12, r13, r14, r15] = r.gpr;
        let registers = [rbx, rsp, rbp, rsi, rdi, r12, r13, r14, r15, r.rip];
        Self { result: rax, events: clock.events, registers }
    }
}

/// The kernel's memory and its argument, as pool blocks with red zones.
fn allocate(memory: &mut GuestMemory, arena: ArenaId) -> Result<u64> {
    let spec = BlockSpec {
        size_bytes: MEMORY_BYTES,
        align_bytes: 4096,
        red_zone_bytes: 16,
        defined_as: Some(0),
        fill: 0,
        provenance: Provenance::default(),
    };
    let data = memory.allocate(arena, spec)?;
    let argument = memory.allocate(arena, BlockSpec { size_bytes: 16, ..spec })?;
    let mut bytes = data.0.to_le_bytes().to_vec();
    bytes.extend(TRAP.to_le_bytes());
    let written = memory.write(Accessor::Machine, argument, &bytes);
    written.ok().context("the block was just allocated")?;
    Ok(argument.0)
}
