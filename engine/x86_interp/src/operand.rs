//! What an instruction is about to do to memory, for an owner that looks before it runs.

use guest_memory::{GuestAddr, GuestMemory};
use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::{Engine, Registers, decode};

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOperand {
    /// Where it is.
    pub at: GuestAddr,
    /// Its length.
    pub size_bytes: u8,
}

impl Engine {
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
