//! Bitmaps: bit 0 is the lowest bit of the first 32-bit word of a buffer that the driver owns.
//!
//! The routines lock nothing; the driver's own lock makes them one step. Words are touched one by
//! one, so that a bitmap longer than its buffer faults where it leaves it.

use std::ops::Range;

use guest_memory::GuestAddr;
use nt_abi::structures::rtl::RTL_BITMAP;
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![
    RtlInitializeBitMap,
    RtlClearAllBits,
    RtlSetAllBits,
    RtlClearBit,
    RtlSetBit,
    RtlTestBit,
    RtlClearBits,
    RtlSetBits,
    RtlAreBitsClear,
    RtlAreBitsSet,
    RtlFindClearBits,
    RtlFindSetBits,
    RtlFindClearBitsAndSet,
    RtlFindSetBitsAndClear,
    RtlNumberOfClearBits,
    RtlNumberOfSetBits,
];

/// What a search returns that finds nothing.
const NOT_FOUND: u32 = u32::MAX;

/// A bitmap as its header describes it.
#[derive(Clone, Copy, Debug)]
struct Bitmap {
    buffer: GuestAddr,
    size_bits: u32,
}

impl Bitmap {
    fn read(k: &mut Kernel, header: GuestAddr) -> CallResult<Self> {
        let size_bits = k.get(header, RTL_BITMAP::SizeOfBitMap)?;
        let buffer = GuestAddr(k.get(header, RTL_BITMAP::Buffer)?);
        Ok(Self { buffer, size_bits })
    }

    fn word_at(self, bit: u32) -> GuestAddr {
        self.buffer.add(u64::from(bit / 32) * 4)
    }

    fn word(self, k: &mut Kernel, bit: u32) -> CallResult<u32> {
        let at = self.word_at(bit);
        k.note_plain(at, 4, false);
        k.read_scalar(at)
    }

    /// The bits of a range that is known to be inside; `None` where it is not.
    fn range(self, start: u32, count: u32) -> Option<Range<u32>> {
        let end = start.checked_add(count)?;
        (end <= self.size_bits).then_some(start..end)
    }

    /// Sets or clears; whole words are written without a look at what was there.
    fn change(self, k: &mut Kernel, bits: Range<u32>, to: bool) -> CallResult<()> {
        let mut bit = bits.start;
        while bit < bits.end {
            let next = (bit / 32 * 32).saturating_add(32).min(bits.end);
            let mask = (u32::MAX >> (32 - (next - bit))) << (bit % 32);
            let at = self.word_at(bit);
            let rest = if mask == u32::MAX { 0 } else { self.word(k, bit)? & !mask };
            k.note_plain(at, 4, true);
            k.write_scalar(at, if to { rest | mask } else { rest })?;
            bit = next;
        }
        Ok(())
    }

    /// Returns where the first run of so many equal bits starts.
    fn run(
        self,
        k: &mut Kernel,
        bits: Range<u32>,
        count: u32,
        wanted: bool,
    ) -> CallResult<Option<u32>> {
        let (mut start, mut word) = (bits.start, 0);
        for bit in bits.clone() {
            if bit == bits.start || bit % 32 == 0 {
                word = self.word(k, bit)?;
            }
            if (word >> (bit % 32) & 1 != 0) != wanted {
                start = bit + 1;
            } else if bit - start + 1 == count {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    /// Searches behind the hint, then before it.
    fn find(self, k: &mut Kernel, count: u32, hint: u32, wanted: bool) -> CallResult<Option<u32>> {
        if count == 0 {
            return Err(Stop::unsupported("a search for a run of 0 bits"));
        }
        let hint = if hint < self.size_bits { hint } else { 0 };
        if let Some(found) = self.run(k, hint..self.size_bits, count, wanted)? {
            return Ok(Some(found));
        }
        // A run may begin before the hint and end behind it.
        let end = hint.saturating_add(count - 1).min(self.size_bits);
        self.run(k, 0..end, count, wanted)
    }

    /// The same, and turns the bits over.
    fn take(self, k: &mut Kernel, count: u32, hint: u32, wanted: bool) -> CallResult<u32> {
        let Some(start) = self.find(k, count, hint, wanted)? else { return Ok(NOT_FOUND) };
        self.change(k, start..start + count, !wanted)?;
        Ok(start)
    }

    fn are_all(self, k: &mut Kernel, start: u32, count: u32, wanted: bool) -> CallResult<bool> {
        match self.range(start, count) {
            Some(bits) if count > 0 => Ok(self.run(k, bits, count, wanted)?.is_some()),
            _ => Ok(false),
        }
    }

    fn ones(self, k: &mut Kernel) -> CallResult<u32> {
        let mut ones = 0;
        for first in (0..self.size_bits).step_by(32) {
            let mask = u32::MAX >> (32 - (self.size_bits - first).min(32));
            ones += (self.word(k, first)? & mask).count_ones();
        }
        Ok(ones)
    }
}

/// Changes a range; what lies outside of the bitmap is memory of somebody else.
fn change(k: &mut Kernel, header: GuestAddr, start: u32, count: u32, to: bool) -> CallResult<()> {
    let bitmap = Bitmap::read(k, header)?;
    match bitmap.range(start, count) {
        Some(bits) => bitmap.change(k, bits, to),
        None => Err(Stop::unsupported("bits beyond the end of a bitmap")),
    }
}

/// Describes a bitmap; its bits stay as they are.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlinitializebitmap",
    irql_when = "above APC_LEVEL only if the header is resident")]
fn RtlInitializeBitMap(
    k: &mut Kernel,
    header: GuestAddr,
    buffer: GuestAddr,
    size_bits: u32,
) -> CallResult<()> {
    k.set(header, RTL_BITMAP::SizeOfBitMap, size_bits)?;
    k.set(header, RTL_BITMAP::Buffer, buffer.0)
}

/// Clears every bit.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlclearallbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlClearAllBits(k: &mut Kernel, header: GuestAddr) -> CallResult<()> {
    let bitmap = Bitmap::read(k, header)?;
    bitmap.change(k, 0..bitmap.size_bits, false)
}

