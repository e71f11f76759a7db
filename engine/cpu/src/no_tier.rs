//! Hosts without a translator: the interpreter serves.

use std::ops::Range;

use guest_memory::GuestMemory;
use x86_interp::Engine;

use crate::{Clock, Exit, Registers};

/// Why there is no translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it exists on x86-64 Linux only")]
pub struct Unavailable;

/// There is none.
pub(crate) fn prepare(_trap: Range<u64>) -> Result<(), Unavailable> {
    Err(Unavailable)
}

/// There is no translator for this.
pub(crate) fn run(
    _engine: &mut Engine,
    _ranges: (&Range<u64>, &Range<u64>),
    _r: &mut Registers,
    _m: &mut GuestMemory,
    _clock: &mut Clock,
) -> Option<(Exit, Option<u64>)> {
    None
}
