//! A machine: memory, a processor, the kernel and one driver, driven by plain-data commands.
//!
//! A machine is a value. It can be captured between two commands and restored exactly. It reads no
//! clock, no environment and no file.

mod buffer;
mod command;
mod elsewhere;
mod image;
mod machine;
mod other;
mod service;
mod together;

pub use command::{
    BufferSpec, CallMode, Command, Content, DeviceAccess, DeviceInfo, FieldSpec, FieldValue,
    FileRef, Mark, OtherRequest, Reply, Stopped,
};
pub use cpu::{Tier, Unavailable};
pub use machine::{
    Coverage, Machine, MachineConfig, MachineSnapshot, StackFrame, TraceLine, modules,
    prepare_translator,
};
pub use ntoskrnl::{
    MAX_PROCESSORS,
    ke::{InterruptLine, LineKind},
};
