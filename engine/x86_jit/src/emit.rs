//! A list of host instructions with labels, and what each belongs to.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, IcedError, Instruction, InstructionBlock,
    MemoryOperand, Register,
};

use crate::context::Places;

/// A place in the list that branches lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(u64);

/// What a host instruction belongs to, so that a fault in it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Number of the guest instruction in the block.
    pub(crate) guest: u16,
    /// Register whose value is in `Context::borrowed`.
    pub(crate) borrowed: Option<u8>,
    /// Whether the value of rcx is in `Context::borrowed_rcx`.
    pub(crate) has_rcx: bool,
    /// What is to be added to rsp before anybody else looks at it.
    pub(crate) behind: i16,
}

impl Owner {
    pub(crate) fn of(guest: u16) -> Self {
        Self { guest, borrowed: None, has_rcx: false, behind: 0 }
    }
}

/// The list. The first error sticks and comes out of `assemble`.
#[derive(Debug)]
pub(crate) struct Emit {
    pub(crate) places: Places,
    pub(crate) owner: Owner,
    code: Vec<Instruction>,
    owners: Vec<Owner>,
    labels: u64,
    pending: Option<Label>,
    error: Option<IcedError>,
}

/// Assembled code.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) bytes: Vec<u8>,
    /// Offset of each host instruction, by its number in the list.
    pub(crate) offsets: Vec<u32>,
    pub(crate) owners: Vec<Owner>,
}

