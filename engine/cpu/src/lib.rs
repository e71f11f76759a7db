//! A processor that runs guest code until something needs its owner.
//!
//! Chooses the engine tier and hides it. Knows no Windows: imports, privileged instructions, faults
//! and watches are exits, and the owner resumes.

mod processor;

pub use processor::Processor;
pub use x86_interp::{
    Clock, Exit, Fault, Grant, MemoryOperand, PrivilegedOp, Registers, Undefined, Vector,
    is_modelled, is_plain_update, is_update,
};
