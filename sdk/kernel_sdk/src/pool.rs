//! Memory from the kernel's pool.

use core::{ffi::c_void, ptr::NonNull, slice};

use crate::{
    abi::{ExAllocatePool2, ExFreePoolWithTag, POOL_FLAG_PAGED},
    status::NtStatus,
};

/// UTF-16 code units in paged pool. Use it below `DISPATCH_LEVEL` only.
pub struct PoolUnits {
    start: NonNull<u16>,
    len: usize,
    tag: u32,
}

// SAFETY: it owns its block alone.
unsafe impl Send for PoolUnits {}

impl PoolUnits {
    /// Copies `units` to a new block that carries `tag`, in memory order.
    pub fn copy(units: &[u16], tag: [u8; 4]) -> Result<Self, NtStatus> {
        let tag = u32::from_le_bytes(tag);
        let size_bytes = size_of_val(units).max(size_of::<u16>());
        // SAFETY: any size and tag but zero may be asked for.
        let block = unsafe { ExAllocatePool2(POOL_FLAG_PAGED, size_bytes, tag) };
        let start = NonNull::new(block.cast::<u16>()).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        // SAFETY: the new block has room for all units.
        unsafe { start.as_ptr().copy_from_nonoverlapping(units.as_ptr(), units.len()) };
        Ok(Self { start, len: units.len(), tag })
    }

    /// The copied units.
    pub fn units(&self) -> &[u16] {
        // SAFETY: all of them were written when the block was made.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for PoolUnits {
    fn drop(&mut self) {
        // SAFETY: allocated by us with this tag.
        unsafe { ExFreePoolWithTag(self.start.as_ptr().cast::<c_void>(), self.tag) };
    }
}
