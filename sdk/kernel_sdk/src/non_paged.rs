//! Values in non-paged pool, where they stay: what the kernel links into lists must not move.

use core::{
    ffi::c_void,
    mem,
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    abi::{ExAllocatePool2, ExFreePoolWithTag, POOL_FLAG_NON_PAGED},
    status::NtStatus,
};

/// Tag of every block that this crate allocates.
const TAG: u32 = u32::from_le_bytes(*b"Rust");

/// Pool blocks are aligned to this.
const POOL_ALIGNMENT: usize = 16;

/// Owns a value in non-paged pool.
pub struct NonPaged<T>(NonNull<T>);

// SAFETY: it owns its block alone.
unsafe impl<T: Send> Send for NonPaged<T> {}
// SAFETY: it gives out nothing but shared references.
unsafe impl<T: Sync> Sync for NonPaged<T> {}

impl<T> NonPaged<T> {
    /// Moves `value` to a new block.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        const { assert!(align_of::<T>() <= POOL_ALIGNMENT, "the pool aligns to 16 bytes") };
        let size_bytes = size_of::<T>().max(1);
        // SAFETY: any size and tag but zero may be asked for.
        let block = unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, size_bytes, TAG) };
        let block = NonNull::new(block.cast::<T>()).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        // SAFETY: the new block has room for the value and is aligned to 16 bytes.
        unsafe { block.write(value) };
        Ok(Self(block))
    }

    /// Moves the value out and frees the block.
    pub fn into_inner(self) -> T {
        // SAFETY: the block holds a value, which nobody reads again.
        let value = unsafe { self.0.read() };
        self.free();
        value
    }

    pub(crate) fn into_raw(self) -> NonNull<T> {
        let block = self.0;
        mem::forget(self);
        block
    }

    /// # Safety
    ///
    /// `block` came from [`NonPaged::into_raw`] and is owned by nobody else.
    pub(crate) const unsafe fn from_raw(block: NonNull<T>) -> Self {
        Self(block)
    }

    fn free(self) {
        let block = self.into_raw();
        // SAFETY: allocated by us with this tag; the value has been dropped or moved.
        unsafe { ExFreePoolWithTag(block.as_ptr().cast::<c_void>(), TAG) };
    }
}

impl<T> Deref for NonPaged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the block holds a value for as long as we own it.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for NonPaged<T> {
    fn drop(&mut self) {
        // SAFETY: the block holds a value, which nobody reads again.
        unsafe { self.0.drop_in_place() };
        // SAFETY: allocated by us with this tag.
        unsafe { ExFreePoolWithTag(self.0.as_ptr().cast::<c_void>(), TAG) };
    }
}

/// A counted reference to a value in non-paged pool, for state that several threads use.
pub struct Shared<T>(NonNull<Counted<T>>);

struct Counted<T> {
    references: AtomicUsize,
    value: T,
}

// SAFETY: the last owner, on any thread, drops the value, which all of them can read.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves `value` to a new block with one reference.
    pub fn new(value: T) -> Result<Self, NtStatus> {
        let counted = Counted { references: AtomicUsize::new(1), value };
        Ok(Self(NonPaged::new(counted)?.into_raw()))
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: the block lives as long as a reference.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.counted().references.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().references.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: that was the last reference.
            drop(unsafe { NonPaged::from_raw(self.0) });
        }
    }
}
