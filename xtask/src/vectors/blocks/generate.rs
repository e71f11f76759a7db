//! Makes random blocks: instructions with branches, bounded loops, calls, frames, string
//! instructions and flags that are read later.
//!
//! Half of them are *native*: nothing in them depends on what the architecture leaves open, and
//! control stays on the instructions that were generated, so that the host CPU can run them. The
//! others are *free*: some of their bytes are undefined or may not be touched, their code may
//! change itself, flags that were left undefined are read, and the clock stops them here and there.

use std::{collections::BTreeSet, ops::Range};

use cpu::Registers;
use iced_x86::{CpuidFeature, Register};

use super::assemble::{Code, Label};
use crate::vectors::{
    case::{Case, WINDOW, WINDOW_BYTES},
    generator::{Generator, POINTERS, Spared, program_draft},
    kernel_calls::{CALL_BYTES, FIRST_CALL, KERNEL_CALLS},
    random::Random,
    templates::Templates,
};

/// The six status flags.
const STATUS: u64 = 0x8d5;
/// Longest code of a block.
const CODE_BYTES_MAX: usize = 0x700;
/// Registers that count the passes of loops, by depth: r14, r15.
const COUNTERS: [u8; 2] = [6, 7];
/// Lengths of stack frames.
const FRAME_BYTES: [u8; 3] = [0x78, 0x40, 0x28];
/// Bytes of arguments that a sub may take from the stack when it returns.
const TAKEN_BYTES: [u8; 4] = [0, 0, 8, 16];
/// MXCSR with other rounding, with denormal numbers as zeros, and with exceptions.
const CONTROLS: [u32; 6] = [0x3f80, 0x5f80, 0x7f80, 0x9fc0, 0x1f80, 0x1d00];

/// A block to run.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) case: Case,
    pub(crate) is_native: bool,
    /// Addresses of its instructions.
    pub(crate) starts: BTreeSet<u64>,
    /// Bytes of the window that are undefined, and that may not be touched.
    pub(crate) undefined: Vec<Range<u64>>,
    pub(crate) closed: Vec<Range<u64>>,
    /// Lowering rsp inside makes the bytes undefined.
    pub(crate) stack: Range<u64>,
    /// Events between two stops of the clock.
    pub(crate) slice_events: u64,
    /// Single steps behind such a stop.
    pub(crate) steps: u32,
    /// Times that it runs, each time from the same state.
    pub(crate) rounds: u32,
}

/// Makes blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Every instruction that is modelled.
    all: Generator,
    /// Those of integers alone.
    integer: Generator,
    /// Those of integers and vectors.
    common: Generator,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        let of = |features: &[CpuidFeature]| {
            let mut templates = Templates::find(cpu::is_modelled);
            templates.list.retain(|(code, _)| {
                let needed = code.cpuid_features();
                features.is_empty() || needed.iter().all(|feature| features.contains(feature))
            });
            Generator::new(templates, cpu::is_modelled)
        };
        let integer = [
            CpuidFeature::INTEL8086,
            CpuidFeature::INTEL186,
            CpuidFeature::INTEL386,
            CpuidFeature::INTEL486,
            CpuidFeature::X64,
            CpuidFeature::CMOV,
        ];
        let vector = [CpuidFeature::SSE, CpuidFeature::SSE2];
        Self { all: of(&[]), integer: of(&integer), common: of(&[&integer[..], &vector].concat()) }
    }

    /// Makes a block.
    pub(crate) fn block(&mut self, random: &mut Random) -> Block {
        loop {
            if let Some(block) = self.attempt(random) {
                return block;
            }
        }
    }

    /// `None` if the code got too long.
    fn attempt(&mut self, random: &mut Random) -> Option<Block> {
        let is_native = random.chance(50);
        let subs = random.below(3) as usize;
        let mut code = Code::default();
        let entries: Vec<Label> = (0..subs).map(|_| code.label()).collect();
        let end = code.label();
        let mut writer = Writer {
            blocks: self,
            random,
            code,
            is_native,
            undefined: 0,
            ever: 0,
            depth: 0,
            entries,
            first_entry: 0,
            is_in_sub: false,
            frames: 0,
            targets: Vec::new(),
            taken: Vec::new(),
            heads: Vec::new(),
        };
        for _ in 0..subs {
            let taken = writer.random.pick(&TAKEN_BYTES);
            writer.taken.push(taken);
            let head = (!is_native && writer.random.chance(40)).then(|| writer.code.label());
            writer.heads.push(head);
        }
        let length = 3 + writer.random.below(14);
        writer.body(length);
        // Behind the code the case ends.
        writer.code.distance(&[0xe9], end, &[]);
        let undefined = writer.undefined;
        for number in 0..subs {
            writer.sub(number);
        }
        let (code, ever) = (writer.code, writer.ever);
        let assembled = code.assemble();
        if assembled.bytes.len() > CODE_BYTES_MAX {
            return None;
        }
        let mut draft = program_draft(random);
        if random.chance(15) {
            astray(&mut draft.registers, random);
        }
        let case = draft.ending_at_end(assembled.bytes, undefined, ever);
        let starts = assembled.starts.iter().map(|at| case.address + *at as u64).collect();
        let mut block = Block {
            case,
            is_native,
            starts,
            undefined: Vec::new(),
            closed: Vec::new(),
            stack: 0..0,
            slice_events: u64::MAX,
            steps: 0,
            rounds: 1,
        };
        if !is_native {
            open(&mut block, random);
        }
        Some(block)
    }
}

