//! Where things stand in the kernel half. Free choices of the kernel; no driver may rely on them.

use std::ops::Range;

use guest_memory::GuestAddr;

/// `KUSER_SHARED_DATA`: its address is documented by use (`SharedUserData`), drivers read it
/// inline.
pub const SHARED_USER_DATA: GuestAddr = GuestAddr(0xffff_f780_0000_0000);
/// Processor control regions, one page pair per processor.
pub const PROCESSOR_CONTROL: GuestAddr = GuestAddr(0xffff_f780_1000_0000);
/// Non-paged pool and its length.
pub const NONPAGED_POOL: (GuestAddr, u64) = (GuestAddr(0xffff_f788_0000_0000), 0x1_0000_0000);
/// Non-paged pool that may be executed.
pub const NONPAGED_EXECUTE_POOL: (GuestAddr, u64) =
    (GuestAddr(0xffff_f78a_0000_0000), 0x1_0000_0000);
/// Paged pool.
pub const PAGED_POOL: (GuestAddr, u64) = (GuestAddr(0xffff_f78c_0000_0000), 0x1_0000_0000);
/// Kernel objects, IRPs, system buffers.
pub const KERNEL_OBJECTS: (GuestAddr, u64) = (GuestAddr(0xffff_f78e_0000_0000), 0x1_0000_0000);
/// Kernel stacks.
pub const STACKS: (GuestAddr, u64) = (GuestAddr(0xffff_f790_0000_0000), 0x4000_0000);
/// Mappings of MDLs, sections and device memory.
pub const SYSTEM_PTES: (GuestAddr, u64) = (GuestAddr(0xffff_f792_0000_0000), 0x1_0000_0000);
/// Kernel-half memory that the workload passes as a hostile pointer.
pub const CANARY: (GuestAddr, u64) = (GuestAddr(0xffff_f794_0000_0000), 0x10_0000);
/// Addresses of exports and of returns into the kernel. Never mapped: executing there is a trap.
pub const TRAPS: (GuestAddr, u64) = (GuestAddr(0xffff_f800_0000_0000), 0x100_0000);
/// Data that the kernel exports.
pub const DATA_EXPORTS: (GuestAddr, u64) = (GuestAddr(0xffff_f800_1000_0000), 0x10_0000);
/// Driver images.
pub const IMAGES: GuestAddr = GuestAddr(0xffff_f802_0000_0000);
/// User memory of the calling process.
pub const USER: (GuestAddr, u64) = (GuestAddr(0x0000_0001_0000_0000), 0x1_0000_0000);
/// One past the highest user address: `MmHighestUserAddress` + 1. Source: `MmUserProbeAddress` on
/// x64.
pub const USER_PROBE_ADDRESS: GuestAddr = GuestAddr(0x0000_7fff_ffff_0000);
/// A kernel stack. Source: "Using the Kernel Stack": 24 KiB on x64.
pub const KERNEL_STACK_BYTES: u64 = 0x6000;

/// [`TRAPS`] as the engine wants it.
pub fn trap_range() -> Range<u64> {
    let (base, size_bytes) = TRAPS;
    base.0..base.0 + size_bytes
}
