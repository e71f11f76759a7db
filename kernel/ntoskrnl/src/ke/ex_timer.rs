//! Timers that the system allocates: `ExAllocateTimer` and its kin. They stand on a `KTIMER` and,
//! for the callback, on a DPC that calls it with the timer.

use events::{ArgumentOutOfRange, BlockKind, EntryPoint, Event, IrqlLimit};
use guest_memory::GuestAddr;
use nt_abi::{
    Irql,
    structures::{
        ex::{EXT_DELETE_PARAMETERS, EXT_SET_PARAMETERS},
        ke::{KDPC, KTIMER},
    },
};
use nt_macros::export;

use super::timer;
use crate::{
    CallResult, Flow, GuestCall, Kernel, Stop, exports, frame,
    ke::{DispatcherType, initialize_dpc},
};

exports![ExAllocateTimer, ExSetTimer, ExCancelTimer, ExDeleteTimer];

/// `EX_TIMER_XXX`. Source: `wdm/nf-wdm-exallocatetimer`.
const HIGH_RESOLUTION: u32 = 4;
const NO_WAKE: u32 = 8;
const NOTIFICATION: u32 = 1 << 31;
/// `EX_TIMER_UNLIMITED_TOLERANCE`.
const UNLIMITED_TOLERANCE: i64 = -1;
/// `MAXLONG`.
const LONGEST_PERIOD_100NS: i64 = 0x7fff_ffff;
/// "A periodic timer can expire no more than once per system clock tick"; the clock ticks every
/// half a millisecond at most.
const SHORTEST_PERIOD_100NS: u64 = 5_000;
/// Where the DPC stands.
const DPC: u64 = KTIMER::SIZE_BYTES;

/// What the kernel knows of such a timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExTimer {
    attributes: u32,
    has_callback: bool,
    /// `ExDeleteTimer` was called: no operation has an effect any more.
    is_disabled: bool,
    /// It is deleted when it has expired.
    is_to_delete: bool,
    /// What is called then, and its argument.
    on_delete: (GuestAddr, u64),
}

/// Allocates a timer; null if there is no room.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exallocatetimer",
    limits = "every timer expires at the time asked for")]
fn ExAllocateTimer(
    k: &mut Kernel,
    callback: GuestAddr,
    context: u64,
    attributes: u32,
) -> CallResult<GuestAddr> {
    let flags = i64::from(attributes & !NOTIFICATION);
    if attributes & (HIGH_RESOLUTION | NO_WAKE) == HIGH_RESOLUTION | NO_WAKE {
        return Err(refuse(
            k,
            &ExAllocateTimer::EXPORT,
            ("Attributes", flags),
            (0, NO_WAKE.into()),
        ));
    }
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let size_bytes = DPC + KDPC::SIZE_BYTES;
    let at = k.new_block(BlockKind::KernelPool, size_bytes)?;
    let kind = match attributes & NOTIFICATION {
        0 => DispatcherType::SynchronizationTimer,
        _ => DispatcherType::NotificationTimer,
    };
    timer::initialize(k, at, kind)?;
    let dpc = at.add(DPC);
    initialize_dpc(k, dpc, callback)?;
    k.set(dpc, KDPC::DeferredContext, context)?;
    let entry = ExTimer {
        attributes,
        has_callback: !callback.is_null(),
        is_disabled: false,
        is_to_delete: false,
        on_delete: (GuestAddr::NULL, 0),
    };
    k.ke.ex_timers.insert(at, entry);
    Ok(at)
}

/// Sets a timer; TRUE if that cancels an earlier setting.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exsettimer",
    limits = "every timer expires at the time asked for")]