/// One of the addresses leads to the edge of what is mapped, or beyond it.
fn astray(registers: &mut Registers, random: &mut Random) {
    let end = WINDOW + WINDOW_BYTES as u64;
    let at = match random.below(4) {
        0 => end.wrapping_sub(random.below(0x80)),
        1 => end + random.below(0x1000),
        2 => WINDOW.wrapping_sub(random.below(0x80)),
        _ => end + 0x1000 - random.below(0x80),
    };
    let register = random.pick(&POINTERS);
    if let Some(slot) = registers.gpr.get_mut(register.number()) {
        *slot = at;
    }
}

/// What only the two engines can compare.
fn open(block: &mut Block, random: &mut Random) {
    let mut ranges = |percent: u64, most_bytes: u64| -> Vec<Range<u64>> {
        if !random.chance(percent) {
            return Vec::new();
        }
        let count = 1 + random.below(4);
        let range = |random: &mut Random| {
            // Near what the registers point to, mostly.
            let from = random.pick(&[0x400, 0x7c0, 0x800, 0xff0, 0x1000, 0x1800]);
            let at = (from + random.below(0x180)).min(WINDOW_BYTES as u64 - 1);
            at..(at + 1 + random.below(most_bytes)).min(WINDOW_BYTES as u64)
        };
        (0..count).map(|_| range(random)).collect()
    };
    block.undefined = ranges(60, 0x100);
    block.closed = ranges(15, 0x20);
    if random.chance(70) {
        block.stack = WINDOW + 0x600..WINDOW + 0xa00;
    }
    block.slice_events = if random.chance(50) { 1 + random.below(12) } else { 4000 };
    block.steps = if random.chance(25) { 1 + random.below(4) as u32 } else { 0 };
    if random.chance(8) {
        // At the guard below the stack, or at what may not be written above it.
        let (low, high) = (WINDOW, WINDOW + WINDOW_BYTES as u64);
        let at = if random.chance(70) { low } else { high - 0x40 };
        block.case.before.gpr[4] = at + 8 * random.below(24);
        block.stack = if random.chance(50) { low..low + 0x400 } else { low..high };
    }
    block.rounds = if random.chance(30) { 2 } else { 1 };
}

struct Writer<'a> {
    blocks: &'a mut Blocks,
    random: &'a mut Random,
    code: Code,
    is_native: bool,
    /// Flags that may be undefined here; in free blocks, those of them that were so before the last
    /// call or return.
    undefined: u64,
    ever: u64,
    /// Loops around.
    depth: usize,
    entries: Vec<Label>,
    /// The first sub that may be called: each calls only later ones.
    first_entry: usize,
    is_in_sub: bool,
    frames: usize,
    /// Places inside instructions that may be changed.
    targets: Vec<Label>,
    /// Bytes of arguments that each sub takes.
    taken: Vec<u8>,
    /// The immediate of the first instruction of each sub, if it may be changed.
    heads: Vec<Option<Label>>,
}

