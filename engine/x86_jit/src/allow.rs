//! Which instructions may be copied, and what becomes of the others.
//!
//! The list is closed: what is not named here runs in the interpreter. Nothing named here can
//! change a segment base, enter the kernel, write code, or touch memory other than by its one
//! explicit operand.

use iced_x86::{
    Code, EncodingKind, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// What becomes of a guest instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Copied; its memory operand, if it has one, is redirected and checked.
    Copy,
    /// Nothing to do.
    Nothing,
    /// Push of a register or an immediate, 8 bytes.
    Push,
    /// Pop into a register, 8 bytes.
    Pop,
    /// rsp is lowered by a constant: the new frame becomes undefined.
    LowerStack(u32),
    /// Direct jump.
    Jump,
    /// Conditional jump on flags.
    Conditional,
    /// Direct call.
    Call,
    /// Jump through a register or memory.
    JumpIndirect,
    /// Call through a register or memory.
    CallIndirect,
    /// Return that takes so many bytes of arguments.
    Return(u16),
    /// `movs` or `stos`, repeated or not.
    String(Strings),
    /// The interpreter runs it.
    Step,
}

/// A form of `movs` or `stos`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strings {
    pub(crate) unit_bytes: u8,
    pub(crate) is_store: bool,
    pub(crate) is_repeated: bool,
}

impl Strings {
    pub(crate) const UNIT_BYTES: u8 = 0xf;
    pub(crate) const STORE: u8 = 0x10;
    pub(crate) const REPEATED: u8 = 0x20;

    /// The form as a number.
    pub(crate) fn number(self) -> u8 {
        let store = if self.is_store { Self::STORE } else { 0 };
        let repeated = if self.is_repeated { Self::REPEATED } else { 0 };
        self.unit_bytes | store | repeated
    }

    /// The form with a number; units have 1 to 8 bytes whatever it is.
    pub(crate) fn of(number: u8) -> Self {
        Self {
            unit_bytes: (number & Self::UNIT_BYTES).clamp(1, 8),
            is_store: number & Self::STORE != 0,
            is_repeated: number & Self::REPEATED != 0,
        }
    }

    fn of_instruction(ins: &Instruction) -> Option<Self> {
        let (unit_bytes, is_store) = match ins.code() {
            Code::Movsb_m8_m8 => (1, false),
            Code::Movsw_m16_m16 => (2, false),
            Code::Movsd_m32_m32 => (4, false),
            Code::Movsq_m64_m64 => (8, false),
            Code::Stosb_m8_AL => (1, true),
            Code::Stosw_m16_AX => (2, true),
            Code::Stosd_m32_EAX => (4, true),
            Code::Stosq_m64_RAX => (8, true),
            _ => return None,
        };
        let is_wide = ins.op0_kind() == OpKind::MemoryESRDI;
        let is_flat = ![Register::FS, Register::GS].contains(&ins.segment_prefix());
        let is_repeated = ins.has_rep_prefix() || ins.has_repne_prefix();
        (is_wide && is_flat).then_some(Self { unit_bytes, is_store, is_repeated })
    }
}

/// Longest stack frame that is made undefined inline.
pub(crate) const LONGEST_FRAME_BYTES: u32 = 0x200;

macro_rules! mnemonics {
    ($($name:ident)*) => { &[$(Mnemonic::$name),*] };
}

/// General instructions that may be copied.
const GENERAL: &[Mnemonic] = mnemonics! {
    Mov Movzx Movsx Movsxd Lea Add Adc Sub Sbb And Or Xor Cmp Test Inc Dec Neg
    Not Xchg Xadd Cmpxchg Bswap Imul Mul Div Idiv Shl Sal Shr Sar Rol Ror Bt
    Bts Btr Btc Cbw Cwde Cdqe Cwd Cdq Cqo Clc Stc Cmc Lahf
    Sahf
    Cmovo Cmovno Cmovb Cmovae Cmove Cmovne Cmovbe Cmova Cmovs Cmovns Cmovp Cmovnp
    Cmovl Cmovge Cmovle Cmovg
    Seto Setno Setb Setae Sete Setne Setbe Seta Sets Setns Setp Setnp Setl Setge
    Setle Setg
};

/// SSE and SSE2 instructions that may be copied: moves, integers, and arithmetic whose result the
/// standard fixes. Approximations (`rcpps`, `rsqrtps`) differ between processors.
const VECTOR: &[Mnemonic] = mnemonics! {
    Movaps Movups Movapd Movupd Movdqa Movdqu Movd Movq Movss Movlps Movhps Movlpd
    Movhpd Movhlps Movlhps
    Pxor Por Pand Pandn Xorps Xorpd Andps Andpd Andnps Andnpd Orps Orpd
    Paddb Paddw Paddd Paddq Psubb Psubw Psubd Psubq Pcmpeqb Pcmpeqw Pcmpeqd Pcmpgtb
    Pcmpgtw Pcmpgtd Pmovmskb Pshufd Pshuflw Pshufhw Punpcklbw Punpcklwd Punpckldq
    Punpcklqdq Punpckhbw Punpckhwd Punpckhdq Punpckhqdq Shufps Shufpd Unpcklps Unpcklpd
    Addss Addps Addpd Subss Subps Subpd Mulss Mulps Mulpd Divss Divps Divpd
    Sqrtss Sqrtps Sqrtpd
};

