//! Unwind data: the function table (`.pdata`) and `UNWIND_INFO`, decoded.
//!
//! Decoding only; what the codes do to registers is the unwinder's business. The data is read
//! through [`ReadRva`], so that it works on a mapped image and on guest memory alike.
//!
//! Source: <https://learn.microsoft.com/cpp/build/exception-handling-x64>.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::bytes::{slice_at, u16_at, u32_at};

/// How many `UNWIND_INFO` one function may chain; compilers make two or three.
pub const CHAIN_LIMIT: usize = 32;

/// More functions than any real image has; the rest of a longer table is left out.
const FUNCTION_LIMIT: usize = 1 << 20;

/// Reads bytes of an image by RVA.
///
/// Implemented for closures `|rva, out| -> bool`; [`MappedImage::read`](crate::MappedImage::read)
/// fits.
pub trait ReadRva {
    /// Fills `out` from `rva` on; false if any byte cannot be read.
    fn read_rva(&mut self, rva: u32, out: &mut [u8]) -> bool;
}

impl<F: FnMut(u32, &mut [u8]) -> bool> ReadRva for F {
    fn read_rva(&mut self, rva: u32, out: &mut [u8]) -> bool {
        self(rva, out)
    }
}

/// Why unwind data cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnwindError {
    /// It lies outside what can be read.
    #[error("unreadable unwind data: expected {len_bytes} bytes at {rva:#x}")]
    Unreadable {
        /// Where.
        rva: u32,
        /// How many.
        len_bytes: usize,
    },
    /// `UNWIND_INFO.Version` is unknown.
    #[error("malformed unwind data at {rva:#x}: expected version 1 or 2, found {version}")]
    UnknownVersion {
        /// Where.
        rva: u32,
        /// The version.
        version: u8,
    },
    /// An operation that does not exist, or not with this operand.
    #[error(
        "malformed unwind data at {rva:#x}: expected a documented operation, \
         found {op} with info {info}"
    )]
    UnknownOp {
        /// Where.
        rva: u32,
        /// The operation code.
        op: u8,
        /// Its operand.
        info: u8,
    },
    /// The last operation wants more slots than there are.
    #[error("malformed unwind data at {rva:#x}: expected operands within `CountOfCodes`")]
    TruncatedCodes {
        /// Where.
        rva: u32,
    },
    /// Chained infos that never end.
    #[error("malformed unwind data at {rva:#x}: expected a chain of at most 32")]
    ChainTooLong {
        /// Of the function that began it.
        rva: u32,
    },
    /// A scope table too long to be one.
    #[error("malformed scope table at {rva:#x}: expected at most 4096 scopes, found {count}")]
    TooManyScopes {
        /// Where.
        rva: u32,
        /// The announced number.
        count: u32,
    },
}

/// `RUNTIME_FUNCTION`: a function, or a part of one, and its unwind data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeFunction {
    /// First byte.
    pub begin_rva: u32,
    /// One past the last byte.
    pub end_rva: u32,
    /// Its `UNWIND_INFO`; with bit 0 set, another `RUNTIME_FUNCTION` to use in its place.
    pub unwind_info_rva: u32,
}

impl RuntimeFunction {
    /// Says whether the function holds this RVA.
    pub fn contains(&self, rva: u32) -> bool {
        (self.begin_rva..self.end_rva).contains(&rva)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let begin_rva = u32_at(bytes, 0)?;
        Some(Self { begin_rva, end_rva: u32_at(bytes, 4)?, unwind_info_rva: u32_at(bytes, 8)? })
    }
}

/// The function table of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionTable {
    entries: Vec<RuntimeFunction>,
    is_sorted: bool,
    /// Of an unsorted table: where an entry is the first that holds the addresses, ascending.
    firsts: Vec<First>,
}

/// A stretch of an image, and which entry is the first that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct First {
    begin_rva: u32,
    end_rva: u32,
    index: usize,
}