fn ExSetTimer(
    k: &mut Kernel,
    at: GuestAddr,
    due: i64,
    period_100ns: i64,
    parameters: GuestAddr,
) -> CallResult<bool> {
    let known = require(k, at)?;
    let export = &ExSetTimer::EXPORT;
    if known.attributes & HIGH_RESOLUTION != 0 && due >= 0 {
        return Err(refuse(k, export, ("DueTime", due), (i64::MIN, -1)));
    }
    if !(0..=LONGEST_PERIOD_100NS).contains(&period_100ns) {
        let argument = ("Period", period_100ns);
        return Err(refuse(k, export, argument, (0, LONGEST_PERIOD_100NS)));
    }
    if !parameters.is_null() {
        let tolerance = k.get(parameters, EXT_SET_PARAMETERS::NoWakeTolerance)?;
        if tolerance < UNLIMITED_TOLERANCE {
            let argument = ("NoWakeTolerance", tolerance);
            return Err(refuse(k, export, argument, (UNLIMITED_TOLERANCE, i64::MAX)));
        }
    }
    if known.is_disabled {
        return Ok(false);
    }
    let period = match period_100ns.unsigned_abs() {
        0 => 0,
        period => period.max(SHORTEST_PERIOD_100NS),
    };
    let dpc = if known.has_callback { at.add(DPC) } else { GuestAddr::NULL };
    timer::set(k, at, due, period, dpc)
}

/// Cancels a timer; TRUE if it was set.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-excanceltimer")]
fn ExCancelTimer(k: &mut Kernel, at: GuestAddr, _parameters: u64) -> CallResult<bool> {
    let known = require(k, at)?;
    if known.is_disabled {
        return Ok(false);
    }
    timer::cancel(k, at)
}

/// Deletes a timer, at once or when it has expired; TRUE if that cancels a setting.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-exdeletetimer",
    irql_when = "APC_LEVEL at most if Wait is TRUE")]
fn ExDeleteTimer(
    k: &mut Kernel,
    at: GuestAddr,
    is_to_cancel: bool,
    is_to_wait: bool,
    parameters: GuestAddr,
) -> CallResult<Flow> {
    let max = if is_to_wait { Irql::APC_LEVEL } else { Irql::DISPATCH_LEVEL };
    k.check_irql(IrqlLimit { min: Irql::PASSIVE_LEVEL, max }, "wdm/nf-wdm-exdeletetimer")?;
    let known = require(k, at)?;
    if is_to_wait && !is_to_cancel {
        return Err(refuse(k, &ExDeleteTimer::EXPORT, ("Cancel", 0), (1, 1)));
    }
    if known.is_disabled {
        return Ok(Flow::Return(0));
    }
    let mut on_delete = (GuestAddr::NULL, 0);
    if !parameters.is_null() {
        let callback = GuestAddr(k.get(parameters, EXT_DELETE_PARAMETERS::DeleteCallback)?);
        on_delete = (callback, k.get(parameters, EXT_DELETE_PARAMETERS::DeleteContext)?);
    }
    if let Some(known) = k.ke.ex_timers.get_mut(&at) {
        known.is_disabled = true;
        known.on_delete = on_delete;
    }
    let was_cancelled = is_to_cancel && timer::cancel(k, at)?;
    if is_to_wait {
        return delete_when_done(k, at)?.then(k, Deleted { was_cancelled });
    }
    if timer::is_set(k, at) || is_expiring(k, at) {
        if let Some(known) = k.ke.ex_timers.get_mut(&at) {
            known.is_to_delete = true;
        }
        return Ok(Flow::Return(u64::from(was_cancelled)));
    }
    delete(k, at)?.then(k, Deleted { was_cancelled })
}

/// A timer of this kind at a driver's pointer.
fn require(k: &mut Kernel, at: GuestAddr) -> CallResult<ExTimer> {
    // One that was deleted is gone.
    k.read_scalar::<u64>(at)?;
    let known = k.ke.ex_timers.get(&at).copied();
    known.ok_or_else(|| Stop::unsupported("something that ExAllocateTimer did not allocate"))
}

