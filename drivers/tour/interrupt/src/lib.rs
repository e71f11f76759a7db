//! A device that interrupts: its service routine counts, a DPC does the rest, requests look.
//!
//! The routine and the requests share counters under the spin lock of the interrupt, because a
//! spin lock at `DISPATCH_LEVEL` keeps no interrupt away. The line is shared: an interrupt that
//! the device was not asked for is somebody else's.

// UNSAFETY: none; the entry point is defined by the SDK.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceLevel, DeviceObject, DeviceParameters, DispatchLevel, Dpc,
    DriverObject, DriverState, Interrupt, InterruptParameters, Irp, Irql, MajorFunction, NtStatus,
    PassiveLevel, Shared, SpinLock, UnicodeString, create_symbolic_link, debug_print,
    delete_symbolic_link, driver_entry, unicode_string,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: how many
/// interrupts the device is asked for.
const IOCTL_INTERRUPT_ASK: u32 = 0x0022_2000;
/// The same with 0x801; output: interrupts still to come, served, of other devices, and calls of
/// the DPC.
const IOCTL_INTERRUPT_COUNTERS: u32 = 0x0022_2004;

/// Where the device interrupts. A device that is found by Plug and Play is told.
const LINE: InterruptParameters =
    InterruptParameters { vector: 0x51, irql: Irql(5), is_shared: true, processors: 0b1111 };

/// What the service routine works on.
struct Registers {
    asked: u32,
    served: u32,
    foreign: u32,
    dpc: Dpc<Shared<SpinLock<Log>>>,
}

/// What the DPC works on.
struct Log {
    calls: u32,
}

struct State {
    log: Shared<SpinLock<Log>>,
    // Dropping it disconnects the routine and then waits for the DPC.
    interrupt: Interrupt<Registers>,
}

/// From `DriverEntry` to unload.
static STATE: DriverState<State> = DriverState::new();

driver_entry!(start);

fn start(
    driver: &DriverObject,
    _path: &UnicodeString<'_>,
    _level: &mut PassiveLevel,
) -> Result<(), NtStatus> {
    let log = Shared::new(SpinLock::new(Log { calls: 0 }))?;
    let dpc = Dpc::new(log.clone(), finish)?;
    let registers = Registers { asked: 0, served: 0, foreign: 0, dpc };
    let interrupt = Interrupt::connect(LINE, registers, serve)?;
    let name = unicode_string!("\\Device\\TourInterrupt");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = Device::create(driver, parameters)?;
    create_symbolic_link(&unicode_string!("\\??\\TourInterrupt"), &name)?;
    driver.on_unload(unload);
    driver.on(MajorFunction::Create, create_close);
    driver.on(MajorFunction::Close, create_close);
    driver.on(MajorFunction::DeviceControl, device_control);
    // The cell is empty: the entry point runs once per load.
    drop(STATE.put(State { log, interrupt }));
    device.keep();
    Ok(())
}

fn unload(driver: &DriverObject, level: &mut PassiveLevel) {
    delete_symbolic_link(&unicode_string!("\\??\\TourInterrupt"));
    drop(STATE.take(level));
    driver.delete_devices();
}

/// The service routine.
fn serve(registers: &mut Registers, _level: &mut DeviceLevel) -> bool {
    if registers.asked == 0 {
        registers.foreign = registers.foreign.wrapping_add(1);
        return false;
    }
    registers.asked -= 1;
    registers.served = registers.served.wrapping_add(1);
    // One call may stand for several interrupts: it is queued at most once.
    registers.dpc.queue();
    true
}

/// What the DPC does.
fn finish(log: &Shared<SpinLock<Log>>, level: &mut DispatchLevel) {
    let mut log = log.lock_at_dispatch(level);
    log.calls = log.calls.wrapping_add(1);
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
        IOCTL_INTERRUPT_ASK => {
            let [count] = irp.input_numbers()?;
            state.interrupt.with(level, |registers, _level| {
                registers.asked = registers.asked.saturating_add(count);
            });
            debug_print!("interrupts asked for: {count}\n");
            Ok(0)
        }
        IOCTL_INTERRUPT_COUNTERS => {
            let [asked, served, foreign] = state.interrupt.with(level, |registers, _level| {
                [registers.asked, registers.served, registers.foreign]
            });
            let calls = state.log.lock(level).calls;
            irp.write_numbers([asked, served, foreign, calls])
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}