/// Sets every bit.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlsetallbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlSetAllBits(k: &mut Kernel, header: GuestAddr) -> CallResult<()> {
    let bitmap = Bitmap::read(k, header)?;
    bitmap.change(k, 0..bitmap.size_bits, true)
}

/// Clears one bit.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlclearbit",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlClearBit(k: &mut Kernel, header: GuestAddr, bit: u32) -> CallResult<()> {
    change(k, header, bit, 1, false)
}

/// Sets one bit.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlsetbit",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlSetBit(k: &mut Kernel, header: GuestAddr, bit: u32) -> CallResult<()> {
    change(k, header, bit, 1, true)
}

/// Tells one bit.
#[export(irql = .., ddi = "wdm/nf-wdm-rtltestbit",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlTestBit(k: &mut Kernel, header: GuestAddr, bit: u32) -> CallResult<bool> {
    let bitmap = Bitmap::read(k, header)?;
    match bitmap.range(bit, 1) {
        Some(_) => bitmap.are_all(k, bit, 1, true),
        None => Err(Stop::unsupported("a bit beyond the end of a bitmap")),
    }
}

/// Clears a range.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlclearbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlClearBits(k: &mut Kernel, header: GuestAddr, start: u32, count: u32) -> CallResult<()> {
    change(k, header, start, count, false)
}

/// Sets a range.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlsetbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlSetBits(k: &mut Kernel, header: GuestAddr, start: u32, count: u32) -> CallResult<()> {
    change(k, header, start, count, true)
}

/// Whether a range inside of the bitmap is clear.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlarebitsclear",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlAreBitsClear(k: &mut Kernel, header: GuestAddr, start: u32, count: u32) -> CallResult<bool> {
    Bitmap::read(k, header)?.are_all(k, start, count, false)
}

/// Whether a range inside of the bitmap is set.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlarebitsset",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlAreBitsSet(k: &mut Kernel, header: GuestAddr, start: u32, count: u32) -> CallResult<bool> {
    Bitmap::read(k, header)?.are_all(k, start, count, true)
}

/// Finds a run of clear bits, from the hint on.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlfindclearbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlFindClearBits(k: &mut Kernel, header: GuestAddr, count: u32, hint: u32) -> CallResult<u32> {
    Ok(Bitmap::read(k, header)?.find(k, count, hint, false)?.unwrap_or(NOT_FOUND))
}

/// Finds a run of set bits, from the hint on.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlfindsetbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlFindSetBits(k: &mut Kernel, header: GuestAddr, count: u32, hint: u32) -> CallResult<u32> {
    Ok(Bitmap::read(k, header)?.find(k, count, hint, true)?.unwrap_or(NOT_FOUND))
}

/// Finds a run of clear bits and sets it.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlfindclearbitsandset",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlFindClearBitsAndSet(
    k: &mut Kernel,
    header: GuestAddr,
    count: u32,
    hint: u32,
) -> CallResult<u32> {
    Bitmap::read(k, header)?.take(k, count, hint, false)
}

/// Finds a run of set bits and clears it.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlfindsetbitsandclear",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlFindSetBitsAndClear(
    k: &mut Kernel,
    header: GuestAddr,
    count: u32,
    hint: u32,
) -> CallResult<u32> {
    Bitmap::read(k, header)?.take(k, count, hint, true)
}

/// Counts the clear bits.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlnumberofclearbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlNumberOfClearBits(k: &mut Kernel, header: GuestAddr) -> CallResult<u32> {
    let bitmap = Bitmap::read(k, header)?;
    Ok(bitmap.size_bits - bitmap.ones(k)?)
}

/// Counts the set bits.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlnumberofsetbits",
    irql_when = "above APC_LEVEL only if header and bits are resident")]
fn RtlNumberOfSetBits(k: &mut Kernel, header: GuestAddr) -> CallResult<u32> {
    Bitmap::read(k, header)?.ones(k)
}

#[cfg(test)]
mod tests {
    use crate::{
        Kernel,
        testing::{block, call_by_name, kernel},
    };

    const NONE: u64 = 0xFFFF_FFFF;

