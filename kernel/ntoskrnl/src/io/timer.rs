//! I/O timers: a routine of a device, called once per second while its timer is started.
//!
//! One DPC serves all timers, so the first call comes up to a second after the start. Source:
//! `wdm/nf-wdm-ioinitializetimer`, "I/O Timer Routines".

use std::collections::BTreeMap;

use events::{BlockKind, EntryPoint, IrqlLimit};
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{
    Irql, NtStatus,
    structures::{
        io::DEVICE_OBJECT,
        ke::{KDPC, KTIMER},
    },
};
use nt_macros::export;

use crate::{CallResult, Export, Flow, GuestCall, Kernel, Stop, exports, frame, ke, mm};

exports![IoInitializeTimer, IoStartTimer, IoStopTimer, Tick];

/// Milliseconds between two calls.
const PERIOD_MS: u32 = 1_000;
/// Length of what `DEVICE_OBJECT.Timer` points at. Opaque.
const TIMER_BYTES: u64 = 0x30;

/// The timers of all devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    /// By device.
    routines: BTreeMap<GuestAddr, Routine>,
    /// The kernel's own timer object, with its DPC object behind it; null until a timer is started.
    clock: GuestAddr,
}

/// The timer of a device.
#[derive(Clone, Copy, Debug)]
struct Routine {
    target: GuestAddr,
    context: u64,
    is_started: bool,
}

/// Gives a device its timer routine. The timer is not started.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-ioinitializetimer")]
fn IoInitializeTimer(
    k: &mut Kernel,
    device: GuestAddr,
    target: GuestAddr,
    context: u64,
) -> CallResult<NtStatus> {
    if k.get(device, DEVICE_OBJECT::Timer)? == 0 {
        if k.is_to_fail(events::CREATION_FAILURE)? {
            return Ok(NtStatus::STATUS_INSUFFICIENT_RESOURCES);
        }
        let timer = mm::allocate_kernel(k, BlockKind::KernelPool, TIMER_BYTES, 16)?;
        k.set(device, DEVICE_OBJECT::Timer, timer.0)?;
    }
    k.io.timers.routines.insert(device, Routine { target, context, is_started: false });
    Ok(NtStatus::STATUS_SUCCESS)
}

/// The timer of a device that was given one.
fn routine_of(k: &mut Kernel, device: GuestAddr) -> CallResult<&mut Routine> {
    let timer = GuestAddr(k.get(device, DEVICE_OBJECT::Timer)?);
    // Without a timer this is the null pointer that Windows follows.
    k.allow(AccessKind::Write, timer, TIMER_BYTES)?;
    let found = k.io.timers.routines.get_mut(&device);
    found.ok_or_else(|| Stop::unsupported("an I/O timer that `IoInitializeTimer` did not make"))
}

/// Starts the timer of a device.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iostarttimer")]
fn IoStartTimer(k: &mut Kernel, device: GuestAddr) -> CallResult<()> {
    routine_of(k, device)?.is_started = true;
    // What was done before the start comes before the routine's calls.
    let place = GuestAddr(k.get(device, DEVICE_OBJECT::Timer)?);
    k.order_release(place);
    let (timer, dpc) = clock(k)?;
    if k.get(timer, KTIMER::Inserted)? == 0 {
        k.start_periodic_timer(timer, PERIOD_MS, dpc)?;
    }
    Ok(())
}

/// Stops the timer of a device. A call of its routine that is under way goes on.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iostoptimer")]
fn IoStopTimer(k: &mut Kernel, device: GuestAddr) -> CallResult<()> {
    routine_of(k, device)?.is_started = false;
    stop_clock_if_unused(k)
}

fn stop_clock_if_unused(k: &mut Kernel) -> CallResult<()> {
    let is_used = k.io.timers.routines.values().any(|routine| routine.is_started);
    match k.io.timers.clock {
        GuestAddr::NULL => Ok(()),
        _ if is_used => Ok(()),
        timer => k.stop_timer(timer),
    }
}

/// A device is deleted: so is its timer.
pub(crate) fn forget(k: &mut Kernel, device: GuestAddr) -> CallResult<()> {
    if k.io.timers.routines.remove(&device).is_none() {
        return Ok(());
    }
    let timer = GuestAddr(k.get(device, DEVICE_OBJECT::Timer)?);
    k.set(device, DEVICE_OBJECT::Timer, 0)?;
    if k.memory.block(timer).is_some() {
        mm::free_kernel(k, timer);
    }
    stop_clock_if_unused(k)
}

/// The timer and DPC objects that serve all devices.
fn clock(k: &mut Kernel) -> CallResult<(GuestAddr, GuestAddr)> {
    if !k.io.timers.clock.is_null() {
        let timer = k.io.timers.clock;
        return Ok((timer, timer.add(KTIMER::SIZE_BYTES)));
    }
    let size_bytes = KTIMER::SIZE_BYTES + KDPC::SIZE_BYTES;
    let timer = mm::allocate_kernel(k, BlockKind::KernelPool, size_bytes, 16)?;
    let dpc = timer.add(KTIMER::SIZE_BYTES);
    let tick = k.exports.find("ntoskrnl.exe", Tick::EXPORT.name).unwrap_or_default();
    ke::initialize_dpc(k, dpc, tick)?;
    k.io.timers.clock = timer;
    Ok((timer, dpc))
}

