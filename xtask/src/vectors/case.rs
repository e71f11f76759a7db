//! One instruction (or straight-line program) with the state before it, and what became of it.

use cpu::Registers;

/// First byte of the page that holds the code of a case.
pub(crate) const CODE: u64 = 0x1000_0000;
/// Bytes of the code page.
pub(crate) const CODE_BYTES: u64 = 0x1000;
/// First byte of the data window.
pub(crate) const WINDOW: u64 = 0x2000_0000;
/// Bytes of the window that can be written; a read-only page of zeros follows.
pub(crate) const WINDOW_BYTES: usize = 0x2000;
/// Bytes of the read-only page.
pub(crate) const READ_ONLY_BYTES: u64 = 0x1000;
/// Around the window so much address space is reserved and untouchable.
pub(crate) const GUARD_BYTES: u64 = 0x10_0000;
/// Code is padded with this many breakpoints, so that a near jump ends the case.
pub(crate) const PAD: u8 = 0xcc;

/// A case to execute.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Address of the code, inside the code page.
    pub address: u64,
    /// The code.
    pub code: Vec<u8>,
    /// Registers before; `rip` is `address`.
    pub before: Registers,
    /// The writable window before.
    pub memory: Box<[u8; WINDOW_BYTES]>,
    /// Flags of a program that may be undefined at its end.
    pub ignored_flags: u64,
    /// Flags of a program that may be undefined at some instruction of it.
    pub ignored_at_fault: u64,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Control left the code; `rip` says to where.
    Done,
    /// A page fault.
    Page {
        /// The first byte that faulted.
        at: u64,
        /// It was to be written.
        is_write: bool,
    },
    /// #GP or #SS: not canonical, misaligned, privileged.
    GeneralProtection,
    /// #DE.
    DivideError,
    /// #UD.
    InvalidOpcode,
    /// #MF or #XM.
    FloatingPoint,
    /// Anything else, in words.
    Other(String),
}

/// State after a case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Registers after.
    pub after: Registers,
    /// The writable window after.
    pub memory: Box<[u8; WINDOW_BYTES]>,
}

impl Case {
    /// Address of the first byte after the code.
    pub(crate) fn end(&self) -> u64 {
        self.address + self.code.len() as u64
    }
}

/// Returns whether every byte of a range is in the window, the guards around it, the null page, or
/// not canonical: the host either serves it from the window or faults.
pub(crate) fn is_harmless(at: u64, size_bytes: u64) -> bool {
    let last = at.wrapping_add(size_bytes.saturating_sub(1));
    let in_one = |low: u64, high: u64| at >= low && last < high && at <= last;
    let top = |a: u64| a >> 47;
    let stray = |a: u64| top(a) != 0 && top(a) != 0x1_ffff;
    in_one(WINDOW - GUARD_BYTES, WINDOW + WINDOW_BYTES as u64 + READ_ONLY_BYTES + GUARD_BYTES)
        || in_one(0, 0x1000)
        || stray(at) && stray(last)
}

/// The abridged x87 tag byte of `fxsave`: a set bit for each register in use.
pub(crate) fn abridged_tags(tag_word: u16) -> u8 {
    (0..8).fold(0, |tags, i| tags | u8::from(tag_word >> (2 * i) & 3 != 3) << i)
}

/// A tag word for an abridged tag byte: 0 (valid) or 3 (empty) for each register.
pub(crate) fn tag_word(abridged: u8) -> u16 {
    (0..8).fold(0, |word, i| word | if abridged >> i & 1 == 0 { 3 << (2 * i) } else { 0 })
}
