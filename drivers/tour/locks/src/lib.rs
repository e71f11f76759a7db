//! One table behind each kind of lock: fast mutex, mutex, semaphore, spin lock, queued spin lock.
//!
//! What a lock protects can be reached through its guard only, and every return, early or not,
//! drops the guard.

// UNSAFETY: none; the entry point is defined by the SDK.

#![no_std]

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DriverObject, DriverState, FastMutex, Irp,
    Level, MajorFunction, Mutex, NtStatus, PassiveLevel, Permit, QueuedSpinLock, Semaphore,
    SpinLock, UnicodeString, create_symbolic_link, delete_symbolic_link, driver_entry,
    unicode_string,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: index, value.
const IOCTL_LOCKS_STORE: u32 = 0x0022_2000;
/// The same with 0x801; input: index; output: value.
const IOCTL_LOCKS_LOAD: u32 = 0x0022_2004;
/// 0x802; input: value.
const IOCTL_LOCKS_APPEND: u32 = 0x0022_2008;
/// 0x803; output: the oldest value.
const IOCTL_LOCKS_TAKE: u32 = 0x0022_200C;
/// 0x804; output: a place that is ours until it is left.
const IOCTL_LOCKS_ENTER: u32 = 0x0022_2010;
/// 0x805; input: a place.
const IOCTL_LOCKS_LEAVE: u32 = 0x0022_2014;
/// 0x806; output: how often each of the above succeeded.
const IOCTL_LOCKS_STATISTICS: u32 = 0x0022_2018;

const REGISTERS: usize = 16;
const LOG_ENTRIES: usize = 16;
const PLACES: u16 = 4;
/// How long an entry waits for a place.
const PATIENCE_MS: u32 = 10;

struct Tables {
    registers: FastMutex<[u32; REGISTERS]>,
    log: Mutex<Log>,
    /// Counts the free ones of `places`.
    free_places: Semaphore,
    places: SpinLock<[Option<Permit>; PLACES as usize]>,
    statistics: QueuedSpinLock<[u32; 6]>,
}

struct Log {
    values: [u32; LOG_ENTRIES],
    used: usize,
}

/// From `DriverEntry` to unload.
static TABLES: DriverState<Tables> = DriverState::new();

driver_entry!(start);

fn start(
    driver: &DriverObject,
    _path: &UnicodeString<'_>,
    _level: &mut PassiveLevel,
) -> Result<(), NtStatus> {
    let tables = Tables {
        registers: FastMutex::new([0; REGISTERS])?,
        log: Mutex::new(Log { values: [0; LOG_ENTRIES], used: 0 })?,
        free_places: Semaphore::new(PLACES)?,
        places: SpinLock::new([const { None }; PLACES as usize]),
        statistics: QueuedSpinLock::new([0; 6]),
    };
    let name = unicode_string!("\\Device\\TourLocks");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = Device::create(driver, parameters)?;
    create_symbolic_link(&unicode_string!("\\??\\TourLocks"), &name)?;
    driver.on_unload(unload);
    driver.on(MajorFunction::Create, create_close);
    driver.on(MajorFunction::Close, create_close);
    driver.on(MajorFunction::DeviceControl, device_control);
    // The cell is empty: the entry point runs once per load.
    drop(TABLES.put(tables));
    device.keep();
    Ok(())
}

fn unload(driver: &DriverObject, level: &mut PassiveLevel) {
    delete_symbolic_link(&unicode_string!("\\??\\TourLocks"));
    drop(TABLES.take(level));
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
    let tables = TABLES.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    match irp.io_control_code() {
        IOCTL_LOCKS_STORE => {
            let [index, value] = irp.input_numbers()?;
            tables.store(index, value, level)?;
            Ok(0)
        }
        IOCTL_LOCKS_LOAD => {
            let [index] = irp.input_numbers()?;
            let value = tables.load(index, level)?;
            irp.write_numbers([value])
        }
        IOCTL_LOCKS_APPEND => {
            let [value] = irp.input_numbers()?;
            tables.append(value, level)?;
            Ok(0)
        }
        IOCTL_LOCKS_TAKE => {
            let value = tables.take(level)?;
            irp.write_numbers([value])
        }
        IOCTL_LOCKS_ENTER => {
            let place = tables.enter(level)?;
            irp.write_numbers([place])
        }
        IOCTL_LOCKS_LEAVE => {
            let [place] = irp.input_numbers()?;
            tables.leave(place, level)?;
            Ok(0)
        }
        IOCTL_LOCKS_STATISTICS => {
            let counts = tables.statistics.with(level, |counts, _level| *counts);
            irp.write_numbers(counts)
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

impl Tables {
    fn store(&self, index: u32, value: u32, level: &mut PassiveLevel) -> Result<(), NtStatus> {
        let mut guard = self.registers.lock(level);
        let (registers, level) = guard.split();
        // An early return under the fast mutex: dropping the guard releases it.
        let register = registers.get_mut(index as usize).ok_or(NtStatus::INVALID_PARAMETER)?;
        *register = value;
        self.count(0, level);
        Ok(())
    }

    fn load(&self, index: u32, level: &mut PassiveLevel) -> Result<u32, NtStatus> {
        let value = self.registers.lock(level).get(index as usize).copied();
        self.count(1, level);
        value.ok_or(NtStatus::INVALID_PARAMETER)
    }

    fn append(&self, value: u32, level: &mut PassiveLevel) -> Result<(), NtStatus> {
        let mut guard = self.log.lock(level);
        let (log, level) = guard.split();
        let entry = log.values.get_mut(log.used).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        *entry = value;
        log.used += 1;
        self.count(2, level);
        Ok(())
    }

    fn take(&self, level: &mut PassiveLevel) -> Result<u32, NtStatus> {
        // Somebody who holds the mutex holds it for a moment only.
        let guard = self.log.lock_at_most(PATIENCE_MS, level);
        let mut guard = guard.ok_or(NtStatus::DEVICE_BUSY)?;
        let (log, level) = guard.split();
        if log.used == 0 {
            return Err(NtStatus::NOT_FOUND);
        }
        let [value, ..] = log.values;
        log.values.rotate_left(1);
        log.used -= 1;
        self.count(3, level);
        Ok(value)
    }

    fn enter(&self, level: &mut PassiveLevel) -> Result<u32, NtStatus> {
        let permit = self.free_places.acquire_at_most(PATIENCE_MS, level);
        let permit = permit.ok_or(NtStatus::DEVICE_BUSY)?;
        let mut guard = self.places.lock(level);
        let (places, level) = guard.split();
        // As many permits as places: one is free.
        let free = places.iter_mut().zip(0..).find(|(place, _)| place.is_none());
        let (place, number) = free.ok_or(NtStatus::DEVICE_BUSY)?;
        *place = Some(permit);
        self.count(4, level);
        Ok(number)
    }

    fn leave(&self, place: u32, level: &mut PassiveLevel) -> Result<(), NtStatus> {
        let permit = {
            let mut places = self.places.lock(level);
            let place = places.get_mut(place as usize).ok_or(NtStatus::INVALID_PARAMETER)?;
            place.take()
        };
        // Whoever waits for the permit finds the place free and the lock, too.
        drop(permit.ok_or(NtStatus::NOT_FOUND)?);
        self.count(5, level);
        Ok(())
    }

    fn count(&self, what: usize, level: &mut impl Level) {
        self.statistics.with(level, |counts, _level| {
            if let Some(count) = counts.get_mut(what) {
                *count = count.wrapping_add(1);
            }
        });
    }
}