/// `movsd` and `addsd` to `sqrtsd` share names with string instructions or stand alone by encoding.
const BY_CODE: &[Code] = &[
    Code::Movsd_xmm_xmmm64,
    Code::Movsd_xmmm64_xmm,
    Code::Addsd_xmm_xmmm64,
    Code::Subsd_xmm_xmmm64,
    Code::Mulsd_xmm_xmmm64,
    Code::Divsd_xmm_xmmm64,
    Code::Sqrtsd_xmm_xmmm64,
];

/// Decides about one instruction.
pub(crate) fn classify(ins: &Instruction) -> Class {
    if !x86_interp::is_modelled(ins) || ins.code().encoding() != EncodingKind::Legacy {
        return Class::Step;
    }
    match ins.code() {
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => return Class::Jump,
        Code::Call_rel32_64 => return Class::Call,
        Code::Retnq => return Class::Return(0),
        Code::Retnq_imm16 => return Class::Return(ins.immediate16()),
        Code::Push_r64 | Code::Pushq_imm8 | Code::Pushq_imm32 => return Class::Push,
        Code::Pop_r64 if ins.op0_register() != Register::RSP => return Class::Pop,
        Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if ins.op0_register() == Register::RSP => {
            return lower_stack(ins);
        }
        _ if ins.is_jcc_short_or_near() => return Class::Conditional,
        _ => {}
    }
    if let Some(strings) = Strings::of_instruction(ins) {
        return Class::String(strings);
    }
    if !is_plain_memory(ins) {
        return Class::Step;
    }
    match ins.code() {
        Code::Jmp_rm64 if is_free_of(ins, Register::RSP) => Class::JumpIndirect,
        Code::Call_rm64 if is_free_of(ins, Register::RSP) => Class::CallIndirect,
        Code::Nopd | Code::Nopw | Code::Nopq | Code::Nop_rm16 | Code::Nop_rm32 | Code::Nop_rm64 => {
            Class::Nothing
        }
        _ if is_copied(ins) => Class::Copy,
        _ => Class::Step,
    }
}

fn lower_stack(ins: &Instruction) -> Class {
    match u32::try_from(ins.immediate(1).cast_signed()) {
        Ok(by) if by > 0 && by <= LONGEST_FRAME_BYTES && by % 8 == 0 => Class::LowerStack(by),
        _ => Class::Step,
    }
}

/// Whether the encoding is on the list and has no effect that needs more than a copy.
pub(crate) fn is_copied(ins: &Instruction) -> bool {
    let is_listed = GENERAL.contains(&ins.mnemonic())
        || VECTOR.contains(&ins.mnemonic())
        || BY_CODE.contains(&ins.code());
    let is_vector_or_gpr = |n: u32| {
        let register = ins.op_register(n);
        ins.op_kind(n) != OpKind::Register || register.is_gpr() || register.is_xmm()
    };
    let is_bit_string =
        matches!(ins.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
            && ins.op0_kind() == OpKind::Memory
            && ins.op1_kind() == OpKind::Register;
    is_listed
        && ins.code().encoding() == EncodingKind::Legacy
        && !ins.has_rep_prefix()
        && !ins.has_repne_prefix()
        && !is_bit_string
        && ins.code() != Code::Bswap_r16
        && (0..ins.op_count()).all(is_vector_or_gpr)
        && moves_rsp_plainly(ins)
}

/// rsp may only be raised by a constant: what lowers it concerns the states of the stack.
fn moves_rsp_plainly(ins: &Instruction) -> bool {
    if matches!(ins.code(), Code::Add_rm64_imm8 | Code::Add_rm64_imm32)
        && ins.op0_register() == Register::RSP
    {
        return ins.immediate(1).cast_signed() > 0;
    }
    !writes(ins, Register::RSP)
}

/// Whether an instruction may write (a part of) a general register.
pub(crate) fn writes(ins: &Instruction, register: Register) -> bool {
    let mut factory = InstructionInfoFactory::new();
    factory.info(ins).used_registers().iter().any(|used| {
        used.register().full_register() == register
            && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
    })
}

/// Whether an instruction does not use a register at all.
pub(crate) fn is_free_of(ins: &Instruction, register: Register) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(ins);
    let is_used = |used: Register| used.full_register() == register;
    let registers = info.used_registers();
    // The implicit use of rsp by a call is not an operand.
    if register == Register::RSP {
        return (0..ins.op_count()).all(|n| !is_used(ins.op_register(n)))
            && !is_used(ins.memory_base());
    }
    !registers.iter().any(|used| is_used(used.register()))
}

