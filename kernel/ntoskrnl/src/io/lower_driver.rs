//! A lower driver that pends everything: it passes each request on at once, keeps it when it comes
//! back, and completes it at `DISPATCH_LEVEL`, later or just before its dispatch routine returns.

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::{
    Irql, NtStatus,
    structures::ke::{KDPC, KTIMER},
};

use super::{complete, completion_routine, dispatch, neighbours};
use crate::{CallResult, Export, Flow, Kernel, exports, frame, ke, mm};

exports![CompleteHeld];

/// When a lower driver completes what came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Later, from a DPC.
    Later,
    /// Before its dispatch routine returns `STATUS_PENDING`, where the request is back by then.
    BeforeReturn,
}

impl When {
    /// What an answer to [`events::LOWER_DRIVER`] means; `None`: there is no such driver.
    pub(super) fn from_answer(answer: u32) -> Option<Self> {
        match answer {
            1 => Some(Self::Later),
            2 => Some(Self::BeforeReturn),
            _ => None,
        }
    }
}

/// How long a request is kept: 1 ms.
const KEPT_100NS: u64 = 10_000;

/// Passes a request to the device below. The value is `STATUS_PENDING`.
pub(super) fn pass_down(
    k: &mut Kernel,
    (ours, below): (GuestAddr, GuestAddr),
    irp: GuestAddr,
    when: When,
) -> CallResult<Flow> {
    neighbours::mark_pending(k, irp)?;
    if let Some(next) = neighbours::copy_to_next(k, irp)? {
        completion_routine::set_keeper(k, next, ours)?;
    }
    if when == When::BeforeReturn {
        k.io.neighbours.going_down.insert(irp);
    }
    dispatch::call_driver(k, below, irp)?.then(k, PassedDown { irp })
}

/// The device below returned.
#[derive(Clone, Debug)]
struct PassedDown {
    irp: GuestAddr,
}

frame!(PassedDown, |this, k, _| {
    let irp = this.irp;
    let pending = u64::from(NtStatus::STATUS_PENDING.0);
    let was_early = k.io.neighbours.going_down.remove(&irp);
    let held = &mut k.io.neighbours.held;
    let place = held.iter().position(|kept| *kept == irp);
    let Some(place) = place.filter(|_| was_early) else { return Ok(Flow::Return(pending)) };
    held.remove(place);
    // As if the DPC had interrupted the dispatch routine.
    let level = k.irql();
    k.set_irql(level.max(Irql::DISPATCH_LEVEL));
    complete::complete(k, irp)?.then(k, Completed { level })
});

/// The request went up; the dispatch routine goes on.
#[derive(Clone, Debug)]
struct Completed {
    level: Irql,
}

frame!(Completed, |this, k, _| {
    k.set_irql(this.level);
    Ok(Flow::Return(u64::from(NtStatus::STATUS_PENDING.0)))
});

/// A request came back to the driver, which keeps it.
pub(super) fn keep(k: &mut Kernel, irp: GuestAddr) -> CallResult<()> {
    k.io.neighbours.held.push(irp);
    match k.io.neighbours.going_down.contains(&irp) {
        true => Ok(()),
        false => start_timer(k),
    }
}

fn start_timer(k: &mut Kernel) -> CallResult<()> {
    if k.io.neighbours.timer.is_null() {
        let size_bytes = KTIMER::SIZE_BYTES + KDPC::SIZE_BYTES;
        let timer = mm::allocate_kernel(k, BlockKind::KernelPool, size_bytes, 16)?;
        let routine = k.exports.find("ntoskrnl.exe", CompleteHeld::EXPORT.name);
        ke::initialize_dpc(k, timer.add(KTIMER::SIZE_BYTES), routine.unwrap_or_default())?;
        k.io.neighbours.timer = timer;
    }
    let timer = k.io.neighbours.timer;
    k.start_timer_once(timer, KEPT_100NS, timer.add(KTIMER::SIZE_BYTES))
}

/// The DPC routine that completes what is kept. No image can import it.
#[derive(Debug)]
struct CompleteHeld {}

impl CompleteHeld {
    const EXPORT: Export = Export {
        name: "(DPC of a lower driver)",
        written_as: None,
        irql: events::IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::DISPATCH_LEVEL },
        irql_note: None,
        irql_when: None,
        limits: None,
        ddi: "wdm/nc-wdm-kdeferred_routine",
        call: |k| CompleteNext.run(k),
    };
}

#[derive(Clone, Debug)]
struct CompleteNext;

frame!(CompleteNext, |this, k, _| this.run(k));

impl CompleteNext {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        // What a dispatch routine is about to complete itself stays.
        let state = &mut k.io.neighbours;
        let is_due = |irp: &GuestAddr| !state.going_down.contains(irp);
        let Some(place) = state.held.iter().position(is_due) else { return Ok(Flow::Return(0)) };
        let irp = state.held.remove(place);
        complete::complete(k, irp)?.then(k, self)
    }
}
