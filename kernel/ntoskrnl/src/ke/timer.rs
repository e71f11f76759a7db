//! Timers.

use events::{Event, KeptKind, Resource, ResourceTaken, Seq, TIMER_EXPIRES, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus, structures::ke::KTIMER};
use nt_macros::export;

use super::{State, dpc::Source};
use crate::{
    CallResult, Kernel, exports,
    ke::{DispatcherType, kept::KEPT_EFFORT},
};

exports![
    KeInitializeTimer,
    KeInitializeTimerEx,
    KeSetTimer,
    KeSetTimerEx,
    KeSetCoalescableTimer,
    KeCancelTimer,
    KeReadStateTimer
];

/// Units of 100 ns in a millisecond, the unit of a period.
const MILLISECOND_100NS: u64 = 10_000;

/// Expirations of periodic timers that are caught up with when much time has passed at once. What
/// comes of more is what comes of these: a DPC is queued once, a timer is signalled or not.
const MOST_CAUGHT_UP: u32 = 32;
/// What an expiration costs, in units of `GuestMemory::exert`.
const EXPIRATION_EFFORT: u64 = 256;

/// A set timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    timer: GuestAddr,
    /// The processor that set it.
    processor: u8,
    /// 0 for one that expires once.
    period_100ns: u64,
    /// When.
    since: Seq,
}

impl State {
    /// Set timers, the next to expire first, and since when.
    pub(crate) fn set_timers(&self) -> impl ExactSizeIterator<Item = (GuestAddr, Seq)> + '_ {
        self.timers.values().map(|armed| (armed.timer, armed.since))
    }
}

/// Initialises a notification timer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinitializetimer",
    irql_note = "the remarks limit it no further")]
fn KeInitializeTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<()> {
    initialize(k, timer, DispatcherType::NotificationTimer)
}

/// Initialises a timer as notification (0) or synchronization (1) timer.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keinitializetimerex",
    irql_note = "the remarks limit it no further")]
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
    set_ms(k, timer, due, 0, dpc)
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
    set_ms(k, timer, due, period_ms, dpc)
}

/// Sets a timer that may expire up to so many milliseconds later than asked, so that it expires
/// together with others. It does not have to.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kesetcoalescabletimer",
    limits = "always expires at the time asked for")]
fn KeSetCoalescableTimer(
    k: &mut Kernel,
    timer: GuestAddr,
    due: i64,
    period_ms: u32,
    _tolerable_delay_ms: u32,
    dpc: GuestAddr,
) -> CallResult<bool> {
    set_ms(k, timer, due, period_ms, dpc)
}

/// Takes a timer off the queue; TRUE if it was there. Its DPC may be queued or running all the
/// same.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kecanceltimer")]
fn KeCancelTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    expire_if_chosen(k, timer)?;
    cancel(k, timer)
}

/// Says whether the timer has expired.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-kereadstatetimer")]
fn KeReadStateTimer(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    Ok(k.get(timer, KTIMER::SignalState)? != 0)
}

/// Initialises a timer in whatever memory.
pub(super) fn initialize(k: &mut Kernel, timer: GuestAddr, kind: DispatcherType) -> CallResult<()> {
    k.initialize_kept(timer, KeptKind::Timer)?;
    k.init_dispatcher(timer, kind, KTIMER::SIZE_BYTES, 0)?;
    k.set(timer, KTIMER::DueTime, 0)?;
    k.set(timer, KTIMER::Dpc, 0)?;
    k.set(timer, KTIMER::Period, 0)
}

fn set_ms(
    k: &mut Kernel,
    timer: GuestAddr,
    due: i64,
    period_ms: u32,
    dpc: GuestAddr,
) -> CallResult<bool> {
    let was_set = set(k, timer, due, u64::from(period_ms) * MILLISECOND_100NS, dpc)?;
    k.set(timer, KTIMER::Period, period_ms)?;
    Ok(was_set)
}

/// Sets a timer; whether it was set already.
pub(super) fn set(
    k: &mut Kernel,
    timer: GuestAddr,
    due: i64,
    period_100ns: u64,
    dpc: GuestAddr,
) -> CallResult<bool> {
    k.require_dispatcher(timer)?;
    k.require_resident(KeptKind::Timer, timer, KTIMER::SIZE_BYTES)?;
    if !dpc.is_null() {
        k.require_dpc(dpc)?;
    }
    expire_if_chosen(k, timer)?;
    let was_set = cancel(k, timer)?;
    let resource = Resource::Running("timer");
    let since = k.emit(Event::ResourceTaken(ResourceTaken { resource }))?;
    let processor = k.core().index;
    let due_100ns = k.due_time(due);
    k.set(timer, KTIMER::SignalState, 0)?;
    k.set(timer, KTIMER::Dpc, dpc.0)?;
    insert(k, due_100ns, Armed { timer, processor, period_100ns, since })?;
    k.order_release(timer);
    Ok(was_set)
}

