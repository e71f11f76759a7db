//! What an instruction is about to do to memory, for an owner that looks before it runs.

use guest_memory::{Accessor, GuestAddr, GuestMemory};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::{Engine, Registers, decode};

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOperand {
    /// Where it is.
    pub at: GuestAddr,
    /// Its length.
    pub size_bytes: u8,
}

/// Two numbers that an instruction compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    /// Its first operand.
    pub left: u64,
    /// Its second operand, cut to the width of both.
    pub right: u64,
    /// The width: 1, 2, 4 or 8.
    pub size_bytes: u8,
}

impl Engine {
    /// What the instruction at `rip` compares, if it is one that [`is_comparison`] tells.
    pub fn compared(&self, r: &Registers, m: &mut GuestMemory) -> Option<Operands> {
        let ins = decode::fetch(m, r.is_user, r.rip).ok()?;
        if !is_comparison(&ins) {
            return None;
        }
        let size_bytes = match ins.op0_kind() {
            OpKind::Memory => u8::try_from(ins.memory_size().size()).ok()?,
            _ => u8::try_from(ins.op0_register().size()).ok()?,
        };
        let value = |operand: u32| match ins.op_kind(operand) {
            OpKind::Register => register(r, ins.op_register(operand)),
            OpKind::Memory => {
                let at = GuestAddr(decode::lower(&ins)?.address(r));
                let mut bytes = [0; 8];
                let part = bytes.get_mut(..usize::from(size_bytes))?;
                m.read(Accessor::Machine, at, part).ok()?;
                Some(u64::from_le_bytes(bytes))
            }
            _ => Some(ins.immediate(operand)),
        };
        let (left, right) = (value(0)?, value(1)?);
        let mask = u64::MAX >> (64 - 8 * u32::from(size_bytes.clamp(1, 8)));
        Some(Operands { left: left & mask, right: right & mask, size_bytes })
    }

    /// The operand of the instruction at `rip` if it reads memory, changes the value and writes it
    /// back, without a lock.
    pub fn plain_update(&self, r: &Registers, m: &mut GuestMemory) -> Option<MemoryOperand> {
        let ins = decode::fetch(m, r.is_user, r.rip).ok()?;
        if !is_plain_update(&ins) {
            return None;
        }
        let op = decode::lower(&ins)?;
        let at = GuestAddr(op.address(r));
        (op.mem_bytes > 0).then_some(MemoryOperand { at, size_bytes: op.mem_bytes })
    }
}

/// Whether an instruction compares two numbers, or subtracts a constant, as a test of several
/// cases does.
pub fn is_comparison(ins: &Instruction) -> bool {
    let is_number = |operand: u32| match ins.op_kind(operand) {
        OpKind::Register => ins.op_register(operand).is_gpr(),
        OpKind::Memory | OpKind::Immediate8 => true,
        OpKind::Immediate16 | OpKind::Immediate32 | OpKind::Immediate64 => true,
        OpKind::Immediate8to16 | OpKind::Immediate8to32 | OpKind::Immediate8to64 => true,
        OpKind::Immediate32to64 => true,
        _ => false,
    };
    let is_of_constant = !matches!(ins.op1_kind(), OpKind::Register | OpKind::Memory);
    let is_compared = match ins.mnemonic() {
        Mnemonic::Cmp => true,
        Mnemonic::Sub => is_of_constant && ins.op0_register().full_register() != Register::RSP,
        _ => false,
    };
    is_compared && is_number(0) && is_number(1)
}

/// What a general register holds, its upper bits included.
fn register(r: &Registers, register: Register) -> Option<u64> {
    let whole = r.gpr.get(register.full_register().number()).copied()?;
    let is_high = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    Some(if is_high { whole >> 8 } else { whole })
}

/// Whether an instruction reads memory, changes the value and writes it back, without a lock.
pub fn is_plain_update(ins: &Instruction) -> bool {
    is_update(ins) && ins.op0_kind() == OpKind::Memory && !ins.has_lock_prefix()
}

/// Whether an instruction computes its first operand from what that held.
pub fn is_update(ins: &Instruction) -> bool {
    matches!(
        ins.mnemonic(),
        Mnemonic::Add
            | Mnemonic::Sub
            | Mnemonic::Inc
            | Mnemonic::Dec
            | Mnemonic::And
            | Mnemonic::Or
            | Mnemonic::Xor
            | Mnemonic::Adc
            | Mnemonic::Sbb
            | Mnemonic::Neg
            | Mnemonic::Not
            | Mnemonic::Bts
            | Mnemonic::Btr
            | Mnemonic::Btc
            | Mnemonic::Shl
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Rol
            | Mnemonic::Ror
    )
}
