//! Memory of the host: reserved ranges, windows of guest pages, the code cache, and entering it.

// UNSAFETY: mapping at chosen addresses, generated code and a call into it. Every block below says
// what it relies on; the translator and its verifier see addresses only.
#![expect(unsafe_code, reason = "maps memory and enters generated code; see UNSAFETY above")]

use std::{
    arch::asm,
    ffi::CStr,
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicBool, Ordering},
};

use guest_memory::GuestMemory;

use crate::{
    context::{Context, Places, TARGETS_ALIGN, Targets},
    serve::{Serving, decline, serve_string},
    signals,
};

/// Bytes of the code cache.
pub(crate) const CODE_BYTES: usize = 32 << 20;
const CODE_LENGTH: i64 = 32 << 20;
const _: () = assert!(CODE_BYTES.is_multiple_of(TARGETS_ALIGN), "the table lies behind it");
/// Bytes of the part of it that holds the stubs.
pub(crate) const STUB_BYTES: usize = 8192;

/// Why this host, process or thread cannot translate; the interpreter serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The processor or the kernel does not let programs set segment bases.
    #[error("the host does not let programs set segment bases")]
    SegmentBases,
    /// One translator per process.
    #[error("there is a translator in this process already")]
    Taken,
    /// A range of addresses that the containment argument needs is in use.
    #[error("a range of addresses is in use")]
    Addresses,
    /// No executable memory, or no memory file.
    #[error("no executable memory")]
    Memory,
    /// A signal handler of the process runs on the stack of the thread that it interrupts.
    #[error("a signal handler of the process has no stack of its own")]
    Signals,
    /// The stubs could not be assembled.
    #[error("the stubs could not be assembled")]
    Stubs,
}

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to translate in this process. The windows lie at addresses that the thread pointer
/// fixes, so there is one.
#[derive(Debug)]
pub(crate) struct Token(());

impl Token {
    pub(crate) fn take() -> Result<Self, Unavailable> {
        match IS_TAKEN.swap(true, Ordering::AcqRel) {
            false => Ok(Self(())),
            true => Err(Unavailable::Taken),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// The thread pointer: the base of fs.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: on Linux the word at the thread pointer is the thread pointer.
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, readonly, pure)) };
    pointer
}

/// Whether programs may use `wrgsbase`.
pub(crate) fn has_segment_bases() -> bool {
    const FSGSBASE: u64 = 2;
    // SAFETY: reads a word of the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & FSGSBASE != 0 }
}

/// Whether the processor and the kernel offer the registers of AVX-512, all lengths and masks.
pub(crate) fn has_wide_registers() -> bool {
    is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
}

/// Makes `base` the base of gs, which nothing else in the process uses.
pub(crate) fn set_gs(base: u64) {
    let old: u64;
    // SAFETY: `has_segment_bases` was asked when the translator was made.
    unsafe { asm!("rdgsbase {}", out(reg) old, options(nostack, nomem)) };
    if old != base {
        // SAFETY: user code on x86-64 Linux does not use gs.
        unsafe { asm!("wrgsbase {}", in(reg) base, options(nostack, nomem)) };
    }
}

/// A number that no other open file of its kind has.
pub(crate) fn file_number(file: BorrowedFd<'_>) -> u64 {
    // SAFETY: all-zero is a valid `stat`.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the place holds a `stat`.
    let result = unsafe { libc::fstat(file.as_raw_fd(), &raw mut about) };
    assert_eq!(result, 0, "an open file can be asked about");
    about.st_ino
}

/// A page of states that no byte has: they are not those of defined bytes, nor of undefined ones.
#[derive(Debug)]
pub(crate) struct GuardStates(OwnedFd);

impl GuardStates {
    const STATE: u8 = 0x55;

    pub(crate) fn new() -> Result<Self, Unavailable> {
        let file = memory_file(c"guard", 4096)?;
        let states = [Self::STATE; 4096];
        // SAFETY: the descriptor is open, and the bytes are there.
        let written = unsafe { libc::write(file.as_raw_fd(), states.as_ptr().cast(), 4096) };
        if written == 4096 { Ok(Self(file)) } else { Err(Unavailable::Memory) }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A file in memory, of zeros.
fn memory_file(name: &CStr, length_bytes: i64) -> Result<OwnedFd, Unavailable> {
    // SAFETY: the name is a string with its end.
    let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(Unavailable::Memory);
    }
    // SAFETY: the descriptor was opened just now and belongs to nobody else.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    // SAFETY: the descriptor is open.
    let is_long = unsafe { libc::ftruncate(file.as_raw_fd(), length_bytes) } == 0;
    is_long.then_some(file).ok_or(Unavailable::Memory)
}

/// What stands in a reserved range where nothing is mapped.
const RESERVED: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// A range of addresses that nothing else can be mapped into.
#[derive(Debug)]
pub(crate) struct Reserve {
    start: u64,
    len: usize,
}

impl Reserve {
    pub(crate) fn new(start: u64, end: u64) -> Result<Self, Unavailable> {
        let len = usize::try_from(end.saturating_sub(start)).map_err(|_| Unavailable::Addresses)?;
        let flags = RESERVED | libc::MAP_FIXED_NOREPLACE;
        let at = ptr::without_provenance_mut(usize::try_from(start).unwrap_or(0));
        // SAFETY: a fresh mapping that replaces none.
        let got = unsafe { libc::mmap(at, len, libc::PROT_NONE, flags, -1, 0) };
        if got == libc::MAP_FAILED {
            return Err(Unavailable::Addresses);
        }
        let reserve = Self { start: got as u64, len };
        // A kernel that does not know the flag maps elsewhere.
        if reserve.start == start { Ok(reserve) } else { Err(Unavailable::Addresses) }
    }