fn insert(k: &mut Kernel, due_100ns: u64, armed: Armed) -> CallResult<()> {
    k.set(armed.timer, KTIMER::DueTime, due_100ns)?;
    k.set(armed.timer, KTIMER::Inserted, 1)?;
    let order = k.ke.next_timer;
    k.ke.next_timer += 1;
    k.ke.timers.insert((due_100ns, order), armed);
    Ok(())
}

/// Asks whether a timer that is set has just expired. Its time has come then: the thread was kept
/// from running until now. It may be running on another processor than the timer's DPC.
fn expire_if_chosen(k: &mut Kernel, timer: GuestAddr) -> CallResult<()> {
    k.memory.exert(k.ke.timers.len() as u64 * KEPT_EFFORT);
    let set = k.ke.timers.iter().find(|(_, armed)| armed.timer == timer);
    let Some((&(due_100ns, _), _)) = set else { return Ok(()) };
    let options = if k.cores.len() > 1 && k.irql() < Irql::DISPATCH_LEVEL { 3 } else { 2 };
    let answer = k.ask_here(TIMER_EXPIRES, options, 0)?;
    if answer == 0 {
        return Ok(());
    }
    k.pass_time(due_100ns)?;
    if answer == 2 {
        k.current_thread().moves_after_call = true;
    }
    Ok(())
}

/// Whether a timer is set.
pub(super) fn is_set(k: &Kernel, timer: GuestAddr) -> bool {
    k.ke.timers.values().any(|armed| armed.timer == timer)
}

/// Takes a timer off the queue; whether it was there.
pub(super) fn cancel(k: &mut Kernel, timer: GuestAddr) -> CallResult<bool> {
    let before = k.ke.timers.len();
    k.memory.exert(before as u64 * KEPT_EFFORT);
    k.ke.timers.retain(|_, armed| armed.timer != timer);
    let was_set = k.ke.timers.len() != before;
    if was_set {
        k.set(timer, KTIMER::Inserted, 0)?;
    }
    Ok(was_set)
}

impl State {
    /// The processor that set the timer which is due next.
    pub(crate) fn next_timer_processor(&self) -> Option<u8> {
        self.timers.first_key_value().map(|(_, armed)| armed.processor)
    }
}

impl Kernel {
    /// Starts a periodic timer of the kernel's own.
    pub(crate) fn start_periodic_timer(
        &mut self,
        timer: GuestAddr,
        period_ms: u32,
        dpc: GuestAddr,
    ) -> CallResult<()> {
        initialize(self, timer, DispatcherType::NotificationTimer)?;
        let first_100ns = i64::from(period_ms) * MILLISECOND_100NS.cast_signed();
        set_ms(self, timer, -first_100ns, period_ms, dpc)?;
        Ok(())
    }

    /// Starts a timer of the kernel's own that expires once; one that is started stays as it is.
    pub(crate) fn start_timer_once(
        &mut self,
        timer: GuestAddr,
        after_100ns: u64,
        dpc: GuestAddr,
    ) -> CallResult<()> {
        if self.ke.timers.values().any(|armed| armed.timer == timer) {
            return Ok(());
        }
        initialize(self, timer, DispatcherType::NotificationTimer)?;
        set(self, timer, -after_100ns.cast_signed(), 0, dpc)?;
        Ok(())
    }

    /// Stops a timer of the kernel's own.
    pub(crate) fn stop_timer(&mut self, timer: GuestAddr) -> CallResult<()> {
        cancel(self, timer)?;
        Ok(())
    }

    /// Time passes up to this moment, and what is due by then takes effect.
    pub(crate) fn pass_time(&mut self, until_100ns: u64) -> CallResult<()> {
        let now = self.interrupt_time_100ns();
        self.idle_100ns += until_100ns.saturating_sub(now);
        self.expire_timers()
    }

    /// When the next timer, time out or interrupt of a device is due, in interrupt time.
    pub(crate) fn next_due_100ns(&self) -> Option<u64> {
        let timer = self.ke.timers.keys().next().map(|&(due, _)| due);
        let wait = self.ke.due_waits.keys().next().map(|&(due, _)| due);
        let device = self.ke.interrupts.next_due_100ns();
        [timer, wait, device].into_iter().flatten().min()
    }

