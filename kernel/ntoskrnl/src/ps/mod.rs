//! Ps: processes and threads.

mod lookup;
mod process;
mod section;
mod system_thread;
mod thread;
mod version;

use guest_memory::{GuestAddr, SpaceId};
use saved::{SavedMap, kept};

use crate::{CallResult, DataExport, Kernel, ob};

pub use process::{Process, create_process};
pub use thread::{create_thread, running_in, thread_ended};

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] =
    &[lookup::EXPORTS, section::EXPORTS, system_thread::EXPORTS, version::EXPORTS];

/// The variables of the component.
pub(crate) const DATA: &[DataExport] = &[
    DataExport {
        name: "PsInitialSystemProcess",
        size_bytes: 8,
        init: |k, at| {
            let system = k.ps.system_process();
            k.write_scalar(at, system.0)
        },
        ddi: "kernel/mm64bitphysicaladdress",
    },
    ob::type_variable("PsProcessType", |k, at| ob::write_type(k, at, ob::ObjectType::Process)),
    ob::type_variable("PsThreadType", |k, at| ob::write_type(k, at, ob::ObjectType::Thread)),
    ob::type_variable("ExEventObjectType", |k, at| ob::write_type(k, at, ob::ObjectType::Event)),
    ob::type_variable("ExSemaphoreObjectType", |k, at| {
        ob::write_type(k, at, ob::ObjectType::Semaphore)
    }),
    ob::type_variable("MmSectionObjectType", |k, at| {
        ob::write_type(k, at, ob::ObjectType::Section)
    }),
    ob::type_variable("CmKeyObjectType", |k, at| ob::write_type(k, at, ob::ObjectType::Key)),
];

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        /// Every process, by `EPROCESS` body.
        pub processes: SavedMap<GuestAddr, Process>,
        /// The last process or thread id handed out; they share one table and are multiples of 4.
        last_id: u64,
        /// Views of sections: pages by process and first page.
        views: SavedMap<(SpaceId, GuestAddr), u64>,
        /// How many threads were created.
        threads: u32,
    }
}

impl State {
    /// The user half of a process; the system process has none.
    pub fn space_of(&self, process: GuestAddr) -> Option<SpaceId> {
        self.processes.get(&process)?.space
    }

    /// The system process: the first one.
    pub fn system_process(&self) -> GuestAddr {
        let system = self.processes.iter().find(|(_, process)| process.space.is_none());
        system.map_or(GuestAddr::NULL, |(&object, _)| object)
    }

    /// Hands out the next process or thread id.
    fn next_id(&mut self) -> u64 {
        self.last_id += 4;
        self.last_id
    }
}

/// Registers what the types of this component do, and makes its section. Called once.
pub fn start(k: &mut Kernel) -> CallResult<()> {
    let thread = ob::Procedures { delete: Some(thread::delete), ..ob::Procedures::default() };
    ob::set_procedures(k, ob::ObjectType::Thread, thread);
    section::start(k)
}
