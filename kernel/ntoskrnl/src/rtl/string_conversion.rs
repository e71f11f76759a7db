//! Conversions between strings of bytes, UTF-16 and numbers.
//!
//! A destination that the routine allocates is paged pool of the kernel's own; the driver gives it
//! back with `RtlFreeUnicodeString` or `RtlFreeAnsiString`.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, structures::UNICODE_STRING};
use nt_macros::export;

use crate::{
    CallResult, GuestPtr, Kernel, exports,
    rtl::{
        c_text::Unit,
        code_page::{to_ansi, to_unicode, upcase},
        printf::digits,
    },
};

exports![
    RtlAnsiStringToUnicodeString,
    RtlUnicodeStringToAnsiString,
    RtlUpcaseUnicodeString,
    RtlDuplicateUnicodeString,
    RtlCreateUnicodeString,
    RtlFreeUnicodeString,
    RtlFreeAnsiString,
    RtlIntegerToUnicodeString,
    RtlInt64ToUnicodeString,
    RtlUnicodeStringToInteger,
    RtlCharToInteger,
    RtlUnicodeToMultiByteN,
    RtlMultiByteToUnicodeN,
    RtlxAnsiStringToUnicodeSize,
    RtlxUnicodeStringToAnsiSize,
];

/// `UNICODE_STRING` and `STRING` have the same layout.
type Counted = GuestPtr<UNICODE_STRING>;

/// Converts bytes to UTF-16, with a terminator.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlansistringtounicodestring")]
fn RtlAnsiStringToUnicodeString(
    k: &mut Kernel,
    to: Counted,
    from: Counted,
    allocates: bool,
) -> CallResult<NtStatus> {
    let text: Vec<u16> = k.ansi_string(from.at)?.into_iter().map(to_unicode).collect();
    store(k, to, &text, allocates)
}

/// Converts UTF-16 to bytes, with a terminator.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlunicodestringtoansistring")]
fn RtlUnicodeStringToAnsiString(
    k: &mut Kernel,
    to: Counted,
    from: Counted,
    allocates: bool,
) -> CallResult<NtStatus> {
    let text: Vec<u8> = k.unicode_string(from.at)?.into_iter().map(to_ansi).collect();
    store(k, to, &text, allocates)
}

/// Stores a text and its terminator, in a buffer allocated for it or in the one that is there.
fn store<T: Unit>(
    k: &mut Kernel,
    to: Counted,
    text: &[T],
    allocates: bool,
) -> CallResult<NtStatus> {
    let length_bytes = (text.len() * T::SIZE_BYTES) as u64;
    let whole_bytes = length_bytes + T::SIZE_BYTES as u64;
    let (Ok(length), Ok(whole)) = (u16::try_from(length_bytes), u16::try_from(whole_bytes)) else {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER_2);
    };
    if allocates {
        let Some(buffer) = k.allocate_for_driver(whole_bytes)? else {
            return Ok(NtStatus::STATUS_NO_MEMORY);
        };
        k.set_counted_string(to.at, length, whole, buffer)?;
    } else if k.get(to.at, UNICODE_STRING::MaximumLength)? < whole {
        return Ok(NtStatus::STATUS_BUFFER_OVERFLOW);
    }
    let buffer = GuestAddr(k.get(to.at, UNICODE_STRING::Buffer)?);
    k.write_units(buffer, text)?;
    k.write_units(buffer.add(length_bytes), &[T::default()])?;
    k.set(to.at, UNICODE_STRING::Length, length)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Copies in upper case; no terminator is promised.
