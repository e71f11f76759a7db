//! Mm: blocks, MDLs, probes, physical memory.

mod blocks;
mod marks;
mod mdl;
mod physical;
mod probe;
mod system_routine;

use guest_memory::GuestAddr;

pub use blocks::{
    Arenas, allocate_kernel, allocate_stack, free_kernel, free_stack, map_user, owned_by,
    reserve_user, start, unmap_user,
};
pub use mdl::{lock_buffer, release_chain};
pub(crate) use physical::bus_frames;

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] =
    &[mdl::EXPORTS, physical::EXPORTS, probe::EXPORTS, system_routine::EXPORTS];

/// The exported variables of the component.
pub(crate) const DATA: &[crate::DataExport] = probe::DATA;

/// State of the component.
#[derive(Clone, Debug, Default)]
pub struct State {
    // Wiring
    /// The arenas, from `start` on.
    pub arenas: Option<Arenas>,

    // State
    /// User pages that went away by a choice of the run.
    pub provoked: Vec<GuestAddr>,
    /// Values of the caller's input that are looked for at privileged operations.
    marks: Vec<marks::Mark>,
    /// The next user address handed out, per process.
    pub(crate) user_next: blocks::UserNext,
    mdls: mdl::Mdls,
    physical: physical::Physical,
}
