//! Memory: `memcpy`, `RtlCompareMemory` and kin. Copies carry the initialised state of every byte.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{CallResult, Kernel, exports};

exports![
    memcpy,
    memmove,
    memset,
    memcmp,
    memchr,
    RtlCopyMemory,
    RtlMoveMemory,
    RtlFillMemory,
    RtlZeroMemory,
    RtlCompareMemory,
    RtlCopyMemoryNonTemporal,
    RtlCompareMemoryUlong,
];

/// Bytes compared in one piece.
const PIECE_BYTES: u64 = 64;

fn copy(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<()> {
    k.note_plain(from, count, false);
    k.note_plain(to, count, true);
    k.copy(to, from, count)
}

fn fill(k: &mut Kernel, to: GuestAddr, byte: u8, count: u64) -> CallResult<()> {
    k.note_plain(to, count, true);
    k.fill(to, byte, count)
}

/// Copies. Overlapping ranges are copied as `memmove` does: the kernel's routine is the same one.
#[export(irql = .., ddi = "c-runtime-library/reference/memcpy-wmemcpy")]
fn memcpy(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<GuestAddr> {
    copy(k, to, from, count)?;
    Ok(to)
}

/// Copies ranges that may overlap.
#[export(irql = .., ddi = "c-runtime-library/reference/memmove-wmemmove")]
fn memmove(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<GuestAddr> {
    copy(k, to, from, count)?;
    Ok(to)
}

/// Fills with a byte.
#[export(irql = .., ddi = "c-runtime-library/reference/memset-wmemset")]
fn memset(k: &mut Kernel, to: GuestAddr, byte: u8, count: u64) -> CallResult<GuestAddr> {
    fill(k, to, byte, count)?;
    Ok(to)
}

/// Compares as unsigned bytes.
#[export(irql = .., ddi = "c-runtime-library/reference/memcmp-wmemcmp")]
fn memcmp(k: &mut Kernel, a: GuestAddr, b: GuestAddr, count: u64) -> CallResult<i32> {
    let differing = first_difference(k, a, b, count)?;
    Ok(differing.map_or(0, |(_, left, right)| if left < right { -1 } else { 1 }))
}

/// Finds a byte.
#[export(irql = .., ddi = "c-runtime-library/reference/memchr-wmemchr")]
fn memchr(k: &mut Kernel, at: GuestAddr, byte: u8, count: u64) -> CallResult<GuestAddr> {
    let mut done = 0;
    while done < count {
        let here = at.add(done);
        let size_bytes = piece(here, count - done);
        let bytes = k.read_vec(here, size_bytes)?;
        if let Some(index) = bytes.iter().position(|b| *b == byte) {
            return Ok(here.add(index as u64));
        }
        done += size_bytes;
    }
    Ok(GuestAddr::NULL)
}

/// Copies; an exported form of the macro.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlcopymemory",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlCopyMemory(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<()> {
    copy(k, to, from, count)
}

/// Copies without polluting the cache, which the guest cannot see.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlcopymemorynontemporal",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlCopyMemoryNonTemporal(
    k: &mut Kernel,
    to: GuestAddr,
    from: GuestAddr,
    count: u64,
) -> CallResult<()> {
    copy(k, to, from, count)
}

/// Copies ranges that may overlap; an exported form of the macro.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlmovememory",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlMoveMemory(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<()> {
    copy(k, to, from, count)
}

/// Fills with a byte; an exported form of the macro.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlfillmemory",
    irql_when = "above APC_LEVEL only if the block is resident")]
fn RtlFillMemory(k: &mut Kernel, to: GuestAddr, count: u64, byte: u8) -> CallResult<()> {
    fill(k, to, byte, count)
}

/// Fills with 0; an exported form of the macro.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlzeromemory",
    irql_when = "above APC_LEVEL only if the block is resident")]
fn RtlZeroMemory(k: &mut Kernel, to: GuestAddr, count: u64) -> CallResult<()> {
    fill(k, to, 0, count)
}

/// Counts the bytes that are equal, up to the first that differs.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlcomparememory",
    irql_when = "above APC_LEVEL only if both blocks are resident")]
fn RtlCompareMemory(k: &mut Kernel, a: GuestAddr, b: GuestAddr, count: u64) -> CallResult<u64> {
    Ok(first_difference(k, a, b, count)?.map_or(count, |(offset_bytes, ..)| offset_bytes))
}

/// Counts the bytes that repeat a 32-bit pattern, up to the first pattern that differs.
#[export(irql = .., ddi = "ntifs/nf-ntifs-rtlcomparememoryulong",
    irql_when = "above APC_LEVEL only if the block is resident")]
fn RtlCompareMemoryUlong(
    k: &mut Kernel,
    at: GuestAddr,
    count: u64,
    pattern: u32,
) -> CallResult<u64> {
    let bytes = k.read_vec(at, count & !3)?;
    let patterns = bytes.as_chunks::<4>().0;
    let equal = patterns.iter().take_while(|p| u32::from_le_bytes(**p) == pattern).count();
    Ok(4 * equal as u64)
}