    /// A bitmap of so many bits, with these words, and its header.
    fn bitmap(k: &mut Kernel, size_bits: u64, words: &[u32]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (header, buffer) = (block(k, &[0xEE; 16]), block(k, &bytes));
        call_by_name(k, "RtlInitializeBitMap", &[header, buffer, size_bits]).unwrap();
        header
    }

    fn check(k: &mut Kernel, name: &str, arguments: &[u64], expected: u64) {
        assert_eq!(call_by_name(k, name, arguments), Ok(expected), "{name} {arguments:?}");
    }

    #[test]
    fn bits_are_set_cleared_and_told() {
        let mut k = kernel();
        let at = bitmap(&mut k, 70, &[0, 0, 0xFFFF_FFC0]);
        call_by_name(&mut k, "RtlSetBits", &[at, 30, 36]).unwrap();
        check(&mut k, "RtlAreBitsSet", &[at, 30, 36], 1);
        check(&mut k, "RtlAreBitsSet", &[at, 29, 2], 0);
        check(&mut k, "RtlAreBitsClear", &[at, 0, 30], 1);
        check(&mut k, "RtlNumberOfSetBits", &[at], 36);
        check(&mut k, "RtlNumberOfClearBits", &[at], 34);
        call_by_name(&mut k, "RtlClearBit", &[at, 31]).unwrap();
        call_by_name(&mut k, "RtlSetBit", &[at, 69]).unwrap();
        check(&mut k, "RtlTestBit", &[at, 31], 0);
        check(&mut k, "RtlTestBit", &[at, 69], 1);
        call_by_name(&mut k, "RtlClearBits", &[at, 32, 0]).unwrap();
        check(&mut k, "RtlNumberOfSetBits", &[at], 36);
        call_by_name(&mut k, "RtlClearBits", &[at, 0, 70]).unwrap();
        check(&mut k, "RtlNumberOfSetBits", &[at], 0);
        call_by_name(&mut k, "RtlSetAllBits", &[at]).unwrap();
        check(&mut k, "RtlNumberOfSetBits", &[at], 70);
        call_by_name(&mut k, "RtlClearAllBits", &[at]).unwrap();
        check(&mut k, "RtlNumberOfClearBits", &[at], 70);
    }

    #[test]
    fn a_range_that_is_empty_or_outside_is_neither_set_nor_clear() {
        let mut k = kernel();
        let at = bitmap(&mut k, 32, &[0]);
        for (start, count) in [(0, 0), (32, 1), (31, 2), (NONE, 2)] {
            check(&mut k, "RtlAreBitsClear", &[at, start, count], 0);
            check(&mut k, "RtlAreBitsSet", &[at, start, count], 0);
        }
        assert!(call_by_name(&mut k, "RtlSetBits", &[at, 31, 2]).is_err());
        assert!(call_by_name(&mut k, "RtlTestBit", &[at, 32]).is_err());
        assert!(call_by_name(&mut k, "RtlFindClearBits", &[at, 0, 0]).is_err());
    }

    #[test]
    fn searches_start_at_the_hint_and_come_round() {
        let mut k = kernel();
        // Clear are 4 to 7, and 30 to 33.
        let at = bitmap(&mut k, 40, &[0x3FFF_FF0F, 0xFFFF_FFFC]);
        check(&mut k, "RtlFindClearBits", &[at, 4, 0], 4);
        check(&mut k, "RtlFindClearBits", &[at, 4, 5], 30);
        check(&mut k, "RtlFindClearBits", &[at, 4, 31], 4);
        check(&mut k, "RtlFindClearBits", &[at, 4, 400], 4);
        check(&mut k, "RtlFindClearBits", &[at, 5, 0], NONE);
        check(&mut k, "RtlFindSetBits", &[at, 6, 30], 34);
        check(&mut k, "RtlFindSetBits", &[at, 7, 30], 8);
        check(&mut k, "RtlFindClearBitsAndSet", &[at, 3, 6], 30);
        check(&mut k, "RtlFindClearBitsAndSet", &[at, 3, 6], 4);
        check(&mut k, "RtlFindClearBitsAndSet", &[at, 3, 6], NONE);
        check(&mut k, "RtlFindSetBitsAndClear", &[at, 33, 0], NONE);
        check(&mut k, "RtlFindSetBitsAndClear", &[at, 20, 0], 8);
        check(&mut k, "RtlAreBitsClear", &[at, 7, 21], 1);
    }

    #[test]
    fn a_run_across_the_hint_is_found() {
        let mut k = kernel();
        let at = bitmap(&mut k, 32, &[0xFFFF_F00F]);
        check(&mut k, "RtlFindClearBits", &[at, 8, 8], 4);
    }

    #[test]
    fn a_bitmap_longer_than_its_buffer_faults() {
        let mut k = kernel();
        let at = bitmap(&mut k, 33, &[0]);
        check(&mut k, "RtlFindClearBits", &[at, 32, 0], 0);
        assert!(call_by_name(&mut k, "RtlNumberOfSetBits", &[at]).is_err());
        assert!(call_by_name(&mut k, "RtlSetAllBits", &[at]).is_err());
    }
}
