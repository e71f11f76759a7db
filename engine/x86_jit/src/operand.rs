//! Memory operands of guest instructions, and which of their bytes a block has checked already.
//!
//! What was checked stays checked while the registers of its address stay: nothing in a block makes
//! a byte undefined but a new stack frame, and nothing takes a page away.

use iced_x86::{Code, Instruction, InstructionInfoFactory, MemoryOperand, OpKind, Register};

use crate::allow::{Class, writes};

/// A memory operand, redirected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(crate) base: Register,
    pub(crate) index: Register,
    pub(crate) scale: u32,
    pub(crate) disp: i64,
    pub(crate) size_bytes: u32,
}

impl Operand {
    pub(crate) fn of(ins: &Instruction) -> Self {
        let is_relative = ins.is_ip_rel_memory_operand();
        Self {
            base: ins.memory_base(),
            index: ins.memory_index(),
            scale: ins.memory_index_scale(),
            disp: if is_relative { 0 } else { ins.memory_displacement64().cast_signed() },
            size_bytes: u32::try_from(ins.memory_size().size()).unwrap_or(16),
        }
    }

    /// Parts that one comparison of so many bytes covers.
    pub(crate) fn parts(self, most_bytes: u32) -> impl Iterator<Item = Self> {
        let step = self.size_bytes.clamp(1, most_bytes);
        (0..self.size_bytes / step).map(move |n| Self {
            disp: self.disp + i64::from(n * step),
            size_bytes: step,
            ..self
        })
    }

    pub(crate) fn at(&self, segment: Register, adjust: i64) -> MemoryOperand {
        let disp = self.disp + adjust;
        // Displacements have 32 bits.
        MemoryOperand::new(self.base, self.index, self.scale, disp, 8, false, segment)
    }
}

/// 8 bytes at a distance from rsp.
pub(crate) fn stack_operand(disp: i64) -> Operand {
    Operand { base: Register::RSP, index: Register::None, scale: 1, disp, size_bytes: 8 }
}

/// A register that the instruction does not use, and neither rsp nor rcx. Those that guest code
/// rarely waits for come first, unless the encoding of ah and its like excludes them.
pub(crate) fn unused_register(ins: &Instruction) -> Register {
    use Register::{AH, BH, CH, DH, R8, R10, R11, RAX, RBX, RDI, RDX, RSI};
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(ins);
    let is_free = |register: &Register| {
        !used.used_registers().iter().any(|used| used.register().full_register() == *register)
    };
    let is_old = (0..ins.op_count()).any(|n| [AH, BH, CH, DH].contains(&ins.op_register(n)));
    let all = [R11, R10, R8, RAX, RDX, RBX, RSI, RDI];
    let new = if is_old { 3 } else { 0 };
    all.into_iter().skip(new).find(is_free).unwrap_or(RAX)
}

/// Whether a guest instruction has an explicit memory operand that is not relative to RIP.
pub(crate) fn has_plain_memory(ins: &Instruction) -> bool {
    (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory) && !ins.is_ip_rel_memory_operand()
}

/// Bytes that may be touched and are defined, at addresses formed from the registers as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    spans: Vec<Operand>,
}

/// More are not kept: the newest matter.
const MOST_SPANS: usize = 32;

impl Known {
    /// Whether all bytes are known.
    pub(crate) fn covers(&self, wanted: &Operand) -> bool {
        let end = wanted.disp + i64::from(wanted.size_bytes);
        let mut low = wanted.disp;
        while low < end {
            let behind = |span: &Operand| span.disp + i64::from(span.size_bytes);
            let here = self.spans.iter().filter(|span| {
                (span.base, span.index, span.scale) == (wanted.base, wanted.index, wanted.scale)
                    && span.disp <= low
                    && behind(span) > low
            });
            match here.map(behind).max() {
                Some(high) => low = high,
                None => return false,
            }
        }
        true
    }

    pub(crate) fn learn(&mut self, operand: Operand) {
        if !self.covers(&operand) {
            if self.spans.len() >= MOST_SPANS {
                self.spans.remove(0);
            }
            self.spans.push(operand);
        }
    }

    /// The verifier knows nothing of a register any more that was borrowed meanwhile.
    pub(crate) fn forget(&mut self, register: Register) {
        self.spans.retain(|span| span.base != register && span.index != register);
    }

    /// The bytes below rsp become undefined, and other addresses may lead there.
    pub(crate) fn lower_stack(&mut self) {
        self.spans.retain(|span| span.base == Register::RSP && span.disp >= 0);
    }

    /// What is known behind a guest instruction.
    pub(crate) fn pass(&mut self, ins: &Instruction, class: Class) {
        let moved = rsp_moved_by(ins, class);
        self.spans.retain(|span| {
            [span.base, span.index].into_iter().all(|register| {
                register == Register::None
                    || register == Register::RSP && moved.is_some()
                    || !writes(ins, register)
            })
        });
        for span in self.spans.iter_mut().filter(|span| span.base == Register::RSP) {
            span.disp -= moved.unwrap_or(0);
        }
    }
}

/// The constant that a guest instruction adds to rsp; `None` if it sets it otherwise.
pub(crate) fn rsp_moved_by(ins: &Instruction, class: Class) -> Option<i64> {
    match class {
        Class::Push => Some(-8),
        Class::Pop => Some(8),
        Class::LowerStack(by) => Some(-i64::from(by)),
        Class::Copy
            if ins.op0_register() == Register::RSP
                && matches!(ins.code(), Code::Add_rm64_imm8 | Code::Add_rm64_imm32) =>
        {
            Some(ins.immediate(1).cast_signed())
        }
        _ => (!writes(ins, Register::RSP)).then_some(0),
    }
}
