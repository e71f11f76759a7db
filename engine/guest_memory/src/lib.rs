//! Guest memory: physical frames of bytes and byte states, page tables over them, and blocks with a
//! history.
//!
//! Frames hold the truth: 4096 bytes and one [`ByteState`] per byte. Page tables (one kernel half,
//! one user half per process) map 4 KiB pages of frames with permissions and byte bounds, so two
//! mappings of one frame share bytes and definedness but neither permissions nor bounds. A software
//! TLB answers the plain case; everything that can object takes the slow path and comes back as an
//! [`Objection`]. Host memory is reachable through nothing in this crate.

mod access;
mod addr;
mod arenas;
mod block;
mod effort;
mod frames;
mod memory;
mod objection;
mod page;
mod plain;
mod radix;
mod runs;
mod shown;
mod slow;
mod snapshot;
mod stack;
mod tables;
mod tlb;
mod track;
mod vet;
mod window;

pub use addr::{FrameId, GuestAddr, PAGE_BYTES, SpaceId};
pub use block::{Arena, ArenaId, Block, BlockSpec, Exhausted, FreeError, Near, Provenance};
pub use memory::{GuestMemory, Limits};
pub use objection::{AccessKind, Accessor, Objection, Reason, Slow};
pub use page::{ByteState, MapError, Mapping, Perms};
pub use plain::Scalar;
pub use shown::Revoked;
pub use snapshot::Snapshot;
pub use tables::KERNEL_HALF_START;
pub use track::{Logged, Tracking};
pub use window::Showing;
