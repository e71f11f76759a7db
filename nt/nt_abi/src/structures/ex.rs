//! Structures of Ex: lookaside lists, sequenced lists, executive resources.

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

structure! {
    /// Executive resource; opaque, so that only its length is a promise. Source: `wdm.h`,
    /// `ERESOURCE`.
    ERESOURCE: 0x68 {
        SystemResourcesFlink: u64 = 0x00,
        SystemResourcesBlink: u64 = 0x08,
        ActiveCount: i16 = 0x18,
        /// 0x80: owned exclusively.
        Flag: u16 = 0x1a,
        OwnerThread: u64 = 0x30,
        ActiveEntries: u32 = 0x40,
        NumberOfSharedWaiters: u32 = 0x48,
        NumberOfExclusiveWaiters: u32 = 0x4c,
    }
}

structure! {
    /// Work item of the executive. Source: `wdm.h`, `WORK_QUEUE_ITEM`.
    WORK_QUEUE_ITEM: 0x20 {
        ListFlink: u64 = 0x00,
        ListBlink: u64 = 0x08,
        WorkerRoutine: u64 = 0x10,
        Parameter: u64 = 0x18,
    }
}

structure! {
    /// How a timer is set. Source: `wdm/ns-wdm-_ext_set_parameters_v0`.
    EXT_SET_PARAMETERS: 0x10 {
        Version: u32 = 0x00,
        Reserved: u32 = 0x04,
        NoWakeTolerance: i64 = 0x08,
    }
}

structure! {
    /// How a timer is deleted. Source: `wdm/ns-wdm-_ext_delete_parameters`.
    EXT_DELETE_PARAMETERS: 0x18 {
        Version: u32 = 0x00,
        Reserved: u32 = 0x04,
        DeleteCallback: u64 = 0x08,
        DeleteContext: u64 = 0x10,
    }
}
