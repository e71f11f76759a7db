//! A kernel run natively in this process.

// UNSAFETY: the comparison needs the very machine code that the interpreter runs, executed by the
// host: pages that are executable and a call into them. The kernels are the repository's own,
// compiled a moment ago.
#![expect(unsafe_code, reason = "calls compiled kernels; see UNSAFETY above")]

use std::{ptr, slice, time::Duration};

use anyhow::{Context, Result, ensure};
use pe_image::Image;

use super::{MEMORY_BYTES, place};

/// `BENCH` of `tests/bench/bench.h`.
#[repr(C)]
struct Bench {
    memory: *mut u8,
    service: extern "win64" fn(u64, u64) -> u64,
}

/// Processor time of this thread so far.
pub(super) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` to a place that holds one.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "Linux has had this clock for ever");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub(super) struct Kernel {
    run: extern "win64" fn(*mut Bench) -> u64,
    memory: Vec<u64>,
}

extern "win64" fn service(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

impl Kernel {
    pub(super) fn load(image: &Image) -> Result<Self> {
        let size = usize::try_from(image.image_bytes())?;
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a fresh private mapping at an address of the kernel's choice touches no existing
        // memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        ensure!(base != libc::MAP_FAILED, "no executable memory");
        let (_, bytes) = place(image, base as u64)?;
        // SAFETY: the mapping has `size` bytes, is writable, and nothing else refers to it.
        let target = unsafe { slice::from_raw_parts_mut(base.cast::<u8>(), size) };
        target.copy_from_slice(&bytes);
        let entry = usize::try_from(image.entry_point_rva().context("no entry point")?)?;
        ensure!(entry < size, "the entry point lies outside the image");
        let entry = base.wrapping_byte_add(entry);
        // SAFETY: `run` of `bench.h` starts here, compiled for the Windows calling convention; the
        // mapping is executable and is never unmapped.
        let run = unsafe {
            std::mem::transmute::<*mut libc::c_void, extern "win64" fn(*mut Bench) -> u64>(entry)
        };
        Ok(Self { run, memory: vec![0; usize::try_from(MEMORY_BYTES)? / 8] })
    }

    /// Runs the kernel once and returns its result.
    pub(super) fn run(&mut self) -> u64 {
        let mut bench = Bench { memory: self.memory.as_mut_ptr().cast(), service };
        (self.run)(&raw mut bench)
    }
}
