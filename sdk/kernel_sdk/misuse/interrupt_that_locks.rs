//! An interrupt comes above DISPATCH_LEVEL: no spin lock of lower levels, no wait, no way to its
//! data but through the interrupt.

#![no_std]

#[cfg(misuse)]
use kernel_sdk::Waitable;
use kernel_sdk::{
    DeviceLevel, Event, Interrupt, InterruptParameters, NtStatus, PassiveLevel, Shared, SpinLock,
};

pub struct Registers {
    pub served: u32,
    pub log: Shared<SpinLock<u32>>,
    pub event: Shared<Event>,
}

pub fn serve(registers: &mut Registers, level: &mut DeviceLevel) -> bool {
    #[cfg(misuse)]
    drop(registers.log.lock(level)); //~ E0277
    #[cfg(misuse)]
    registers.event.wait(level); //~ E0277
    let _ = level;
    registers.served += 1;
    true
}

pub fn connect(
    line: InterruptParameters,
    registers: Registers,
) -> Result<Interrupt<Registers>, NtStatus> {
    Interrupt::connect(line, registers, serve)
}

pub fn read(interrupt: &Interrupt<Registers>, level: &mut PassiveLevel) -> u32 {
    #[cfg(misuse)]
    let _ = interrupt.served; //~ E0609
    interrupt.with(level, |registers, _level| registers.served)
}
