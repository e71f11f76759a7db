//! Threads, looked up by their number.

use core::{ffi::c_void, ptr, ptr::NonNull};

use crate::{
    abi::{KeSetPriorityThread, ObfDereferenceObject, PsLookupThreadByThreadId},
    status::NtStatus,
};

/// A counted reference to a thread.
pub struct Thread(NonNull<c_void>);

impl Thread {
    /// Finds a thread by the number that programs know it by.
    pub fn by_id(id: u32) -> Result<Self, NtStatus> {
        let mut thread = ptr::null_mut();
        // SAFETY: the result pointer is valid for the call.
        unsafe { PsLookupThreadByThreadId(id as usize, &raw mut thread) }.ok()?;
        NonNull::new(thread).map(Self).ok_or(NtStatus::INVALID_PARAMETER)
    }

    /// Sets the priority to a value from 1 to 31 and returns the one before.
    pub fn set_priority(&self, priority: i32) -> i32 {
        // SAFETY: our reference keeps the thread alive.
        unsafe { KeSetPriorityThread(self.0.as_ptr(), priority) }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: gives back the reference of the look-up.
        unsafe { ObfDereferenceObject(self.0.as_ptr()) };
    }
}
