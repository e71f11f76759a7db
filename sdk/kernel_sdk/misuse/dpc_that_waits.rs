//! A DPC runs at DISPATCH_LEVEL: no waits, no locks that wait, no end of a thread.

#![no_std]

#[cfg(misuse)]
use kernel_sdk::Waitable;
use kernel_sdk::{
    DispatchLevel, Dpc, Event, FastMutex, Mutex, NtStatus, PassiveLevel, Shared, SpinLock,
    SystemThread,
};

pub struct Context {
    pub event: Event,
    pub fast: FastMutex<u32>,
    pub slow: Mutex<u32>,
    pub spin: SpinLock<u32>,
    pub thread: SpinLock<Option<SystemThread>>,
}

pub fn deferred(context: &Shared<Context>, level: &mut DispatchLevel) {
    #[cfg(misuse)]
    context.event.wait(level); //~ E0277
    #[cfg(misuse)]
    drop(context.fast.lock(level)); //~ E0277
    #[cfg(misuse)]
    drop(context.slow.lock(level)); //~ E0308
    *context.spin.lock_at_dispatch(level) += 1;
    context.event.set(level);
}

pub fn make(context: &Shared<Context>) -> Result<Dpc<Shared<Context>>, NtStatus> {
    Dpc::new(context.clone(), deferred)
}

pub fn end(context: &Context, level: &mut PassiveLevel) {
    let mut guard = context.thread.lock(level);
    let (thread, _level) = guard.split();
    let thread = thread.take();
    #[cfg(misuse)]
    thread.map(|thread| thread.stop(_level)); //~ E0308
    #[cfg(not(misuse))]
    {
        drop(guard);
        thread.map(|thread| thread.stop(level));
    }
}
