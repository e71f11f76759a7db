//! The registration table: which handler executes which instruction.
//!
//! Each family of instructions is a file with a `TABLE`. An entry names either one `Code` of iced
//! or a mnemonic (all its legacy encodings); `Code` entries win. A family is added here and nowhere
//! else.

mod bits;
mod control;
mod integer;
mod multiply;
mod shift;
mod sse_float;
mod sse_int;
mod sse_move;
pub(crate) mod string;
mod system;
mod x87;
mod x87_state;

use std::sync::OnceLock;

use iced_x86::{Code, EncodingKind, Instruction, Mnemonic, OpKind, Register};

use crate::Handler;

pub(crate) use integer::{Add, And, Binary, Or, Sub, Xor};

/// What an entry of a table is for.
pub(crate) enum Key {
    /// Exactly this encoding.
    Code(Code),
    /// Every legacy encoding of this mnemonic that has no entry of its own.
    Mnemonic(Mnemonic),
}

/// How the handler is chosen.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    /// One handler.
    One(Handler),
    /// By the size of operand 0: 1, 2, 4, 8 bytes.
    BySize([Handler; 4]),
}

/// One family's table.
pub(crate) type Table = &'static [(Key, Choice)];

static FAMILIES: &[Table] = &[
    integer::TABLE,
    multiply::TABLE,
    shift::TABLE,
    bits::TABLE,
    control::TABLE,
    string::TABLE,
    system::TABLE,
    sse_move::TABLE,
    sse_int::TABLE,
    sse_float::TABLE,
    x87::TABLE,
    x87_state::TABLE,
];

/// Finds the handler of an instruction.
pub(crate) fn select(ins: &Instruction) -> Option<Handler> {
    static BY_CODE: OnceLock<Vec<Option<Choice>>> = OnceLock::new();
    let table = BY_CODE.get_or_init(build);
    let choice = (*table.get(ins.code() as usize)?)?;
    // The MMX forms share their mnemonics with the SSE forms and are not modelled.
    let is_mmx = |n| ins.op_kind(n) == OpKind::Register && ins.op_register(n).is_mm();
    if (0..ins.op_count()).any(is_mmx) {
        return None;
    }
    let by_size = |handlers: [Handler; 4]| match operand_bytes(ins, 0) {
        1 => Some(handlers[0]),
        2 => Some(handlers[1]),
        4 => Some(handlers[2]),
        8 => Some(handlers[3]),
        _ => None,
    };
    match choice {
        Choice::One(handler) => Some(handler),
        Choice::BySize(handlers) => by_size(handlers),
    }
}

fn build() -> Vec<Option<Choice>> {
    let mut by_mnemonic = vec![None; Mnemonic::values().len()];
    let mut by_code = vec![None; Code::values().len()];
    let conditional = integer::CONDITIONAL.iter().flatten().chain(&control::CONDITIONAL);
    for (key, choice) in FAMILIES.iter().copied().flatten().chain(conditional) {
        let slot = match key {
            Key::Code(code) => by_code.get_mut(*code as usize),
            Key::Mnemonic(mnemonic) => by_mnemonic.get_mut(*mnemonic as usize),
        };
        if let Some(slot) = slot {
            debug_assert!(slot.is_none(), "two families handle one instruction");
            *slot = Some(*choice);
        }
    }
    for code in Code::values() {
        let slot = by_code.get_mut(code as usize);
        let inherited = by_mnemonic.get(code.mnemonic() as usize).copied().flatten();
        if let (Some(slot @ None), true) = (slot, code.encoding() == EncodingKind::Legacy) {
            *slot = inherited;
        }
    }
    by_code
}

/// Size of an operand in bytes.
pub(crate) fn operand_bytes(ins: &Instruction, operand: u32) -> usize {
    match ins.try_op_kind(operand) {
        Ok(OpKind::Register) => ins.try_op_register(operand).unwrap_or(Register::None).size(),
        Ok(_) => ins.memory_size().size(),
        Err(_) => 0,
    }
}

/// The condition code of a conditional jump's mnemonic.
pub(crate) fn condition_code(mnemonic: Mnemonic) -> Option<u8> {
    let found = control::JUMPS.iter().position(|jump| *jump == mnemonic)?;
    u8::try_from(found).ok()
}

/// An entry for one handler per size, all instances of one generic handler.
macro_rules! by_size {
    ($mnemonic:ident, $handler:ident $(, $arg:ty)*) => {
        (
            $crate::ops::Key::Mnemonic(iced_x86::Mnemonic::$mnemonic),
            $crate::ops::Choice::BySize([
                $handler::<$($arg,)* u8>, $handler::<$($arg,)* u16>,
                $handler::<$($arg,)* u32>, $handler::<$($arg,)* u64>,
            ]),
        )
    };
}
/// An entry for one handler.
macro_rules! one {
    ($mnemonic:ident, $handler:expr) => {
        (
            $crate::ops::Key::Mnemonic(iced_x86::Mnemonic::$mnemonic),
            $crate::ops::Choice::One($handler),
        )
    };
}
/// An entry for one handler of one encoding.
macro_rules! code {
    ($code:ident, $handler:expr) => {
        ($crate::ops::Key::Code(iced_x86::Code::$code), $crate::ops::Choice::One($handler))
    };
}
pub(crate) use {by_size, code, one};
