//! Guest addresses and the small identifiers of memory.

use std::fmt;

/// Bytes in a page and in a frame.
pub const PAGE_BYTES: u64 = 4096;

/// An address in the guest. A claim: it proves nothing until it is read or written through guest
/// memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestAddr(pub u64);

saved::kept_plainly!(GuestAddr);

impl GuestAddr {
    /// The null address.
    pub const NULL: Self = Self(0);

    /// Returns the address `bytes` further on; wraps as the processor does.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it takes bytes and wraps, unlike an operator"
    )]
    pub fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Returns whether this is address 0.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Returns whether bits 63 to 47 are all equal, as 4-level paging demands.
    pub fn is_canonical(self) -> bool {
        let top = self.0 >> 47;
        top == 0 || top == 0x1_ffff
    }

    /// Returns whether the address lies in the upper half.
    pub fn is_kernel_half(self) -> bool {
        self.0 >> 63 == 1
    }

    /// Returns the address of the page that holds this byte.
    #[must_use]
    pub fn page(self) -> Self {
        Self(self.0 & !(PAGE_BYTES - 1))
    }

    /// Returns the offset inside the page.
    pub fn page_offset(self) -> u64 {
        self.0 & (PAGE_BYTES - 1)
    }
}

impl fmt::Display for GuestAddr {
    /// Sixteen hex digits with a backtick, as WinDbg prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}`{:08x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for GuestAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A user half of the address space; one per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId(pub u16);

/// A physical frame. Its number is also the guest's page frame number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameId(pub u32);
