//! Closing handles, and deletions that had to wait.

use guest_memory::GuestAddr;
use nt_abi::NtStatus;

use super::{
    CloseRequest, Handle, PreviousMode, handle_table, namespace,
    object::{self, dereference},
    object_type,
};
use crate::{CallResult, Flow, Kernel, frame};

/// Closes a handle: the type's close procedure, then the name of an object without handles, then
/// the reference.
///
/// The value is an `NTSTATUS`.
pub fn close_handle(k: &mut Kernel, handle: Handle, mode: PreviousMode) -> CallResult<Flow> {
    let entry = match handle_table::take(k, handle, mode) {
        Ok(entry) => entry,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let object = object::object_mut(k, entry.object);
    let handle_count = object.handle_count;
    object.handle_count -= 1;
    let kind = object.kind;
    let request = CloseRequest { object: entry.object, granted: entry.granted, handle_count };
    let release = Release { object: entry.object };
    match object_type::procedures(k, kind).close {
        Some(close) => close(k, request)?.then(k, release),
        None => release.run(k),
    }
}

/// The close procedure is through.
#[derive(Clone, Debug)]
struct Release {
    object: GuestAddr,
}

frame!(Release, |this, k, _| this.run(k));

impl Release {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        // The close procedure ran driver code, which may have given back a reference that was not
        // its own.
        object::referenceable(k, self.object)?;
        let object = object::object(k, self.object);
        if object.handle_count == 0 && !object.is_permanent {
            namespace::remove(k, self.object);
        }
        dereference(k, self.object)?.then(k, Answer(NtStatus::STATUS_SUCCESS))
    }
}

/// Replaces whatever arrived by a status.
#[derive(Clone, Debug)]
pub struct Answer(pub NtStatus);

frame!(Answer, |this, _, _| Ok(Flow::Return(u64::from(this.0.0))));

/// Closes every handle of a process that ends.
pub fn close_table(k: &mut Kernel, process: GuestAddr) -> CallResult<Flow> {
    CloseAll { handles: handle_table::values(k, process) }.run(k)
}

#[derive(Clone, Debug)]
struct CloseAll {
    handles: Vec<Handle>,
}

frame!(CloseAll, |this, k, _| this.run(k));

impl CloseAll {
    fn run(mut self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(handle) = self.handles.pop() {
            match close_handle(k, handle, PreviousMode::User)? {
                Flow::Return(_) => {}
                flow => return flow.then(k, self),
            }
        }
        Ok(Flow::Return(0))
    }
}

/// Deletes the objects that wait for a system worker. At `PASSIVE_LEVEL` only.
pub fn run_deferred_deletions(k: &mut Kernel) -> CallResult<Flow> {
    Deferred.run(k)
}

/// Whether objects wait for a system worker to delete them.
pub fn has_deferred_deletions(k: &Kernel) -> bool {
    !k.ob.deferred.is_empty()
}

#[derive(Clone, Debug)]
struct Deferred;

frame!(Deferred, |this, k, _| this.run(k));

impl Deferred {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(body) = k.ob.deferred.pop_front() {
            match object::delete(k, body)? {
                Flow::Return(_) => {}
                flow => return flow.then(k, self),
            }
        }
        Ok(Flow::Return(0))
    }
}