/// Whether the memory operand, if any, is one that can be redirected.
fn is_plain_memory(ins: &Instruction) -> bool {
    if ins.memory_base() == Register::None
        && ins.memory_index() == Register::None
        && !(0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory)
    {
        // An operand that is not written out, as of a string instruction, is not redirected.
        return !(0..ins.op_count()).any(|n| is_hidden_memory(ins.op_kind(n)));
    }
    let is_wide = |register: Register| {
        register == Register::None || register.is_gpr64() || register == Register::RIP
    };
    let is_absolute = ins.memory_base() == Register::None && ins.memory_index() == Register::None;
    ins.segment_prefix() != Register::FS
        && ins.segment_prefix() != Register::GS
        && is_wide(ins.memory_base())
        && is_wide(ins.memory_index())
        && !is_absolute
        && (ins.mnemonic() == Mnemonic::Lea
            || ins.mnemonic() == Mnemonic::Nop
            || matches!(ins.memory_size().size(), 1 | 2 | 4 | 8 | 16))
}

fn is_hidden_memory(kind: OpKind) -> bool {
    kind >= OpKind::MemorySegSI && kind <= OpKind::MemoryESRDI
}

/// Whether the one memory operand is only written.
pub(crate) fn is_pure_store(ins: &Instruction) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(ins);
    ins.op0_kind() == OpKind::Memory && info.op0_access() == OpAccess::Write
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::{Class, Strings, classify};

    fn of(bytes: &[u8]) -> Class {
        classify(&Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode())
    }

    fn string(unit_bytes: u8, is_store: bool, is_repeated: bool) -> Class {
        let strings = Strings { unit_bytes, is_store, is_repeated };
        assert_eq!(Strings::of(strings.number()), strings);
        Class::String(strings)
    }

    #[test]
    fn what_is_not_listed_is_stepped() {
        let rows: &[(&[u8], Class)] = &[
            (&[0x48, 0x89, 0xc8], Class::Copy),
            (&[0x48, 0x8b, 0x01], Class::Copy),
            (&[0x65, 0x48, 0x8b, 0x01], Class::Step),
            (&[0x67, 0x48, 0x8b, 0x01], Class::Step),
            (&[0x48, 0x0f, 0xa3, 0x01], Class::Step),
            (&[0xf3, 0xa4], string(1, false, true)),
            (&[0xa4], string(1, false, false)),
            (&[0xf2, 0x66, 0xab], string(2, true, true)),
            (&[0xf3, 0x48, 0xa5], string(8, false, true)),
            (&[0xab], string(4, true, false)),
            (&[0x67, 0xf3, 0xa4], Class::Step),
            (&[0x65, 0xf3, 0xa4], Class::Step),
            (&[0xf3, 0xa6], Class::Step),
            (&[0xac], Class::Step),
            (&[0x0f, 0x05], Class::Step),
            (&[0x0f, 0xa2], Class::Step),
            (&[0x9c], Class::Step),
            (&[0x8e, 0xe8], Class::Step),
            (&[0x0f, 0x01, 0xf8], Class::Step),
            (&[0xf3, 0x48, 0x0f, 0xae, 0xd8], Class::Step),
            (&[0x0f, 0xae, 0x11], Class::Step),
            (&[0x48, 0x83, 0xec, 0x28], Class::LowerStack(0x28)),
            (&[0x48, 0x83, 0xec, 0x24], Class::Step),
            (&[0x48, 0x83, 0xc4, 0x28], Class::Copy),
            (&[0x48, 0x83, 0xc4, 0xd8], Class::Step),
            (&[0x48, 0x89, 0xe5], Class::Copy),
            (&[0x48, 0x89, 0xec], Class::Step),
            (&[0x5c], Class::Step),
            (&[0x58], Class::Pop),
            (&[0x66, 0x58], Class::Step),
            (&[0xff, 0x15, 0, 0, 0, 0], Class::CallIndirect),
            (&[0xff, 0x64, 0x24, 0x08], Class::Step),
            (&[0xc3], Class::Return(0)),
            (&[0x0f, 0x53, 0xc1], Class::Step),
            (&[0xd9, 0xe8], Class::Step),
            (&[0xe3, 0x00], Class::Step),
            (&[0xf2, 0x0f, 0x58, 0xc1], Class::Copy),
            (&[0xf2, 0x0f, 0x10, 0x01], Class::Copy),
        ];
        for (bytes, expected) in rows {
            assert_eq!(of(bytes), *expected, "{bytes:02x?}");
        }
    }
}