    /// Maps a page of a file into the range.
    pub(crate) fn map(
        &self,
        at: u64,
        file: BorrowedFd<'_>,
        offset: u64,
        is_writable: bool,
    ) -> bool {
        let protection = libc::PROT_READ | if is_writable { libc::PROT_WRITE } else { 0 };
        let (fd, offset) = (file.as_raw_fd(), offset.cast_signed());
        self.place((at, 4096), protection, libc::MAP_SHARED, fd, offset)
    }

    /// Takes a page out of the range.
    pub(crate) fn unmap(&self, at: u64) -> bool {
        self.place((at, 4096), libc::PROT_NONE, RESERVED, -1, 0)
    }

    /// Takes all pages out of the range.
    pub(crate) fn empty(&self) -> bool {
        self.place((self.start, self.len), libc::PROT_NONE, RESERVED, -1, 0)
    }

    fn place(
        &self,
        (at, len): (u64, usize),
        protection: i32,
        flags: i32,
        fd: i32,
        offset: i64,
    ) -> bool {
        let from = at.wrapping_sub(self.start);
        let is_within = from <= self.len as u64 && len as u64 <= self.len as u64 - from;
        assert!(is_within && at.is_multiple_of(4096), "pages of the reserved range");
        let to = ptr::without_provenance_mut(usize::try_from(at).unwrap_or(0));
        // SAFETY: the pages lie in the range reserved above, in which there is no Rust object.
        let got = unsafe { libc::mmap(to, len, protection, flags | libc::MAP_FIXED, fd, offset) };
        got != libc::MAP_FAILED
    }

    /// Reads a word of a mapped page of the range; for tests of the windows.
    #[cfg(test)]
    pub(crate) fn peek(&self, at: u64) -> u8 {
        assert!(at.wrapping_sub(self.start) < self.len as u64);
        let at = usize::try_from(at).unwrap_or(0);
        // SAFETY: the caller mapped the page.
        unsafe { ptr::with_exposed_provenance::<u8>(at).read_volatile() }
    }

    /// Writes a byte of a mapped page of the range, as translated code does; for the same.
    #[cfg(test)]
    pub(crate) fn poke(&self, at: u64, byte: u8) {
        assert!(at.wrapping_sub(self.start) < self.len as u64);
        let at = usize::try_from(at).unwrap_or(0);
        // SAFETY: the caller mapped the page for stores; nobody holds a reference to the frame.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(at).write_volatile(byte) };
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let at = ptr::without_provenance_mut(usize::try_from(self.start).unwrap_or(0));
        // SAFETY: exactly the range reserved by `new`.
        unsafe { libc::munmap(at, self.len) };
    }
}

/// The code cache, mapped twice: executable and writable. Behind the executable mapping lie the
/// table of targets and the context, so that code reaches them.
pub(crate) struct CodeMemory {
    /// All that was mapped for code, table and context, with what the alignment left over.
    whole: NonNull<u8>,
    /// First address of the executable mapping.
    start: u64,
    writable: NonNull<u8>,
    context: NonNull<Context>,
    targets: NonNull<Targets>,
    is_wide: bool,
}

impl fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeMemory").field("start", &self.start).finish_non_exhaustive()
    }
}

const SHARED_BYTES: usize = size_of::<Context>() + size_of::<Targets>();
const WHOLE_BYTES: usize = CODE_BYTES + SHARED_BYTES + TARGETS_ALIGN;

