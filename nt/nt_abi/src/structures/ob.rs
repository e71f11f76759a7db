//! Structures of the object manager.

use crate::layout::structure;

structure! {
    /// Name and attributes of an object to open or create. Source:
    /// `ntdef/ns-ntdef-_object_attributes`.
    OBJECT_ATTRIBUTES: 0x30 {
        Length: u32 = 0x00,
        RootDirectory: u64 = 0x08,
        ObjectName: u64 = 0x10,
        Attributes: u32 = 0x18,
        SecurityDescriptor: u64 = 0x20,
        SecurityQualityOfService: u64 = 0x28,
    }
}

structure! {
    /// What `ObReferenceObjectByHandle` tells about a handle. Source: `wdm.h`,
    /// `OBJECT_HANDLE_INFORMATION`.
    OBJECT_HANDLE_INFORMATION: 0x08 {
        HandleAttributes: u32 = 0x00,
        GrantedAccess: u32 = 0x04,
    }
}

structure! {
    /// An object's name, the characters behind it. Source: `ntifs.h`, `OBJECT_NAME_INFORMATION`.
    OBJECT_NAME_INFORMATION: 0x10 {
        Length: u16 = 0x00,
        MaximumLength: u16 = 0x02,
        Buffer: u64 = 0x08,
    }
}
