//! Makes random cases: one instruction, or a short straight-line program with forward branches.
//!
//! Registers, immediates and memory are random with a taste for edges; then registers or
//! displacements are adjusted so that memory operands lie in or beside the window.

use cpu::Registers;
use iced_x86::{
    Code, ConstantOffsets, Decoder, DecoderOptions, FlowControl, Instruction,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, RflagsBits,
};
use x86_ops::undefined_flags::ever_undefined;

use super::allow;
use super::case::{CODE, Case, WINDOW, WINDOW_BYTES, tag_word};
use super::random::Random;
use super::templates::{Template, Templates};

/// Code of a case ends here, so that the interpreter can treat what follows as its trap range.
pub(crate) const END: u64 = CODE + 0x800;
/// A jump of a case goes at most this far behind its end.
const LANDING_BYTES: u64 = 0x100;

/// Makes cases.
#[derive(Debug)]
pub(crate) struct Generator {
    templates: Templates,
    info: InstructionInfoFactory,
    is_supported: fn(&Instruction) -> bool,
}

/// What an instruction of a program leaves alone, beside the registers that hold addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spared {
    /// Registers that it does not write.
    pub registers: &'static [Register],
    /// Whether it may have an operand relative to rsp.
    pub is_stack_free: bool,
    /// Whether it may push and pop.
    pub is_rsp_free: bool,
}

impl Spared {
    /// Of a program without calls: nothing.
    const PROGRAM: Self = Self { registers: &[], is_stack_free: true, is_rsp_free: true };
}

/// The random values that a case starts from.
pub(crate) struct Draft {
    pub registers: Registers,
    pub memory: Box<[u8; WINDOW_BYTES]>,
}

impl Generator {
    /// A generator for these encodings.
    pub(crate) fn new(templates: Templates, is_supported: fn(&Instruction) -> bool) -> Self {
        Self { templates, info: InstructionInfoFactory::new(), is_supported }
    }

    /// The instructions it can make.
    pub(crate) fn codes(&self) -> Vec<Code> {
        self.templates.list.iter().map(|(code, _)| *code).collect()
    }

    /// A case of one instruction, drawn evenly from all.
    pub(crate) fn single(&mut self, random: &mut Random) -> Case {
        let index = random.below(self.templates.list.len() as u64) as usize;
        loop {
            if let Some(case) = self.single_of(index, random) {
                return case;
            }
        }
    }

    /// A case of the instruction at `index` of [`Self::codes`], or `None` if this attempt did not
    /// work out.
    pub(crate) fn single_of(&mut self, index: usize, random: &mut Random) -> Option<Case> {
        let (_, templates) = self.templates.list.get(index)?;
        let template = random.pick(templates);
        let mut code = encode(template, random);
        let decoded = decode(&mut code, random)?;
        if !(self.is_supported)(&decoded.0) {
            return None;
        }
        let mut draft = draft(random, decoded.0.code());
        let address = END - code.len() as u64;
        let target = target(random, &decoded.0);
        self.aim(&mut draft, &mut code, &decoded, (address, target), random)?;
        draft.registers.rip = address;
        Some(Case {
            address,
            code,
            before: draft.registers,
            memory: draft.memory,
            ignored_flags: 0,
            ignored_at_fault: 0,
        })
    }

    /// A program of 2 to 12 instructions.
    pub(crate) fn program(&mut self, random: &mut Random) -> Case {
        let draft = program_draft(random);
        let length = 2 + random.below(11) as usize;
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let (mut undefined, mut ever) = (0, 0);
        // How many of the next instructions a jump may skip.
        let mut skippable = 0_u32;
        while parts.len() < length {
            if random.chance(12) && parts.len() + 2 < length && undefined == 0 {
                parts.push(Vec::new());
                skippable = 3;
                continue;
            }
            if let Some(code) = self.part(random, &mut undefined, skippable > 0, Spared::PROGRAM) {
                parts.push(code);
                ever |= undefined;
                skippable = skippable.saturating_sub(1);
            }
        }
        let code = join(&parts, random);
        draft.ending_at_end(code, undefined, ever)
    }