/// The DPC routine that serves all timers. No image can import it.
#[derive(Debug)]
struct Tick {}

impl Tick {
    const EXPORT: Export = Export {
        name: "(tick of the I/O timers)",
        written_as: None,
        irql: IrqlLimit { min: Irql::PASSIVE_LEVEL, max: Irql::DISPATCH_LEVEL },
        irql_note: None,
        irql_when: None,
        limits: None,
        ddi: "wdm/nc-wdm-io_timer_routine",
        call: |k| {
            let devices = k.io.timers.routines.keys().rev().copied().collect();
            Ticking { devices }.run(k)
        },
    };
}

/// Devices whose timers were not looked at yet, the next one last.
#[derive(Clone, Debug)]
struct Ticking {
    devices: Vec<GuestAddr>,
}

frame!(Ticking, |this, k, _| this.run(k));

impl Ticking {
    fn run(mut self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(device) = self.devices.pop() {
            // A routine before may have stopped or deleted this one.
            let routine = k.io.timers.routines.get(&device).copied();
            let Some(routine) = routine.filter(|routine| routine.is_started) else { continue };
            let timer = GuestAddr(k.get(device, DEVICE_OBJECT::Timer)?);
            k.order_acquire(timer);
            let arguments = vec![device.0, routine.context];
            let entry = EntryPoint::Callback("IoTimer");
            let call = GuestCall::entry(routine.target, arguments, entry);
            return Ok(Flow::call(call, self));
        }
        Ok(Flow::Return(0))
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::structures::{io::DEVICE_OBJECT, ke::KTIMER};

    use super::Tick;
    use crate::{
        GuestCall, Kernel,
        io::test_driver::{create_device, driver},
        testing::{call_by_name, drive},
    };

    const ROUTINE: u64 = 0xffff_f802_0000_1000;
    const SECOND_100NS: u64 = 10_000_000;

    /// A second passes; the calls of timer routines.
    fn second(k: &mut Kernel) -> Vec<Vec<u64>> {
        k.idle_100ns += SECOND_100NS;
        k.expire_timers().unwrap();
        let dpc = k.io.timers.clock.add(KTIMER::SIZE_BYTES);
        if call_by_name(k, "KeRemoveQueueDpc", &[dpc.0]) != Ok(1) {
            return Vec::new();
        }
        let mut calls = Vec::new();
        let mut guest = |_: &mut Kernel, call: &GuestCall| {
            assert_eq!(call.target.0, ROUTINE);
            calls.push(call.arguments.clone());
            0
        };
        drive(k, Tick::EXPORT.name, &[dpc.0, 0, 0, 0], &mut guest).unwrap();
        calls
    }

    fn with_timers() -> (Kernel, [GuestAddr; 2]) {
        let (mut k, driver) = driver();
        let devices = [(); 2].map(|()| create_device(&mut k, driver, ""));
        for (context, device) in (7..).zip(devices) {
            let arguments = [device.0, ROUTINE, context];
            assert_eq!(call_by_name(&mut k, "IoInitializeTimer", &arguments), Ok(0));
            assert_ne!(k.get(device, DEVICE_OBJECT::Timer), Ok(0));
        }
        (k, devices)
    }

    #[test]
    fn a_started_timer_calls_its_routine_every_second_until_it_is_stopped() {
        let (mut k, [first, second_device]) = with_timers();
        assert_eq!(second(&mut k), Vec::<Vec<u64>>::new(), "none is started");
        call_by_name(&mut k, "IoStartTimer", &[first.0]).unwrap();
        for _ in 0..3 {
            assert_eq!(second(&mut k), [[first.0, 7]]);
        }
        call_by_name(&mut k, "IoStartTimer", &[second_device.0]).unwrap();
        assert_eq!(second(&mut k).len(), 2);
        call_by_name(&mut k, "IoStopTimer", &[first.0]).unwrap();
        assert_eq!(second(&mut k), [[second_device.0, 8]]);
        call_by_name(&mut k, "IoStopTimer", &[second_device.0]).unwrap();
        assert_eq!(second(&mut k), Vec::<Vec<u64>>::new());
        assert_eq!(k.next_due_100ns(), None);
        call_by_name(&mut k, "IoStartTimer", &[first.0]).unwrap();
        assert_eq!(second(&mut k), [[first.0, 7]]);
    }

    #[test]
    fn the_timer_of_a_deleted_device_is_gone() {
        let (mut k, [first, second_device]) = with_timers();
        for device in [first, second_device] {
            call_by_name(&mut k, "IoStartTimer", &[device.0]).unwrap();
        }
        call_by_name(&mut k, "IoDeleteDevice", &[first.0]).unwrap();
        assert_eq!(second(&mut k), [[second_device.0, 8]]);
        call_by_name(&mut k, "IoDeleteDevice", &[second_device.0]).unwrap();
        assert_eq!(k.next_due_100ns(), None);
    }

    #[test]
    fn a_timer_that_was_not_initialised_is_a_null_pointer() {
        let (mut k, driver) = driver();
        let device = create_device(&mut k, driver, "");
        assert!(call_by_name(&mut k, "IoStartTimer", &[device.0]).is_err());
        assert!(call_by_name(&mut k, "IoStopTimer", &[device.0]).is_err());
    }
}
