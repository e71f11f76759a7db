//! Events of privileged operations.

use guest_memory::GuestAddr;

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrivilegedSink {
    /// in or out; operand 0 is the port, operand 1 the value written.
    Port,
    /// rdmsr or wrmsr; operand 0 is the register, operand 1 the value written.
    Msr,
    /// mov crN; operand 0 is the value written.
    ControlRegister,
    /// `MmMapIoSpace`, `ZwMapViewOfSection` of physical memory ...; operand 0 is the physical
    /// address, operand 1 the length.
    PhysicalMemory,
    /// Configuration space of a bus; operand 0 is the offset, operand 1 the slot.
    BusData,
}

/// A privileged operation on behalf of a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Privileged {
    /// What kind.
    pub sink: PrivilegedSink,
    /// The instruction or routine, as an author writes it: `rdmsr`, `MmMapIoSpace`.
    pub name: &'static str,
    /// True if it changes something.
    pub is_write: bool,
    /// Its operands, by sink.
    pub operands: Vec<u64>,
    /// Marks of the workload found in the operands: (operand index, byte offset in the caller's
    /// input).
    pub marks: Vec<(u8, u32)>,
    /// The device the current request went to, for its access rights.
    pub device: GuestAddr,
}