    /// One instruction of a program. `undefined` are the flags that may be undefined before it, and
    /// then after it.
    pub(crate) fn part(
        &mut self,
        random: &mut Random,
        undefined: &mut u64,
        is_skippable: bool,
        spared: Spared,
    ) -> Option<Vec<u8>> {
        let index = random.below(self.templates.list.len() as u64) as usize;
        let (code, templates) = self.templates.list.get(index)?;
        let straight = code.flow_control() == FlowControl::Next;
        let skip = matches!(
            code.mnemonic(),
            Mnemonic::Popf
                | Mnemonic::Popfq
                | Mnemonic::Std
                | Mnemonic::Leave
                | Mnemonic::Enter
                | Mnemonic::Ldmxcsr
                | Mnemonic::Fldcw
                | Mnemonic::Fxrstor
                | Mnemonic::Fxrstor64
        );
        if !straight || skip || depends_on_undefined(code.mnemonic()) {
            return None;
        }
        let template = random.pick(templates);
        let mut bytes = encode_simple(template, random);
        let (instruction, _) = decode(&mut bytes, random)?;
        let info = self.info.info(&instruction);
        let writes = |r: Register| {
            info.used_registers().iter().any(|used| {
                used.register().full_register() == r
                    && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
            })
        };
        let far = info.used_memory().iter().any(|memory| {
            let on_stack = memory.base() == Register::RSP && spared.is_stack_free;
            let plain = POINTERS.contains(&memory.base()) || on_stack;
            !plain || memory.index() != Register::None
        });
        let moves_rsp = instruction.is_stack_instruction() && spared.is_rsp_free;
        let bit_string = allow::is_bit_string(&instruction);
        if POINTERS.iter().chain(spared.registers).any(|register| writes(*register))
            || writes(Register::RSP) && !moves_rsp
            || far
            || bit_string
        {
            return None;
        }
        let reads = hardware_flags(instruction.rflags_read());
        if reads & *undefined != 0 {
            return None;
        }
        // A count of zero leaves the flags alone, so only plain writers define them.
        let is_plain = !is_skippable && !writes_flags_conditionally(&instruction);
        if is_plain {
            let defined = instruction.rflags_written()
                | instruction.rflags_cleared()
                | instruction.rflags_set();
            *undefined &= !hardware_flags(defined);
        }
        *undefined |= ever_undefined(&instruction);
        Some(bytes)
    }

    /// Adjusts registers, displacement and memory so that the case does what it should.
    fn aim(
        &mut self,
        draft: &mut Draft,
        code: &mut [u8],
        decoded: &(Instruction, ConstantOffsets),
        (address, target): (u64, u64),
        random: &mut Random,
    ) -> Option<()> {
        let (instruction, offsets) = decoded;
        aim_implicit(draft, instruction, target, random);
        if allow::is_bit_string(instruction) {
            let index = instruction.op1_register().full_register();
            let (base, scaled) = (instruction.memory_base(), instruction.memory_index());
            if index == base.full_register() || index == scaled.full_register() {
                return None;
            }
            *gpr(&mut draft.registers, index)? = random.below(4096).wrapping_sub(2048);
        }
        let has_modrm_memory =
            (0..instruction.op_count()).any(|i| matches!(instruction.op_kind(i), OpKind::Memory));
        if has_modrm_memory {
            aim_operand(draft, code, instruction, offsets, (address, target), random)?;
        }
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        aim_branch(draft, code, &instruction, offsets, random)?;
        allow::is_harmless_here(&mut self.info, &draft.registers, &instruction).then_some(())
    }
}

/// Registers that hold addresses throughout a program.
pub(crate) const POINTERS: [Register; 4] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13];

fn gpr(registers: &mut Registers, register: Register) -> Option<&mut u64> {
    let full = register.full_register();
    if !full.is_gpr64() { None } else { registers.gpr.get_mut(full.number()) }
}

impl Draft {
    /// The case of a program that lies before [`END`].
    pub(crate) fn ending_at_end(mut self, code: Vec<u8>, undefined: u64, ever: u64) -> Case {
        let address = END - code.len() as u64;
        self.registers.rip = address;
        Case {
            address,
            code,
            before: self.registers,
            memory: self.memory,
            ignored_flags: undefined,
            ignored_at_fault: ever,
        }
    }
}

