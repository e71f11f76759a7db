//! `NTSTATUS` values by name. Source: [MS-ERREF] 2.3.1 and the "Return value" sections of the DDI
//! pages.

use std::fmt;

/// A status code. A failing one is an ordinary value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NtStatus(pub u32);

impl NtStatus {
    /// `NT_SUCCESS`: success and informational codes.
    pub fn is_success(self) -> bool {
        self.0 >> 31 == 0
    }

    /// `NT_ERROR`: severity 3.
    pub fn is_error(self) -> bool {
        self.0 >> 30 == 3
    }

    /// The name, or the number in hex.
    pub fn name_or_number(self) -> String {
        self.name().map_or_else(|| format!("0x{:08x}", self.0), str::to_owned)
    }

    /// The name, if it is one of the table.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .binary_search_by_key(&self.0, |entry| entry.0)
            .ok()
            .and_then(|i| NAMES.get(i))
            .map(|e| e.1)
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:08x})", self.0),
            None => write!(f, "0x{:08x}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! statuses {
    ($($value:literal $name:ident,)*) => {
        impl NtStatus { $(pub const $name: Self = Self($value);)* }
        const NAMES: &[(u32, &str)] = &[$(($value, stringify!($name)),)*];
    };
}

// In ascending order: `name` searches it.
statuses! {
    0x0000_0000 STATUS_SUCCESS,
    0x0000_0080 STATUS_ABANDONED,
    0x0000_00c0 STATUS_USER_APC,
    0x0000_0101 STATUS_ALERTED,
    0x0000_0102 STATUS_TIMEOUT,
    0x0000_0103 STATUS_PENDING,
    0x0000_0104 STATUS_REPARSE,
    0x0000_0105 STATUS_MORE_ENTRIES,
    0x0000_010b STATUS_NOTIFY_CLEANUP,
    0x4000_0000 STATUS_OBJECT_NAME_EXISTS,
    0x8000_0001 STATUS_GUARD_PAGE_VIOLATION,
    0x8000_0002 STATUS_DATATYPE_MISALIGNMENT,
    0x8000_0003 STATUS_BREAKPOINT,
    0x8000_0004 STATUS_SINGLE_STEP,
    0x8000_0005 STATUS_BUFFER_OVERFLOW,
    0x8000_0006 STATUS_NO_MORE_FILES,
    0x8000_001a STATUS_NO_MORE_ENTRIES,
    0xc000_0001 STATUS_UNSUCCESSFUL,
    0xc000_0002 STATUS_NOT_IMPLEMENTED,
    0xc000_0003 STATUS_INVALID_INFO_CLASS,
    0xc000_0004 STATUS_INFO_LENGTH_MISMATCH,
    0xc000_0005 STATUS_ACCESS_VIOLATION,
    0xc000_0008 STATUS_INVALID_HANDLE,
    0xc000_000b STATUS_INVALID_CID,
    0xc000_000d STATUS_INVALID_PARAMETER,
    0xc000_000e STATUS_NO_SUCH_DEVICE,
    0xc000_000f STATUS_NO_SUCH_FILE,
    0xc000_0010 STATUS_INVALID_DEVICE_REQUEST,
    0xc000_0011 STATUS_END_OF_FILE,
    0xc000_0016 STATUS_MORE_PROCESSING_REQUIRED,
    0xc000_0017 STATUS_NO_MEMORY,
    0xc000_0018 STATUS_CONFLICTING_ADDRESSES,
    0xc000_0019 STATUS_NOT_MAPPED_VIEW,
    0xc000_001d STATUS_ILLEGAL_INSTRUCTION,
    0xc000_001f STATUS_INVALID_VIEW_SIZE,
    0xc000_0022 STATUS_ACCESS_DENIED,
    0xc000_0023 STATUS_BUFFER_TOO_SMALL,
    0xc000_0024 STATUS_OBJECT_TYPE_MISMATCH,
    0xc000_0030 STATUS_INVALID_PARAMETER_MIX,
    0xc000_0033 STATUS_OBJECT_NAME_INVALID,
    0xc000_0034 STATUS_OBJECT_NAME_NOT_FOUND,
    0xc000_0035 STATUS_OBJECT_NAME_COLLISION,
    0xc000_0039 STATUS_OBJECT_PATH_INVALID,
    0xc000_003a STATUS_OBJECT_PATH_NOT_FOUND,
    0xc000_003b STATUS_OBJECT_PATH_SYNTAX_BAD,
    0xc000_0043 STATUS_SHARING_VIOLATION,
    0xc000_0045 STATUS_INVALID_PAGE_PROTECTION,
    0xc000_0046 STATUS_MUTANT_NOT_OWNED,
    0xc000_0047 STATUS_SEMAPHORE_LIMIT_EXCEEDED,
    0xc000_004b STATUS_THREAD_IS_TERMINATING,
    0xc000_0056 STATUS_DELETE_PENDING,
    0xc000_0058 STATUS_UNKNOWN_REVISION,
    0xc000_0059 STATUS_REVISION_MISMATCH,
    0xc000_0061 STATUS_PRIVILEGE_NOT_HELD,
    0xc000_0077 STATUS_INVALID_ACL,
    0xc000_0078 STATUS_INVALID_SID,
    0xc000_0079 STATUS_INVALID_SECURITY_DESCR,
    0xc000_007b STATUS_INVALID_IMAGE_FORMAT,
    0xc000_008c STATUS_ARRAY_BOUNDS_EXCEEDED,
    0xc000_0094 STATUS_INTEGER_DIVIDE_BY_ZERO,
    0xc000_0095 STATUS_INTEGER_OVERFLOW,
    0xc000_0096 STATUS_PRIVILEGED_INSTRUCTION,
    0xc000_0099 STATUS_ALLOTTED_SPACE_EXCEEDED,
    0xc000_009a STATUS_INSUFFICIENT_RESOURCES,
    0xc000_009d STATUS_DEVICE_NOT_CONNECTED,
    0xc000_00a3 STATUS_DEVICE_NOT_READY,
    0xc000_00b5 STATUS_IO_TIMEOUT,
    0xc000_00bb STATUS_NOT_SUPPORTED,
    0xc000_00c0 STATUS_DEVICE_DOES_NOT_EXIST,
    0xc000_00ef STATUS_INVALID_PARAMETER_1,
    0xc000_00f0 STATUS_INVALID_PARAMETER_2,
    0xc000_0106 STATUS_NAME_TOO_LONG,
    0xc000_010a STATUS_PROCESS_IS_TERMINATING,
    0xc000_010e STATUS_IMAGE_ALREADY_LOADED,
    0xc000_0120 STATUS_CANCELLED,
    0xc000_0128 STATUS_FILE_CLOSED,
    0xc000_013a STATUS_CONTROL_C_EXIT,
    0xc000_0184 STATUS_INVALID_DEVICE_STATE,
    0xc000_0185 STATUS_IO_DEVICE_ERROR,
    0xc000_0191 STATUS_MUTANT_LIMIT_EXCEEDED,
    0xc000_0206 STATUS_INVALID_BUFFER_SIZE,
    0xc000_0225 STATUS_NOT_FOUND,
    0xc000_0235 STATUS_HANDLE_NOT_CLOSABLE,
    0xc000_0272 STATUS_NO_MATCH,
    0xc000_02b4 STATUS_FLOAT_MULTIPLE_FAULTS,
    0xc000_0365 STATUS_FAILED_DRIVER_ENTRY,
    0xc000_0420 STATUS_ASSERTION_FAILURE,
}
