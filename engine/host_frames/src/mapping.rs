//! A mapping of an anonymous file.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
};

use crate::{FrameBytes, STRIDE};

pub(crate) struct Mapping {
    file: OwnedFd,
    start: NonNull<FrameBytes>,
    capacity: usize,
}

impl Mapping {
    /// Maps room for so many frames. Only those that are touched take memory.
    pub(crate) fn new(capacity: usize) -> Option<Self> {
        let size_bytes = capacity.max(1).checked_mul(STRIDE)?;
        // SAFETY: the name is a string with its end.
        let file = unsafe { libc::memfd_create(c"frames".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return None;
        }
        // SAFETY: the descriptor was opened just now and belongs to nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let length = i64::try_from(size_bytes).ok()?;
        // SAFETY: the descriptor is open.
        if unsafe { libc::ftruncate(file.as_raw_fd(), length) } != 0 {
            return None;
        }
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
        let fd = file.as_raw_fd();
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), size_bytes, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        // The mapping is page aligned, and zeros are frames.
        Some(Self { file, start: NonNull::new(start.cast())?, capacity: capacity.max(1) })
    }

    pub(crate) fn start(&self) -> NonNull<FrameBytes> {
        self.start
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and its user, the store, is being dropped.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity * STRIDE) };
    }
}
