//! Structures of Rtl: strings, versions, times, security descriptors.

use crate::layout::structure;

structure! {
    /// Counted string of bytes. Source: `ntdef/ns-ntdef-string`.
    STRING: 0x10 {
        Length: u16 = 0x00,
        MaximumLength: u16 = 0x02,
        Buffer: u64 = 0x08,
    }
}

structure! {
    /// Header of a bitmap; the bits are elsewhere. Source: `wdm/nf-wdm-rtlinitializebitmap`.
    RTL_BITMAP: 0x10 {
        SizeOfBitMap: u32 = 0x00,
        Buffer: u64 = 0x08,
    }
}

structure! {
    /// Version of the system. Source: `wdm/ns-wdm-_osversioninfow`.
    RTL_OSVERSIONINFOW: 0x114 {
        dwOSVersionInfoSize: u32 = 0x00,
        dwMajorVersion: u32 = 0x04,
        dwMinorVersion: u32 = 0x08,
        dwBuildNumber: u32 = 0x0c,
        dwPlatformId: u32 = 0x10,
        /// 128 UTF-16 units from here.
        szCSDVersion: u16 = 0x14,
    }
}

structure! {
    /// Version of the system with its suites. Source: `wdm/ns-wdm-_osversioninfoexw`.
    RTL_OSVERSIONINFOEXW: 0x11c {
        wServicePackMajor: u16 = 0x114,
        wServicePackMinor: u16 = 0x116,
        wSuiteMask: u16 = 0x118,
        wProductType: u8 = 0x11a,
        wReserved: u8 = 0x11b,
    }
}

structure! {
    /// A time in fields. Source: `wdm/ns-wdm-_time_fields`.
    TIME_FIELDS: 0x10 {
        Year: i16 = 0x00,
        Month: i16 = 0x02,
        Day: i16 = 0x04,
        Hour: i16 = 0x06,
        Minute: i16 = 0x08,
        Second: i16 = 0x0a,
        Milliseconds: i16 = 0x0c,
        Weekday: i16 = 0x0e,
    }
}

structure! {
    /// Absolute security descriptor. Source: `ntifs/ns-ntifs-_security_descriptor`.
    SECURITY_DESCRIPTOR: 0x28 {
        Revision: u8 = 0x00,
        Sbz1: u8 = 0x01,
        Control: u16 = 0x02,
        Owner: u64 = 0x08,
        Group: u64 = 0x10,
        Sacl: u64 = 0x18,
        Dacl: u64 = 0x20,
    }
}

structure! {
    /// Security identifier; sub-authorities of 4 bytes follow. Source: `ntifs/ns-ntifs-_sid`.
    SID: 0x08 {
        Revision: u8 = 0x00,
        SubAuthorityCount: u8 = 0x01,
        /// Six bytes, most significant first, from here.
        IdentifierAuthority: u16 = 0x02,
    }
}

structure! {
    /// Head of an access control list. Source: `wdm/ns-wdm-_acl`.
    ACL: 0x08 {
        AclRevision: u8 = 0x00,
        Sbz1: u8 = 0x01,
        AclSize: u16 = 0x02,
        AceCount: u16 = 0x04,
        Sbz2: u16 = 0x06,
    }
}

structure! {
    /// Head of an access control entry with a mask; a SID follows. Source:
    /// `ntifs/ns-ntifs-_access_allowed_ace`.
    ACCESS_ALLOWED_ACE: 0x08 {
        AceType: u8 = 0x00,
        AceFlags: u8 = 0x01,
        AceSize: u16 = 0x02,
        Mask: u32 = 0x04,
    }
}

structure! {
    /// Self-relative security descriptor: offsets from its start. Source: `ntifs.h`,
    /// `SECURITY_DESCRIPTOR_RELATIVE`.
    SECURITY_DESCRIPTOR_RELATIVE: 0x14 {
        Owner: u32 = 0x04,
        Group: u32 = 0x08,
        Sacl: u32 = 0x0c,
        Dacl: u32 = 0x10,
    }
}
