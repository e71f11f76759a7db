//! A level is given to a callback, stays in its thread, and cannot be made.

#![no_std]

use kernel_sdk::{NtStatus, PassiveLevel, StopRequest, SystemThread};

#[cfg(misuse)]
pub fn made() -> PassiveLevel {
    PassiveLevel(core::marker::PhantomData) //~ E0423
}

pub fn sent(level: &'static mut PassiveLevel) -> Result<SystemThread, NtStatus> {
    #[cfg(misuse)]
    fn work(_borrowed: &'static PassiveLevel, _stop: &StopRequest, _level: &mut PassiveLevel) {}
    #[cfg(not(misuse))]
    fn work(_context: (), _stop: &StopRequest, _level: &mut PassiveLevel) {}
    #[cfg(misuse)]
    return SystemThread::spawn(&*level, work, level); //~ E0277
    #[cfg(not(misuse))]
    SystemThread::spawn((), work, level)
}
