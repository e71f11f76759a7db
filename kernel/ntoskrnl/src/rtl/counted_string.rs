//! `UNICODE_STRING` and `STRING`: initialising, copying, appending, comparing.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::UNICODE_STRING};
use nt_macros::export;

use crate::{
    CallResult, GuestPtr, Kernel, exports,
    rtl::{
        c_text::Unit,
        code_page::{downcase, to_ansi, to_unicode, upcase},
    },
};

exports![
    RtlInitUnicodeString,
    RtlInitUnicodeStringEx,
    RtlInitAnsiString,
    RtlInitString,
    RtlCopyUnicodeString,
    RtlCopyString,
    RtlAppendUnicodeToString,
    RtlAppendUnicodeStringToString,
    RtlCompareUnicodeString,
    RtlEqualUnicodeString,
    RtlPrefixUnicodeString,
    RtlCompareString,
    RtlEqualString,
    RtlUpcaseUnicodeChar,
    RtlDowncaseUnicodeChar,
    RtlUpperChar,
    RtlUpperString,
    RtlHashUnicodeString,
];

/// A counted string in guest memory. `STRING` and `UNICODE_STRING` have the same layout, lengths in
/// bytes.
type Counted = GuestPtr<UNICODE_STRING>;

/// Longest string whose terminator still counts in a 16-bit length.
const LONGEST_BYTES: u64 = 0xfffe;

impl Kernel {
    /// Reads the text of a `UNICODE_STRING`.
    pub fn unicode_string(&mut self, at: GuestAddr) -> CallResult<Vec<u16>> {
        let length_bytes = self.get(at, UNICODE_STRING::Length)?;
        let buffer = GuestAddr(self.get(at, UNICODE_STRING::Buffer)?);
        let bytes = self.read_vec(buffer, u64::from(length_bytes & !1))?;
        Ok(bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
    }

    /// Reads the bytes of a `STRING`.
    pub fn ansi_string(&mut self, at: GuestAddr) -> CallResult<Vec<u8>> {
        let length_bytes = self.get(at, UNICODE_STRING::Length)?;
        let buffer = GuestAddr(self.get(at, UNICODE_STRING::Buffer)?);
        self.read_vec(buffer, u64::from(length_bytes))
    }

    /// Writes the three fields of a counted string.
    pub fn set_counted_string(
        &mut self,
        at: GuestAddr,
        length_bytes: u16,
        maximum_bytes: u16,
        buffer: GuestAddr,
    ) -> CallResult<()> {
        self.set(at, UNICODE_STRING::Length, length_bytes)?;
        self.set(at, UNICODE_STRING::MaximumLength, maximum_bytes)?;
        self.set(at, UNICODE_STRING::Buffer, buffer.0)
    }
}

/// Counts a UTF-16 string; nothing is copied.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlinitunicodestring",
    irql_when = "above APC_LEVEL only if the string is resident")]
fn RtlInitUnicodeString(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<()> {
    let length = if from.is_null() { None } else { Some(k.c_length::<u16>(from, usize::MAX)? * 2) };
    init(k, to, from, length, LONGEST_BYTES - 2, 2)
}

/// Counts a UTF-16 string, and refuses what does not fit.
#[export(irql = .., ddi = "wdm/nf-wdm-wdmlibrtlinitunicodestringex",
    irql_when = "above APC_LEVEL only if the string is resident")]
fn RtlInitUnicodeStringEx(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<NtStatus> {
    let length = if from.is_null() { None } else { Some(k.c_length::<u16>(from, usize::MAX)? * 2) };
    if length.is_some_and(|bytes| bytes > LONGEST_BYTES - 2) {
        init(k, to, GuestAddr::NULL, None, 0, 2)?;
        return Ok(NtStatus::STATUS_NAME_TOO_LONG);
    }
    init(k, to, from, length, LONGEST_BYTES - 2, 2)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Counts a string of bytes; nothing is copied.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlinitansistring",
    irql_when = "above APC_LEVEL only if the string is resident")]
