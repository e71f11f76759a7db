//! The reference interpreter: decodes x86-64 code once into blocks of handlers and runs them.
//!
//! [`Engine::run`] is the fast loop over blocks; it stops being used for one instruction at a time
//! whenever something special happens (an undefined byte is loaded, code is stored to).
//! [`Engine::step`] executes one instruction. Families of instructions live in `ops`, one file
//! each.

mod block;
mod careful;
mod decode;
mod engine;
mod env;
mod exit;
mod fuse;
mod hot;
mod makers;
mod op;
mod operand;
mod ops;
mod registers;
mod touched;

pub use engine::Engine;
pub use env::{Env, Word, join, split};
pub use exit::{Exit, Fault, Grant, PrivilegedOp, Vector};
pub use op::{Done, Extra, Form, Go, Handler, Kind, Op, Stop};
pub use operand::{MemoryOperand, Operands, is_comparison, is_plain_update, is_update};
pub use registers::{Clock, Compared, Registers, Undefined};

/// Returns whether an instruction has a handler. Prefixes that the decoder ignores may still make
/// it one that is not modelled.
pub fn is_modelled(instruction: &iced_x86::Instruction) -> bool {
    ops::select(instruction).is_some() && makers::difference(instruction, &[]).is_none()
}

/// Returns whether an instruction with these bytes has a handler, prefixes that the decoder ignores
/// included.
pub fn is_modelled_as(instruction: &iced_x86::Instruction, bytes: &[u8]) -> bool {
    ops::select(instruction).is_some() && makers::difference(instruction, bytes).is_none()
}

/// The flags, as iced numbers them, that an instruction sets whatever its operands are.
pub fn always_sets_flags(instruction: &iced_x86::Instruction) -> u32 {
    block::always_set(instruction)
}