#[export(irql = ..=APC_LEVEL, ddi = "ntddk/nf-ntddk-rtlupcaseunicodestring")]
fn RtlUpcaseUnicodeString(
    k: &mut Kernel,
    to: Counted,
    from: Counted,
    allocates: bool,
) -> CallResult<NtStatus> {
    let text: Vec<u16> = k.unicode_string(from.at)?.into_iter().map(upcase).collect();
    let length_bytes = u16::try_from(text.len() * 2).expect("lengths have 16 bits");
    if allocates {
        let Some(buffer) = k.allocate_for_driver(u64::from(length_bytes))? else {
            return Ok(NtStatus::STATUS_NO_MEMORY);
        };
        k.set_counted_string(to.at, length_bytes, length_bytes, buffer)?;
    } else if k.get(to.at, UNICODE_STRING::MaximumLength)? < length_bytes {
        return Ok(NtStatus::STATUS_BUFFER_OVERFLOW);
    }
    let buffer = GuestAddr(k.get(to.at, UNICODE_STRING::Buffer)?);
    k.write_units(buffer, &text)?;
    k.set(to.at, UNICODE_STRING::Length, length_bytes)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Copies into a buffer allocated for it. Flag 1 terminates; flag 2 allocates for an empty string
/// too.
#[export(irql = PASSIVE_LEVEL, ddi = "ntifs/nf-ntifs-rtlduplicateunicodestring")]
fn RtlDuplicateUnicodeString(
    k: &mut Kernel,
    flags: u32,
    from: Counted,
    to: Counted,
) -> CallResult<NtStatus> {
    const NULL_TERMINATE: u32 = 1;
    const ALLOCATE_NULL_STRING: u32 = 2;
    let is_valid = flags & !(NULL_TERMINATE | ALLOCATE_NULL_STRING) == 0
        && (flags & ALLOCATE_NULL_STRING == 0 || flags & NULL_TERMINATE != 0);
    if !is_valid {
        return Ok(NtStatus::STATUS_INVALID_PARAMETER);
    }
    let length_bytes = k.get(from.at, UNICODE_STRING::Length)?;
    let terminator_bytes = if flags & NULL_TERMINATE != 0 { 2 } else { 0 };
    if length_bytes == 0 && flags & ALLOCATE_NULL_STRING == 0 {
        k.set_counted_string(to.at, 0, 0, GuestAddr::NULL)?;
        return Ok(NtStatus::STATUS_SUCCESS);
    }
    let Some(whole_bytes) = length_bytes.checked_add(terminator_bytes) else {
        return Ok(NtStatus::STATUS_NAME_TOO_LONG);
    };
    let source = GuestAddr(k.get(from.at, UNICODE_STRING::Buffer)?);
    let Some(buffer) = k.allocate_for_driver(u64::from(whole_bytes))? else {
        return Ok(NtStatus::STATUS_NO_MEMORY);
    };
    k.copy(buffer, source, u64::from(length_bytes))?;
    k.fill(buffer.add(u64::from(length_bytes)), 0, u64::from(terminator_bytes))?;
    k.set_counted_string(to.at, length_bytes, whole_bytes, buffer)?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Copies a zero-terminated string into a buffer allocated for it.
#[export(
    irql = ..=APC_LEVEL,
    ddi = "ntifs/nf-ntifs-rtlcreateunicodestring",
    irql_note = "the header allows APC_LEVEL"
)]
fn RtlCreateUnicodeString(k: &mut Kernel, to: Counted, from: GuestAddr) -> CallResult<bool> {
    let text = k.c_string::<u16>(from, usize::MAX)?;
    Ok(store(k, to, &text, true)? == NtStatus::STATUS_SUCCESS)
}

/// Frees the buffer and clears the string.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-rtlfreeunicodestring")]
fn RtlFreeUnicodeString(k: &mut Kernel, text: Counted) -> CallResult<()> {
    free(k, text)
}

/// Frees the buffer and clears the string.
#[export(irql = ..=APC_LEVEL, ddi = "wdm/nf-wdm-rtlfreeansistring")]
fn RtlFreeAnsiString(k: &mut Kernel, text: Counted) -> CallResult<()> {
    free(k, text)
}

fn free(k: &mut Kernel, text: Counted) -> CallResult<()> {
    let buffer = GuestAddr(k.get(text.at, UNICODE_STRING::Buffer)?);
    if buffer.is_null() {
        return Ok(());
    }
    k.free_pool(buffer, 0)?;
    k.set_counted_string(text.at, 0, 0, GuestAddr::NULL)
}

/// Writes a number in base 2, 8, 10 or 16; 0 means 10.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlintegertounicodestring")]
fn RtlIntegerToUnicodeString(
    k: &mut Kernel,
    value: u32,
    base: u32,
    to: Counted,
) -> CallResult<NtStatus> {
    write_number(k, u64::from(value), base, to)
}

/// Writes a 64-bit number in base 2, 8, 10 or 16; 0 means 10.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlint64tounicodestring")]
fn RtlInt64ToUnicodeString(
    k: &mut Kernel,
    value: u64,
    base: u32,
    to: Counted,
) -> CallResult<NtStatus> {
    write_number(k, value, base, to)
}

fn write_number(k: &mut Kernel, value: u64, base: u32, to: Counted) -> CallResult<NtStatus> {
    let base = match base {
        0 => 10,
        2 | 8 | 10 | 16 => base,
        _ => return Ok(NtStatus::STATUS_INVALID_PARAMETER),
    };
    let mut text: Vec<u16> =
        digits(value, u64::from(base), true).into_iter().map(u16::from).collect();
    if text.is_empty() {
        text.push(u16::from(b'0'));
    }
    store(k, to, &text, false)
}