impl FunctionTable {
    /// Reads the table from a mapped image. Empty entries, and those that end before they begin or
    /// outside the image, are left out: no address lies in them.
    pub(crate) fn parse(image: &[u8], rva: u32, size_bytes: u32) -> Self {
        let table = slice_at(image, rva, size_bytes).unwrap_or_default();
        let all = table.chunks_exact(12).filter_map(RuntimeFunction::from_bytes);
        let is_real = |entry: &RuntimeFunction| {
            entry.begin_rva < entry.end_rva && u64::from(entry.end_rva) <= image.len() as u64
        };
        let entries: Vec<_> = all.filter(is_real).take(FUNCTION_LIMIT).collect();
        let is_sorted = entries.is_sorted_by(|a, b| a.end_rva <= b.begin_rva);
        let firsts = if is_sorted { Vec::new() } else { firsts(&entries) };
        Self { entries, is_sorted, firsts }
    }

    /// Returns the entries in the order of the image.
    pub fn entries(&self) -> &[RuntimeFunction] {
        &self.entries
    }

    /// Says whether the entries are ascending and do not overlap, as linkers leave them.
    ///
    /// Windows searches by bisection, so on Windows a function of an unsorted table may not be
    /// found.
    pub fn is_sorted(&self) -> bool {
        self.is_sorted
    }

    /// Returns the entry that holds this RVA; of an unsorted table, the first.
    pub fn lookup(&self, rva: u32) -> Option<RuntimeFunction> {
        if !self.is_sorted {
            let after = self.firsts.partition_point(|first| first.begin_rva <= rva);
            let first = self.firsts.get(after.checked_sub(1)?)?;
            return self.entries.get(first.index).filter(|_| rva < first.end_rva).copied();
        }
        let after = self.entries.partition_point(|entry| entry.begin_rva <= rva);
        self.entries.get(after.checked_sub(1)?).filter(|entry| entry.contains(rva)).copied()
    }
}

/// Where each entry is the first that holds the addresses: whoever walks a stack looks up every
/// frame, and a table may have a million entries.
fn firsts(entries: &[RuntimeFunction]) -> Vec<First> {
    let ends = |(index, entry): (usize, &RuntimeFunction)| {
        [(entry.begin_rva, true, index), (entry.end_rva, false, index)]
    };
    let mut ends: Vec<_> = entries.iter().enumerate().flat_map(ends).collect();
    ends.sort_unstable();
    let mut holding = BTreeSet::new();
    let (mut firsts, mut begin_rva) = (Vec::new(), 0);
    for (rva, is_begin, index) in ends {
        if let Some(&index) = holding.first()
            && begin_rva < rva
        {
            firsts.push(First { begin_rva, end_rva: rva, index });
        }
        begin_rva = rva;
        if is_begin {
            holding.insert(index);
        } else {
            holding.remove(&index);
        }
    }
    firsts
}

/// What one step of a prologue did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwindOp {
    /// Pushed a register (0 is `rax`, in encoding order).
    PushNonvolatile {
        /// Number of the register.
        register: u8,
    },
    /// Subtracted from `rsp`.
    Allocate {
        /// How much.
        size_bytes: u32,
    },
    /// Set the frame register to `rsp` plus the frame offset.
    SetFrameRegister,
    /// Stored a register.
    SaveNonvolatile {
        /// Number of the register.
        register: u8,
        /// Where, from the frame base.
        offset_bytes: u32,
    },
    /// Stored all 128 bits of a vector register.
    SaveXmm128 {
        /// Number of the register.
        register: u8,
        /// Where, from the frame base.
        offset_bytes: u32,
    },
    /// The processor pushed an interrupt frame: `rip`, `cs`, flags, `rsp`, `ss`.
    PushMachineFrame {
        /// Whether an error code lies below it.
        has_error_code: bool,
    },
    /// Version 2: every epilogue has this length. Comes first, and not from a prologue.
    EpilogueSize {
        /// Length of each epilogue.
        size_bytes: u8,
        /// Whether one stands at the end of the function.
        is_at_end: bool,
    },
    /// Version 2: one more epilogue. An offset of 0 is padding.
    EpilogueAt {
        /// Distance from the end of the function back to the epilogue's start.
        offset_from_end_bytes: u16,
    },
}