/// What a program starts from: registers that hold addresses in the window, and a stack in it.
pub(crate) fn program_draft(random: &mut Random) -> Draft {
    let mut draft = draft(random, Code::INVALID);
    draft.registers.rflags &= !(1 << 10);
    // These hold addresses inside the window, and no instruction of the program writes them.
    for (register, offset) in POINTERS.into_iter().zip([0x400, 0xff0, 0x1000, 0x1800]) {
        if let Some(slot) = draft.registers.gpr.get_mut(register.number()) {
            *slot = WINDOW + offset + 16 * random.below(16);
        }
    }
    draft.registers.gpr[4] = WINDOW + 0x800 + 8 * random.below(32);
    draft
}

/// Random registers, flags and memory.
fn draft(random: &mut Random, code: Code) -> Draft {
    let mut registers = Registers::new();
    for value in &mut registers.gpr {
        *value = random.integer();
    }
    for value in &mut registers.xmm {
        *value = random.vector();
    }
    let status = random.next() & 0x8d5;
    let direction = if random.chance(15) { 1 << 10 } else { 0 };
    registers.rflags = 0x202 | status | direction;
    registers.is_user = random.chance(30);
    if random.chance(40) {
        let unmasked = if random.chance(15) { random.next() as u32 & 0x1f80 } else { 0 };
        let controls = random.next() as u32 & if random.chance(30) { 0xe040 } else { 0x6000 };
        registers.mxcsr = (0x1f80 ^ unmasked) | controls | random.next() as u32 & 0x3f;
    }
    let mnemonic = code.mnemonic();
    let fpu = format!("{mnemonic:?}").starts_with('F') || mnemonic == Mnemonic::Emms;
    if fpu && mnemonic != Mnemonic::INVALID {
        draft_x87(&mut registers, random);
    }
    let mut memory = Box::new([0; WINDOW_BYTES]);
    for chunk in memory.chunks_exact_mut(16) {
        chunk.copy_from_slice(&random.next().to_le_bytes().repeat(2));
    }
    for _ in 0..8 {
        let at = 16 * random.below(WINDOW_BYTES as u64 / 16) as usize;
        if let Some(slot) = memory.get_mut(at..at + 16) {
            slot.copy_from_slice(&random.vector().to_le_bytes());
        }
    }
    Draft { registers, memory }
}

fn draft_x87(registers: &mut Registers, random: &mut Random) {
    let in_use = match random.below(4) {
        0 => 0,
        1 => random.next() as u8,
        _ => 0xff,
    };
    registers.x87_tag = tag_word(in_use);
    for value in &mut registers.x87 {
        *value = random.extended();
    }
    let top = random.below(8) as u16;
    let conditions = random.next() as u16 & 0x4700;
    let flags = if random.chance(30) { random.next() as u16 & 0x7f } else { 0 };
    registers.x87_status = top << 11 | conditions | flags;
    let rounding = random.below(4) as u16;
    let precision = random.pick(&[0, 2, 2, 3]);
    registers.x87_control = 0x7f | precision << 8 | rounding << 10;
    // Flags of unmasked exceptions would be pending already.
    if random.chance(10) {
        registers.x87_control &= !(random.next() as u16 & 0x3f & !registers.x87_status);
    }
}

/// Where the memory operand should lie.
fn target(random: &mut Random, instruction: &Instruction) -> u64 {
    let size = instruction.memory_size().size() as u64;
    let end = WINDOW + WINDOW_BYTES as u64;
    let page = WINDOW + 0x1000;
    let is_aligned = random.chance(80);
    let align = |at: u64| {
        let aligned = if is_aligned { at & !15 } else { at };
        if size > 16 { aligned & !15 } else { aligned }
    };
    match random.below(100) {
        0..=59 => align(WINDOW + 0x40 + random.below(WINDOW_BYTES as u64 - 0x400)),
        60..=69 => page.wrapping_sub(random.below(size + 1)),
        70..=74 => end.wrapping_sub(random.below(size + 2)),
        75..=79 => align(end + random.below(0x800)),
        80..=84 => WINDOW.wrapping_sub(random.below(size + 2)),
        85..=89 => align(end + 0x1000 - random.below(size + 2)),
        90..=93 => align(random.below(0xf00)),
        94..=96 => align(WINDOW - 0x2000 + random.below(0x1000)),
        _ => align(0x8000_0000_0000_u64 + (random.next() >> 17)),
    }
}

