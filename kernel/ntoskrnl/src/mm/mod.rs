//! Mm: blocks, MDLs, probes, physical memory.

mod blocks;
mod marks;
mod mdl;
mod physical;
mod probe;
mod system_routine;

use guest_memory::GuestAddr;
use saved::{Saved, kept};

pub use blocks::{
    Arenas, allocate_kernel, allocate_stack, free_kernel, free_stack, map_user, owned_by,
    reserve_user, start, unmap_user,
};
pub use mdl::{lock_buffer, release_chain};
pub(crate) use physical::bus_frames;

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    mdl::EXPORTS,
    mdl::mapping::EXPORTS,
    physical::EXPORTS,
    probe::EXPORTS,
    system_routine::EXPORTS,
];

/// The exported variables of the component.
pub(crate) const DATA: &[crate::DataExport] = probe::DATA;

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        // Wiring
        /// The arenas, from `start` on.
        pub arenas: Option<Arenas>,

        // State
        /// User pages that went away by a choice of the run.
        pub provoked: Saved<Vec<GuestAddr>>,
        /// Values of the caller's input that are looked for at privileged operations.
        marks: Saved<Vec<marks::Mark>>,
        /// The next user address handed out, per process.
        pub(crate) user_next: Saved<blocks::UserNext>,
        mdls: Saved<mdl::Mdls>,
        physical: Saved<physical::Physical>,
    }
}
