//! The translating tier: guest blocks become host code with every check inline.
//!
//! The guest's general and vector registers live in the host's; an instruction of an allow-list is
//! copied with its memory operand redirected into a *window*, behind a comparison of the states of
//! the bytes it touches. Everything else leaves to the interpreter for one instruction. Exists on
//! x86-64 Linux only; elsewhere the crate is empty and the interpreter serves. `docs/engine.md`
//! holds the design and the containment argument, and says what is missing.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

// UNSAFETY: generated code has to be mapped, entered and interrupted, and guest pages have to be
// mapped at chosen addresses. `host` and `signals` do that and nothing else; all other modules are
// safe code.

mod allow;
mod context;
mod emit;
mod engine;
mod exits;
mod faults;
mod flags;
mod hoist;
mod host;
mod operand;
mod serve;
mod signals;
mod source;
mod string_stub;
mod stubs;
mod translate;
mod verify;
mod windows;

pub use engine::{Counts, Translator};
pub use host::Unavailable;
pub use serve::{Call, Reply, Services};
pub use verify::Rejected;
