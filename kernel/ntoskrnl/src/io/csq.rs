//! Cancel-safe queues: the driver keeps the queue, the I/O manager keeps the races out of it.
//!
//! The driver's callbacks lock, insert, look and remove. Whoever takes an IRP's cancel routine away
//! under the queue's lock owns the IRP: the routine that removes it, or the cancel routine that
//! belongs to the queue. Source: "Cancel-Safe IRP Queues", "Implementing the Cancel-Safe IRP
//! Queue".

use events::{BlockKind, EntryPoint, IrqlLimit};
use guest_memory::GuestAddr;
use nt_abi::{
    Field, Irql, NtStatus,
    constants::io::{IO_TYPE_CSQ, IO_TYPE_CSQ_EX, IO_TYPE_CSQ_IRP_CONTEXT, SL_PENDING_RETURNED},
    structures::io::{IO_CSQ, IO_CSQ_IRP_CONTEXT, IO_STACK_LOCATION, IRP},
};
use nt_macros::export;

use super::cancel;
use crate::{CallResult, Export, Flow, GuestCall, Kernel, exports, frame, mm};

exports![
    IoCsqInitialize,
    IoCsqInitializeEx,
    IoCsqInsertIrp,
    IoCsqInsertIrpEx,
    IoCsqRemoveIrp,
    IoCsqRemoveNextIrp,
    CancelQueuedIrp,
];

/// The driver's routines, in the order of `IoCsqInitialize` and of the structure.
type Routines = [GuestAddr; 6];

/// Initialises the dispatch table of a queue.
#[export(irql = .., ddi = "wdm/nf-wdm-iocsqinitialize")]
fn IoCsqInitialize(
    k: &mut Kernel,
    csq: GuestAddr,
    insert: GuestAddr,
    remove: GuestAddr,
    peek: GuestAddr,
    acquire: GuestAddr,
    release: GuestAddr,
    complete: GuestAddr,
) -> CallResult<NtStatus> {
    initialize(k, csq, IO_TYPE_CSQ, [insert, remove, peek, acquire, release, complete])
}

/// The same with an insert routine that gets a context and may refuse.
#[export(irql = .., ddi = "wdm/nf-wdm-iocsqinitializeex")]
fn IoCsqInitializeEx(
    k: &mut Kernel,
    csq: GuestAddr,
    insert: GuestAddr,
    remove: GuestAddr,
    peek: GuestAddr,
    acquire: GuestAddr,
    release: GuestAddr,
    complete: GuestAddr,
) -> CallResult<NtStatus> {
    initialize(k, csq, IO_TYPE_CSQ_EX, [insert, remove, peek, acquire, release, complete])
}

fn initialize(
    k: &mut Kernel,
    csq: GuestAddr,
    kind: u32,
    routines: Routines,
) -> CallResult<NtStatus> {
    k.set(csq, IO_CSQ::Type, kind)?;
    for (offset, routine) in (IO_CSQ::CsqInsertIrp.offset_bytes..).step_by(8).zip(routines) {
        k.write_scalar(csq.add(offset), routine.0)?;
    }
    k.set(csq, IO_CSQ::ReservePointer, 0)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Queues an IRP and marks it pending.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iocsqinsertirp",
    irql_note = "the remarks limit it no further"
)]
fn IoCsqInsertIrp(
    k: &mut Kernel,
    csq: GuestAddr,
    irp: GuestAddr,
    context: GuestAddr,
) -> CallResult<Flow> {
    insert(k, csq, Insert { irp, context, insert_context: 0 })
}

/// The same; returns what the driver's insert routine returned.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iocsqinsertirpex",
    irql_note = "the remarks limit it no further"
)]
fn IoCsqInsertIrpEx(
    k: &mut Kernel,
    csq: GuestAddr,
    irp: GuestAddr,
    context: GuestAddr,
    insert_context: u64,
) -> CallResult<Flow> {
    insert(k, csq, Insert { irp, context, insert_context })
}

/// Takes the IRP of a context out of the queue; null if it was cancelled.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iocsqremoveirp",
    irql_note = "the remarks limit it no further"
)]
fn IoCsqRemoveIrp(k: &mut Kernel, csq: GuestAddr, context: GuestAddr) -> CallResult<Flow> {
    lock(k, csq, Action::Remove { context })
}