impl CodeMemory {
    /// `is_wide`: whether the code may use the registers of AVX-512.
    pub(crate) fn new(is_wide: bool) -> Result<Self, Unavailable> {
        let file = memory_file(c"code", CODE_LENGTH)?;
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // Zeros are a context and a table without entries.
        let whole = map(None, WHOLE_BYTES, rw, anonymous, -1)?;
        let start = whole.map_addr(|at| {
            let aligned = at.get().next_multiple_of(TARGETS_ALIGN);
            at.saturating_add(aligned - at.get())
        });
        let (rx, fixed) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_SHARED | libc::MAP_FIXED);
        let code = map(Some(start), CODE_BYTES, rx, fixed, file.as_raw_fd())?;
        let writable = map(None, CODE_BYTES, rw, libc::MAP_SHARED, file.as_raw_fd())?;
        let targets = start.map_addr(|at| at.saturating_add(CODE_BYTES)).cast::<Targets>();
        let context = targets.map_addr(|at| at.saturating_add(size_of::<Targets>())).cast();
        let start = code.addr().get() as u64;
        Ok(Self { whole, start, writable, context, targets, is_wide })
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Says whether the code may use the registers of AVX-512.
    pub(crate) fn set_wide(&mut self, is_wide: bool) {
        self.is_wide = is_wide;
    }

    pub(crate) fn places(&self) -> Places {
        let context = self.start + (CODE_BYTES + size_of::<Targets>()) as u64;
        Places { context, is_wide: self.is_wide }
    }

    /// Writes code; returns false if it does not fit.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        if offset > CODE_BYTES || bytes.len() > CODE_BYTES - offset {
            return false;
        }
        // SAFETY: the writable mapping has `CODE_BYTES` bytes, and no code runs now.
        let cache = unsafe { slice::from_raw_parts_mut(self.writable.as_ptr(), CODE_BYTES) };
        if let Some(part) = cache.get_mut(offset..offset + bytes.len()) {
            part.copy_from_slice(bytes);
        }
        true
    }

    pub(crate) fn context(&mut self) -> &mut Context {
        // SAFETY: mapped, aligned, initialised with zeros; generated code and the signal handler
        // use it only inside `run`.
        unsafe { self.context.as_mut() }
    }

    pub(crate) fn targets(&mut self) -> &mut Targets {
        // SAFETY: as the context.
        unsafe { self.targets.as_mut() }
    }

    /// Calls the stub that enters the code; returns when the code leaves.
    ///
    /// Containment rests on the verifier: only stubs and verified blocks are in the cache. Calls
    /// that are served in place go to whoever serves them, with the context and the last two
    /// arguments; without `is_plain`, Rust would calculate otherwise, and none is served.
    pub(crate) fn run(
        &mut self,
        enter: u64,
        is_plain: bool,
        serving: &mut Serving<'_>,
        memory: &mut GuestMemory,
    ) {
        let declines = || ((decline as *const ()).expose_provenance() as u64, 0);
        let (function, services) = serving.by.filter(|_| is_plain).unwrap_or_else(declines);
        let context = self.context();
        context.one = 1;
        (context.service, context.services) = (function, services);
        context.string_service = (serve_string as *const ()).expose_provenance() as u64;
        context.serving = (&raw mut *serving).expose_provenance() as u64;
        context.memory = (&raw mut *memory).expose_provenance() as u64;
        let at = usize::try_from(enter).unwrap_or(0);
        let at = ptr::with_exposed_provenance::<()>(at);
        // SAFETY: `enter` is the address of the stub with this ABI; it keeps what a function must
        // keep. It writes the context, the targets' users and frames only, to which there is no
        // reference now. The function that serves calls is the one that was made for these
        // services; it gets all that it may use as references which nobody else uses meanwhile.
        let function = unsafe { std::mem::transmute::<*const (), extern "sysv64" fn()>(at) };
        function();
    }

    /// Announces the cache to the signal handler.
    pub(crate) fn announce(&self) -> Result<(), Unavailable> {
        let context = self.context.as_ptr().expose_provenance() as u64;
        signals::announce(self.start..self.start + CODE_BYTES as u64, context)
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        signals::withdraw();
        // SAFETY: the ranges mapped by `new`.
        unsafe { libc::munmap(self.whole.as_ptr().cast(), WHOLE_BYTES) };
        // SAFETY: as above.
        unsafe { libc::munmap(self.writable.as_ptr().cast(), CODE_BYTES) };
    }
}

fn map(
    at: Option<NonNull<u8>>,
    len: usize,
    protection: i32,
    flags: i32,
    fd: i32,
) -> Result<NonNull<u8>, Unavailable> {
    let at = at.map_or(ptr::null_mut(), |at| at.as_ptr().cast());
    // SAFETY: a fresh mapping, or one over a part of a mapping that `CodeMemory::new` made.
    let got = unsafe { libc::mmap(at, len, protection, flags, fd, 0) };
    if got == libc::MAP_FAILED {
        return Err(Unavailable::Memory);
    }
    NonNull::new(got.cast()).ok_or(Unavailable::Memory)
}
