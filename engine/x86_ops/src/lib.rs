//! What x86-64 instructions compute, as pure functions: values and flags in, values and flags out.
//!
//! Knows neither registers nor memory, so that every engine tier and the tests share one meaning.

pub mod alu;
pub mod bits;
pub mod flags;
pub mod packed;
pub mod shift;
pub mod soft_float;
pub mod undefined_flags;
mod width;

pub use flags::{Lazy, LazyKind};
pub use width::Width;
