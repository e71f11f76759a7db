//! Object types and their procedures.

use std::fmt;

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::structures::LIST_ENTRY;

use super::{Name, object};
use crate::{CallResult, DataExport, Flow, Kernel, mm};

/// The types of this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectType {
    Type,
    Directory,
    SymbolicLink,
    Process,
    Thread,
    Event,
    Mutant,
    Semaphore,
    Timer,
    Section,
    Callback,
    Key,
    Device,
    Driver,
    File,
}

impl ObjectType {
    /// Every type, in order of declaration.
    pub const ALL: [Self; 15] = [
        Self::Type,
        Self::Directory,
        Self::SymbolicLink,
        Self::Process,
        Self::Thread,
        Self::Event,
        Self::Mutant,
        Self::Semaphore,
        Self::Timer,
        Self::Section,
        Self::Callback,
        Self::Key,
        Self::Device,
        Self::Driver,
        Self::File,
    ];

    /// Its name in `\ObjectTypes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "Type",
            Self::Directory => "Directory",
            Self::SymbolicLink => "SymbolicLink",
            Self::Process => "Process",
            Self::Thread => "Thread",
            Self::Event => "Event",
            Self::Mutant => "Mutant",
            Self::Semaphore => "Semaphore",
            Self::Timer => "Timer",
            Self::Section => "Section",
            Self::Callback => "Callback",
            Self::Key => "Key",
            Self::Device => "Device",
            Self::Driver => "Driver",
            Self::File => "File",
        }
    }
}

impl fmt::Display for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A handle that is being closed.
#[derive(Clone, Copy, Debug)]
pub struct CloseRequest {
    /// What it refers to.
    pub object: GuestAddr,
    /// Access it granted.
    pub granted: u32,
    /// Handles to the object before this close, in all processes.
    pub handle_count: u32,
}

/// What a type does beyond counting. Registered at start, so that this component calls no later one
/// by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Procedures {
    /// A handle is closed; the object is still referenced.
    pub close: Option<fn(&mut Kernel, CloseRequest) -> CallResult<Flow>>,
    /// The last reference is gone; the body is freed afterwards.
    pub delete: Option<fn(&mut Kernel, GuestAddr) -> CallResult<Flow>>,
    /// The name of an object that is not in a directory.
    pub query_name: Option<QueryName>,
}

/// Tells the name of an object.
pub type QueryName = fn(&mut Kernel, GuestAddr) -> CallResult<Name>;

/// A registered type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeEntry {
    /// Its `OBJECT_TYPE` body.
    body: GuestAddr,
    procedures: Procedures,
}

/// Length of an `OBJECT_TYPE`. Opaque: nothing in it is documented.
const OBJECT_TYPE_BYTES: u64 = 0xd8;

/// Creates the type object of a type.
pub(crate) fn register(k: &mut Kernel, kind: ObjectType) -> CallResult<()> {
    let body = mm::allocate_kernel(k, BlockKind::Object, OBJECT_TYPE_BYTES, 16)?;
    // An empty list of objects comes first. Drivers built with the headers of MinGW follow the
    // exported variable once too often, and on Windows this brings them back to where they belong.
    k.set(body, LIST_ENTRY::Flink, body.0)?;
    k.set(body, LIST_ENTRY::Blink, body.0)?;
    object::adopt(k, ObjectType::Type, body);
    k.ob.types.insert(kind, TypeEntry { body, procedures: Procedures::default() });
    Ok(())
}

/// Names the type objects once there is a directory for them.
pub(crate) fn name_types(k: &mut Kernel) -> CallResult<()> {
    for kind in ObjectType::ALL {
        let path = Name::new(r"\ObjectTypes").join(&Name::new(kind.name()));
        let body = type_object(k, kind);
        let named = super::namespace::insert(k, body, &path, None);
        assert!(named.is_ok(), "type names differ");
    }
    Ok(())
}

/// Gives a type its procedures.
pub fn set_procedures(k: &mut Kernel, kind: ObjectType, procedures: Procedures) {
    let entry = k.ob.types.get_mut(&kind).expect("`start` registers every type");
    entry.procedures = procedures;
}

/// The procedures of a type.
pub(crate) fn procedures(k: &Kernel, kind: ObjectType) -> Procedures {
    k.ob.types.get(&kind).map_or_else(Procedures::default, |entry| entry.procedures)
}

/// The `OBJECT_TYPE` body of a type, which `*IoFileObjectType` and kin point at.
pub fn type_object(k: &Kernel, kind: ObjectType) -> GuestAddr {
    k.ob.types.get(&kind).expect("`start` registers every type").body
}

/// The type whose `OBJECT_TYPE` body stands here.
pub(crate) fn type_at(k: &Kernel, body: GuestAddr) -> Option<ObjectType> {
    k.ob.types.iter().find(|(_, entry)| entry.body == body).map(|(kind, _)| *kind)
}

/// A variable that holds the address of a type object, such as `IoFileObjectType`.
pub(crate) const fn type_variable(
    name: &'static str,
    init: fn(&mut Kernel, GuestAddr) -> CallResult<()>,
) -> DataExport {
    DataExport { name, size_bytes: 8, init, ddi: "wdm/nf-wdm-obreferenceobjectbyhandle" }
}

/// Fills such a variable.
pub(crate) fn write_type(k: &mut Kernel, at: GuestAddr, kind: ObjectType) -> CallResult<()> {
    let body = type_object(k, kind);
    k.write_scalar(at, body.0)
}