fn RtlInitAnsiString(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<()> {
    let length = if from.is_null() { None } else { Some(k.c_length::<u8>(from, usize::MAX)?) };
    init(k, to, from, length, LONGEST_BYTES, 1)
}

/// Counts a string of bytes; nothing is copied.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlinitstring",
    irql_when = "above APC_LEVEL only if the string is resident")]
fn RtlInitString(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<()> {
    let length = if from.is_null() { None } else { Some(k.c_length::<u8>(from, usize::MAX)?) };
    init(k, to, from, length, LONGEST_BYTES, 1)
}

fn init(
    k: &mut Kernel,
    to: Counted,
    from: GuestAddr,
    length_bytes: Option<u64>,
    longest_bytes: u64,
    terminator_bytes: u64,
) -> CallResult<()> {
    let Some(length_bytes) = length_bytes else {
        return k.set_counted_string(to.at, 0, 0, from);
    };
    let length_bytes = length_bytes.min(longest_bytes);
    let short = |bytes| u16::try_from(bytes).expect("bounded by the longest string");
    k.set_counted_string(to.at, short(length_bytes), short(length_bytes + terminator_bytes), from)
}

/// Copies as much as fits; a terminator follows if there is room.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlcopyunicodestring",
    irql_when = "above APC_LEVEL only if both strings are resident")]
fn RtlCopyUnicodeString(k: &mut Kernel, to: Counted, from: Counted) -> CallResult<()> {
    copy::<u16>(k, to, from)
}

/// Copies as much as fits.
#[export(irql = .., ddi = "ntddk/nf-ntddk-rtlcopystring",
    irql_when = "above APC_LEVEL only if both strings are resident")]
fn RtlCopyString(k: &mut Kernel, to: Counted, from: Counted) -> CallResult<()> {
    copy::<u8>(k, to, from)
}

fn copy<T: Unit>(k: &mut Kernel, to: Counted, from: Counted) -> CallResult<()> {
    if from.at.is_null() {
        return k.set(to.at, UNICODE_STRING::Length, 0);
    }
    let length_bytes = k.get(from.at, UNICODE_STRING::Length)?;
    let source = GuestAddr(k.get(from.at, UNICODE_STRING::Buffer)?);
    let maximum_bytes = k.get(to.at, UNICODE_STRING::MaximumLength)?;
    let buffer = GuestAddr(k.get(to.at, UNICODE_STRING::Buffer)?);
    let copied_bytes = length_bytes.min(maximum_bytes);
    k.copy(buffer, source, u64::from(copied_bytes))?;
    k.set(to.at, UNICODE_STRING::Length, copied_bytes)?;
    // NT terminates a UTF-16 string where it can; not a string of bytes.
    if T::SIZE_BYTES == 2 && u32::from(copied_bytes) + 2 <= u32::from(maximum_bytes) {
        k.write_scalar(buffer.add(u64::from(copied_bytes & !1)), 0_u16)?;
    }
    Ok(())
}

/// Appends a zero-terminated UTF-16 string if it fits.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlappendunicodetostring",
    irql_when = "above APC_LEVEL only if the destination is resident")]
fn RtlAppendUnicodeToString(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<NtStatus> {
    if from.is_null() {
        return Ok(NtStatus::STATUS_SUCCESS);
    }
    let length_bytes = k.c_length::<u16>(from, usize::MAX)? * 2;
    append(k, to, from, length_bytes)
}

/// Appends a counted UTF-16 string if it fits.
#[export(irql = .., ddi = "wdm/nf-wdm-rtlappendunicodestringtostring",
    irql_when = "above APC_LEVEL only if both strings are resident")]
fn RtlAppendUnicodeStringToString(
    k: &mut Kernel,
    to: Counted,
    from: Counted,
) -> CallResult<NtStatus> {
    let length_bytes = k.get(from.at, UNICODE_STRING::Length)?;
    let source = GuestAddr(k.get(from.at, UNICODE_STRING::Buffer)?);
    append(k, to, source, u64::from(length_bytes))
}

