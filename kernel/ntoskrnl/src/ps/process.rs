//! Processes.

use guest_memory::{GuestAddr, SpaceId};

use crate::{
    CallResult, Kernel, Stop,
    ke::DispatcherType,
    ob::{self, ObjectType},
};

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u64,
    /// File name of its image.
    pub image_name: String,
    /// Its user half; the system process has none.
    pub space: Option<SpaceId>,
}

/// Length of an `EPROCESS`. Opaque: no driver may look inside.
const EPROCESS_BYTES: u64 = 0xb80;

/// Creates a process. The first one is the system process, whose id is 4 and which has no user
/// half.
pub fn create_process(k: &mut Kernel, image_name: &str) -> CallResult<GuestAddr> {
    let object = ob::create(k, ObjectType::Process, EPROCESS_BYTES)?;
    k.init_dispatcher(object, DispatcherType::Process, EPROCESS_BYTES, 0)?;
    let space = if k.ps.processes.is_empty() {
        ob::set_system_process(k, object);
        None
    } else {
        let space = k.memory.create_space();
        Some(space.map_err(|error| Stop::Limit { what: error.to_string() })?)
    };
    let pid = k.ps.next_id();
    let image_name = image_name.to_owned();
    k.ps.processes.insert(object, Process { pid, image_name, space });
    Ok(object)
}