/// Takes the next IRP that the driver's peek routine matches out of the queue, or returns null.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iocsqremovenextirp",
    irql_note = "the remarks limit it no further"
)]
fn IoCsqRemoveNextIrp(k: &mut Kernel, csq: GuestAddr, peek_context: u64) -> CallResult<Flow> {
    lock(k, csq, Action::RemoveNext { peek_context })
}

/// What is to be done under the queue's lock.
#[derive(Clone, Copy, Debug)]
enum Action {
    Insert(Insert),
    Remove { context: GuestAddr },
    RemoveNext { peek_context: u64 },
    Cancel { irp: GuestAddr },
}

#[derive(Clone, Copy, Debug)]
struct Insert {
    irp: GuestAddr,
    context: GuestAddr,
    insert_context: u64,
}

fn insert(k: &mut Kernel, csq: GuestAddr, insert: Insert) -> CallResult<Flow> {
    let Insert { irp, context, .. } = insert;
    if context.is_null() {
        k.set(irp, IRP::DriverContext3, csq.0)?;
    } else {
        k.set(context, IO_CSQ_IRP_CONTEXT::Type, IO_TYPE_CSQ_IRP_CONTEXT)?;
        k.set(context, IO_CSQ_IRP_CONTEXT::Irp, irp.0)?;
        k.set(context, IO_CSQ_IRP_CONTEXT::Csq, csq.0)?;
        k.set(irp, IRP::DriverContext3, context.0)?;
    }
    lock(k, csq, Action::Insert(insert))
}

