//! The host memory behind physical frames, which a translator may map a second time.
//!
//! A [`FrameStore`] is a growing array of [`FrameBytes`]. By default it is ordinary heap memory. A
//! *shared* one (x86-64 Linux) lies in an anonymous file, so that the same bytes can also be mapped
//! into the windows that translated code works in.

// UNSAFETY: an array whose elements lie in a file mapping cannot be written with the standard
// containers. This crate does nothing else, so that guest memory itself stays free of unsafe code.
#![expect(unsafe_code, reason = "elements behind a pointer; see UNSAFETY above")]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod mapping;

use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

/// Bytes of a page and of a frame.
pub const PAGE: usize = 4096;
/// Bytes of a frame with its states, and the distance of two frames in a shared store.
pub const STRIDE: usize = 2 * PAGE;

/// Frames that there is room for at first: growing moves all of them. Only those in use take
/// memory.
const FIRST_FRAMES: usize = 1024;

/// The bytes of a frame and one state per byte.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct FrameBytes {
    /// What the guest sees.
    pub data: [u8; PAGE],
    /// What is known about each byte.
    pub state: [u8; PAGE],
}

const _: () = assert!(size_of::<FrameBytes>() == STRIDE, "no padding between frames");

impl fmt::Debug for FrameBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameBytes")
    }
}

/// A growing array of frames.
pub struct FrameStore {
    /// The first element.
    start: NonNull<FrameBytes>,
    len: usize,
    backing: Backing,
}

/// What owns the elements. Nothing reads or writes them through it.
enum Backing {
    Heap(Vec<FrameBytes>),
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    Shared(mapping::Mapping),
}

// SAFETY: the store owns its elements, and they are plain bytes.
unsafe impl Send for FrameStore {}
// SAFETY: a shared reference gives shared access only.
unsafe impl Sync for FrameStore {}

impl Default for FrameStore {
    fn default() -> Self {
        Self { start: NonNull::dangling(), len: 0, backing: Backing::Heap(Vec::new()) }
    }
}

impl FrameStore {
    /// An empty store that can be mapped a second time and holds at most `capacity` frames; `None`
    /// where the host does not have such memory.
    pub fn shared(capacity: usize) -> Option<Self> {
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        {
            let mapping = mapping::Mapping::new(capacity)?;
            Some(Self { start: mapping.start(), len: 0, backing: Backing::Shared(mapping) })
        }
        #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
        {
            let _ = capacity;
            None
        }
    }

    /// Adds a frame of zeros.
    ///
    /// # Panics
    ///
    /// If a shared store is full: its owner bounds the number of frames.
    pub fn push_zeroed(&mut self) {
        match &mut self.backing {
            Backing::Heap(frames) => {
                if frames.is_empty() {
                    frames.reserve(FIRST_FRAMES);
                }
                frames.push(FrameBytes { data: [0; PAGE], state: [0; PAGE] });
                self.start = NonNull::new(frames.as_mut_ptr()).unwrap_or(NonNull::dangling());
            }
            #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
            Backing::Shared(mapping) => {
                assert!(self.len < mapping.capacity(), "the owner bounds the number of frames");
            }
        }
        self.len += 1;
    }

    /// The file behind a shared store; frame `n` begins at `n * STRIDE` in it.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub fn file(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.backing {
            Backing::Heap(_) => None,
            Backing::Shared(mapping) => Some(mapping.file()),
        }
    }
}

impl Deref for FrameStore {
    type Target = [FrameBytes];

    #[inline(always)]
    fn deref(&self) -> &[FrameBytes] {
        // SAFETY: `start` points to `len` initialised elements that the backing owns. Other
        // mappings of them are written only by translated code, which runs while nobody holds a
        // reference.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for FrameStore {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [FrameBytes] {
        // SAFETY: as in `deref`; `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for FrameStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameStore").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::FrameStore;

    fn grows_and_keeps(mut store: FrameStore) {
        for n in 0..20_u8 {
            store.push_zeroed();
            let last = usize::from(n);
            assert_eq!(store[last].data, [0; 4096]);
            store[last].data[7] = n;
            store[last].state[4095] = !n;
        }
        assert_eq!(store.len(), 20);
        for (n, frame) in (0..20_u8).zip(store.iter()) {
            assert_eq!((frame.data[7], frame.state[4095]), (n, !n));
        }
    }

    #[test]
    fn frames_keep_their_bytes_while_the_store_grows() {
        grows_and_keeps(FrameStore::default());
        if let Some(store) = FrameStore::shared(20) {
            grows_and_keeps(store);
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn only_a_shared_store_has_a_file() {
        assert!(FrameStore::default().file().is_none());
        assert!(FrameStore::shared(1).is_some_and(|store| store.file().is_some()));
    }
}
