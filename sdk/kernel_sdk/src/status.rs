//! `NTSTATUS`: every value is an answer, also the failing ones.

/// A status of the kernel.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtStatus(i32);

impl NtStatus {
    pub const SUCCESS: Self = Self::new(0x0000_0000);
    pub const DEVICE_BUSY: Self = Self::new(0x8000_0011);
    pub const UNSUCCESSFUL: Self = Self::new(0xC000_0001);
    pub const ACCESS_VIOLATION: Self = Self::new(0xC000_0005);
    pub const INVALID_PARAMETER: Self = Self::new(0xC000_000D);
    pub const INVALID_DEVICE_REQUEST: Self = Self::new(0xC000_0010);
    pub const BUFFER_TOO_SMALL: Self = Self::new(0xC000_0023);
    pub const INSUFFICIENT_RESOURCES: Self = Self::new(0xC000_009A);
    pub const DEVICE_NOT_READY: Self = Self::new(0xC000_00A3);
    pub const INVALID_BUFFER_SIZE: Self = Self::new(0xC000_0206);
    pub const NOT_FOUND: Self = Self::new(0xC000_0225);

    /// The status with this number.
    pub const fn new(number: u32) -> Self {
        Self(number.cast_signed())
    }

    /// The number, as `ntstatus.h` writes it.
    pub const fn number(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// `NT_SUCCESS`: success and informational statuses.
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// Turns a failing status into an `Err`.
    pub fn ok(self) -> Result<(), Self> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}