/// A call of one of the queue's routines.
///
/// The two that lock are no entry points of their own: they return at another IRQL than they were
/// called at, as "Implementing the Cancel-Safe IRP Queue" shows them.
fn callback(
    k: &mut Kernel,
    csq: GuestAddr,
    (routine, name): (Field<u64>, Option<&'static str>),
    arguments: &[u64],
) -> CallResult<GuestCall> {
    let target = GuestAddr(k.get(csq, routine)?);
    let arguments = [&[csq.0], arguments].concat();
    Ok(GuestCall { target, arguments, entry: name.map(EntryPoint::Callback), below: None })
}

const INSERT: (Field<u64>, Option<&str>) = (IO_CSQ::CsqInsertIrp, Some("CsqInsertIrp"));
const REMOVE: (Field<u64>, Option<&str>) = (IO_CSQ::CsqRemoveIrp, Some("CsqRemoveIrp"));
const PEEK: (Field<u64>, Option<&str>) = (IO_CSQ::CsqPeekNextIrp, Some("CsqPeekNextIrp"));
const ACQUIRE: (Field<u64>, Option<&str>) = (IO_CSQ::CsqAcquireLock, None);
const RELEASE: (Field<u64>, Option<&str>) = (IO_CSQ::CsqReleaseLock, None);
const COMPLETE: (Field<u64>, Option<&str>) =
    (IO_CSQ::CsqCompleteCanceledIrp, Some("CsqCompleteCanceledIrp"));

/// Locks the queue. The driver keeps its old IRQL where it is told.
fn lock(k: &mut Kernel, csq: GuestAddr, action: Action) -> CallResult<Flow> {
    let irql_at = mm::allocate_kernel(k, BlockKind::KernelPool, 1, 8)?;
    let call = callback(k, csq, ACQUIRE, &[irql_at.0])?;
    Ok(Flow::call(call, Locked { queue: Queue { csq, irql_at }, action }))
}

/// A locked queue.
#[derive(Clone, Copy, Debug)]
struct Queue {
    csq: GuestAddr,
    irql_at: GuestAddr,
}

/// The queue is locked.
#[derive(Clone, Debug)]
struct Locked {
    queue: Queue,
    action: Action,
}

frame!(Locked, |this, k, _| {
    let Locked { queue, action } = this;
    match action {
        Action::Insert(insert) => queue.insert(k, insert),
        Action::Remove { context } => {
            let irp = GuestAddr(k.get(context, IO_CSQ_IRP_CONTEXT::Irp)?);
            if irp.is_null() || !take_cancel_routine(k, irp)? {
                return queue.unlock(k, After::Return(0));
            }
            queue.remove(k, irp, After::Return(irp.0))
        }
        Action::RemoveNext { peek_context } => queue.peek(k, GuestAddr::NULL, peek_context),
        Action::Cancel { irp } => queue.remove(k, irp, After::Complete { irp, value: 0 }),
    }
});

impl Queue {
    fn insert(self, k: &mut Kernel, insert: Insert) -> CallResult<Flow> {
        let Insert { irp, insert_context, .. } = insert;
        if k.get(irp, IRP::Cancel)? != 0 {
            // "If the IRP to be inserted has already been canceled, IoCsqInsertIrp does not attempt
            // to insert the IRP into the queue." The driver returns STATUS_PENDING all the same.
            mark_pending(k, irp)?;
            leave(k, irp)?;
            return self.unlock(k, After::Complete { irp, value: 0 });
        }
        let arguments: &[u64] = match k.get(self.csq, IO_CSQ::Type)? {
            IO_TYPE_CSQ_EX => &[irp.0, insert_context],
            _ => &[irp.0],
        };
        let call = callback(k, self.csq, INSERT, arguments)?;
        Ok(Flow::call(call, Inserted { queue: self, irp }))
    }

    /// Asks for the IRP behind one, or the first.
    fn peek(self, k: &mut Kernel, behind: GuestAddr, peek_context: u64) -> CallResult<Flow> {
        let call = callback(k, self.csq, PEEK, &[behind.0, peek_context])?;
        Ok(Flow::call(call, Peeked { queue: self, peek_context }))
    }

    fn remove(self, k: &mut Kernel, irp: GuestAddr, after: After) -> CallResult<Flow> {
        let call = callback(k, self.csq, REMOVE, &[irp.0])?;
        Ok(Flow::call(call, Removed { queue: self, irp, after }))
    }

    fn unlock(self, k: &mut Kernel, after: After) -> CallResult<Flow> {
        let irql: u8 = k.read_scalar(self.irql_at)?;
        mm::free_kernel(k, self.irql_at);
        let call = callback(k, self.csq, RELEASE, &[u64::from(irql)])?;
        Ok(Flow::call(call, Unlocked { csq: self.csq, after }))
    }
}

/// What follows when the queue is unlocked.
#[derive(Clone, Copy, Debug)]
enum After {
    /// The routine returns this.
    Return(u64),
    /// The driver completes a cancelled IRP, then the routine returns.
    Complete { irp: GuestAddr, value: u64 },
}

/// The driver's insert routine returned.
#[derive(Clone, Debug)]
struct Inserted {
    queue: Queue,
    irp: GuestAddr,
}

frame!(Inserted, |this, k, value| {
    let Inserted { queue, irp } = this;
    let value = match k.get(queue.csq, IO_CSQ::Type)? {
        IO_TYPE_CSQ_EX => value & u64::from(u32::MAX),
        _ => 0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of rax")]
    let status = NtStatus(value as u32);
    if !status.is_success() {
        // The driver did not take it; the IRP stays its caller's, and is not pending.
        leave(k, irp)?;
        return queue.unlock(k, After::Return(value));
    }
    mark_pending(k, irp)?;
    let routine = cancel_routine_address(k);
    k.set(irp, IRP::CancelRoutine, routine.0)?;
    if k.get(irp, IRP::Cancel)? != 0 && take_cancel_routine(k, irp)? {
        // It was cancelled while there was no routine to call.
        return queue.remove(k, irp, After::Complete { irp, value });
    }
    queue.unlock(k, After::Return(value))
});

/// The driver's peek routine returned an IRP or null.
#[derive(Clone, Debug)]
struct Peeked {
    queue: Queue,
    peek_context: u64,
}

frame!(Peeked, |this, k, value| {
    let Peeked { queue, peek_context } = this;
    let irp = GuestAddr(value);
    if irp.is_null() {
        return queue.unlock(k, After::Return(0));
    }
    if !take_cancel_routine(k, irp)? {
        // Its cancel routine waits for the lock and will remove it.
        return queue.peek(k, irp, peek_context);
    }
    queue.remove(k, irp, After::Return(irp.0))
});

/// The driver's remove routine returned.
#[derive(Clone, Debug)]
struct Removed {
    queue: Queue,
    irp: GuestAddr,
    after: After,
}

frame!(Removed, |this, k, _| {
    leave(k, this.irp)?;
    this.queue.unlock(k, this.after)
});

/// The queue is unlocked.
#[derive(Clone, Debug)]
struct Unlocked {
    csq: GuestAddr,
    after: After,
}

frame!(Unlocked, |this, k, _| match this.after {
    After::Return(value) => Ok(Flow::Return(value)),
    After::Complete { irp, value } => {
        let call = callback(k, this.csq, COMPLETE, &[irp.0])?;
        Ok(Flow::call(call, Completed { value }))
    }
});

/// The driver completed a cancelled IRP.
#[derive(Clone, Debug)]
struct Completed {
    value: u64,
}

frame!(Completed, |this, _, _| Ok(Flow::Return(this.value)));

/// `IoMarkIrpPending`.
fn mark_pending(k: &mut Kernel, irp: GuestAddr) -> CallResult<()> {
    let location = GuestAddr(k.get(irp, IRP::CurrentStackLocation)?);
    let control = k.get(location, IO_STACK_LOCATION::Control)?;
    k.set(location, IO_STACK_LOCATION::Control, control | SL_PENDING_RETURNED)
}

/// `IoSetCancelRoutine(Irp, NULL)`: whether there was one.
fn take_cancel_routine(k: &mut Kernel, irp: GuestAddr) -> CallResult<bool> {
    let routine = k.get(irp, IRP::CancelRoutine)?;
    k.set(irp, IRP::CancelRoutine, 0)?;
    Ok(routine != 0)
}

/// The IRP is in the queue no more; its context says so.
fn leave(k: &mut Kernel, irp: GuestAddr) -> CallResult<()> {
    let place = GuestAddr(k.get(irp, IRP::DriverContext3)?);
    k.set(irp, IRP::DriverContext3, 0)?;
    if !place.is_null() && k.get(place, IO_CSQ_IRP_CONTEXT::Type)? == IO_TYPE_CSQ_IRP_CONTEXT {
        k.set(place, IO_CSQ_IRP_CONTEXT::Irp, 0)?;
    }
    Ok(())
}

/// The cancel routine that a queue gives its IRPs.
///
/// No image can import it: the name is none that a linker writes.
#[derive(Debug)]
pub(crate) struct CancelQueuedIrp {}

impl CancelQueuedIrp {
    /// The declaration, so that the routine has an address that drivers may look at and call.
    pub(crate) const EXPORT: Export = Export {
        name: "(cancel routine of a cancel-safe queue)",
        written_as: None,
        irql: IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::DISPATCH_LEVEL },
        irql_note: None,
        irql_when: None,
        limits: None,
        ddi: "wdm/nc-wdm-driver_cancel",
        call: |k| {
            let irp = GuestAddr(k.argument(1)?);
            cancel_routine(k, irp)
        },
    };
}

/// Address of the cancel routine of cancel-safe queues.
pub(crate) fn cancel_routine_address(k: &Kernel) -> GuestAddr {
    let found = k.exports.find("ntoskrnl.exe", CancelQueuedIrp::EXPORT.name);
    found.unwrap_or(GuestAddr::NULL)
}

/// Cancels a queued IRP. Called with the cancel spin lock held.
pub(crate) fn cancel_routine(k: &mut Kernel, irp: GuestAddr) -> CallResult<Flow> {
    let level = Irql(k.get(irp, IRP::CancelIrql)?);
    cancel::release(k, level)?;
    let place = GuestAddr(k.get(irp, IRP::DriverContext3)?);
    let csq = match k.get(place, IO_CSQ_IRP_CONTEXT::Type)? {
        IO_TYPE_CSQ_IRP_CONTEXT => GuestAddr(k.get(place, IO_CSQ_IRP_CONTEXT::Csq)?),
        _ => place,
    };
    lock(k, csq, Action::Cancel { irp })
}

#[cfg(test)]
mod tests;