/// Sets the registers that an instruction uses as addresses or counts without naming them.
fn aim_implicit(draft: &mut Draft, instruction: &Instruction, target: u64, random: &mut Random) {
    let registers = &mut draft.registers;
    if instruction.is_string_instruction() || instruction.mnemonic() == Mnemonic::Maskmovdqu {
        let other = self::target(random, instruction);
        let pair = if random.chance(50) { (target, other) } else { (other, target) };
        registers.gpr[6] = pair.0;
        registers.gpr[7] = pair.1;
        // Near each other: overlapping copies.
        if random.chance(20) {
            registers.gpr[7] = pair.0.wrapping_add(random.below(32)).wrapping_sub(16);
        }
        let has_rep = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        if has_rep && random.chance(95) {
            registers.gpr[1] = random.below(40);
        }
        let kind = instruction.op0_kind();
        let short = [OpKind::MemoryESEDI, OpKind::MemorySegEDI, OpKind::MemorySegESI];
        if short.contains(&kind) || short.contains(&instruction.op1_kind()) {
            for register in [1, 6, 7] {
                if let Some(slot) = registers.gpr.get_mut(register)
                    && *slot >> 32 == 0
                {
                    *slot |= random.next() << 32;
                }
            }
        }
    }
    if instruction.mnemonic() == Mnemonic::Xlatb {
        registers.gpr[3] = target;
    }
    if instruction.is_stack_instruction() || instruction.mnemonic() == Mnemonic::Enter {
        let at = if random.chance(85) {
            WINDOW + 0x400 + 8 * random.below(0x200)
        } else {
            self::target(random, instruction)
        };
        registers.gpr[4] = at;
        if matches!(instruction.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
            registers.gpr[5] = if random.chance(80) { at + 0x40 } else { target };
        }
    }
    let scratch = matches!(instruction.mnemonic(), Mnemonic::Popf | Mnemonic::Popfq);
    if scratch {
        // A set TF, AC or NT would outlive the case on the host.
        write(draft, |stack| stack & 0x0cd5);
    }
}

/// Rewrites the quadword at rsp if it lies in the window.
fn write(draft: &mut Draft, f: impl Fn(u64) -> u64) {
    let at = draft.registers.gpr[4].wrapping_sub(WINDOW) as usize;
    let Some(slot) = draft.memory.get_mut(at..at.saturating_add(8)) else { return };
    let old = u64::from_le_bytes(slot.try_into().expect("eight bytes"));
    slot.copy_from_slice(&f(old).to_le_bytes());
}

/// Solves base + index * scale + disp = target.
fn aim_operand(
    draft: &mut Draft,
    code: &mut [u8],
    instruction: &Instruction,
    offsets: &ConstantOffsets,
    (address, target): (u64, u64),
    random: &mut Random,
) -> Option<()> {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    let short = base.is_gpr32() || index.is_gpr32() || base == Register::EIP;
    if short && target >> 32 != 0 {
        return None;
    }
    let segment =
        if instruction.segment_prefix() == Register::GS { draft.registers.gs_base } else { 0 };
    let want = target.wrapping_sub(segment);
    let scale = u64::from(instruction.memory_index_scale());
    let disp = instruction.memory_displacement64();
    if base.is_ip() {
        let next = address + instruction.len() as u64;
        return patch_disp(code, offsets, want.wrapping_sub(next));
    }
    if index == Register::None {
        return match gpr(&mut draft.registers, base) {
            Some(slot) => {
                *slot = junk_above(want.wrapping_sub(disp), short, random);
                Some(())
            }
            None => patch_disp(code, offsets, want),
        };
    }
    if base == Register::None || base.full_register() == index.full_register() {
        let factor = scale + u64::from(base != Register::None);
        let value = random.below(0x1000_0000);
        *gpr(&mut draft.registers, index)? = value;
        return patch_disp(code, offsets, want.wrapping_sub(value * factor));
    }
    let index_value = gpr(&mut draft.registers, index).copied()?;
    let rest = want.wrapping_sub(index_value.wrapping_mul(scale)).wrapping_sub(disp);
    *gpr(&mut draft.registers, base)? = junk_above(rest, short, random);
    Some(())
}

