//! Builds drivers: C and C++ with clang or mingw, Rust with rustc and rust-lld.
//!
//! Every image is a function of its sources, the project's headers, the options and the compiler
//! version: no path of this machine, no time, no linker randomness gets into it.

mod c_driver;
mod rust_driver;

pub(crate) use c_driver::{CToolchain, Source};
pub(crate) use rust_driver::{Diagnosis, RustToolchain};