    /// Lets every timer and time out that is due take effect, in order.
    pub(crate) fn expire_timers(&mut self) -> CallResult<()> {
        self.raise_due_interrupts();
        let now = self.interrupt_time_100ns();
        let mut expired = 0;
        while let Some((&(due, order), &armed)) = self.ke.timers.first_key_value() {
            if due > now {
                break;
            }
            self.memory.exert(EXPIRATION_EFFORT);
            let Armed { timer, processor, period_100ns, since } = armed;
            self.ke.timers.remove(&(due, order));
            if period_100ns == 0 || self.is_ex_timer_disabled(timer) {
                self.set(timer, KTIMER::Inserted, 0)?;
            } else {
                expired += 1;
                let next = due.saturating_add(period_100ns);
                let is_behind = expired > MOST_CAUGHT_UP;
                insert(self, if is_behind { next.max(now + 1) } else { next }, armed)?;
            }
            let dpc = GuestAddr(self.get(timer, KTIMER::Dpc)?);
            // What set the timer comes before whoever waits for it, not what happens to run now.
            self.set_signalled(timer, 1)?;
            if !dpc.is_null() {
                // What set the timer comes before what its DPC does.
                self.queue_dpc(dpc, (0, 0), Source { processor, since })?;
                self.order_forward(timer, dpc);
            }
            self.ex_timer_expired(timer)?;
        }
        let late = self.ke.due_waits.keys().take_while(|(due, _)| *due <= now);
        let mut late: Vec<ThreadId> = late.map(|(_, id)| *id).collect();
        late.sort_unstable();
        for id in late {
            self.wake(id, NtStatus::STATUS_TIMEOUT)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use choice_tape::Deviation;
    use events::{Event, KeptFault, KeptKind, TIMER_EXPIRES};
    use nt_abi::NtStatus;

    use crate::{
        Kernel,
        testing::{
            block, bug_check_code, call_by_name, irql_recorder, kernel, kernel_with, recorded,
            run_call, take_events, with_threads,
        },
    };

    const MILLISECOND: i64 = -10_000;

    fn timer(k: &mut Kernel, kind: u64) -> u64 {
        let at = block(k, &[0; 0x40]);
        call_by_name(k, "KeInitializeTimerEx", &[at, kind]).unwrap();
        at
    }

    fn relative(milliseconds: i64) -> u64 {
        (MILLISECOND * milliseconds).cast_unsigned()
    }

    #[test]
    fn one_shot_and_periodic() {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        let wait = |k: &mut Kernel, timer: u64, timeout: u64| {
            let arguments = [timer, 0, 0, 0, timeout];
            run_call(k, thread, "KeWaitForSingleObject", &arguments).unwrap()
        };
        let zero = block(&mut k, &[0; 8]);
        let timeout = Some(u64::from(NtStatus::STATUS_TIMEOUT.0));
        // A notification timer stays signalled; a synchronization timer lets one wait go.
        for (kind, second) in [(0, Some(0)), (1, timeout)] {
            let timer = timer(&mut k, kind);
            assert_eq!(call_by_name(&mut k, "KeSetTimer", &[timer, relative(2), 0]), Ok(0));
            // Set again before it expires: it was in the queue.
            assert_eq!(call_by_name(&mut k, "KeSetTimer", &[timer, relative(3), 0]), Ok(1));
            let before = k.interrupt_time_100ns();
            assert_eq!(wait(&mut k, timer, 0), Some(0));
            assert!(k.interrupt_time_100ns() >= before + 29_000);
            assert_eq!(wait(&mut k, timer, zero), second);
            assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[timer]), Ok(0));
        }
        let periodic = timer(&mut k, 1);
        let arguments = [periodic, relative(1), 5, 3, 0];
        call_by_name(&mut k, "KeSetCoalescableTimer", &arguments).unwrap();
        assert_eq!(wait(&mut k, periodic, 0), Some(0));
        let before = k.interrupt_time_100ns();
        assert_eq!(wait(&mut k, periodic, 0), Some(0));
        assert!((before + 45_000..before + 55_000).contains(&k.interrupt_time_100ns()));
        // A periodic timer is always in the queue.
        assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[periodic]), Ok(1));
    }

    #[test]
    fn a_timer_may_expire_just_before_its_cancel() {
        let expires = Deviation { kind: TIMER_EXPIRES.number, ordinal: 1, answer: 1 };
        let mut k = kernel_with([expires]);
        let (first, second) = (timer(&mut k, 0), timer(&mut k, 0));
        for timer in [first, second] {
            assert_eq!(call_by_name(&mut k, "KeSetTimer", &[timer, relative(2), 0]), Ok(0));
        }
        assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[first]), Ok(1));
        let before = k.interrupt_time_100ns();
        assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[second]), Ok(0));
        assert!(k.interrupt_time_100ns() >= before + 19_000);
        assert_eq!(call_by_name(&mut k, "KeReadStateTimer", &[second]), Ok(1));
        // One that was cancelled does not expire, and is not asked about.
        assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[first]), Ok(0));
        assert_eq!(call_by_name(&mut k, "KeReadStateTimer", &[first]), Ok(0));
        assert_eq!(k.tape.asked(TIMER_EXPIRES), 2);
    }

    #[test]
    fn a_timer_of_a_millisecond_is_caught_up_with_after_ages() {
        let expires = Deviation { kind: TIMER_EXPIRES.number, ordinal: 0, answer: 1 };
        let mut k = kernel_with([expires]);
        let (periodic, far) = (timer(&mut k, 0), timer(&mut k, 0));
        call_by_name(&mut k, "KeSetTimerEx", &[periodic, relative(1), 1, 0]).unwrap();
        call_by_name(&mut k, "KeSetTimer", &[far, i64::MIN.cast_unsigned(), 0]).unwrap();
        // Its time comes, and that of the other came 2 to the power of 48 times.
        assert_eq!(call_by_name(&mut k, "KeCancelTimer", &[far]), Ok(0));
        let now = k.interrupt_time_100ns();
        assert_eq!(now, 1 << 62);
        assert_eq!(call_by_name(&mut k, "KeReadStateTimer", &[periodic]), Ok(1));
        let next = k.next_due_100ns().unwrap();
        assert!((now + 1..=now + 10_000).contains(&next), "{next}");
        // No clock overflows when more time passes.
        call_by_name(&mut k, "KeSetTimer", &[far, i64::MIN.cast_unsigned(), 0]).unwrap();
        k.pass_time(u64::MAX >> 1).unwrap();
        assert!(k.system_time_100ns() > now);
    }

    #[test]
    fn absolute_time_is_system_time() {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        let timer = timer(&mut k, 0);
        let due = k.system_time_100ns() + 100_000;
        call_by_name(&mut k, "KeSetTimer", &[timer, due, 0]).unwrap();
        run_call(&mut k, thread, "KeWaitForSingleObject", &[timer, 0, 0, 0, 0]).unwrap();
        assert!(k.system_time_100ns() >= due);
        assert_eq!(call_by_name(&mut k, "KeReadStateTimer", &[timer]), Ok(1));
    }

    #[test]
    fn a_dpc_runs_at_dispatch_level() {
        let mut k = kernel();
        let thread = with_threads(&mut k, 1)[0];
        let (list, dpc) = (block(&mut k, &[0; 0x40]), block(&mut k, &[0; 0x40]));
        let timer = timer(&mut k, 0);
        for (name, number) in [("KeInitializeDpc", 0x10), ("KeInitializeThreadedDpc", 0x20)] {
            let routine = irql_recorder(&mut k, list, number);
            call_by_name(&mut k, name, &[dpc, routine, 0]).unwrap();
            call_by_name(&mut k, "KeSetTimer", &[timer, relative(1), dpc]).unwrap();
            run_call(&mut k, thread, "KeWaitForSingleObject", &[timer, 0, 0, 0, 0]).unwrap();
            run_call(&mut k, thread, "KeFlushQueuedDpcs", &[]).unwrap();
        }
        assert_eq!(recorded(&mut k, list), [0x12, 0x22]);
    }

    #[test]
    fn memory_of_a_set_timer_must_stay() {
        let mut k = kernel();
        let at = call_by_name(&mut k, "ExAllocatePoolWithTag", &[512, 0x80, 0x31]).unwrap();
        call_by_name(&mut k, "KeInitializeTimer", &[at + 0x20]).unwrap();
        call_by_name(&mut k, "KeSetTimer", &[at + 0x20, relative(1), 0]).unwrap();
        take_events(&mut k);
        let again = call_by_name(&mut k, "KeInitializeTimer", &[at + 0x20]);
        assert_eq!(bug_check_code(again), 0xc7);
        let freed = call_by_name(&mut k, "ExFreePoolWithTag", &[at, 0]);
        assert_eq!(bug_check_code(freed), 0xc7);
        let faults: Vec<_> = take_events(&mut k)
            .into_iter()
            .filter_map(|event| match event {
                Event::KeptObject(kept) => Some((kept.kind, kept.fault)),
                _ => None,
            })
            .collect();
        let expected = [KeptFault::Initialized, KeptFault::Freed];
        assert_eq!(faults, expected.map(|fault| (KeptKind::Timer, fault)));
    }
}