impl Writer<'_> {
    fn body(&mut self, length: u64) {
        for _ in 0..length {
            match self.random.below(100) {
                0..=9 => self.skip(),
                10..=16 => self.repeat(),
                17..=24 => self.call(),
                25..=31 => self.strings(),
                32..=37 => self.pair(),
                38..=43 => self.frame(),
                44..=46 if !self.is_native => self.change_code(),
                47..=50 => self.define_flags(),
                51 | 52 if !self.is_native => self.change_flags(),
                53 | 54 if !self.is_native => self.change_controls(),
                55..=57 if !self.is_native => self.call_kernel(),
                58 | 59 => self.skip_if_none(),
                _ => self.part(),
            }
        }
    }

    fn part(&mut self) {
        let registers: &'static [Register] = match self.depth {
            0 => &[],
            1 => &[Register::R14],
            _ => &[Register::R14, Register::R15],
        };
        // Return addresses stay and frames end where they began, unless that is the engines'
        // business alone.
        let is_loose = !self.is_native && self.random.chance(10);
        let is_stack_free = !self.is_in_sub || is_loose;
        let is_rsp_free = !self.is_in_sub && self.frames == 0 || is_loose;
        let spared = Spared { registers, is_stack_free, is_rsp_free };
        let generator = match self.random.below(100) {
            0..=59 => &mut self.blocks.integer,
            60..=84 => &mut self.blocks.common,
            _ => &mut self.blocks.all,
        };
        loop {
            let mut undefined = self.undefined;
            if let Some(code) = generator.part(self.random, &mut undefined, false, spared) {
                self.code.instruction(code);
                self.ever |= undefined;
                // The interpreter fixes what an instruction leaves undefined.
                self.undefined =
                    if self.is_native { undefined } else { undefined & self.undefined };
                return;
            }
        }
    }

    /// `cmp` or `add` of registers: all flags are defined behind it.
    fn define_flags(&mut self) {
        let operands = 0xc0 | self.random.below(64) as u8 & 0b11_1000 | self.random.below(3) as u8;
        let opcode = self.random.pick(&[0x39, 0x3b]);
        let rex = self.random.pick(&[0x40, 0x48]);
        self.code.instruction([rex, opcode, operands]);
        self.undefined = 0;
    }

    /// A conditional branch over some of the code.
    fn skip(&mut self) {
        let condition = self.condition();
        let over = self.code.label();
        self.code.distance(&[0x0f, 0x80 | condition], over, &[]);
        let before = self.undefined;
        let length = 1 + self.random.below(3);
        self.body(length);
        self.code.place(over);
        self.undefined |= before;
    }

    /// A branch on rcx over some of the code; no flag decides it.
    fn skip_if_none(&mut self) {
        let over = self.code.label();
        self.code.instruction([0xe3, 5]);
        self.code.distance(&[0xe9], over, &[]);
        let before = self.undefined;
        let length = 1 + self.random.below(2);
        self.body(length);
        self.code.place(over);
        self.undefined |= before;
    }

    /// Flags by memory: the direction of strings, all that are tested, or one that asks for a stop
    /// behind each instruction.
    fn change_flags(&mut self) {
        // What is undefined would be pushed.
        self.define_flags();
        let flags = self.random.pick(&[0x400_u32, 0x8d5, 0x41, 0x4_0000, 0x100, 0x895]);
        // pushfq; or or xor dword [rsp], flags; popfq
        let opcode = self.random.pick(&[0x0c, 0x34]);
        self.code.instruction([0x9c]);
        self.code.instruction([&[0x81, opcode, 0x24][..], &flags.to_le_bytes()].concat());
        self.code.instruction([0x9d]);
        self.undefined = 0;
        if self.random.chance(70) {
            let length = 1 + self.random.below(3);
            self.body(length);
        }
        // cld, and the others as they may be.
        self.code.instruction([0xfc]);
    }

    /// How SSE calculates.
    fn change_controls(&mut self) {
        let controls = self.random.pick(&CONTROLS).to_le_bytes();
        // push 0; mov dword [rsp], controls; ldmxcsr [rsp]; pop rdx
        self.code.instruction([0x6a, 0]);
        self.code.instruction([&[0xc7, 0x04, 0x24][..], &controls].concat());
        self.code.instruction([0x0f, 0xae, 0x14, 0x24]);
        self.code.instruction([0x5a]);
    }

    /// A call into the trap range, directly, by r11 or by memory.
    fn call_kernel(&mut self) {
        let number = self.random.below(KERNEL_CALLS) as usize;
        let to = self.code.beyond(FIRST_CALL as usize + CALL_BYTES as usize * number);
        match self.random.below(4) {
            0 => self.code.distance(&[0xe8], to, &[]),
            1 | 2 => {
                self.code.distance(&[0x4c, 0x8d, 0x1d], to, &[]);
                self.code.instruction([0x41, 0xff, 0xd3]);
            }
            _ => {
                self.code.distance(&[0x4c, 0x8d, 0x1d], to, &[]);
                // mov [rbx+8], r11; call [rbx+8]
                self.code.instruction([0x4c, 0x89, 0x5b, 8]);
                self.code.instruction([0xff, 0x53, 8]);
            }
        }
        self.undefined = STATUS;
        self.define_flags();
    }

    /// A condition whose flags are defined, made so if necessary.
    fn condition(&mut self) -> u8 {
        if self.undefined != 0 {
            self.define_flags();
        }
        self.random.below(16) as u8
    }

    /// A loop of a few passes.
    fn repeat(&mut self) {
        let Some(counter) = COUNTERS.get(self.depth).copied() else { return };
        let passes = 1 + self.random.below(5) as u8;
        self.code.instruction([0x41, 0xb8 | counter, passes, 0, 0, 0]);
        let head = self.code.label();
        self.code.place(head);
        self.undefined = STATUS;
        if self.random.chance(60) {
            self.define_flags();
        }
        self.depth += 1;
        let length = 1 + self.random.below(4);
        self.body(length);
        self.depth -= 1;
        if self.random.chance(20) {
            // Out of the loop in its middle.
            let condition = self.condition();
            let out = self.code.label();
            self.code.distance(&[0x0f, 0x80 | condition], out, &[]);
            self.count(counter, head);
            self.code.place(out);
        } else {
            self.count(counter, head);
        }
    }

    /// `sub counter, 1` or `dec`, and the branch back.
    fn count(&mut self, counter: u8, head: Label) {
        if self.random.chance(50) {
            self.code.instruction([0x41, 0x83, 0xe8 | counter, 1]);
            self.undefined = 0;
        } else {
            self.code.instruction([0x41, 0xff, 0xc8 | counter]);
            self.undefined &= 1;
        }
        self.code.distance(&[0x0f, 0x85], head, &[]);
    }

    /// A call, directly or through r11 or memory; also a jump through r11.
    fn call(&mut self) {
        let lea = [0x4c, 0x8d, 0x1d];
        let entry = self.entries.get(self.first_entry..).filter(|entries| !entries.is_empty());
        let Some(entries) = entry else {
            let over = self.code.label();
            self.code.distance(&lea, over, &[]);
            if self.random.chance(50) {
                self.code.instruction([0x41, 0xff, 0xe3]);
            } else {
                // mov [rbx+0x18], r11; jmp [rbx+0x18]
                self.code.instruction([0x4c, 0x89, 0x5b, 0x18]);
                self.code.instruction([0xff, 0x63, 0x18]);
            }
            self.code.place(over);
            self.undefined = STATUS;
            return;
        };
        let index = self.random.below(entries.len() as u64) as usize;
        let (entry, number) = (entries[index], self.first_entry + index);
        if let Some(head) = self.heads[number].filter(|_| self.random.chance(40)) {
            let value = self.random.next() as u8;
            self.code.distance(&[0xc6, 0x05], head, &[value]);
        }
        for _ in 0..self.taken[number] / 8 {
            self.code.instruction([0x50 | self.random.pick(&[0_u8, 1, 2, 6, 7])]);
        }
        match self.random.below(4) {
            0 | 1 => self.code.distance(&[0xe8], entry, &[]),
            2 => {
                self.code.distance(&lea, entry, &[]);
                self.code.instruction([0x41, 0xff, 0xd3]);
            }
            _ => {
                let offset = self.random.below(0x70) as u8;
                self.code.distance(&lea, entry, &[]);
                // mov [rbx+offset], r11; call [rbx+offset]
                self.code.instruction([0x4c, 0x89, 0x5b, offset]);
                self.code.instruction([0xff, 0x53, offset]);
            }
        }
        self.undefined = STATUS;
        if self.random.chance(50) {
            self.define_flags();
        }
    }

    /// One that can be called.
    fn sub(&mut self, number: usize) {
        self.code.place(self.entries[number]);
        self.first_entry = number + 1;
        self.is_in_sub = true;
        self.undefined = STATUS;
        if let Some(head) = self.heads[number] {
            self.code.split(&[0xb8], head, [1, 2, 3, 4]);
        }
        if self.random.chance(60) {
            self.define_flags();
        }
        // What a loop around the call counts with is kept.
        self.depth = COUNTERS.len();
        let length = 1 + self.random.below(6);
        self.body(length);
        match self.taken[number] {
            0 => self.code.instruction([0xc3]),
            taken => self.code.instruction([0xc2, taken, 0]),
        }
        self.depth = 0;
    }

    /// A string instruction with a count, upwards or (rarely) downwards.
    fn strings(&mut self) {
        let count = match self.random.below(10) {
            0 => 0,
            1 => 1 + self.random.below(0x300) as u32,
            _ => 1 + self.random.below(24) as u32,
        };
        // lea rdi, [r12 or r13 + distance]; lea rsi, [rbp or r13 + distance]
        let to = if self.random.chance(50) { [0x49, 0x8d, 0xbd] } else { [0x49, 0x8d, 0xbc] };
        let from = if self.random.chance(50) { [0x48, 0x8d, 0xb5] } else { [0x49, 0x8d, 0xb5] };
        for lea in [to, from] {
            let distance = (self.random.below(0x200) as i32 - 0x80).to_le_bytes();
            let sib: &[u8] = if lea[2] & 7 == 4 { &[0x24] } else { &[] };
            self.code.instruction([&lea[..], sib, &distance].concat());
        }
        let is_repeated = self.random.chance(80);
        if is_repeated {
            self.code.instruction([&[0xb9][..], &count.to_le_bytes()].concat());
        }
        let is_downwards = self.random.chance(10);
        if is_downwards {
            self.code.instruction([0xfd]);
        }
        // movs, stos; cmps, lods, scas.
        let opcode = self.random.pick(&[0xa4, 0xaa, 0xa4, 0xaa, 0xa6, 0xac, 0xae]);
        let prefix = if is_repeated { self.random.pick(&[0xf3, 0xf3, 0xf2]) } else { 0x40 };
        let form: &[u8] = match self.random.below(4) {
            0 => &[],
            1 => &[0x66],
            2 => &[0x48],
            _ => &[0x40],
        };
        let opcode = if form.is_empty() { opcode } else { opcode | 1 };
        let all = match form {
            [0x66] => [&[0x66, prefix][..], &[opcode]].concat(),
            _ => [&[prefix][..], form, &[opcode]].concat(),
        };
        self.code.instruction(all);
        if is_downwards {
            self.code.instruction([0xfc]);
        }
    }

    /// Push, something, pop.
    fn pair(&mut self) {
        let from = self.random.below(8) as u8;
        match self.random.below(7) {
            0 | 1 => self.code.instruction([0x6a, self.random.next() as u8]),
            2 | 3 => self.code.instruction([0x50 | from]),
            4 | 5 => self.code.instruction([0x41, 0x50 | from]),
            // push [rbx+distance]
            _ => self.code.instruction([0xff, 0x73, from * 8]),
        }
        self.frames += 1;
        if self.random.chance(60) {
            self.part_beside_frame();
        }
        self.frames -= 1;
        // rax, rcx, rdx, rsi, rdi or r8 to r11.
        let to = self.random.pick(&[0_u8, 1, 2, 6, 7]);
        if self.random.chance(10) {
            // pop [rbx+distance]
            self.code.instruction([0x8f, 0x43, to * 8]);
        } else if self.random.chance(50) {
            self.code.instruction([0x58 | to]);
        } else {
            self.code.instruction([0x41, 0x58 | to & 3]);
        }
    }

    /// An instruction that leaves the stack alone.
    fn part_beside_frame(&mut self) {
        let was_in_sub = std::mem::replace(&mut self.is_in_sub, true);
        self.part();
        self.is_in_sub = was_in_sub;
    }

    /// `sub rsp`, something that mostly writes there first, `add rsp`.
    fn frame(&mut self) {
        let size_bytes = self.random.pick(&FRAME_BYTES);
        self.code.instruction([0x48, 0x83, 0xec, size_bytes]);
        self.undefined = 0;
        self.frames += 1;
        for _ in 0..self.random.below(4) {
            let slot = 8 * self.random.below(u64::from(size_bytes) / 8) as u8;
            let register = self.random.pick(&[0_u8, 1, 2, 6, 7]);
            let opcode = if self.random.chance(75) { 0x89 } else { 0x8b };
            let rex = self.random.pick(&[0x40, 0x48, 0x48]);
            self.code.instruction([rex, opcode, 0x44 | register << 3, 0x24, slot]);
        }
        for _ in 0..self.random.below(3) {
            self.part_beside_frame();
        }
        self.frames -= 1;
        self.code.instruction([0x48, 0x83, 0xc4, size_bytes]);
        self.undefined = 0;
    }

    /// An instruction with an immediate that another changes, before or after it ran.
    fn change_code(&mut self) {
        let value = self.random.next() as u8;
        if self.targets.is_empty() || self.random.chance(60) {
            let label = self.code.label();
            self.targets.push(label);
            if self.random.chance(60) {
                self.code.distance(&[0xc6, 0x05], label, &[value]);
            }
            // mov eax, value
            self.code.split(&[0xb8], label, [value, 1, 2, 3]);
        } else {
            let label = self.random.pick(&self.targets);
            self.code.distance(&[0xc6, 0x05], label, &[value]);
        }
    }
}
