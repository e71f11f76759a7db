//! Structures of Ps.

use crate::layout::structure;

structure! {
    /// Process and thread id. Source: `ntddk/ns-ntddk-_client_id`.
    CLIENT_ID: 0x10 {
        UniqueProcess: u64 = 0x00,
        UniqueThread: u64 = 0x08,
    }
}
