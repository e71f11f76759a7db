//! Structures of Ex: lookaside lists and sequenced lists.

use crate::layout::structure;

structure! {
    /// Head of a sequenced singly linked list; 16-byte aligned. Source: `wdm.h`, `SLIST_HEADER` for
    /// x64.
    SLIST_HEADER: 0x10 {
        /// Bits 0 to 15: depth; bits 16 to 63: sequence.
        Alignment: u64 = 0x00,
        /// Bits 0 to 3: reserved; bits 4 to 63: the first entry, which is 16-byte aligned.
        Region: u64 = 0x08,
    }
}

structure! {
    /// Singly linked list entry. Source: `wdm.h`, `SLIST_ENTRY`.
    SLIST_ENTRY: 0x10 {
        Next: u64 = 0x00,
    }
}

structure! {
    /// Lookaside list; its allocate and free paths are inlined into drivers. Source: `wdm.h`,
    /// `GENERAL_LOOKASIDE_LAYOUT` (128 bytes, cache aligned).
    GENERAL_LOOKASIDE: 0x80 {
        ListHeadAlignment: u64 = 0x00,
        ListHeadRegion: u64 = 0x08,
        Depth: u16 = 0x10,
        MaximumDepth: u16 = 0x12,
        TotalAllocates: u32 = 0x14,
        AllocateMisses: u32 = 0x18,
        TotalFrees: u32 = 0x1c,
        FreeMisses: u32 = 0x20,
        Type: u32 = 0x24,
        Tag: u32 = 0x28,
        Size: u32 = 0x2c,
        Allocate: u64 = 0x30,
        Free: u64 = 0x38,
        ListEntryFlink: u64 = 0x40,
        ListEntryBlink: u64 = 0x48,
        LastTotalAllocates: u32 = 0x50,
        LastAllocateMisses: u32 = 0x54,
    }
}