/// Finds the first byte that differs: its offset and both values. Nothing far behind it is touched.
fn first_difference(
    k: &mut Kernel,
    a: GuestAddr,
    b: GuestAddr,
    count: u64,
) -> CallResult<Option<(u64, u8, u8)>> {
    let mut done = 0;
    while done < count {
        let (left, right) = (a.add(done), b.add(done));
        let size_bytes = piece(left, count - done).min(piece(right, count - done));
        let (lefts, rights) = (k.read_vec(left, size_bytes)?, k.read_vec(right, size_bytes)?);
        let mut pairs = lefts.iter().zip(&rights);
        if let Some(index) = pairs.position(|(l, r)| l != r) {
            let at = |bytes: &[u8]| bytes.get(index).copied().unwrap_or_default();
            return Ok(Some((done + index as u64, at(&lefts), at(&rights))));
        }
        done += size_bytes;
    }
    Ok(None)
}

/// Bytes up to the next boundary, so that no piece crosses a page.
fn piece(at: GuestAddr, rest: u64) -> u64 {
    rest.min(PIECE_BYTES - at.0 % PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use guest_memory::{ByteState, GuestAddr};

    use crate::testing::{block, call_by_name, kernel};

    #[test]
    fn copies_carry_the_state_of_every_byte() {
        let mut k = kernel();
        let (from, to) = (block(&mut k, &[1; 8]), block(&mut k, &[2; 8]));
        k.memory.set_state(GuestAddr(from + 2), 3, ByteState::UNDEFINED, None);
        call_by_name(&mut k, "memcpy", &[to, from, 8]).unwrap();
        assert_eq!(k.memory.undefined(GuestAddr(to), 8), Some((GuestAddr(to + 2), 3)));
        call_by_name(&mut k, "memset", &[to, 0, 8]).unwrap();
        assert_eq!(k.memory.undefined(GuestAddr(to), 8), None);
        assert!(call_by_name(&mut k, "memcpy", &[to, from, 9]).is_err());
    }

    #[test]
    fn overlapping_ranges_are_moved() {
        let mut k = kernel();
        let at = block(&mut k, b"abcdef");
        call_by_name(&mut k, "memmove", &[at + 2, at, 4]).unwrap();
        assert_eq!(k.read_vec(GuestAddr(at), 6).unwrap(), b"ababcd");
    }

    #[test]
    fn comparisons_touch_nothing_far_behind_a_difference() {
        let mut k = kernel();
        let (a, b) = (block(&mut k, &[5; 100]), block(&mut k, &[5; 200]));
        assert_eq!(call_by_name(&mut k, "memcmp", &[a, b, 100]), Ok(0));
        assert_eq!(call_by_name(&mut k, "RtlCompareMemory", &[a, b, 100]), Ok(100));
        assert!(call_by_name(&mut k, "memcmp", &[a, b, 200]).is_err());
        k.write(GuestAddr(b + 10), &[6]).unwrap();
        assert_eq!(call_by_name(&mut k, "memcmp", &[a, b, 200]), Ok(u64::MAX));
        assert_eq!(call_by_name(&mut k, "RtlCompareMemory", &[a, b, 200]), Ok(10));
        assert_eq!(call_by_name(&mut k, "memchr", &[b, 6, 200]), Ok(b + 10));
        assert_eq!(call_by_name(&mut k, "memchr", &[a, 6, 100]), Ok(0));
    }

    #[test]
    fn the_other_names_copy_and_move() {
        let mut k = kernel();
        let at = block(&mut k, b"abcdef");
        call_by_name(&mut k, "RtlMoveMemory", &[at, at + 1, 5]).unwrap();
        assert_eq!(k.read_vec(GuestAddr(at), 6).unwrap(), b"bcdeff");
        let to = block(&mut k, b"......");
        for name in ["RtlCopyMemory", "RtlCopyMemoryNonTemporal"] {
            k.write(GuestAddr(to), b"......").unwrap();
            call_by_name(&mut k, name, &[to + 1, at, 4]).unwrap();
            assert_eq!(k.read_vec(GuestAddr(to), 6).unwrap(), b".bcde.", "{name}");
        }
        call_by_name(&mut k, "RtlFillMemory", &[to, 2, 0x41]).unwrap();
        call_by_name(&mut k, "RtlZeroMemory", &[to + 2, 2]).unwrap();
        assert_eq!(k.read_vec(GuestAddr(to), 6).unwrap(), b"AA\0\0e.");
    }

    #[test]
    fn patterns_are_compared_in_whole_longs() {
        let mut k = kernel();
        let at = block(&mut k, b"abcdabcdabcxyz");
        let pattern = u64::from(u32::from_le_bytes(*b"abcd"));
        for (count, equal) in [(14, 8), (8, 8), (7, 4), (3, 0)] {
            let found = call_by_name(&mut k, "RtlCompareMemoryUlong", &[at, count, pattern]);
            assert_eq!(found, Ok(equal), "{count}");
        }
    }
}