/// With 32-bit addressing the upper half of a register must not matter.
fn junk_above(value: u64, short: bool, random: &mut Random) -> u64 {
    if short { value & 0xffff_ffff | random.next() << 32 } else { value }
}

fn patch_disp(code: &mut [u8], offsets: &ConstantOffsets, disp: u64) -> Option<()> {
    let (at, size) = (offsets.displacement_offset(), offsets.displacement_size());
    let fits = match size {
        8 => true,
        4 => disp as i64 == i64::from(disp as i32),
        _ => false,
    };
    if !fits {
        return None;
    }
    let bytes = disp.to_le_bytes();
    code.get_mut(at..at + size)?.copy_from_slice(bytes.get(..size)?);
    Some(())
}

/// Makes a branch land behind the code, or where a fault is expected.
fn aim_branch(
    draft: &mut Draft,
    code: &mut [u8],
    instruction: &Instruction,
    offsets: &ConstantOffsets,
    random: &mut Random,
) -> Option<()> {
    let landing = END + 5 + random.below(LANDING_BYTES);
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Exception | FlowControl::Interrupt => Some(()),
        FlowControl::IndirectBranch | FlowControl::IndirectCall => {
            if instruction.op0_kind() == OpKind::Register {
                *gpr(&mut draft.registers, instruction.op0_register())? = landing;
            } else {
                let at = operand_address(draft, instruction)?.wrapping_sub(WINDOW) as usize;
                if let Some(slot) = draft.memory.get_mut(at..at.saturating_add(8)) {
                    slot.copy_from_slice(&landing.to_le_bytes());
                }
            }
            Some(())
        }
        FlowControl::Return => {
            write(draft, |_| landing);
            Some(())
        }
        _ => {
            let (at, size) = (offsets.immediate_offset(), offsets.immediate_size());
            let furthest = if size == 1 { 100 } else { LANDING_BYTES };
            let distance = (5 + random.below(furthest)).to_le_bytes();
            code.get_mut(at..at + size)?.copy_from_slice(distance.get(..size)?);
            Some(())
        }
    }
}

fn operand_address(draft: &Draft, instruction: &Instruction) -> Option<u64> {
    instruction.virtual_address(0, 0, |register, _, _| {
        if register.is_segment_register() {
            return Some(if register == Register::GS { draft.registers.gs_base } else { 0 });
        }
        let full = draft.registers.gpr.get(register.full_register().number()).copied()?;
        Some(if register.size() == 4 { full & 0xffff_ffff } else { full })
    })
}

/// Instructions with a result, or x87 conditions, that can be undefined.
fn depends_on_undefined(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Bsf
            | Mnemonic::Bsr
            | Mnemonic::Bswap
            | Mnemonic::Shld
            | Mnemonic::Shrd
            | Mnemonic::Fnstsw
            | Mnemonic::Fxsave
            | Mnemonic::Fxsave64
    )
}

fn writes_flags_conditionally(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Shl
            | Mnemonic::Sal
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Rol
            | Mnemonic::Ror
            | Mnemonic::Rcl
            | Mnemonic::Rcr
    ) || instruction.is_string_instruction()
}

/// RFLAGS bits for iced's.
fn hardware_flags(bits: u32) -> u64 {
    let pairs = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::DF, 10),
        (RflagsBits::OF, 11),
    ];
    pairs.into_iter().filter(|(bit, _)| bits & bit != 0).fold(0, |flags, (_, at)| flags | 1 << at)
}