impl Emit {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            places,
            owner: Owner::of(0),
            code: Vec::new(),
            owners: Vec::new(),
            labels: 0,
            pending: None,
            error: None,
        }
    }

    /// Number of the next instruction.
    pub(crate) fn next(&self) -> usize {
        self.code.len()
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Puts a label here. Two labels at one place are made two places by a `nop`.
    pub(crate) fn place(&mut self, label: Label) {
        if self.pending.is_some() {
            self.raw(Instruction::with(Code::Nopd));
        }
        self.pending = Some(label);
    }

    fn raw(&mut self, mut ins: Instruction) {
        // Labels are addresses that the encoder resolves; 0 is none.
        ins.set_ip(self.pending.take().map_or(0, |label| label.0));
        self.code.push(ins);
        self.owners.push(self.owner);
    }

    pub(crate) fn push(&mut self, ins: Result<Instruction, IcedError>) {
        match ins {
            Ok(ins) => self.raw(ins),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }

    /// Copies an instruction that has no memory operand relative to RIP.
    pub(crate) fn copy(&mut self, ins: &Instruction) {
        self.raw(*ins);
    }

    pub(crate) fn simple(&mut self, code: Code) {
        self.raw(Instruction::with(code));
    }

    pub(crate) fn branch(&mut self, code: Code, to: Label) {
        self.push(Instruction::with_branch(code, to.0));
    }

    pub(crate) fn jump_out(&mut self, to: u64) {
        self.push(Instruction::with_branch(Code::Jmp_rel32_64, to));
    }

    /// `code register, [field]`.
    pub(crate) fn load(&mut self, code: Code, register: Register, field: u64) {
        self.push(Instruction::with2(code, register, field_operand(field)));
    }

    /// `code [field], register`.
    pub(crate) fn store(&mut self, code: Code, field: u64, register: Register) {
        self.push(Instruction::with2(code, field_operand(field), register));
    }

    /// `code [field], immediate`.
    pub(crate) fn store_imm(&mut self, code: Code, field: u64, value: i32) {
        self.push(Instruction::with2(code, field_operand(field), value));
    }

    /// `code [field]`.
    pub(crate) fn on_field(&mut self, code: Code, field: u64) {
        self.push(Instruction::with1(code, field_operand(field)));
    }

    pub(crate) fn mov_imm64(&mut self, register: Register, value: u64) {
        self.push(Instruction::with2(Code::Mov_r64_imm64, register, value));
    }

    /// Counts an event down, without touching flags.
    pub(crate) fn count(&mut self) {
        if self.places.is_wide {
            let (left, all) = (Register::K2, Register::K3);
            self.push(Instruction::with3(Code::VEX_Kaddq_kr_kr_kr, left, left, all));
            return;
        }
        let (left, one) = (Register::MM0, Register::MM1);
        self.push(Instruction::with2(Code::Psubq_mm_mmm64, left, one));
        self.store(Code::Movq_mmm64_mm, self.places.left(), left);
    }

    /// Sets the zero flag if no event is left.
    pub(crate) fn test_count(&mut self) {
        if self.places.is_wide {
            self.push(Instruction::with2(Code::VEX_Kortestq_kr_kr, Register::K2, Register::K2));
        } else {
            self.store_imm(Code::Cmp_rm64_imm8, self.places.left(), 0);
        }
    }

    /// The events left go to rcx, without touching flags.
    pub(crate) fn count_to_rcx(&mut self) {
        if self.places.is_wide {
            self.push(Instruction::with2(Code::VEX_Kmovq_r64_kr, Register::RCX, Register::K2));
        } else {
            self.load(Code::Mov_r64_rm64, Register::RCX, self.places.left());
        }
    }

    /// What code relies on in registers that no guest has: the count from memory to where code
    /// keeps it, and ones.
    pub(crate) fn load_count(&mut self) {
        if self.places.is_wide {
            let (all, ones) = (Register::K3, Register::ZMM16);
            self.load(Code::VEX_Kmovq_kr_km64, Register::K2, self.places.left());
            self.push(Instruction::with3(Code::VEX_Kxnorq_kr_kr_kr, all, all, all));
            let set = Code::EVEX_Vpternlogq_zmm_k1z_zmm_zmmm512b64_imm8;
            self.push(Instruction::with4(set, ones, ones, ones, 0xff_u32));
            return;
        }
        self.load(Code::Movq_mm_mmm64, Register::MM0, self.places.left());
        self.load(Code::Movq_mm_mmm64, Register::MM1, self.places.one());
    }

    /// The count to memory, where Rust looks for it.
    pub(crate) fn store_count(&mut self) {
        if self.places.is_wide {
            self.store(Code::VEX_Kmovq_m64_kr, self.places.left(), Register::K2);
        }
    }

    /// The status flags from al and ah, as `lahf` and `seto al` left them.
    pub(crate) fn restore_flags(&mut self) {
        self.push(Instruction::with2(Code::Add_AL_imm8, Register::AL, 0x7f));
        self.simple(Code::Sahf);
    }

    /// Goes to the landing of the guest address in r11. rcx is put away.
    pub(crate) fn jump_by_table(&mut self) {
        self.mov_imm64(Register::RCX, self.places.table_eighth());
        self.push(Instruction::with2(Code::Mov_r16_rm16, Register::CX, Register::R11W));
        let (none, slot) = (Register::None, Register::RCX);
        let place = MemoryOperand::new(none, slot, 8, 0, 8, false, none);
        self.push(Instruction::with1(Code::Jmp_rm64, place));
    }

    /// Adds a register to another without touching flags.
    pub(crate) fn add_without_flags(&mut self, to: Register, what: Register) {
        let sum = MemoryOperand::with_base_index(to, what);
        self.push(Instruction::with2(Code::Lea_r64_m, to, sum));
    }

    /// Moves rsp without touching flags.
    pub(crate) fn move_rsp(&mut self, by: i64) {
        let to = MemoryOperand::with_base_displ(Register::RSP, by);
        self.push(Instruction::with2(Code::Lea_r64_m, Register::RSP, to));
    }

    /// Encodes the list at an address; branches keep their forms.
    pub(crate) fn assemble(mut self, at: u64) -> Result<Assembled, IcedError> {
        if self.pending.is_some() {
            self.simple(Code::Nopd);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let options = BlockEncoderOptions::DONT_FIX_BRANCHES
            | BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let block = InstructionBlock::new(&self.code, at);
        let result = BlockEncoder::encode(64, block, options)?;
        Ok(Assembled {
            bytes: result.code_buffer,
            offsets: result.new_instruction_offsets,
            owners: self.owners,
        })
    }
}

/// A field of the context, relative to RIP.
fn field_operand(field: u64) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RIP, field.cast_signed())
}