/// A step of a prologue; they are listed last first, in the order to undo them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwindCode {
    /// Offset in the function of the end of the instruction: at or after it, the step is done.
    pub prologue_offset: u8,
    /// What it did.
    pub op: UnwindOp,
}

/// What an exception handler is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwindFlags {
    /// `UNW_FLAG_EHANDLER`: the handler takes part in the search.
    pub has_exception_handler: bool,
    /// `UNW_FLAG_UHANDLER`: the handler is called while unwinding.
    pub has_termination_handler: bool,
    /// `UNW_FLAG_CHAININFO`: more codes are in the chained function's info.
    pub is_chained: bool,
}

/// `UNWIND_INFO`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindInfo {
    /// 1 or 2.
    pub version: u8,
    /// Which handlers there are.
    pub flags: UnwindFlags,
    /// Length of the prologue.
    pub prologue_bytes: u8,
    /// Number of the register that is the frame base instead of `rsp`, if there is one.
    pub frame_register: Option<u8>,
    /// How far that register points above `rsp` at the time it was set.
    pub frame_offset_bytes: u32,
    /// The steps, last first.
    pub codes: Vec<UnwindCode>,
    /// The function whose codes follow.
    pub chained: Option<RuntimeFunction>,
    /// The language specific handler.
    pub handler_rva: Option<u32>,
    /// Its data, for C a scope table.
    pub handler_data_rva: Option<u32>,
}

impl UnwindInfo {
    /// Reads and decodes one `UNWIND_INFO`.
    pub fn read(reader: &mut impl ReadRva, rva: u32) -> Result<Self, UnwindError> {
        let mut header = [0_u8; 4];
        fill(reader, rva, &mut header)?;
        let [version_and_flags, prologue_bytes, slot_count, frame] = header;
        let version = version_and_flags & 7;
        if !(1..=2).contains(&version) {
            return Err(UnwindError::UnknownVersion { rva, version });
        }
        let bits = version_and_flags >> 3;
        let flags = UnwindFlags {
            has_exception_handler: bits & 1 != 0,
            has_termination_handler: bits & 2 != 0,
            is_chained: bits & 4 != 0,
        };
        let mut slots = vec![0_u8; usize::from(slot_count) * 2];
        fill(reader, rva.saturating_add(4), &mut slots)?;
        let codes = decode_codes(rva, version, &slots)?;
        // The codes are padded to an even number of slots; what follows depends on the flags.
        let even_slots = u32::from(slot_count) + u32::from(slot_count & 1);
        let tail_rva = rva.saturating_add(4 + even_slots * 2);
        let mut info = Self {
            version,
            flags,
            prologue_bytes,
            frame_register: Some(frame & 15).filter(|&register| register != 0),
            frame_offset_bytes: u32::from(frame >> 4) * 16,
            codes,
            chained: None,
            handler_rva: None,
            handler_data_rva: None,
        };
        if flags.is_chained {
            info.chained = Some(read_function(reader, tail_rva)?);
        } else if flags.has_exception_handler || flags.has_termination_handler {
            let mut handler = [0_u8; 4];
            fill(reader, tail_rva, &mut handler)?;
            info.handler_rva = Some(u32::from_le_bytes(handler));
            info.handler_data_rva = Some(tail_rva.saturating_add(4));
        }
        Ok(info)
    }

    /// Reads the info of a function and those it chains to, in the order to apply them.
    ///
    /// The last one is the primary function's; only there can a handler be.
    pub fn read_chain(
        reader: &mut impl ReadRva,
        function: RuntimeFunction,
    ) -> Result<Vec<(RuntimeFunction, Self)>, UnwindError> {
        let mut chain = Vec::new();
        let mut current = function;
        for _ in 0..CHAIN_LIMIT {
            if current.unwind_info_rva & 1 != 0 {
                current = read_function(reader, current.unwind_info_rva & !1)?;
                continue;
            }
            let info = Self::read(reader, current.unwind_info_rva)?;
            let next = info.chained;
            chain.push((current, info));
            match next {
                Some(next) => current = next,
                None => return Ok(chain),
            }
        }
        Err(UnwindError::ChainTooLong { rva: function.begin_rva })
    }
}

