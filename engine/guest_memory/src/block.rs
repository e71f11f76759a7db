//! Blocks: ranges handed out one by one, with red zones, quarantine and a history.

use crate::{GuestAddr, Perms};

/// A range of the kernel half from which blocks are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArenaId(pub u8);

/// What an arena is made of.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    /// First address; page aligned.
    pub base: GuestAddr,
    /// Length; page aligned. Only address space: frames come with the blocks.
    pub size_bytes: u64,
    /// Permissions of its pages.
    pub perms: Perms,
    /// Freed bytes kept out of reuse; the oldest freed blocks are reused first.
    pub quarantine_bytes: u64,
}

/// Where a block came from, in the owner's terms. The engine only keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The owner's kind of block.
    pub kind: u16,
    /// The owner's tag.
    pub tag: u32,
    /// Guest address of the code that asked.
    pub who: GuestAddr,
    /// The owner's event ordinal at the time.
    pub when: u64,
}

/// A request for a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockSpec {
    /// Length asked for; 0 is allowed and gives a block without a touchable byte.
    pub size_bytes: u64,
    /// Alignment, a power of two of at most 4096.
    pub align_bytes: u64,
    /// Red zone on each side, at least 16.
    pub red_zone_bytes: u64,
    /// `None`: undefined bytes with value `fill`. `Some`: defined bytes with this value.
    pub defined_as: Option<u8>,
    /// Value of undefined bytes.
    pub fill: u8,
    /// Who asked, when, with which tag.
    pub provenance: Provenance,
}

/// A block, live or in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First byte.
    pub base: GuestAddr,
    /// Length asked for.
    pub size_bytes: u64,
    /// The arena it came from.
    pub arena: ArenaId,
    /// Who allocated it.
    pub allocated: Provenance,
    /// Who freed it.
    pub freed: Option<Provenance>,
}

/// A block near an address, and where the address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Near {
    /// Inside, at this offset.
    Inside {
        /// The block.
        block: Block,
        /// Bytes from its start.
        offset_bytes: u64,
    },
    /// In the red zone before it.
    Before {
        /// The block.
        block: Block,
        /// Bytes to its start.
        distance_bytes: u64,
    },
    /// In the red zone behind it.
    After {
        /// The block.
        block: Block,
        /// Bytes past its end; 0 is the first byte behind.
        distance_bytes: u64,
    },
}

/// No block could be handed out: address space, frames or block count are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for a block of {size_bytes} bytes")]
pub struct Exhausted {
    /// Length asked for.
    pub size_bytes: u64,
}

/// Why a block could not be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// No block starts here; the nearest one, if the address lies in or beside one.
    NotABlock {
        /// What is near.
        near: Option<Near>,
    },
    /// The block was freed before.
    AlreadyFreed {
        /// The block with its history.
        block: Block,
    },
}
