//! Synchronization with interrupt service routines: `KeSynchronizeExecution` and the spin lock of
//! an interrupt object.

use events::{EntryPoint, IrqlLimit};
use guest_memory::GuestAddr;
use nt_abi::Irql;
use nt_macros::export;

use super::interrupt::Interrupt;
use crate::{CallResult, Flow, GuestCall, Kernel, Stop, exports, frame};

exports![KeSynchronizeExecution, KeAcquireInterruptSpinLock, KeReleaseInterruptSpinLock];

/// Calls a routine at the level and with the spin lock of an interrupt object; returns what it
/// returned.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-kesynchronizeexecution",
    irql_when = "the SynchronizeIrql of the interrupt object at most")]
fn KeSynchronizeExecution(
    k: &mut Kernel,
    object: GuestAddr,
    routine: GuestAddr,
    context: u64,
) -> CallResult<Flow> {
    let (interrupt, irql) = raise(k, object, "wdm/nf-wdm-kesynchronizeexecution")?;
    let held = Held { interrupt, routine, context, irql };
    k.acquire_interrupt_lock(&interrupt, irql, 0)?.then(k, held)
}

/// Acquires the spin lock of an interrupt object and raises to its level; returns the old level.
#[export(irql = ..=DIRQL_HIGH, ddi = "wdm/nf-wdm-keacquireinterruptspinlock",
    irql_when = "the SynchronizeIrql of the interrupt object at most")]
fn KeAcquireInterruptSpinLock(k: &mut Kernel, object: GuestAddr) -> CallResult<Flow> {
    let (interrupt, irql) = raise(k, object, "wdm/nf-wdm-keacquireinterruptspinlock")?;
    k.acquire_interrupt_lock(&interrupt, irql, u64::from(irql.0))
}

/// Releases the spin lock of an interrupt object and lowers to the given level.
#[export(irql = .., ddi = "wdm/nf-wdm-kereleaseinterruptspinlock",
    irql_note = "the page names no level but that of the lock")]
fn KeReleaseInterruptSpinLock(k: &mut Kernel, object: GuestAddr, level: u8) -> CallResult<()> {
    let interrupt = require(k, object)?;
    k.release_spin_lock(interrupt.spin_lock(), Irql(level))?;
    k.set_irql(Irql(level));
    Ok(())
}

/// The interrupt object at a driver's pointer.
fn require(k: &mut Kernel, object: GuestAddr) -> CallResult<Interrupt> {
    // One that was disconnected is gone.
    k.read_scalar::<u64>(object)?;
    let known = k.ke.interrupt(object).copied();
    known.ok_or_else(|| Stop::unsupported("something that is no interrupt object"))
}

/// Raises to the level of an interrupt object; the object, and the level before.
fn raise(k: &mut Kernel, object: GuestAddr, ddi: &'static str) -> CallResult<(Interrupt, Irql)> {
    let interrupt = require(k, object)?;
    let (before, level) = (k.irql(), interrupt.connection.synchronize_irql);
    k.check_irql(IrqlLimit { min: Irql::PASSIVE_LEVEL, max: level }, ddi)?;
    if before > level {
        // IRQL_NOT_GREATER_OR_EQUAL: what the routine raises to is lower.
        return Err(Stop::bug_check(0x09, [u64::from(before.0), u64::from(level.0), 0, 0]));
    }
    k.set_irql(level);
    Ok((interrupt, before))
}

/// The spin lock is held: the routine runs.
#[derive(Clone, Debug)]
struct Held {
    interrupt: Interrupt,
    routine: GuestAddr,
    context: u64,
    irql: Irql,
}
frame!(Held, |this, _, _| {
    let Held { interrupt, routine, context, irql } = this;
    let entry = EntryPoint::Callback("SynchCritSection");
    let call = GuestCall::entry(routine, vec![context], entry);
    Ok(Flow::call(call, Synchronized { interrupt, irql }))
});

/// The routine returned.
#[derive(Clone, Debug)]
struct Synchronized {
    interrupt: Interrupt,
    irql: Irql,
}
frame!(Synchronized, |this, k, value| {
    k.release_spin_lock(this.interrupt.spin_lock(), this.irql)?;
    k.set_irql(this.irql);
    // A BOOLEAN: one byte.
    Ok(Flow::Return(value & 0xff))
});
