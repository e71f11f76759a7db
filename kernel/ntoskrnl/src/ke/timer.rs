//! Timers.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::ke::KTIMER};
use nt_macros::export;

use crate::{CallResult, Kernel, exports, ke::DispatcherType};

exports![
    KeInitializeTimer,
    KeInitializeTimerEx,
    KeSetTimer,
    KeSetTimerEx,
    KeCancelTimer,
    KeReadStateTimer
];

/// Units of 100 ns in a millisecond, the unit of a period.
const MILLISECOND_100NS: u64 = 10_000;

/// Initialises a notification timer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinitializetimer")]
fn KeInitializeTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<()> {
    initialize(k, timer, DispatcherType::NotificationTimer)
}

/// Initialises a timer as notification (0) or synchronization (1) timer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinitializetimerex")]
fn KeInitializeTimerEx(k: &mut Kernel, timer: GuestAddr, kind: u32) -> CallResult<()> {
    let kind = match kind {
        0 => DispatcherType::NotificationTimer,
        _ => DispatcherType::SynchronizationTimer,
    };
    initialize(k, timer, kind)
}

/// Sets a timer once; TRUE if it was set already.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesettimer")]
fn KeSetTimer(k: &mut Kernel, timer: GuestAddr, due: i64, dpc: GuestAddr) -> CallResult<bool> {
    set(k, timer, due, 0, dpc)
}

/// Sets a timer with a period in milliseconds.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesettimerex")]
fn KeSetTimerEx(
    k: &mut Kernel,
    timer: GuestAddr,
    due: i64,
    period_ms: u32,
    dpc: GuestAddr,
) -> CallResult<bool> {
    set(k, timer, due, period_ms, dpc)
}

/// Takes a timer off the queue; TRUE if it was there. Its DPC may be queued or running all the
/// same.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kecanceltimer")]
fn KeCancelTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    cancel(k, timer)
}

/// Says whether the timer has expired.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereadstatetimer")]
fn KeReadStateTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    Ok(k.get(timer, KTIMER::SignalState)? != 0)
}

fn initialize(k: &mut Kernel, timer: GuestAddr, kind: DispatcherType) -> CallResult<()> {
    k.init_dispatcher(timer, kind, KTIMER::SIZE_BYTES, 0)?;
    k.set(timer, KTIMER::DueTime, 0)?;
    k.set(timer, KTIMER::Dpc, 0)?;
    k.set(timer, KTIMER::Period, 0)
}

fn set(
    k: &mut Kernel,
    timer: GuestAddr,
    due: i64,
    period_ms: u32,
    dpc: GuestAddr,
) -> CallResult<bool> {
    let was_set = cancel(k, timer)?;
    let due_100ns = k.due_time(due);
    k.set(timer, KTIMER::SignalState, 0)?;
    k.set(timer, KTIMER::Dpc, dpc.0)?;
    k.set(timer, KTIMER::Period, period_ms)?;
    insert(k, timer, due_100ns)?;
    Ok(was_set)
}

fn insert(k: &mut Kernel, timer: GuestAddr, due_100ns: u64) -> CallResult<()> {
    k.set(timer, KTIMER::DueTime, due_100ns)?;
    k.set(timer, KTIMER::Inserted, 1)?;
    let order = k.ke.next_timer;
    k.ke.next_timer += 1;
    k.ke.timers.insert((due_100ns, order), timer);
    Ok(())
}

fn cancel(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    let before = k.ke.timers.len();
    k.ke.timers.retain(|_, &mut queued| queued != timer);
    let was_set = k.ke.timers.len() != before;
    if was_set {
        k.set(timer, KTIMER::Inserted, 0)?;
    }
    Ok(was_set)
}

impl Kernel {
    /// When the next timer or time out is due, in interrupt time.
    pub(crate) fn next_due_100ns(&self) -> Option<u64> {
        let timer = self.ke.timers.keys().next().map(|&(due, _)| due);
        let wait = self.ke.threads.values().filter_map(|t| t.wait.as_ref()?.0.due_100ns).min();
        [timer, wait].into_iter().flatten().min()
    }

    /// Lets every timer and time out that is due take effect, in order.
    pub(crate) fn expire_timers(&mut self) -> CallResult<()> {
        let now = self.interrupt_time_100ns();
        while let Some((&(due, order), &timer)) = self.ke.timers.first_key_value() {
            if due > now {
                break;
            }
            self.ke.timers.remove(&(due, order));
            let period = u64::from(self.get(timer, KTIMER::Period)?) * MILLISECOND_100NS;
            if period == 0 {
                self.set(timer, KTIMER::Inserted, 0)?;
            } else {
                insert(self, timer, due + period)?;
            }
            let dpc = GuestAddr(self.get(timer, KTIMER::Dpc)?);
            self.signal(timer, 1)?;
            if !dpc.is_null() {
                self.queue_dpc(dpc, 0, 0)?;
            }
        }
        let due = |wait: &crate::Wait| wait.due_100ns.is_some_and(|due| due <= now);
        let late =
            self.ke.threads.values().filter(|t| t.wait.as_ref().is_some_and(|(wait, _)| due(wait)));
        for id in late.map(|t| t.id).collect::<Vec<_>>() {
            self.wake(id, NtStatus::STATUS_TIMEOUT);
        }
        Ok(())
    }
}
