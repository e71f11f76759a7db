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
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{
        Irql,
        structures::io::{IO_STACK_LOCATION, IRP},
    };

    use crate::{
        GuestCall, Kernel,
        io::{irp::location_at, test_driver},
        testing::{block, call_by_name, drive, kernel},
    };

    /// Where the routines of the test's driver stand, in the order of `IoCsqInitialize`.
    const ROUTINES: u64 = 0xffff_f802_0000_1000;
    const NAMES: [&str; 6] = ["insert", "remove", "peek", "acquire", "release", "complete"];
    const REFUSED: u64 = 0xc000_0001;

    /// A driver with one queue, in Rust.
    struct Driver {
        csq: u64,
        lock: u64,
        queue: Vec<u64>,
        log: Vec<String>,
        /// What the insert routine returns.
        answer: u64,
        /// Cancels the IRP while it is inserted.
        cancels_at_insert: bool,
    }

    impl Driver {
        fn new(k: &mut Kernel, initialize: &str) -> Self {
            let (csq, lock) = (block(k, &[0xee; 0x40]), block(k, &[0; 8]));
            let routines: Vec<u64> = (0..6).map(|index| ROUTINES + 0x10 * index).collect();
            let arguments = [&[csq], routines.as_slice()].concat();
            assert_eq!(call_by_name(k, initialize, &arguments), Ok(0));
            let (queue, log) = (Vec::new(), Vec::new());
            Self { csq, lock, queue, log, answer: 0, cancels_at_insert: false }
        }

        fn run(&mut self, k: &mut Kernel, name: &str, arguments: &[u64]) -> u64 {
            let arguments = [&[self.csq], arguments].concat();
            drive(k, name, &arguments, &mut |k, call| self.routine(k, call)).unwrap()
        }

        fn cancel(&mut self, k: &mut Kernel, irp: u64) -> u64 {
            drive(k, "IoCancelIrp", &[irp], &mut |k, call| self.routine(k, call)).unwrap()
        }

        fn routine(&mut self, k: &mut Kernel, call: &GuestCall) -> u64 {
            let index = usize::try_from((call.target.0 - ROUTINES) / 0x10).unwrap();
            assert_eq!(call.arguments[0], self.csq);
            let name = NAMES[index];
            self.log.push(format!("{name}@{}", k.irql().0));
            match name {
                "insert" => {
                    let irp = call.arguments[1];
                    if self.answer & 1 << 31 == 0 {
                        self.queue.push(irp);
                    }
                    if let Some(context) = call.arguments.get(2) {
                        self.log.push(format!("context {context}"));
                    }
                    if self.cancels_at_insert {
                        assert_eq!(call_by_name(k, "IoCancelIrp", &[irp]), Ok(0));
                    }
                    self.answer
                }
                "remove" => {
                    self.queue.retain(|&irp| irp != call.arguments[1]);
                    0
                }
                "peek" => {
                    let behind = self.queue.iter().position(|&irp| irp == call.arguments[1]);
                    let next = behind.map_or(0, |index| index + 1);
                    self.queue.get(next).copied().unwrap_or(0)
                }
                "acquire" => {
                    let old = call_by_name(k, "KeAcquireSpinLockRaiseToDpc", &[self.lock]).unwrap();
                    k.write(GuestAddr(call.arguments[1]), &old.to_le_bytes()[..1]).unwrap();
                    0
                }
                "release" => {
                    let arguments = [self.lock, call.arguments[1]];
                    call_by_name(k, "KeReleaseSpinLock", &arguments).unwrap()
                }
                _ => {
                    self.log.push(format!("cancelled {:x}", call.arguments[1]));
                    0
                }
            }
        }

        fn take_log(&mut self) -> String {
            std::mem::take(&mut self.log).join(" ")
        }
    }

    fn csq(initialize: &str) -> (Kernel, Driver) {
        let mut k = kernel();
        let driver = Driver::new(&mut k, initialize);
        (k, driver)
    }

    /// An IRP that a driver has.
    fn irp(k: &mut Kernel) -> u64 {
        let irp = test_driver::irp(k, 1);
        k.set(GuestAddr(irp), IRP::CurrentLocation, 1).unwrap();
        let location = location_at(GuestAddr(irp), 1);
        k.set(GuestAddr(irp), IRP::CurrentStackLocation, location.0).unwrap();
        irp
    }

    fn is_pending(k: &mut Kernel, irp: u64) -> bool {
        k.get(location_at(GuestAddr(irp), 1), IO_STACK_LOCATION::Control).unwrap() & 1 != 0
    }

    #[test]
    fn insertion_locks_inserts_marks_pending_and_unlocks() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irp = irp(&mut k);
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
        assert_eq!(driver.take_log(), "acquire@0 insert@2 release@2");
        assert!(is_pending(&mut k, irp));
        assert_ne!(k.get(GuestAddr(irp), IRP::CancelRoutine), Ok(0));
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
    }

    #[test]
    fn a_cancelled_irp_is_removed_under_the_lock_and_completed_outside() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irp = irp(&mut k);
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
        driver.take_log();
        assert_eq!(driver.cancel(&mut k, irp), 1);
        let expected = format!("acquire@0 remove@2 release@2 complete@0 cancelled {irp:x}");
        assert_eq!(driver.take_log(), expected);
        assert_eq!(k.get(GuestAddr(irp), IRP::Cancel), Ok(1));
        assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[0]), 0);
    }

    #[test]
    fn an_irp_cancelled_before_is_not_inserted_but_pending() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let (irp, context) = (irp(&mut k), block(&mut k, &[0xee; 0x18]));
        assert_eq!(driver.cancel(&mut k, irp), 0);
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, context]);
        let expected = format!("acquire@0 release@2 complete@0 cancelled {irp:x}");
        assert_eq!(driver.take_log(), expected);
        assert!(is_pending(&mut k, irp));
        assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), 0);
    }

    #[test]
    fn an_irp_cancelled_while_it_is_inserted_is_taken_out_again() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irp = irp(&mut k);
        driver.cancels_at_insert = true;
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
        let expected =
            format!("acquire@0 insert@2 remove@2 release@2 complete@0 cancelled {irp:x}");
        assert_eq!(driver.take_log(), expected);
        assert_eq!(driver.queue, []);
    }

    #[test]
    fn removal_by_context_happens_once() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let (irp, context) = (irp(&mut k), block(&mut k, &[0xee; 0x18]));
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, context]);
        driver.take_log();
        assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), irp);
        assert_eq!(driver.take_log(), "acquire@0 remove@2 release@2");
        assert_eq!(k.get(GuestAddr(irp), IRP::CancelRoutine), Ok(0));
        assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), 0);
        assert_eq!(driver.take_log(), "acquire@0 release@2");
    }

    #[test]
    fn removal_of_the_next_skips_what_is_being_cancelled() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irps = [irp(&mut k), irp(&mut k), irp(&mut k)];
        for irp in irps {
            driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
        }
        driver.take_log();
        assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), irps[0]);
        assert_eq!(driver.take_log(), "acquire@0 peek@2 remove@2 release@2");
        // Another processor is about to run its cancel routine.
        k.set(GuestAddr(irps[1]), IRP::CancelRoutine, 0).unwrap();
        assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), irps[2]);
        assert_eq!(driver.take_log(), "acquire@0 peek@2 peek@2 remove@2 release@2");
        assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), 0);
    }

    #[test]
    fn the_extended_insert_routine_gets_its_context_and_may_refuse() {
        let (mut k, mut driver) = csq("IoCsqInitializeEx");
        let (first, second) = (irp(&mut k), irp(&mut k));
        assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[first, 0, 77]), 0);
        assert_eq!(driver.take_log(), "acquire@0 insert@2 context 77 release@2");
        driver.answer = REFUSED;
        let context = block(&mut k, &[0xee; 0x18]);
        assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[second, context, 78]), REFUSED);
        assert!(!is_pending(&mut k, second), "the caller completes it at once");
        assert_eq!(k.get(GuestAddr(second), IRP::CancelRoutine), Ok(0));
        assert_eq!(driver.queue, [first]);
        // A queue without the extension has no such value.
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irp = irp(&mut k);
        driver.answer = 0x1234;
        assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[irp, 0, 77]), 0);
        assert_eq!(driver.take_log(), "acquire@0 insert@2 release@2");
    }

    #[test]
    fn a_driver_may_call_the_cancel_routine_itself() {
        let (mut k, mut driver) = csq("IoCsqInitialize");
        let irp = irp(&mut k);
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
        let place = block(&mut k, &[0xee]);
        call_by_name(&mut k, "IoAcquireCancelSpinLock", &[place]).unwrap();
        k.set(GuestAddr(irp), IRP::CancelRoutine, 0).unwrap();
        k.set(GuestAddr(irp), IRP::CancelIrql, 0).unwrap();
        driver.take_log();
        let routine = super::CancelQueuedIrp::EXPORT.name;
        drive(&mut k, routine, &[0, irp], &mut |k, call| driver.routine(k, call)).unwrap();
        assert!(driver.take_log().ends_with(&format!("cancelled {irp:x}")));
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
    }
}
