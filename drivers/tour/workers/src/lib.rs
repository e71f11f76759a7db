//! Two threads that work off a queue, a work item that fills it, a timer that looks at it.
//!
//! Unload asks the threads to stop and waits for the thread objects: a thread that merely says
//! that it is done still has instructions of this image before it.

// UNSAFETY: none; the entry point is defined by the SDK.

#![no_std]

use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sdk::{
    Completed, Device, DeviceObject, DeviceParameters, DispatchLevel, DriverObject, DriverState,
    Event, Irp, MajorFunction, NtStatus, PassiveLevel, Permit, Queue, QueueNode, Semaphore, Shared,
    SpinLock, StateRef, StopRequest, SystemThread, Timer, UnicodeString, WorkItem,
    create_symbolic_link, delete_symbolic_link, driver_entry, sleep, unicode_string, wait_any,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: how many
/// numbers to add up.
const IOCTL_WORKERS_SUBMIT: u32 = 0x0022_2000;
/// The same with 0x801; input: how many jobs a work item submits.
const IOCTL_WORKERS_DEFER: u32 = 0x0022_2004;
/// 0x802; output: jobs submitted, jobs done, sum, timer ticks.
const IOCTL_WORKERS_RESULTS: u32 = 0x0022_2008;

const QUEUED_JOBS: u16 = 16;
const MOST_NUMBERS: u32 = 1_000;
const MOST_DEFERRED: u32 = 8;
const TICK_MS: u16 = 10;
/// How long a request waits for room in the queue.
const PATIENCE_MS: u32 = 50;

/// What threads, work items, the DPC and the requests share.
struct Board {
    jobs: Queue<Job>,
    /// Jobs that the queue has room for.
    room: Semaphore,
    has_jobs: Event,
    results: SpinLock<Results>,
    submitted: AtomicU32,
}

struct Job {
    numbers: u32,
    /// Gives back the room when the job is done, in the thread that does it.
    room: Permit,
}

struct Results {
    done: u32,
    sum: u32,
    ticks: u32,
}

struct Workers {
    board: Shared<Board>,
    // Dropping them stops and joins the threads, and cancels the timer.
    _threads: [SystemThread; 2],
    _ticker: Timer<Shared<Board>>,
}

/// From `DriverEntry` to unload.
static WORKERS: DriverState<Workers> = DriverState::new();

driver_entry!(start);

fn start(
    driver: &DriverObject,
    _path: &UnicodeString<'_>,
    level: &mut PassiveLevel,
) -> Result<(), NtStatus> {
    // On every failure below, what exists already is dropped: threads end before the image goes.
    let workers = hire(level)?;
    let name = unicode_string!("\\Device\\TourWorkers");
    let parameters = DeviceParameters { name: Some(&name), ..DeviceParameters::default() };
    let device = Device::create(driver, parameters)?;
    create_symbolic_link(&unicode_string!("\\??\\TourWorkers"), &name)?;
    driver.on_unload(unload);
    driver.on(MajorFunction::Create, create_close);
    driver.on(MajorFunction::Close, create_close);
    driver.on(MajorFunction::DeviceControl, device_control);
    // The cell is empty: the entry point runs once per load.
    drop(WORKERS.put(workers));
    device.keep();
    Ok(())
}

fn hire(level: &mut PassiveLevel) -> Result<Workers, NtStatus> {
    let board = Shared::new(Board {
        jobs: Queue::new()?,
        room: Semaphore::new(QUEUED_JOBS)?,
        has_jobs: Event::synchronization()?,
        results: SpinLock::new(Results { done: 0, sum: 0, ticks: 0 }),
        submitted: AtomicU32::new(0),
    })?;
    let threads = [
        SystemThread::spawn(board.clone(), work, level)?,
        SystemThread::spawn(board.clone(), work, level)?,
    ];
    let ticker = Timer::new(board.clone(), tick)?;
    ticker.set_periodic(TICK_MS, level);
    Ok(Workers { board, _threads: threads, _ticker: ticker })
}

fn unload(driver: &DriverObject, level: &mut PassiveLevel) {
    delete_symbolic_link(&unicode_string!("\\??\\TourWorkers"));
    drop(WORKERS.take(level));
    driver.delete_devices();
}

/// What a thread does.
fn work(board: Shared<Board>, stop: &StopRequest, level: &mut PassiveLevel) {
    while wait_any([stop, &board.has_jobs], level) != 0 {
        while let Some(job) = board.jobs.pop() {
            let Job { numbers, room } = job.into_inner();
            let sum = (1..=numbers).fold(0, u32::wrapping_add);
            let mut results = board.results.lock(level);
            results.done = results.done.wrapping_add(1);
            results.sum = results.sum.wrapping_add(sum);
            drop(results);
            drop(room);
        }
    }
}

/// What the DPC does. A job may have been put into the queue while both threads were busy.
fn tick(board: &Shared<Board>, level: &mut DispatchLevel) {
    let mut results = board.results.lock_at_dispatch(level);
    results.ticks = results.ticks.wrapping_add(1);
    drop(results);
    board.has_jobs.set(level);
}

/// What a work item does.
///
/// Unload waits for its loan of the state; for the instructions after it the I/O manager keeps the
/// device, and with it the image.
fn submit_later((workers, jobs): (StateRef<'static, Workers>, u32), level: &mut PassiveLevel) {
    for numbers in 1..=jobs {
        // Nobody is told: the request that asked for it was answered long ago.
        let _ = workers.board.submit(numbers, level);
        sleep(1, level);
    }
}

fn create_close(_device: &DeviceObject, irp: Irp, _level: &mut PassiveLevel) -> Completed {
    irp.complete(NtStatus::SUCCESS, 0)
}

fn device_control(device: &DeviceObject, mut irp: Irp, level: &mut PassiveLevel) -> Completed {
    let result = answer(device, &mut irp, level);
    irp.complete_with(result)
}

fn answer(
    device: &DeviceObject,
    irp: &mut Irp,
    level: &mut PassiveLevel,
) -> Result<usize, NtStatus> {
    let workers = WORKERS.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    let board = &workers.board;
    match irp.io_control_code() {
        IOCTL_WORKERS_SUBMIT => {
            let [numbers] = irp.input_numbers()?;
            board.submit(numbers, level)?;
            Ok(0)
        }
        IOCTL_WORKERS_DEFER => {
            let [jobs] = irp.input_numbers()?;
            let context = (workers, jobs.min(MOST_DEFERRED));
            WorkItem::new(device, context, submit_later)?.queue(level);
            Ok(0)
        }
        IOCTL_WORKERS_RESULTS => {
            let submitted = board.submitted.load(Ordering::SeqCst);
            let results = board.results.lock(level);
            let numbers = [submitted, results.done, results.sum, results.ticks];
            drop(results);
            irp.write_numbers(numbers)
        }
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

impl Board {
    /// Puts a job into the queue, when there is room in time.
    fn submit(&self, numbers: u32, level: &mut PassiveLevel) -> Result<(), NtStatus> {
        let room = self.room.acquire_at_most(PATIENCE_MS, level);
        let room = room.ok_or(NtStatus::DEVICE_BUSY)?;
        let job = Job { numbers: numbers.min(MOST_NUMBERS), room };
        self.jobs.push(QueueNode::new(job)?);
        self.submitted.fetch_add(1, Ordering::SeqCst);
        self.has_jobs.set(level);
        Ok(())
    }
}
