//! Why an access did not simply happen.

use crate::{ArenaId, ByteState, GuestAddr, Perms};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessKind {
    /// Loads bytes.
    Read,
    /// Stores bytes; a read-modify-write counts as a write.
    Write,
    /// Fetches an instruction.
    Execute,
}

/// Who accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accessor {
    /// Guest code at ring 0, or a kernel service acting for it. Every objection applies.
    Supervisor,
    /// Guest code at ring 3, or a service acting for it: only pages with [`Perms::USER`].
    User,
    /// The machine itself (loader, kernel bookkeeping): any mapped byte, whatever its permissions,
    /// bounds, watch and state. Its stores define the bytes unless told otherwise.
    Machine,
}

/// The first byte of an access that may not be touched, and why. Nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// First address of the whole access.
    pub address: GuestAddr,
    /// Length of the whole access.
    pub size_bytes: u64,
    /// What it does.
    pub kind: AccessKind,
    /// First byte objected to.
    pub at: GuestAddr,
    /// Why.
    pub reason: Reason,
}

/// Why a byte may not be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Bits 63 to 47 differ.
    NonCanonical,
    /// No page is mapped. `arena` names the arena whose range covers the address, if any.
    NotMapped {
        /// The arena around the address.
        arena: Option<ArenaId>,
    },
    /// The page is mapped without the permission needed.
    NotPermitted {
        /// What the page permits.
        perms: Perms,
    },
    /// The page is pageable and pageable memory is off limits now (`set_pageable_allowed`).
    Pageable,
    /// Inside the page but outside the byte bounds of this mapping.
    OutsideBounds,
    /// The byte's state forbids it: red zone, freed, guard, unallocated. Ask `near` for the block.
    Untouchable {
        /// The state.
        state: ByteState,
    },
    /// The page is watched: the owner is to look, then grant the access.
    Watched,
}

/// The plain path cannot serve this access; take the slow path, which answers exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow;
