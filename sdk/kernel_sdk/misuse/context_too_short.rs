//! What a timer, a work item or a thread uses later lives as long as they do, and may be there.

#![no_std]

use core::cell::Cell;

use kernel_sdk::{
    DeviceObject, DispatchLevel, NtStatus, PassiveLevel, SpinLock, StopRequest, SystemThread,
    Timer, WorkItem,
};

pub fn borrowed(level: &mut PassiveLevel) -> Result<(), NtStatus> {
    fn on_timer(count: &&SpinLock<u32>, level: &mut DispatchLevel) {
        *count.lock_at_dispatch(level) += 1;
    }
    #[cfg(misuse)]
    let local = SpinLock::new(0);
    #[cfg(misuse)]
    let timer = Timer::new(&local, on_timer)?; //~ E0597
    #[cfg(not(misuse))]
    static GLOBAL: SpinLock<u32> = SpinLock::new(0);
    #[cfg(not(misuse))]
    let timer = Timer::new(&GLOBAL, on_timer)?;
    timer.set(10, level);
    Ok(())
}

// The DPC and whoever asks for the context would both change it, with nothing between them.
pub fn unprotected() -> Result<(), NtStatus> {
    #[cfg(misuse)]
    drop(Timer::new(Cell::new(0_u32), |count, _level| count.set(1))?); //~ E0277
    let timer = Timer::new(SpinLock::new(Cell::new(0_u32)), |count, level| {
        count.lock_at_dispatch(level).set(1);
    })?;
    drop(timer);
    Ok(())
}

pub fn queued_twice(device: &DeviceObject, level: &mut PassiveLevel) -> Result<(), NtStatus> {
    let item = WorkItem::new(device, 1_u32, |_context, _level| {})?;
    item.queue(level);
    #[cfg(misuse)]
    item.queue(level); //~ E0382
    Ok(())
}

pub fn thread(level: &mut PassiveLevel) -> Result<SystemThread, NtStatus> {
    fn work<T>(_context: T, _stop: &StopRequest, _level: &mut PassiveLevel) {}
    #[cfg(misuse)]
    let local = 0_u32;
    #[cfg(misuse)]
    return SystemThread::spawn(&local, work, level); //~ E0597
    #[cfg(not(misuse))]
    SystemThread::spawn(0_u32, work, level)
}
