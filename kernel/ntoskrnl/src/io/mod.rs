//! Io: drivers, devices, files, requests.
//!
//! `IRP`s, devices, drivers and file objects stand in guest memory with their real layouts. Beside
//! them a ledger ([`irp`]) numbers every IRP and remembers what no driver may spoil: who asked,
//! where its results go, whether it was completed. Requests of user mode enter through [`service`];
//! drivers enter through the exports.

mod associated;
mod attach;
mod build;
mod callback_object;
mod cancel;
mod cancel_here;
mod complete;
mod completion_routine;
mod create;
mod csq;
mod deliver;
mod device;
mod dispatch;
mod driver;
mod driver_extension;
mod file;
mod file_lock;
mod interrupt;
mod irp;
mod left_behind;
mod lower_driver;
mod name_taken;
mod named_event;
mod neighbours;
mod object_pointer;
mod other_requests;
mod remove_lock;
mod request;
mod requestor;
mod shutdown;
mod start_io;
mod symbolic_link;
#[cfg(test)]
mod test_driver;
mod thread_exit;
mod timer;
mod unload;
mod work_item;
mod worker;
mod zw_file;

pub mod service;

use std::collections::{BTreeSet, VecDeque};

use events::{IrpId, ThreadId};
use guest_memory::GuestAddr;
use saved::{Saved, SavedMap, kept};

pub(crate) use cancel_here::{CallStage, cancel_if_chosen};
pub use device::{Descriptor, Device, DeviceFacts};
pub use driver::{Driver, DriverState};
pub use irp::{Irp, IrpKind};
pub(crate) use worker::start_work;

use crate::{CallResult, DataExport, Export, Kernel, ob};

/// Requests looked at, the latest first: an old one that is still pending is no news.
const MOST_LOOKED_AT: usize = 16;

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[Export]] = &[
    device::EXPORTS,
    symbolic_link::EXPORTS,
    interrupt::EXPORTS,
    callback_object::EXPORTS,
    attach::EXPORTS,
    object_pointer::EXPORTS,
    irp::EXPORTS,
    build::EXPORTS,
    associated::EXPORTS,
    dispatch::EXPORTS,
    complete::EXPORTS,
    completion_routine::EXPORTS,
    lower_driver::EXPORTS,
    cancel::EXPORTS,
    csq::EXPORTS,
    requestor::EXPORTS,
    remove_lock::EXPORTS,
    shutdown::EXPORTS,
    start_io::EXPORTS,
    timer::EXPORTS,
    work_item::EXPORTS,
    zw_file::EXPORTS,
    named_event::EXPORTS,
    driver_extension::EXPORTS,
];

/// The variables of the component.
pub(crate) const DATA: &[DataExport] = &[
    ob::type_variable("IoDeviceObjectType", |k, at| ob::write_type(k, at, ob::ObjectType::Device)),
    ob::type_variable("IoDriverObjectType", |k, at| ob::write_type(k, at, ob::ObjectType::Driver)),
    ob::type_variable("IoFileObjectType", |k, at| ob::write_type(k, at, ob::ObjectType::File)),
];

kept! {
    /// State of the component.
    #[derive(Debug, Default)]
    pub struct State as StateCopy {
        /// Driver objects, by address.
        drivers: SavedMap<GuestAddr, Driver>,
        /// Device objects, by address.
        devices: SavedMap<GuestAddr, Device>,
        /// File objects, by address.
        files: SavedMap<GuestAddr, file::File>,
        /// Every IRP of the run.
        irps: SavedMap<IrpId, Irp>,
        /// The last IRP at an address, also after it was freed.
        irp_at: SavedMap<GuestAddr, IrpId>,
        /// Dispatch routines that are running, innermost last.
        dispatches: Saved<Vec<dispatch::Dispatch>>,
        next_dispatch: u64,
        /// The word of the cancel spin lock; null until somebody asks for it.
        cancel_lock: GuestAddr,
        /// Timers of devices.
        timers: Saved<timer::Timers>,
        /// Packets that `IoStartPacket` queued and nobody started.
        queued_packets: Saved<BTreeSet<GuestAddr>>,
        /// Devices to tell about a shutdown, first to be told first.
        shutdown_devices: Saved<VecDeque<GuestAddr>>,
        /// Number of the next device without a name of its own.
        next_device_number: u32,
        /// Threads that do it.
        workers: Saved<Vec<ThreadId>>,
        /// Completion routines that keep their device, by context.
        safe_completions: SavedMap<GuestAddr, completion_routine::SafeCompletion>,
        /// Drivers beside the one under test.
        neighbours: Saved<neighbours::Neighbours>,
        /// Work items, by address.
        work_items: SavedMap<GuestAddr, work_item::WorkItem>,
        /// Connection contexts that are tables of messages.
        message_tables: Saved<interrupt::MessageTables>,
        /// Callback objects.
        callbacks: Saved<callback_object::Callbacks>,
    }
}

impl State {
    /// Whether the address lies in a user range that the caller of a request under way passed.
    pub fn is_callers_buffer(&self, at: GuestAddr) -> bool {
        let open = self.irps.values().filter(|irp| irp.is_live);
        let mut ranges = open.filter_map(|irp| irp.request.as_ref()).flat_map(|r| &r.ranges);
        ranges.any(|&(start, size_bytes)| at.0.wrapping_sub(start.0) < size_bytes)
    }

    /// A digest of the kinds of request that user mode has under way.
    pub(crate) fn requests_under_way(&self) -> u64 {
        let is_open =
            |irp: &&Irp| irp.kind == IrpKind::Request && irp.is_live && irp.completed.is_none();
        let open = self.irps.values().rev().take(MOST_LOOKED_AT).filter(is_open);
        let kinds: BTreeSet<u64> =
            open.map(|irp| u64::from(irp.control_code) << 8 | u64::from(irp.major)).collect();
        kinds.into_iter().fold(0, |digest, kind| digest.rotate_left(7) ^ kind)
    }

    /// The device of the innermost request under way.
    pub fn request_device(&self) -> Option<GuestAddr> {
        self.dispatches.last().map(|dispatch| dispatch.device)
    }

    /// A driver object that exists.
    pub fn driver(&self, object: GuestAddr) -> Option<&Driver> {
        self.drivers.get(&object)
    }
}

/// Gives the object types of this component their procedures and creates its objects. Called
/// once, after `ob::start`.
pub fn start(k: &mut Kernel) -> CallResult<()> {
    k.ex.wake_worker = Some(worker::wake);
    let file = ob::Procedures {
        close: Some(file::close),
        delete: Some(file::delete),
        query_name: Some(file::query_name),
    };
    ob::set_procedures(k, ob::ObjectType::File, file);
    let device = ob::Procedures { delete: Some(device::delete), ..ob::Procedures::default() };
    ob::set_procedures(k, ob::ObjectType::Device, device);
    let driver = ob::Procedures { delete: Some(driver::delete), ..ob::Procedures::default() };
    ob::set_procedures(k, ob::ObjectType::Driver, driver);
    callback_object::start(k)
}