fn append(k: &mut Kernel, to: Counted, from: GuestAddr, length_bytes: u64) -> CallResult<NtStatus> {
    let used_bytes = u64::from(k.get(to.at, UNICODE_STRING::Length)?);
    let maximum_bytes = u64::from(k.get(to.at, UNICODE_STRING::MaximumLength)?);
    let buffer = GuestAddr(k.get(to.at, UNICODE_STRING::Buffer)?);
    let sum_bytes = used_bytes + length_bytes;
    let Some(sum) = u16::try_from(sum_bytes).ok().filter(|_| sum_bytes <= maximum_bytes) else {
        return Ok(NtStatus::STATUS_BUFFER_TOO_SMALL);
    };
    if length_bytes == 0 {
        return Ok(NtStatus::STATUS_SUCCESS);
    }
    k.copy(buffer.add(used_bytes), from, length_bytes)?;
    k.set(to.at, UNICODE_STRING::Length, sum)?;
    if sum_bytes + 2 <= maximum_bytes {
        k.write_scalar(buffer.add(sum_bytes), 0_u16)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Compares; the difference of the first units that differ, or of the lengths.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlcompareunicodestring")]
fn RtlCompareUnicodeString(
    k: &mut Kernel,
    a: Counted,
    b: Counted,
    ignores_case: bool,
) -> CallResult<i32> {
    let (a, b) = (k.unicode_string(a.at)?, k.unicode_string(b.at)?);
    Ok(difference(&fold(a, ignores_case), &fold(b, ignores_case)))
}

/// Whether two strings are equal.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlequalunicodestring")]
fn RtlEqualUnicodeString(
    k: &mut Kernel,
    a: Counted,
    b: Counted,
    ignores_case: bool,
) -> CallResult<bool> {
    let lengths = (k.get(a.at, UNICODE_STRING::Length)?, k.get(b.at, UNICODE_STRING::Length)?);
    if lengths.0 != lengths.1 {
        return Ok(false);
    }
    let (a, b) = (k.unicode_string(a.at)?, k.unicode_string(b.at)?);
    Ok(fold(a, ignores_case) == fold(b, ignores_case))
}

/// Whether one string starts with the other.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-rtlprefixunicodestring")]
fn RtlPrefixUnicodeString(
    k: &mut Kernel,
    prefix: Counted,
    text: Counted,
    ignores_case: bool,
) -> CallResult<bool> {
    let (prefix, text) = (k.unicode_string(prefix.at)?, k.unicode_string(text.at)?);
    Ok(fold(text, ignores_case).starts_with(&fold(prefix, ignores_case)))
}

/// Compares strings of bytes.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-rtlcomparestring")]
fn RtlCompareString(k: &mut Kernel, a: Counted, b: Counted, ignores_case: bool) -> CallResult<i32> {
    let (a, b) = (k.ansi_string(a.at)?, k.ansi_string(b.at)?);
    Ok(difference(&fold_bytes(a, ignores_case), &fold_bytes(b, ignores_case)))
}

/// Whether two strings of bytes are equal.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-rtlequalstring")]
fn RtlEqualString(k: &mut Kernel, a: Counted, b: Counted, ignores_case: bool) -> CallResult<bool> {
    let (a, b) = (k.ansi_string(a.at)?, k.ansi_string(b.at)?);
    Ok(fold_bytes(a, ignores_case) == fold_bytes(b, ignores_case))
}

/// Upper case of one unit.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-rtlupcaseunicodechar")]
fn RtlUpcaseUnicodeChar(_k: &mut Kernel, unit: u16) -> CallResult<u16> {
    Ok(upcase(unit))
}

/// Lower case of one unit.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtldowncaseunicodechar")]
fn RtlDowncaseUnicodeChar(_k: &mut Kernel, unit: u16) -> CallResult<u16> {
    Ok(downcase(unit))
}

/// Upper case of one byte.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-rtlupperchar")]
fn RtlUpperChar(_k: &mut Kernel, byte: u8) -> CallResult<u8> {
    Ok(upper_byte(byte))
}

/// Copies a string of bytes in upper case, as much as fits.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-rtlupperstring")]
fn RtlUpperString(k: &mut Kernel, to: Counted, from: Counted) -> CallResult<()> {
    let mut text = k.ansi_string(from.at)?;
    let maximum_bytes = k.get(to.at, UNICODE_STRING::MaximumLength)?;
    let buffer = GuestAddr(k.get(to.at, UNICODE_STRING::Buffer)?);
    text.truncate(usize::from(maximum_bytes));
    let length_bytes = u16::try_from(text.len()).expect("lengths have 16 bits");
    let upper: Vec<u8> = text.into_iter().map(upper_byte).collect();
    k.write(buffer, &upper)?;
    k.set(to.at, UNICODE_STRING::Length, length_bytes)
}

/// Hashes with the one documented algorithm, x65599.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-rtlhashunicodestring")]
fn RtlHashUnicodeString(
    k: &mut Kernel,
    text: Counted,
    ignores_case: bool,
    algorithm: u32,
    value: GuestPtr<u32>,
) -> CallResult<NtStatus> {
    const DEFAULT: u32 = 0;
    const X65599: u32 = 1;
    if text.at.is_null() || value.at.is_null() || !matches!(algorithm, DEFAULT | X65599) {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    let units = fold(k.unicode_string(text.at)?, ignores_case);
    let step = |hash: u32, unit: &u16| hash.wrapping_mul(65_599).wrapping_add(u32::from(*unit));
    k.write_scalar(value.at, units.iter().fold(0, step))?;
    Ok(NtStatus::STATUS_SUCCESS)
}

fn upper_byte(byte: u8) -> u8 {
    to_ansi(upcase(to_unicode(byte)))
}

fn fold(text: Vec<u16>, ignores_case: bool) -> Vec<u16> {
    if ignores_case { text.into_iter().map(upcase).collect() } else { text }
}

fn fold_bytes(text: Vec<u8>, ignores_case: bool) -> Vec<u8> {
    if ignores_case { text.into_iter().map(upper_byte).collect() } else { text }
}

fn difference<T: Unit>(a: &[T], b: &[T]) -> i32 {
    let differing = a.iter().zip(b).find(|(l, r)| l != r);
    let length = |text: &[T]| i32::try_from(text.len()).expect("lengths have 16 bits");
    differing.map_or(length(a) - length(b), |(l, r)| i32::from(l.code()) - i32::from(r.code()))
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{NtStatus, structures::UNICODE_STRING};

    use crate::testing::{block, call_by_name, kernel, unicode_at, unicode_string, wide};

    #[test]
    fn initialising_counts_and_caps() {
        let mut k = kernel();
        let long = "x".repeat(0x8000);
        for (text, length, maximum) in [("abc", 6, 8), ("", 0, 2), (&long, 0xfffc, 0xfffe)] {
            let from = wide(&mut k, text);
            let to = block(&mut k, &[0xee; 16]);
            call_by_name(&mut k, "RtlInitUnicodeString", &[to, from]).unwrap();
            assert_eq!(k.get(GuestAddr(to), UNICODE_STRING::Length), Ok(length));
            assert_eq!(k.get(GuestAddr(to), UNICODE_STRING::MaximumLength), Ok(maximum));
        }
        let to = block(&mut k, &[0xee; 16]);
        call_by_name(&mut k, "RtlInitUnicodeString", &[to, 0]).unwrap();
        assert_eq!(k.read_vec(GuestAddr(to), 4).unwrap(), [0; 4]);
    }

    #[test]
    fn appending_stops_at_the_room() {
        let mut k = kernel();
        let more = wide(&mut k, "cd");
        let too_small = u64::from(NtStatus::STATUS_BUFFER_TOO_SMALL.0);
        for (room, status, text) in [(6, too_small, "ab"), (8, 0, "abcd"), (10, 0, "abcd")] {
            let to = unicode_string(&mut k, "ab", room);
            let name = "RtlAppendUnicodeToString";
            assert_eq!(call_by_name(&mut k, name, &[to, more]), Ok(status), "{room}");
            assert_eq!(unicode_at(&mut k, to), text);
        }
    }

    #[test]
    fn copying_takes_what_fits_and_carries_the_state_of_bytes() {
        let mut k = kernel();
        let from = unicode_string(&mut k, "abcd", 0);
        for (room, text) in [(2, "a"), (8, "abcd"), (10, "abcd")] {
            let to = unicode_string(&mut k, "", room);
            call_by_name(&mut k, "RtlCopyUnicodeString", &[to, from]).unwrap();
            assert_eq!(unicode_at(&mut k, to), text);
        }
    }

    #[test]
    fn comparisons_know_case() {
        let cases = [
            ("abc", "ABC", 1, 0, 1, 1),
            ("abc", "ABC", 0, 32, 0, 0),
            ("ab", "abc", 0, -1, 0, 1),
            ("b", "a", 0, 1, 0, 0),
            ("\u{e9}", "\u{c9}", 1, 0, 1, 1),
        ];
        for (a, b, ignores_case, difference, is_equal, is_prefix) in cases {
            let mut k = kernel();
            let arguments =
                [unicode_string(&mut k, a, 0), unicode_string(&mut k, b, 0), ignores_case];
            let compared = call_by_name(&mut k, "RtlCompareUnicodeString", &arguments).unwrap();
            assert_eq!(compared.cast_signed(), difference, "{a} {b}");
            let equal = call_by_name(&mut k, "RtlEqualUnicodeString", &arguments);
            assert_eq!(equal, Ok(is_equal), "{a} {b}");
            let prefix = call_by_name(&mut k, "RtlPrefixUnicodeString", &arguments);
            assert_eq!(prefix, Ok(is_prefix), "{a} {b}");
        }
    }

    /// An `ANSI_STRING` over a buffer of exactly these bytes.
    fn ansi_string(k: &mut crate::Kernel, text: &[u8], length_bytes: u16) -> u64 {
        let (buffer, at) = (block(k, text), block(k, &[0; 16]));
        let maximum_bytes = u16::try_from(text.len()).unwrap();
        let buffer = GuestAddr(buffer);
        k.set_counted_string(GuestAddr(at), length_bytes, maximum_bytes, buffer).unwrap();
        at
    }

    fn ansi_at(k: &mut crate::Kernel, at: u64) -> Vec<u8> {
        k.ansi_string(GuestAddr(at)).unwrap()
    }

    #[test]
    fn the_checked_initialisation_refuses_long_strings() {
        let mut k = kernel();
        let to = block(&mut k, &[0xee; 16]);
        let (short, long) = (wide(&mut k, "abc"), wide(&mut k, &"x".repeat(0x8000)));
        let too_long = u64::from(NtStatus::STATUS_NAME_TOO_LONG.0);
        for (from, status, length) in [(short, 0, 6), (long, too_long, 0), (0, 0, 0)] {
            assert_eq!(call_by_name(&mut k, "RtlInitUnicodeStringEx", &[to, from]), Ok(status));
            assert_eq!(k.get(GuestAddr(to), UNICODE_STRING::Length), Ok(length));
        }
    }

    #[test]
    fn strings_of_bytes_are_initialised_copied_and_compared() {
        let mut k = kernel();
        let to = block(&mut k, &[0xee; 16]);
        let text = block(&mut k, b"abc\0");
        call_by_name(&mut k, "RtlInitString", &[to, text]).unwrap();
        assert_eq!(k.get(GuestAddr(to), UNICODE_STRING::Length), Ok(3));
        assert_eq!(k.get(GuestAddr(to), UNICODE_STRING::MaximumLength), Ok(4));
        assert_eq!(ansi_at(&mut k, to), b"abc");

        let small = ansi_string(&mut k, b"..", 0);
        call_by_name(&mut k, "RtlCopyString", &[small, to]).unwrap();
        assert_eq!(ansi_at(&mut k, small), b"ab");
        call_by_name(&mut k, "RtlUpperString", &[small, to]).unwrap();
        assert_eq!(ansi_at(&mut k, small), b"AB");
        call_by_name(&mut k, "RtlCopyString", &[small, 0]).unwrap();
        assert_eq!(k.get(GuestAddr(small), UNICODE_STRING::Length), Ok(0));

        for (a, b, ignores_case, difference) in [
            (b"abc", b"abc", 0, 0),
            (b"abc", b"aBc", 1, 0),
            (b"abc", b"aBc", 0, 32),
            (b"aac", b"abc", 1, -1),
        ] {
            let arguments = [
                ansi_string(&mut k, a, 3),
                ansi_string(&mut k, b, 3),
                u64::from(ignores_case != 0),
            ];
            let found = call_by_name(&mut k, "RtlCompareString", &arguments).unwrap();
            assert_eq!(found.cast_signed(), difference, "{a:?} {b:?}");
            let equal = call_by_name(&mut k, "RtlEqualString", &arguments);
            assert_eq!(equal, Ok(u64::from(difference == 0)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_counted_string_is_appended() {
        let mut k = kernel();
        let more = unicode_string(&mut k, "cd", 0);
        let too_small = u64::from(NtStatus::STATUS_BUFFER_TOO_SMALL.0);
        for (room, status, text) in [(6, too_small, "ab"), (8, 0, "abcd")] {
            let to = unicode_string(&mut k, "ab", room);
            let name = "RtlAppendUnicodeStringToString";
            assert_eq!(call_by_name(&mut k, name, &[to, more]), Ok(status), "{room}");
            assert_eq!(unicode_at(&mut k, to), text);
        }
    }

    #[test]
    fn single_characters_change_case() {
        let mut k = kernel();
        for (name, unit, expected) in [
            ("RtlUpcaseUnicodeChar", 'a', 'A'),
            ("RtlUpcaseUnicodeChar", '\u{e9}', '\u{c9}'),
            ("RtlUpcaseUnicodeChar", '1', '1'),
            ("RtlDowncaseUnicodeChar", 'A', 'a'),
            ("RtlDowncaseUnicodeChar", '\u{c9}', '\u{e9}'),
            ("RtlUpperChar", 'z', 'Z'),
            ("RtlUpperChar", '_', '_'),
        ] {
            let found = call_by_name(&mut k, name, &[u64::from(unit)]);
            assert_eq!(found, Ok(u64::from(expected)), "{name} {unit}");
        }
    }

    #[test]
    fn the_hash_is_x65599() {
        let mut k = kernel();
        let out = block(&mut k, &[0; 4]);
        let name = "RtlHashUnicodeString";
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        let hash = |units: &[u32]| {
            units.iter().fold(0_u32, |sum, unit| sum.wrapping_mul(65_599).wrapping_add(*unit))
        };
        for (text, ignores_case, expected) in
            [("ab", 0, hash(&[97, 98])), ("ab", 1, hash(&[65, 66])), ("", 0, 0)]
        {
            let text = unicode_string(&mut k, text, 0);
            assert_eq!(call_by_name(&mut k, name, &[text, ignores_case, 0, out]), Ok(0));
            assert_eq!(k.read_scalar::<u32>(GuestAddr(out)), Ok(expected));
            assert_eq!(call_by_name(&mut k, name, &[text, ignores_case, 2, out]), Ok(invalid));
        }
        let text = unicode_string(&mut k, "x", 0);
        assert_eq!(call_by_name(&mut k, name, &[text, 0, 1, 0]), Ok(invalid));
    }
}
