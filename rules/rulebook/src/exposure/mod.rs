//! Rules about privileged operations that a caller controls.

mod arbitrary_kernel_write;
mod control_register;
mod msr;
mod physical_memory;
mod port_io;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&port_io::PORT_IO, || Box::new(port_io::PortIo)),
    Entry::monitored(&msr::MSR, || Box::new(msr::Msr)),
    Entry::monitored(&physical_memory::PHYSICAL_MEMORY, || {
        Box::new(physical_memory::PhysicalMemory)
    }),
    Entry::monitored(&control_register::CONTROL_REGISTER, || {
        Box::new(control_register::ControlRegister)
    }),
    Entry::monitored(&arbitrary_kernel_write::ARBITRARY_KERNEL_WRITE, || {
        Box::new(arbitrary_kernel_write::ArbitraryKernelWrite)
    }),
];