/// Encodes with random operands and now and then needless prefixes.
fn encode(template: Template, random: &mut Random) -> Vec<u8> {
    let mut code = Vec::with_capacity(32);
    if random.chance(6) {
        code.push(0x67);
    }
    if random.chance(6) {
        code.push(random.pick(&[0x65, 0x65, 0x2e, 0x3e, 0x26, 0x36]));
    }
    if random.chance(6) {
        code.push(random.pick(&[0xf0, 0xf0, 0x66, 0xf2, 0xf3]));
    }
    let extensions = if random.chance(60) { random.next() as u8 & 7 } else { 0 };
    let bare = if random.chance(20) { 0x40 } else { 0 };
    template.push_opcode(&mut code, u8::from(template.wide) << 3 | extensions | bare);
    let reg = template.reg << 3;
    match template.rm {
        Some(rm) => code.push(0xc0 | reg | rm),
        None => {
            let mode = random.pick(&[0, 0x40, 0x80, 0x80]);
            code.push(mode | reg | random.next() as u8 & 7);
        }
    }
    // SIB, displacement, immediate: whatever of it the decoder takes.
    code.extend(random.next().to_le_bytes());
    code.extend(random.next().to_le_bytes());
    code
}

/// Encodes with a memory operand at a pointer register of a program.
fn encode_simple(template: Template, random: &mut Random) -> Vec<u8> {
    let mut code = Vec::with_capacity(32);
    if template.rm.is_some() {
        let extensions = if random.chance(60) { random.next() as u8 & 7 } else { 0 };
        template.push_opcode(&mut code, u8::from(template.wide) << 3 | extensions);
        code.push(0xc0 | template.reg << 3 | template.rm.unwrap_or(0));
    } else {
        let (rm, extension) = random.pick(&[(3, 0), (5, 0), (5, 1), (4, 1), (4, 0)]);
        let reg = random.next() as u8 & 4;
        template.push_opcode(&mut code, u8::from(template.wide) << 3 | reg | extension);
        code.push(0x40 | template.reg << 3 | rm);
        if rm == 4 {
            code.push(0x24);
        }
        // A multiple of 16 now and then, for the operands that must be aligned.
        let disp = random.next() as u8 & 0x7f;
        code.push(if random.chance(60) { disp & !15 } else { disp });
    }
    code.extend(random.next().to_le_bytes());
    code.extend(random.next().to_le_bytes());
    code
}

/// Decodes, cuts to length, and gives the immediate an edge value now and then.
fn decode(code: &mut Vec<u8>, random: &mut Random) -> Option<(Instruction, ConstantOffsets)> {
    let mut decoder = Decoder::new(64, code.get(..code.len().min(15))?, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() || !allow::is_allowed(&instruction) {
        return None;
    }
    let offsets = decoder.get_constant_offsets(&instruction);
    code.truncate(instruction.len());
    let (at, size) = (offsets.immediate_offset(), offsets.immediate_size());
    if size != 0 && random.chance(60) {
        let value = random.integer().to_le_bytes();
        code.get_mut(at..at + size)?.copy_from_slice(value.get(..size)?);
    }
    if instruction.mnemonic() == Mnemonic::Enter {
        // Frame size and nesting level: small, or the frame leaves the window.
        let level = if random.chance(10) { random.below(4) as u8 } else { 0 };
        let value = [random.next() as u8, 0, level];
        code.get_mut(at..at + 2)?.copy_from_slice(&value[..2]);
        *code.get_mut(at + 2)? = value[2];
    }
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid() && allow::is_allowed(&instruction))
        .then(|| (instruction, decoder.get_constant_offsets(&instruction)))
}

/// Joins the instructions of a program; an empty part becomes a conditional jump over the next one
/// or two.
fn join(parts: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if part.is_empty() {
            let skipped: usize = parts
                .iter()
                .skip(index + 1)
                .take(1 + random.below(2) as usize)
                .map(|p| if p.is_empty() { 2 } else { p.len() })
                .sum();
            code.extend([0x70 | random.next() as u8 & 15, skipped as u8]);
        } else {
            code.extend(part);
        }
    }
    code
}
