//! Structures of Mm: memory descriptor lists.

use crate::layout::structure;

structure! {
    /// Head of a memory descriptor list; page frame numbers of 8 bytes follow. Source:
    /// `wdm/ns-wdm-_mdl`.
    MDL: 0x30 {
        Next: u64 = 0x00,
        Size: i16 = 0x08,
        MdlFlags: i16 = 0x0a,
        Process: u64 = 0x10,
        MappedSystemVa: u64 = 0x18,
        StartVa: u64 = 0x20,
        ByteCount: u32 = 0x28,
        ByteOffset: u32 = 0x2c,
    }
}