/// Reports an argument for which the page says that the routine bug checks; it does not say with
/// which code.
fn refuse(
    k: &mut Kernel,
    export: &crate::Export,
    (argument, value): (&'static str, i64),
    (min, max): (i64, i64),
) -> Stop {
    let (export, ddi) = (export.name, export.ddi);
    let event = ArgumentOutOfRange { export, argument, value, min, max, ddi };
    match k.emit(Event::ArgumentOutOfRange(event)) {
        Err(stop) => stop,
        Ok(_) => Stop::unsupported(format!("the bug check of {export} for this {argument}")),
    }
}

/// Whether the callback is queued or runs.
fn is_expiring(k: &Kernel, at: GuestAddr) -> bool {
    let dpc = at.add(DPC);
    k.ke.is_dpc_queued(dpc) || k.cores.iter().any(|core| core.dpc == Some(dpc))
}

/// Waits until the callback has returned, and deletes the timer.
fn delete_when_done(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    if is_expiring(k, at) {
        return Ok(Flow::spin(GuestAddr::NULL, Waiting { at }));
    }
    delete(k, at)
}

#[derive(Clone, Debug)]
struct Waiting {
    at: GuestAddr,
}
frame!(Waiting, |this, k, _| delete_when_done(k, this.at));

/// The timer goes, and the driver hears of it.
fn delete(k: &mut Kernel, at: GuestAddr) -> CallResult<Flow> {
    let Some(known) = k.ke.ex_timers.remove(&at) else { return Ok(Flow::Return(0)) };
    // What its callback did comes before what is done now.
    k.order_acquire(at.add(DPC));
    k.give_block_back(at);
    let (callback, context) = known.on_delete;
    if callback.is_null() {
        return Ok(Flow::Return(0));
    }
    // "Called at DISPATCH_LEVEL."
    let irql = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    let entry = EntryPoint::Callback("ExTimerDeleteCallback");
    Ok(Flow::call(GuestCall::entry(callback, vec![context], entry), Told { irql }))
}

#[derive(Clone, Debug)]
struct Told {
    irql: Irql,
}
frame!(Told, |this, k, _| {
    k.set_irql(this.irql);
    Ok(Flow::Return(0))
});

/// The timer is deleted.
#[derive(Clone, Debug)]
struct Deleted {
    was_cancelled: bool,
}
frame!(Deleted, |this, _, _| Ok(Flow::Return(u64::from(this.was_cancelled))));

impl Kernel {
    /// What the routine of a DPC gets if it is the callback of such a timer.
    pub(crate) fn ex_timer_of(&self, dpc: GuestAddr) -> Option<GuestAddr> {
        let at = GuestAddr(dpc.0.wrapping_sub(DPC));
        self.ke.ex_timers.contains_key(&at).then_some(at)
    }

    /// Whether a periodic timer expires no more because it was deleted.
    pub(crate) fn is_ex_timer_disabled(&self, at: GuestAddr) -> bool {
        self.ke.ex_timers.get(&at).is_some_and(|known| known.is_disabled)
    }

    /// The callback of a timer has returned on this processor: now it may go.
    pub(crate) fn ex_timer_called(&mut self, at: GuestAddr) -> CallResult<Flow> {
        let dpc = at.add(DPC);
        self.order_release(dpc);
        let running = self.cores.iter().filter(|core| core.dpc == Some(dpc)).count();
        let is_done = running <= 1 && !self.ke.is_dpc_queued(dpc) && !timer::is_set(self, at);
        match self.ke.ex_timers.get(&at) {
            Some(known) if known.is_to_delete && is_done => delete(self, at),
            _ => Ok(Flow::Return(0)),
        }
    }

    /// A timer has expired that may be without callback and waiting for its deletion.
    pub(crate) fn ex_timer_expired(&mut self, at: GuestAddr) -> CallResult<()> {
        let Some(known) = self.ke.ex_timers.get(&at).copied() else { return Ok(()) };
        if !known.is_to_delete || known.has_callback {
            return Ok(());
        }
        if !known.on_delete.0.is_null() {
            return Err(Stop::unsupported("ExTimerDeleteCallback of a timer without a callback"));
        }
        delete(self, at).map(drop)
    }
}

#[cfg(test)]
mod tests;