/// Reads a number; base 0 takes a prefix `0b`, `0o` or `0x`.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlunicodestringtointeger")]
fn RtlUnicodeStringToInteger(
    k: &mut Kernel,
    text: Counted,
    base: u32,
    value: GuestAddr,
) -> CallResult<NtStatus> {
    let units = k.unicode_string(text.at)?;
    let bytes: Vec<u8> =
        units.into_iter().map(|unit| u8::try_from(unit).unwrap_or(b'\xff')).collect();
    read_number(k, &bytes, base, value)
}

/// Reads a number from a zero-terminated string; base 0 takes a prefix `0b`, `0o` or `0x`.
#[export(irql = PASSIVE_LEVEL, ddi = "ntddk/nf-ntddk-rtlchartointeger")]
fn RtlCharToInteger(
    k: &mut Kernel,
    text: GuestAddr,
    base: u32,
    value: GuestAddr,
) -> CallResult<NtStatus> {
    let bytes = k.c_string::<u8>(text, usize::MAX)?;
    read_number(k, &bytes, base, value)
}

fn read_number(k: &mut Kernel, text: &[u8], base: u32, to: GuestAddr) -> CallResult<NtStatus> {
    let mut rest = text;
    while let Some((0..=32, behind)) = rest.split_first() {
        rest = behind;
    }
    let is_negative = rest.first() == Some(&b'-');
    if let Some((b'-' | b'+', behind)) = rest.split_first() {
        rest = behind;
    }
    let (base, rest) = match (base, rest) {
        (0, [b'0', b'x', behind @ ..]) => (16, behind),
        (0, [b'0', b'o', behind @ ..]) => (8, behind),
        (0, [b'0', b'b', behind @ ..]) => (2, behind),
        (0, rest) => (10, rest),
        (2 | 8 | 10 | 16, rest) => (base, rest),
        _ => return Ok(NtStatus::STATUS_INVALID_PARAMETER),
    };
    let digits = rest.iter().map_while(|byte| char::from(*byte).to_digit(base));
    let value = digits.fold(0_u32, |sum, digit| sum.wrapping_mul(base).wrapping_add(digit));
    k.write_scalar(to, if is_negative { value.wrapping_neg() } else { value })?;
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Converts as many characters as fit; no terminator.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlunicodetomultibyten")]
fn RtlUnicodeToMultiByteN(
    k: &mut Kernel,
    to: GuestAddr,
    room_bytes: u32,
    written: GuestAddr,
    from: GuestAddr,
    from_bytes: u32,
) -> CallResult<NtStatus> {
    let count = (from_bytes / 2).min(room_bytes);
    let bytes = k.read_vec(from, u64::from(count) * 2)?;
    let pairs = bytes.as_chunks().0.iter();
    let text: Vec<u8> = pairs.map(|pair| to_ansi(u16::from_le_bytes(*pair))).collect();
    k.write(to, &text)?;
    if !written.is_null() {
        k.write_scalar(written, count)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Converts as many characters as fit; no terminator.
#[export(irql = ..=APC_LEVEL, ddi = "ntifs/nf-ntifs-rtlmultibytetounicoden")]
fn RtlMultiByteToUnicodeN(
    k: &mut Kernel,
    to: GuestAddr,
    room_bytes: u32,
    written: GuestAddr,
    from: GuestAddr,
    from_bytes: u32,
) -> CallResult<NtStatus> {
    let count = from_bytes.min(room_bytes / 2);
    let bytes = k.read_vec(from, u64::from(count))?;
    let text: Vec<u16> = bytes.into_iter().map(to_unicode).collect();
    k.write_units(to, &text)?;
    if !written.is_null() {
        k.write_scalar(written, count * 2)?;
    }
    Ok(NtStatus::STATUS_SUCCESS)
}

/// Bytes that a converted string needs, with its terminator.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlxansistringtounicodesize")]
fn RtlxAnsiStringToUnicodeSize(k: &mut Kernel, from: Counted) -> CallResult<u32> {
    Ok((u32::from(k.get(from.at, UNICODE_STRING::Length)?) + 1) * 2)
}

/// Bytes that a converted string needs, with its terminator.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-rtlxunicodestringtoansisize")]
fn RtlxUnicodeStringToAnsiSize(k: &mut Kernel, from: Counted) -> CallResult<u32> {
    Ok(u32::from(k.get(from.at, UNICODE_STRING::Length)?) / 2 + 1)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::NtStatus;

    use crate::testing::{
        block, call_by_name, kernel, narrow, unicode_at, unicode_string, wide, wide_at,
    };

    #[test]
    fn numbers_are_written_and_read() {
        let mut k = kernel();
        let ok = u64::from(NtStatus::STATUS_SUCCESS.0);
        let overflow = u64::from(NtStatus::STATUS_BUFFER_OVERFLOW.0);
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        let cases = [
            (0, 0, 4, ok, "0"),
            (255, 16, 6, ok, "FF"),
            (255, 16, 5, overflow, ""),
            (10, 2, 10, ok, "1010"),
            (10, 3, 10, invalid, ""),
            (u64::from(u32::MAX), 10, 22, ok, "4294967295"),
        ];
        for (value, base, room, status, text) in cases {
            let to = unicode_string(&mut k, "", room);
            let name = "RtlIntegerToUnicodeString";
            assert_eq!(call_by_name(&mut k, name, &[value, base, to]), Ok(status), "{value}");
            assert_eq!(unicode_at(&mut k, to), text);
        }
        let out = block(&mut k, &[0; 4]);
        for (text, base, expected) in [
            ("  -12x", 0, u32::MAX - 11),
            ("0x1fG", 0, 0x1f),
            ("0b101", 0, 5),
            ("0o17", 0, 15),
            ("7f", 16, 0x7f),
            ("", 10, 0),
        ] {
            let from = unicode_string(&mut k, text, 0);
            call_by_name(&mut k, "RtlUnicodeStringToInteger", &[from, base, out]).unwrap();
            assert_eq!(k.read_scalar::<u32>(GuestAddr(out)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn converted_strings_are_terminated_and_freed_once() {
        let mut k = kernel();
        let source = narrow(&mut k, "h\u{e9}");
        let ansi = block(&mut k, &[0; 16]);
        call_by_name(&mut k, "RtlInitAnsiString", &[ansi, source]).unwrap();
        let to = block(&mut k, &[0; 16]);
        call_by_name(&mut k, "RtlAnsiStringToUnicodeString", &[to, ansi, 1]).unwrap();
        let buffer = k.read_scalar::<u64>(GuestAddr(to + 8)).unwrap();
        // The two bytes of UTF-8 are two characters of the code page.
        assert_eq!(wide_at(&mut k, buffer), "h\u{c3}\u{a9}");
        call_by_name(&mut k, "RtlFreeUnicodeString", &[to]).unwrap();
        assert!(k.read_vec(GuestAddr(buffer), 2).is_err());
        call_by_name(&mut k, "RtlFreeUnicodeString", &[to]).unwrap();
    }

    #[test]
    fn unicode_becomes_bytes_with_a_terminator() {
        let mut k = kernel();
        let from = unicode_string(&mut k, "h\u{e9}", 0);
        assert_eq!(call_by_name(&mut k, "RtlxUnicodeStringToAnsiSize", &[from]), Ok(3));
        let to = block(&mut k, &[0; 16]);
        let name = "RtlUnicodeStringToAnsiString";
        assert_eq!(call_by_name(&mut k, name, &[to, from, 1]), Ok(0));
        let buffer = k.read_scalar::<u64>(GuestAddr(to + 8)).unwrap();
        assert_eq!(k.read_vec(GuestAddr(buffer), 3).unwrap(), [b'h', 0xe9, 0]);
        assert_eq!(call_by_name(&mut k, "RtlxAnsiStringToUnicodeSize", &[to]), Ok(6));
        // The buffer is there now, and too small for more.
        let longer = unicode_string(&mut k, "abc", 0);
        let overflow = u64::from(NtStatus::STATUS_BUFFER_OVERFLOW.0);
        assert_eq!(call_by_name(&mut k, name, &[to, longer, 0]), Ok(overflow));
        call_by_name(&mut k, "RtlFreeAnsiString", &[to]).unwrap();
        assert!(k.read_vec(GuestAddr(buffer), 1).is_err());
        assert_eq!(k.read_vec(GuestAddr(to), 16).unwrap(), [0; 16]);
    }

    #[test]
    fn copies_in_upper_case_need_no_terminator() {
        let mut k = kernel();
        let from = unicode_string(&mut k, "a\u{e9}1", 0);
        let overflow = u64::from(NtStatus::STATUS_BUFFER_OVERFLOW.0);
        for (room, status, text) in [(6, 0, "A\u{c9}1"), (4, overflow, "")] {
            let to = unicode_string(&mut k, "", room);
            let name = "RtlUpcaseUnicodeString";
            assert_eq!(call_by_name(&mut k, name, &[to, from, 0]), Ok(status), "{room}");
            assert_eq!(unicode_at(&mut k, to), text);
        }
        let to = block(&mut k, &[0; 16]);
        assert_eq!(call_by_name(&mut k, "RtlUpcaseUnicodeString", &[to, from, 1]), Ok(0));
        assert_eq!(unicode_at(&mut k, to), "A\u{c9}1");
        call_by_name(&mut k, "RtlFreeUnicodeString", &[to]).unwrap();
    }

    #[test]
    fn duplicates_follow_their_flags() {
        let mut k = kernel();
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        // Flag, text, status, length and room; no buffer if there is no room.
        for (flags, text, status, length, room) in [
            (0, "ab", 0, 4_u16, 4_u16),
            (1, "ab", 0, 4, 6),
            (1, "", 0, 0, 0),
            (3, "", 0, 0, 2),
            (2, "ab", invalid, 0, 0),
            (4, "ab", invalid, 0, 0),
        ] {
            let from = unicode_string(&mut k, text, 0);
            let to = block(&mut k, &[0; 16]);
            let name = "RtlDuplicateUnicodeString";
            assert_eq!(call_by_name(&mut k, name, &[flags, from, to]), Ok(status), "{flags}");
            assert_eq!(k.read_scalar::<u16>(GuestAddr(to)), Ok(length), "{flags}");
            assert_eq!(k.read_scalar::<u16>(GuestAddr(to + 2)), Ok(room), "{flags}");
            let buffer = k.read_scalar::<u64>(GuestAddr(to + 8)).unwrap();
            assert_eq!(buffer == 0, room == 0, "{flags}");
        }
        let (to, from) = (block(&mut k, &[0; 16]), wide(&mut k, "xyz"));
        assert_eq!(call_by_name(&mut k, "RtlCreateUnicodeString", &[to, from]), Ok(1));
        assert_eq!(unicode_at(&mut k, to), "xyz");
        let buffer = k.read_scalar::<u64>(GuestAddr(to + 8)).unwrap();
        assert_eq!(wide_at(&mut k, buffer), "xyz");
    }

    #[test]
    fn long_numbers_and_numbers_in_bytes() {
        let mut k = kernel();
        for (value, base, text) in
            [(u64::MAX, 16, "FFFFFFFFFFFFFFFF"), (u64::MAX, 10, "18446744073709551615")]
        {
            let to = unicode_string(&mut k, "", 42);
            let name = "RtlInt64ToUnicodeString";
            assert_eq!(call_by_name(&mut k, name, &[value, base, to]), Ok(0));
            assert_eq!(unicode_at(&mut k, to), text);
        }
        let out = block(&mut k, &[0; 4]);
        let invalid = u64::from(NtStatus::STATUS_INVALID_PARAMETER.0);
        for (text, base, status, expected) in
            [(" 0x1f", 0, 0, 0x1f), ("-2", 10, 0, u32::MAX - 1), ("12", 8, 0, 10)]
        {
            let text = narrow(&mut k, text);
            assert_eq!(call_by_name(&mut k, "RtlCharToInteger", &[text, base, out]), Ok(status));
            assert_eq!(k.read_scalar::<u32>(GuestAddr(out)), Ok(expected));
        }
        let text = narrow(&mut k, "1");
        assert_eq!(call_by_name(&mut k, "RtlCharToInteger", &[text, 7, out]), Ok(invalid));
    }

    #[test]
    fn conversions_of_known_length_stop_at_the_room() {
        let mut k = kernel();
        let (to, written) = (block(&mut k, b"....."), block(&mut k, &[0; 4]));
        let from = block(&mut k, b"a\0\xe9\0c\0");
        let name = "RtlUnicodeToMultiByteN";
        assert_eq!(call_by_name(&mut k, name, &[to, 5, written, from, 6]), Ok(0));
        assert_eq!(k.read_vec(GuestAddr(to), 5).unwrap(), b"a\xe9c..");
        assert_eq!(k.read_scalar::<u32>(GuestAddr(written)), Ok(3));
        let narrow_from = block(&mut k, b"xyz");
        let name = "RtlMultiByteToUnicodeN";
        assert_eq!(call_by_name(&mut k, name, &[to, 5, written, narrow_from, 3]), Ok(0));
        assert_eq!(k.read_vec(GuestAddr(to), 5).unwrap(), b"x\0y\0.");
        assert_eq!(k.read_scalar::<u32>(GuestAddr(written)), Ok(4));
        assert_eq!(call_by_name(&mut k, name, &[to, 2, 0, narrow_from, 3]), Ok(0));
    }
}
