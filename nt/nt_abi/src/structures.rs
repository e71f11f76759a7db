//! Structures in guest memory. Offsets are those of the x64 WDK headers for Windows 10.

#![expect(
    non_camel_case_types,
    non_upper_case_globals,
    reason = "structures and fields are spelt as in the WDK"
)]

pub mod ex;
pub mod io;
pub mod ke;
pub mod mm;
pub mod ob;
pub mod ps;
pub mod rtl;

use crate::layout::structure;

structure! {
    /// Counted UTF-16 string, lengths in bytes. Source: `wdf/ns-ntdef-_unicode_string`.
    UNICODE_STRING: 0x10 {
        Length: u16 = 0x00,
        MaximumLength: u16 = 0x02,
        Buffer: u64 = 0x08,
    }
}

structure! {
    /// Doubly linked list entry. Source: `ntdef/ns-ntdef-_list_entry`.
    LIST_ENTRY: 0x10 {
        Flink: u64 = 0x00,
        Blink: u64 = 0x08,
    }
}
