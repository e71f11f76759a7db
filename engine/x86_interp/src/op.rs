//! Decoded instructions.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use crate::{Env, Registers};

/// Executes one decoded instruction.
///
/// A handler that returns [`Stop`] has changed nothing, except completed iterations of a `rep`.
pub type Handler = fn(&mut Env<'_>, &Op) -> Done;

/// How a handler ended.
pub type Done = Result<Go, Stop>;

/// Where execution goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Go {
    /// At the next instruction.
    Next = 0,
    /// At the target of this direct jump or call (`Op::imm`, or the block's target).
    Taken,
    /// At `rip`, which the handler set; it also counted the event.
    Indirect,
}

/// Why execution stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// `Env::exit` says why; the instruction did not complete.
    Exit,
    /// An undefined value or another special case: execute this instruction alone, with labels.
    Careful,
    /// This form of the instruction is not modelled.
    Unsupported,
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// No operand.
    #[default]
    None,
    /// A general register, or its low part.
    Gpr,
    /// Bits 8 to 15 of a general register (ah, ch, dh, bh).
    High,
    /// Memory at the effective address.
    Mem,
    /// `Op::imm`.
    Imm,
    /// An xmm register.
    Xmm,
    /// An mmx register.
    Mmx,
    /// An x87 register relative to the top.
    St,
    /// A segment, control or debug register.
    System,
}

/// How an effective address is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Form {
    /// base + disp
    #[default]
    Base,
    /// base + (index << scale) + disp
    BaseIndex,
    /// disp alone; RIP-relative addresses are resolved at decoding.
    Disp,
    /// (index << scale) + disp
    Index,
    /// With a segment base or truncated to 32 bits: see `Op::extra`.
    Extra,
}

/// Marks of a decoded instruction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// rep, or repe.
    pub rep: bool,
    /// repne.
    pub repne: bool,
    /// lock.
    pub lock: bool,
    /// Addresses are truncated to 32 bits.
    pub short: bool,
    /// The segment base added: 1 = fs, 2 = gs.
    pub segment: u8,
}

/// One decoded instruction.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// What executes it.
    pub run: Handler,
    /// Immediate, sign-extended to the operand size; target of a direct branch.
    pub imm: u64,
    /// Address of the instruction.
    pub rip: u64,
    /// Displacement of the effective address.
    pub disp: u64,
    /// Operand kinds.
    pub kind: [Kind; 3],
    /// Operand registers.
    pub reg: [u8; 3],
    /// Base register.
    pub base: u8,
    /// Index register.
    pub index: u8,
    /// Left shift of the index.
    pub scale: u8,
    /// Form of the effective address.
    pub form: Form,
    /// Length of the instruction (of both, if two were fused).
    pub len: u8,
    /// Bytes of the memory operand.
    pub mem_bytes: u8,
    /// Prefixes.
    pub extra: Extra,
}

impl Op {
    /// Address of the next instruction.
    #[inline(always)]
    pub fn next(&self) -> u64 {
        self.rip.wrapping_add(u64::from(self.len))
    }

    /// The effective address of the memory operand.
    #[inline(always)]
    pub fn address(&self, r: &Registers) -> u64 {
        let base = r.gpr[usize::from(self.base & 15)];
        let index = r.gpr[usize::from(self.index & 15)] << (self.scale & 3);
        match self.form {
            Form::Base => base.wrapping_add(self.disp),
            Form::BaseIndex => base.wrapping_add(index).wrapping_add(self.disp),
            Form::Disp => self.disp,
            Form::Index => index.wrapping_add(self.disp),
            Form::Extra => self.address_extra(r),
        }
    }

    /// The effective address without the segment base, as `lea` computes it.
    pub fn offset(&self, r: &Registers) -> u64 {
        if self.form != Form::Extra {
            return self.address(r);
        }
        let part = |register: u8| match register {
            NO_REGISTER => 0,
            register => r.gpr[usize::from(register & 15)],
        };
        let index = part(self.index) << (self.scale & 3);
        let sum = part(self.base).wrapping_add(index).wrapping_add(self.disp);
        if self.extra.short { sum & 0xffff_ffff } else { sum }
    }

    /// The effective address moved by `by`; with 32-bit addressing it wraps there.
    pub fn moved_address(&self, r: &Registers, by: u64) -> u64 {
        let moved = self.offset(r).wrapping_add(by);
        let moved = if self.extra.short { moved & 0xffff_ffff } else { moved };
        moved.wrapping_add(r.segment_base(self.extra.segment))
    }

    #[cold]
    fn address_extra(&self, r: &Registers) -> u64 {
        self.offset(r).wrapping_add(r.segment_base(self.extra.segment))
    }
}

/// No base or index register in an effective address of form [`Form::Extra`].
pub(crate) const NO_REGISTER: u8 = 0xff;
