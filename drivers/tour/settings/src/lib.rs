//! Settings behind an executive resource: many readers at a time, or one writer.

// UNSAFETY: none; the entry point is defined by the SDK.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DriverObject, DriverState, Irp,
    MajorFunction, NtStatus, PassiveLevel, Resource, SpinLock, UnicodeString, create_symbolic_link,
    delete_symbolic_link, driver_entry, unicode_string,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: index, value.
const IOCTL_SETTINGS_SET: u32 = 0x0022_2000;
/// The same with 0x801; input: index; output: value.
const IOCTL_SETTINGS_GET: u32 = 0x0022_2004;
/// 0x802; input: two indices, whose values are exchanged.
const IOCTL_SETTINGS_EXCHANGE: u32 = 0x0022_2008;
/// 0x803; output: the sum of all values, the number of reads.
const IOCTL_SETTINGS_SUM: u32 = 0x0022_200C;

const SETTINGS: usize = 32;

struct Settings {
    values: Resource<[u32; SETTINGS]>,
    /// Readers count, too, which needs a lock of its own.
    reads: SpinLock<u32>,
}

/// From `DriverEntry` to unload.
static STATE: DriverState<Settings> = DriverState::new();

driver_entry!(start);

fn start(
    driver: &DriverObject,
    _path: &UnicodeString<'_>,
    _level: &mut PassiveLevel,
) -> Result<(), NtStatus> {
    let settings = Settings { values: Resource::new([0; SETTINGS])?, reads: SpinLock::new(0) };
    let name = unicode_string!("\\Device\\TourSettings");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = Device::create(driver, parameters)?;
    create_symbolic_link(&unicode_string!("\\??\\TourSettings"), &name)?;
    driver.on_unload(unload);
    driver.on(MajorFunction::Create, create_close);
    driver.on(MajorFunction::Close, create_close);
    driver.on(MajorFunction::DeviceControl, device_control);
    // The cell is empty: the entry point runs once per load.
    drop(STATE.put(settings));
    device.keep();
    Ok(())
}

fn unload(driver: &DriverObject, level: &mut PassiveLevel) {
    delete_symbolic_link(&unicode_string!("\\??\\TourSettings"));
    // Deletes the resource, which the kernel keeps in a list.
    drop(STATE.take(level));
    driver.delete_devices();
}

fn create_close(_device: &DeviceObject, irp: Irp, _level: &mut PassiveLevel) -> Completed {
    irp.complete(NtStatus::SUCCESS, 0)
}

fn device_control(_device: &DeviceObject, mut irp: Irp, level: &mut PassiveLevel) -> Completed {
    let result = answer(&mut irp, level);
    irp.complete_with(result)
}

fn answer(irp: &mut Irp, level: &mut PassiveLevel) -> Result<usize, NtStatus> {
    let settings = STATE.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    match irp.io_control_code() {
        IOCTL_SETTINGS_SET => {
            let [index, value] = irp.input_numbers()?;
            let mut values = settings.values.write(level);
            // An early return in the critical region: dropping the guard leaves it.
            *values.get_mut(index as usize).ok_or(NtStatus::INVALID_PARAMETER)? = value;
            Ok(0)
        }
        IOCTL_SETTINGS_GET => {
            let [index] = irp.input_numbers()?;
            let value = settings.read(level, |values| values.get(index as usize).copied());
            irp.write_numbers([value.ok_or(NtStatus::INVALID_PARAMETER)?])
        }
        IOCTL_SETTINGS_EXCHANGE => {
            let [one, other] = irp.input_numbers()?.map(|index: u32| index as usize);
            if one >= SETTINGS || other >= SETTINGS {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            settings.values.write(level).swap(one, other);
            Ok(0)
        }
        IOCTL_SETTINGS_SUM => {
            let sum =
                settings.read(level, |values| values.iter().copied().fold(0, u32::wrapping_add));
            let reads = *settings.reads.lock(level);
            irp.write_numbers([sum, reads])
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

impl Settings {
    fn read<R>(&self, level: &mut PassiveLevel, look: impl FnOnce(&[u32; SETTINGS]) -> R) -> R {
        let mut guard = self.values.read(level);
        let (values, level) = guard.split();
        let seen = look(values);
        let mut reads = self.reads.lock(level);
        *reads = reads.wrapping_add(1);
        seen
    }
}