fn decode_codes(rva: u32, version: u8, slots: &[u8]) -> Result<Vec<UnwindCode>, UnwindError> {
    let mut codes = Vec::new();
    let mut at = 0_u32;
    let truncated = UnwindError::TruncatedCodes { rva };
    let mut has_epilogue_size = false;
    while let (Some(&[prologue_offset, packed]), index) = (pair_at(slots, at), at) {
        let (op, info) = (packed & 15, packed >> 4);
        let word = || u16_at(slots, index + 2).map(u32::from).ok_or(truncated.clone());
        let double = || u32_at(slots, index + 2).ok_or(truncated.clone());
        let scaled = |value: u32, unit: u32| {
            value.checked_mul(unit).ok_or(UnwindError::UnknownOp { rva, op, info })
        };
        let (op, slot_count) = match (op, info) {
            (0, register) => (UnwindOp::PushNonvolatile { register }, 1),
            (1, 0) => (UnwindOp::Allocate { size_bytes: scaled(word()?, 8)? }, 2),
            (1, 1) => (UnwindOp::Allocate { size_bytes: double()? }, 3),
            (2, _) => (UnwindOp::Allocate { size_bytes: u32::from(info) * 8 + 8 }, 1),
            (3, _) => (UnwindOp::SetFrameRegister, 1),
            (4, register) => {
                let offset_bytes = scaled(word()?, 8)?;
                (UnwindOp::SaveNonvolatile { register, offset_bytes }, 2)
            }
            (5, register) => (UnwindOp::SaveNonvolatile { register, offset_bytes: double()? }, 3),
            // In version 1 these numbers were never documented.
            (6, _) if version == 2 && !has_epilogue_size => {
                has_epilogue_size = true;
                let is_at_end = info & 1 != 0;
                (UnwindOp::EpilogueSize { size_bytes: prologue_offset, is_at_end }, 1)
            }
            (6, _) if version == 2 => {
                let offset_from_end_bytes = u16::from_le_bytes([prologue_offset, info]);
                (UnwindOp::EpilogueAt { offset_from_end_bytes }, 1)
            }
            (8, register) => {
                let offset_bytes = scaled(word()?, 16)?;
                (UnwindOp::SaveXmm128 { register, offset_bytes }, 2)
            }
            (9, register) => (UnwindOp::SaveXmm128 { register, offset_bytes: double()? }, 3),
            (10, 0 | 1) => (UnwindOp::PushMachineFrame { has_error_code: info == 1 }, 1),
            _ => return Err(UnwindError::UnknownOp { rva, op, info }),
        };
        codes.push(UnwindCode { prologue_offset, op });
        at += slot_count * 2;
    }
    Ok(codes)
}

fn pair_at(slots: &[u8], at: u32) -> Option<&[u8; 2]> {
    slice_at(slots, at, 2)?.try_into().ok()
}

fn read_function(reader: &mut impl ReadRva, rva: u32) -> Result<RuntimeFunction, UnwindError> {
    let mut bytes = [0_u8; 12];
    fill(reader, rva, &mut bytes)?;
    let unreadable = UnwindError::Unreadable { rva, len_bytes: bytes.len() };
    RuntimeFunction::from_bytes(&bytes).ok_or(unreadable)
}

pub(crate) fn fill(reader: &mut impl ReadRva, rva: u32, out: &mut [u8]) -> Result<(), UnwindError> {
    let len_bytes = out.len();
    if reader.read_rva(rva, out) { Ok(()) } else { Err(UnwindError::Unreadable { rva, len_bytes }) }
}
