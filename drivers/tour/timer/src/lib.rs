//! A timer with a DPC: sets it once or periodically, cancels it, waits for it, and shows what the
//! DPC saw. Another DPC is queued on request, without a timer.
//!
//! The DPC and the requests share a history. Raising the IRQL would keep the DPC away on this
//! processor only; the spin lock keeps it away on all of them.

// UNSAFETY: none; the entry point is defined by the SDK.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DispatchLevel, Dpc, DriverObject,
    DriverState, Irp, Irql, MajorFunction, NtStatus, PassiveLevel, Shared, SpinLock, Timer,
    UnicodeString, Waitable, at_dispatch, create_symbolic_link, debug_print, delete_symbolic_link,
    driver_entry, unicode_string,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: milliseconds.
const IOCTL_TIMER_SET: u32 = 0x0022_2000;
/// The same with 0x801; input: milliseconds of the period.
const IOCTL_TIMER_SET_PERIODIC: u32 = 0x0022_2004;
/// 0x802; output: 1 if the timer was set.
const IOCTL_TIMER_CANCEL: u32 = 0x0022_2008;
/// 0x803; input: at most so many milliseconds; output: 1 if the timer has expired.
const IOCTL_TIMER_WAIT: u32 = 0x0022_200C;
/// 0x804; output: number of calls, then how often the timer had been set at each of the last ones.
const IOCTL_TIMER_HISTORY: u32 = 0x0022_2010;
/// 0x805; output: 1 if the DPC was queued, 0 if it was queued already.
const IOCTL_TIMER_CALL: u32 = 0x0022_2014;

/// Longest wait of a request.
const MOST_WAIT_MS: u32 = 1_000;
const REMEMBERED: usize = 7;

/// What the requests write and the DPCs read, and the other way round.
struct History {
    sets: u32,
    calls: u32,
    sets_at_call: [u32; REMEMBERED],
}

struct State {
    history: Shared<SpinLock<History>>,
    timer: Timer<Shared<SpinLock<History>>>,
    dpc: Dpc<Shared<SpinLock<History>>>,
}

/// From `DriverEntry` to unload.
static STATE: DriverState<State> = DriverState::new();

driver_entry!(start);

fn start(
    driver: &DriverObject,
    _path: &UnicodeString<'_>,
    _level: &mut PassiveLevel,
) -> Result<(), NtStatus> {
    let history = History { sets: 0, calls: 0, sets_at_call: [0; REMEMBERED] };
    let history = Shared::new(SpinLock::new(history))?;
    let timer = Timer::new(history.clone(), remember)?;
    let dpc = Dpc::new(history.clone(), remember)?;
    let name = unicode_string!("\\Device\\TourTimer");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = Device::create(driver, parameters)?;
    create_symbolic_link(&unicode_string!("\\??\\TourTimer"), &name)?;
    driver.on_unload(unload);
    driver.on(MajorFunction::Create, create_close);
    driver.on(MajorFunction::Close, create_close);
    driver.on(MajorFunction::DeviceControl, device_control);
    // The cell is empty: the entry point runs once per load.
    drop(STATE.put(State { history, timer, dpc }));
    device.keep();
    Ok(())
}

fn unload(driver: &DriverObject, level: &mut PassiveLevel) {
    delete_symbolic_link(&unicode_string!("\\??\\TourTimer"));
    // Cancels the timer and waits for both DPCs, before the image goes away.
    drop(STATE.take(level));
    driver.delete_devices();
}

fn remember(history: &Shared<SpinLock<History>>, level: &mut DispatchLevel) {
    assert!(Irql::current() == Irql::DISPATCH_LEVEL, "a DPC runs at DISPATCH_LEVEL");
    let mut history = history.lock_at_dispatch(level);
    let sets = history.sets;
    history.sets_at_call.rotate_right(1);
    history.sets_at_call[0] = sets;
    history.calls = history.calls.wrapping_add(1);
}

fn create_close(_device: &DeviceObject, irp: Irp, _level: &mut PassiveLevel) -> Completed {
    irp.complete(NtStatus::SUCCESS, 0)
}

fn device_control(_device: &DeviceObject, mut irp: Irp, level: &mut PassiveLevel) -> Completed {
    let result = answer(&mut irp, level);
    irp.complete_with(result)
}

fn answer(irp: &mut Irp, level: &mut PassiveLevel) -> Result<usize, NtStatus> {
    let state = STATE.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    match irp.io_control_code() {
        IOCTL_TIMER_SET => {
            let [due_ms] = irp.input_numbers()?;
            state.count_set(level);
            state.timer.set(due_ms, level);
            debug_print!("timer set: {due_ms} ms\n");
            Ok(0)
        }
        IOCTL_TIMER_SET_PERIODIC => {
            let [period_ms] = irp.input_numbers()?;
            let period_ms = u16::try_from(period_ms).map_err(|_| NtStatus::INVALID_PARAMETER)?;
            if period_ms == 0 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            state.count_set(level);
            state.timer.set_periodic(period_ms, level);
            Ok(0)
        }
        IOCTL_TIMER_CANCEL => {
            let was_set = state.timer.cancel(level);
            irp.write_numbers([u32::from(was_set)])
        }
        IOCTL_TIMER_WAIT => {
            let [time_ms] = irp.input_numbers()?;
            let has_expired = state.timer.wait_at_most(time_ms.min(MOST_WAIT_MS), level);
            irp.write_numbers([u32::from(has_expired)])
        }
        IOCTL_TIMER_HISTORY => irp.write_numbers(state.numbers(level)),
        IOCTL_TIMER_CALL => {
            let is_queued = state.dpc.queue();
            irp.write_numbers([u32::from(is_queued)])
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

impl State {
    fn count_set(&self, level: &mut PassiveLevel) {
        let mut history = self.history.lock(level);
        history.sets = history.sets.wrapping_add(1);
    }

    fn numbers(&self, level: &mut PassiveLevel) -> [u32; 1 + REMEMBERED] {
        let mut numbers = [0; 1 + REMEMBERED];
        // The same as `lock`, in two steps.
        at_dispatch(level, |level| {
            let history = self.history.lock_at_dispatch(level);
            let (calls, sets) = numbers.split_at_mut(1);
            calls.copy_from_slice(&[history.calls]);
            sets.copy_from_slice(&history.sets_at_call);
        });
        numbers
    }
}
