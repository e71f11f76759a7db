//! Ob: objects, their types, names, handles and reference counts.
//!
//! An object's body stands in guest memory, because drivers read and write it; everything else
//! about it (counts, name, type) is kept here by the address of the body, where no driver can spoil
//! it. There is no header in guest memory: reading before a body is a red zone hit.

mod attributes;
mod close;
mod directory_exports;
mod handle_exports;
mod handle_table;
mod name;
mod namespace;
mod object;
mod object_type;
mod reference_exports;

use std::collections::VecDeque;

use guest_memory::GuestAddr;
use saved::{Saved, SavedMap, kept};

pub use attributes::{ObjectAttributes, PreviousMode, read_name, write_name};
pub use close::{
    Answer, close_handle, close_table, has_deferred_deletions, run_deferred_deletions,
};
pub use directory_exports::{create_named, find, root_of};
pub use handle_table::{
    Handle, HandleEntry, HandleTable, OpenHandle, create_handle, create_handle_of, describe,
    duplicate, entry, opened_by, reference_by_handle,
};
pub use name::Name;
pub use namespace::{
    Found, InsertError, LinkAtEnd, create_directory, create_link, dos_links, insert, link_target,
    lookup, path_of,
};
pub use object::{
    Object, adopt, claimed, create, dereference, make_permanent, make_temporary, object, reference,
    reference_for_driver, referenceable, referenced_by, set_created,
};
pub(crate) use object::{dereference_later, drop_reference};
pub use object_type::{
    CloseRequest, ObjectType, Procedures, QueryName, set_procedures, type_object,
};
pub(crate) use object_type::{type_variable, write_type};

use crate::{CallResult, Export, Kernel};

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[Export]] =
    &[reference_exports::EXPORTS, handle_exports::EXPORTS, directory_exports::EXPORTS];

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        // Configuration
        types: SavedMap<ObjectType, object_type::TypeEntry>,
        /// The process whose handles are the kernel's.
        system_process: Option<GuestAddr>,

        // State
        objects: SavedMap<GuestAddr, Object>,
        root: GuestAddr,
        dos_devices: GuestAddr,
        kernel_handles: Saved<HandleTable>,
        handles: SavedMap<GuestAddr, HandleTable>,
        /// Objects whose last reference went away above `PASSIVE_LEVEL`.
        deferred: Saved<VecDeque<GuestAddr>>,
    }
}

/// Creates the types every component may use and the directories of the name space. Called once,
/// after `mm::start`.
pub fn start(k: &mut Kernel) -> CallResult<()> {
    for kind in ObjectType::ALL {
        object_type::register(k, kind)?;
    }
    namespace::create_directories(k)?;
    object_type::name_types(k)
}

/// Says which process is the system process: its handles are kernel handles.
pub fn set_system_process(k: &mut Kernel, process: GuestAddr) {
    k.ob.system_process = Some(process);
}

/// The system process, once it exists.
pub fn system_process(k: &Kernel) -> Option<GuestAddr> {
    k.ob.system_process
}
