//! Zero-terminated strings in guest memory.

use guest_memory::{AccessKind, Accessor, GuestAddr};
use nt_abi::Scalar;

use crate::{CallResult, Kernel, Stop};

/// Longest string that one call walks, in units.
const LONGEST_UNITS: usize = 1 << 22;
/// What a unit costs beside its bytes, in units of `GuestMemory::exert`.
const UNIT_EFFORT: u64 = 8;
/// Memory is read in pieces that end at multiples of this.
const PIECE_BYTES: u64 = 64;

/// A code unit of a string: a byte, or 16 bits of UTF-16.
pub(crate) trait Unit: Scalar + Eq + Ord + Default {
    /// Its number.
    fn code(self) -> u16;
    /// The unit of this number; only the low byte is kept for bytes.
    fn of(code: u16) -> Self;
    /// Upper case of the C locale: ASCII only.
    fn upper(self) -> Self;
    /// Lower case of the C locale: ASCII only.
    fn lower(self) -> Self;
}

impl Unit for u8 {
    fn code(self) -> u16 {
        u16::from(self)
    }

    fn of(code: u16) -> Self {
        code.to_le_bytes()[0]
    }

    fn upper(self) -> Self {
        self.to_ascii_uppercase()
    }

    fn lower(self) -> Self {
        self.to_ascii_lowercase()
    }
}

impl Unit for u16 {
    fn code(self) -> u16 {
        self
    }

    fn of(code: u16) -> Self {
        code
    }

    fn upper(self) -> Self {
        u8::try_from(self).map_or(self, |byte| Self::from(byte.to_ascii_uppercase()))
    }

    fn lower(self) -> Self {
        u8::try_from(self).map_or(self, |byte| Self::from(byte.to_ascii_lowercase()))
    }
}

/// Walks the units of a string, and touches no unit before it is asked for, as far as anybody can
/// tell.
#[derive(Debug)]
pub(crate) struct Units<T> {
    next: GuestAddr,
    /// Units read ahead, where nothing objected and nobody watches; the last is the next one.
    ahead: Vec<T>,
}

impl<T: Unit> Units<T> {
    /// Starts at an address.
    pub(crate) fn at(at: GuestAddr) -> Self {
        Self { next: at, ahead: Vec::new() }
    }

    /// Takes the next unit.
    pub(crate) fn next(&mut self, k: &mut Kernel) -> CallResult<T> {
        if self.ahead.is_empty() {
            self.fetch(k)?;
        }
        Ok(self.ahead.pop().expect("a fetch gives at least one unit"))
    }

    fn fetch(&mut self, k: &mut Kernel) -> CallResult<()> {
        let unit_bytes = T::SIZE_BYTES as u64;
        let to_boundary = PIECE_BYTES - self.next.0 % PIECE_BYTES;
        let piece_bytes = (to_boundary - to_boundary % unit_bytes).max(unit_bytes);
        let check = k.memory.check(Accessor::Supervisor, AccessKind::Read, self.next, piece_bytes);
        let size_bytes = if check.is_ok() { piece_bytes } else { unit_bytes };
        let bytes = k.read_vec(self.next, size_bytes)?;
        self.next = self.next.add(size_bytes);
        self.ahead.extend(bytes.chunks_exact(T::SIZE_BYTES).rev().map(|unit| {
            let mut wide = [0; 8];
            wide.iter_mut().zip(unit).for_each(|(to, from)| *to = *from);
            T::from_u64(u64::from_le_bytes(wide))
        }));
        Ok(())
    }
}

impl Kernel {
    /// Reads the units of a string up to its terminator, at most `limit` of them.
    pub(crate) fn c_string<T: Unit>(&mut self, at: GuestAddr, limit: usize) -> CallResult<Vec<T>> {
        let mut units = Units::at(at);
        let mut text = Vec::new();
        while text.len() < limit {
            let unit: T = units.next(self)?;
            if unit == T::default() {
                break;
            }
            if text.len() == LONGEST_UNITS {
                return Err(Stop::Limit { what: format!("a string of {LONGEST_UNITS} units") });
            }
            text.push(unit);
        }
        self.memory.exert(text.len() as u64 * UNIT_EFFORT);
        Ok(text)
    }

    /// Counts the units of a string up to its terminator, at most `limit`.
    pub(crate) fn c_length<T: Unit>(&mut self, at: GuestAddr, limit: usize) -> CallResult<u64> {
        Ok(self.c_string::<T>(at, limit)?.len() as u64)
    }

    /// Writes units, and nothing behind them.
    pub(crate) fn write_units<T: Unit>(&mut self, at: GuestAddr, text: &[T]) -> CallResult<()> {
        let mut bytes = Vec::with_capacity(text.len() * T::SIZE_BYTES);
        for unit in text {
            bytes.extend(unit.to_u64().to_le_bytes().into_iter().take(T::SIZE_BYTES));
        }
        self.write(at, &bytes)
    }
}

/// The address of unit `index` of a string.
pub(crate) fn unit_at<T: Scalar>(at: GuestAddr, index: u64) -> GuestAddr {
    at.add(index.wrapping_mul(T::SIZE_BYTES as u64))
}

/// A length of the guest as a bound of ours.
pub(crate) fn bound(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
