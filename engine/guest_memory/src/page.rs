//! Byte states, permissions and mappings.

use bitflags::bitflags;

use crate::FrameId;

/// The state of one byte of a frame. 0 means that nothing can object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteState(pub u8);

impl ByteState {
    /// Touchable and defined.
    pub const DEFINED: Self = Self(0);
    /// Never handed out, or given back by the machine.
    pub const UNALLOCATED: Self = Self(1);
    /// Before or behind a block.
    pub const RED_ZONE: Self = Self(2);
    /// Inside a block that was freed.
    pub const FREED: Self = Self(3);
    /// A guard page or gap.
    pub const GUARD: Self = Self(4);
    /// Touchable; some bits are undefined, the side table says which.
    pub const PARTLY_DEFINED: Self = Self(0xfe);
    /// Touchable, never written since it was allocated.
    pub const UNDEFINED: Self = Self(0xff);

    /// Returns whether the byte may be touched at all.
    pub fn is_touchable(self) -> bool {
        self.0 == 0 || self.0 >= 0xfe
    }

    /// The state to give to bytes for which no mask is given: partly defined means that all bits
    /// are undefined.
    pub(crate) fn without_mask(self) -> Self {
        if self == Self::PARTLY_DEFINED { Self::UNDEFINED } else { self }
    }
}

bitflags! {
    /// What a mapping permits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Perms: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 4;
        /// Ring 3 may use it.
        const USER = 8;
        /// May be paged out: off limits while `set_pageable_allowed(false)`.
        const PAGEABLE = 16;
        /// Every access by guest code or for it is shown to the owner first.
        const WATCHED = 32;
    }
}

/// One mapped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The frame behind it.
    pub frame: FrameId,
    /// What it permits.
    pub perms: Perms,
    /// First byte of the page that belongs to the mapping.
    pub low: u16,
    /// One past the last byte that belongs to the mapping, at most 4096.
    pub high: u16,
}

/// Why a range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The range is not canonical, wraps, straddles the halves, or is not page aligned.
    #[error("the range is not a page-aligned canonical range")]
    BadRange,
    /// A page of the range is mapped already.
    #[error("a page of the range is mapped already")]
    Occupied,
    /// A limit of the machine is reached.
    #[error("the machine's limit of {0} frames is reached")]
    Limit(u32),
    /// The limit on user halves is reached.
    #[error("the machine's limit of {0} user halves is reached")]
    SpaceLimit(u16),
}
