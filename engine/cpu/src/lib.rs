//! A processor that runs guest code until something needs its owner.
//!
//! Chooses the engine tier and hides it. Knows no Windows: imports, privileged instructions, faults
//! and watches are exits, and the owner resumes.

mod processor;
#[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), path = "no_tier.rs")]
mod tier;

pub use processor::{Processor, Tier, prepare_translator};
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use tier::Unavailable;
pub use x86_interp::{
    Clock, Exit, Fault, Grant, MemoryOperand, Operands, PrivilegedOp, Registers, Undefined, Vector,
    is_comparison, is_modelled, is_plain_update, is_update,
};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use x86_jit::Unavailable;
