//! A request is answered, once, and what was put into a queue is gone.

#![no_std]

use kernel_sdk::{
    Completed, DeviceObject, Irp, NtStatus, PassiveLevel, Queue, QueueNode, Semaphore,
};

#[cfg(misuse)]
pub fn forgotten(_device: &DeviceObject, _irp: Irp, _level: &mut PassiveLevel) -> Completed {
    NtStatus::SUCCESS //~ E0308
}

pub fn twice(_device: &DeviceObject, irp: Irp, _level: &mut PassiveLevel) -> Completed {
    #[cfg(misuse)]
    drop(irp.complete(NtStatus::UNSUCCESSFUL, 0));
    irp.complete(NtStatus::SUCCESS, 0) //~ E0382
}

pub fn pushed_twice(queue: &Queue<u32>) -> Result<(), NtStatus> {
    let node = QueueNode::new(1)?;
    queue.push(node);
    #[cfg(misuse)]
    queue.push(node); //~ E0382
    Ok(())
}

pub fn released_twice(semaphore: &Semaphore, level: &mut PassiveLevel) {
    let permit = semaphore.acquire(level);
    drop(permit);
    #[cfg(misuse)]
    drop(permit); //~ E0382
}
