//! C runtime: characters, numbers and conversions between the two character sizes.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Kernel, exports,
    rtl::{
        c_text::{Unit, bound, unit_at},
        code_page::{to_ansi, to_unicode},
        printf::digits,
    },
};

exports![
    tolower, toupper, towlower, towupper, isspace, isdigit, isalpha, isxdigit, isupper, islower,
    isprint, atoi, atol, strtoul, wcstoul, wcstol, strtol, _itoa, _itow, _ultoa, _ultow, mbstowcs,
    wcstombs, rand, srand,
];

/// Lower case in the C locale.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/tolower-tolower-towlower-tolower-l-towlower-l"
)]
fn tolower(_k: &mut Kernel, unit: i32) -> CallResult<i32> {
    Ok(ascii(unit).map_or(unit, |byte| i32::from(byte.to_ascii_lowercase())))
}

/// Upper case in the C locale.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/toupper-toupper-towupper-toupper-l-towupper-l"
)]
fn toupper(_k: &mut Kernel, unit: i32) -> CallResult<i32> {
    Ok(ascii(unit).map_or(unit, |byte| i32::from(byte.to_ascii_uppercase())))
}

/// Lower case of a wide character in the C locale.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/tolower-tolower-towlower-tolower-l-towlower-l"
)]
fn towlower(_k: &mut Kernel, unit: u16) -> CallResult<u16> {
    Ok(unit.lower())
}

/// Upper case of a wide character in the C locale.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/toupper-toupper-towupper-toupper-l-towupper-l"
)]
fn towupper(_k: &mut Kernel, unit: u16) -> CallResult<u16> {
    Ok(unit.upper())
}

macro_rules! classes {
    ($($(#[$meta:meta])* $name:ident, $page:literal: $test:expr;)*) => {$(
        $(#[$meta])*
        #[export(irql = .., ddi = $page)]
        fn $name(_k: &mut Kernel, unit: i32) -> CallResult<i32> {
            let test: fn(u8) -> bool = $test;
            Ok(i32::from(ascii(unit).is_some_and(test)))
        }
    )*};
}

classes! {
    /// Space, tab, line feed, vertical tab, form feed, carriage return.
    isspace, "c-runtime-library/reference/isspace-iswspace-isspace-l-iswspace-l":
        |c| matches!(c, 9..=13 | 32);
    /// 0 to 9.
    isdigit, "c-runtime-library/reference/isdigit-iswdigit-isdigit-l-iswdigit-l":
        |c| c.is_ascii_digit();
    /// A to Z, a to z.
    isalpha, "c-runtime-library/reference/isalpha-iswalpha-isalpha-l-iswalpha-l":
        |c| c.is_ascii_alphabetic();
    /// Hexadecimal digits.
    isxdigit, "c-runtime-library/reference/isxdigit-iswxdigit-isxdigit-l-iswxdigit-l":
        |c| c.is_ascii_hexdigit();
    /// A to Z.
    isupper, "c-runtime-library/reference/isupper-isupper-l-iswupper-iswupper-l":
        |c| c.is_ascii_uppercase();
    /// a to z.
    islower, "c-runtime-library/reference/islower-iswlower-islower-l-iswlower-l":
        |c| c.is_ascii_lowercase();
    /// Printable, with the space.
    isprint, "c-runtime-library/reference/isprint-iswprint-isprint-l-iswprint-l":
        |c| c == b' ' || c.is_ascii_graphic();
}

/// Reads a decimal number.
#[export(irql = .., ddi = "c-runtime-library/reference/atoi-atoi-l-wtoi-wtoi-l")]
fn atoi(k: &mut Kernel, text: GuestAddr) -> CallResult<i32> {
    Ok(low32(parse::<u8>(k, text, 10)?.signed()).cast_signed())
}

/// Reads a decimal number; a `long` has 32 bits.
#[export(irql = .., ddi = "c-runtime-library/reference/atol-atol-l-wtol-wtol-l")]
fn atol(k: &mut Kernel, text: GuestAddr) -> CallResult<i32> {
    Ok(low32(parse::<u8>(k, text, 10)?.signed()).cast_signed())
}

/// Reads an unsigned number of a base.
#[export(irql = .., ddi = "c-runtime-library/reference/strtoul-strtoul-l-wcstoul-wcstoul-l")]
fn strtoul(k: &mut Kernel, text: GuestAddr, end: GuestAddr, base: i32) -> CallResult<u32> {
    to_unsigned::<u8>(k, text, end, base)
}

/// Reads an unsigned number of a base from UTF-16.
#[export(irql = .., ddi = "c-runtime-library/reference/strtoul-strtoul-l-wcstoul-wcstoul-l")]
fn wcstoul(k: &mut Kernel, text: GuestAddr, end: GuestAddr, base: i32) -> CallResult<u32> {
    to_unsigned::<u16>(k, text, end, base)
}

/// Reads a signed number of a base.
#[export(irql = .., ddi = "c-runtime-library/reference/strtol-wcstol-strtol-l-wcstol-l")]
fn strtol(k: &mut Kernel, text: GuestAddr, end: GuestAddr, base: i32) -> CallResult<i32> {
    to_signed::<u8>(k, text, end, base)
}

/// Reads a signed number of a base from UTF-16.
#[export(irql = .., ddi = "c-runtime-library/reference/strtol-wcstol-strtol-l-wcstol-l")]
fn wcstol(k: &mut Kernel, text: GuestAddr, end: GuestAddr, base: i32) -> CallResult<i32> {
    to_signed::<u16>(k, text, end, base)
}

/// Writes a number in a base; only base 10 knows a sign.
#[export(irql = .., ddi = "c-runtime-library/reference/itoa-itow")]
fn _itoa(k: &mut Kernel, value: i32, to: GuestAddr, base: u32) -> CallResult<GuestAddr> {
    write_signed::<u8>(k, value, to, base)
}

/// Writes a number in a base as UTF-16; only base 10 knows a sign.
#[export(irql = .., ddi = "c-runtime-library/reference/itoa-itow")]
fn _itow(k: &mut Kernel, value: i32, to: GuestAddr, base: u32) -> CallResult<GuestAddr> {
    write_signed::<u16>(k, value, to, base)
}

/// Writes an unsigned number in a base.
#[export(irql = .., ddi = "c-runtime-library/reference/itoa-itow")]
fn _ultoa(k: &mut Kernel, value: u32, to: GuestAddr, base: u32) -> CallResult<GuestAddr> {
    write_number::<u8>(k, false, value, to, base)
}

/// Writes an unsigned number in a base as UTF-16.
#[export(irql = .., ddi = "c-runtime-library/reference/itoa-itow")]
fn _ultow(k: &mut Kernel, value: u32, to: GuestAddr, base: u32) -> CallResult<GuestAddr> {
    write_number::<u16>(k, false, value, to, base)
}

/// Converts bytes to UTF-16; returns the length without the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/mbstowcs-mbstowcs-l")]
fn mbstowcs(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<u64> {
    let limit = if to.is_null() { usize::MAX } else { bound(count) };
    let text = k.c_string::<u8>(from, limit)?;
    let units: Vec<u16> = text.iter().map(|byte| to_unicode(*byte)).collect();
    store(k, to, count, &units)
}

/// Converts UTF-16 to bytes; returns the length without the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/wcstombs-wcstombs-l")]
fn wcstombs(k: &mut Kernel, to: GuestAddr, from: GuestAddr, count: u64) -> CallResult<u64> {
    let limit = if to.is_null() { usize::MAX } else { bound(count) };
    let text = k.c_string::<u16>(from, limit)?;
    let units: Vec<u8> = text.iter().map(|unit| to_ansi(*unit)).collect();
    store(k, to, count, &units)
}

/// The next number of the sequence; 0 to 32767. Its values are not documented.
#[export(irql = .., ddi = "c-runtime-library/reference/rand")]
fn rand(k: &mut Kernel) -> CallResult<i32> {
    let state = k.rtl.random.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
    k.rtl.random = state;
    Ok((state >> 17).cast_signed())
}

/// Starts a sequence.
#[export(irql = .., ddi = "c-runtime-library/reference/srand")]
fn srand(k: &mut Kernel, seed: u32) -> CallResult<()> {
    k.rtl.random = seed;
    Ok(())
}

fn ascii(unit: i32) -> Option<u8> {
    u8::try_from(unit).ok().filter(u8::is_ascii)
}

/// A number in a text.
#[derive(Clone, Copy, Debug)]
struct Parsed {
    is_negative: bool,
    magnitude: u128,
    /// Units used; 0 if there is no number.
    used: u64,
}

impl Parsed {
    fn signed(self) -> i128 {
        let magnitude = i128::try_from(self.magnitude).unwrap_or(i128::MAX);
        if self.is_negative { -magnitude } else { magnitude }
    }
}

/// Reads white space, a sign, `0x` where the base allows it, and digits. Base 0: as in C.
fn parse<T: Unit>(k: &mut Kernel, text: GuestAddr, base: i32) -> CallResult<Parsed> {
    let units = k.c_string::<T>(text, usize::MAX)?;
    let text: Vec<u8> =
        units.iter().map(|unit| u8::try_from(unit.code()).unwrap_or(b'\xff')).collect();
    let mut rest = text.as_slice();
    while let Some((9..=13 | 32, behind)) = rest.split_first() {
        rest = behind;
    }
    let is_negative = rest.first() == Some(&b'-');
    if let Some((b'-' | b'+', behind)) = rest.split_first() {
        rest = behind;
    }
    let has_prefix = matches!(rest, [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit());
    let mut base = u32::try_from(base).unwrap_or(1);
    if base == 0 {
        base = match rest.first() {
            _ if has_prefix => 16,
            Some(b'0') => 8,
            _ => 10,
        };
    }
    if base == 16 && has_prefix {
        rest = rest.get(2..).unwrap_or_default();
    }
    let none = Parsed { is_negative: false, magnitude: 0, used: 0 };
    if !(2..=36).contains(&base) {
        return Ok(none);
    }
    let mut found = none;
    while let Some((byte, behind)) = rest.split_first() {
        let Some(digit) = char::from(*byte).to_digit(base) else { break };
        let magnitude =
            found.magnitude.saturating_mul(u128::from(base)).saturating_add(u128::from(digit));
        rest = behind;
        found = Parsed { is_negative, magnitude, used: (text.len() - rest.len()) as u64 };
    }
    Ok(found)
}

fn to_unsigned<T: Unit>(
    k: &mut Kernel,
    text: GuestAddr,
    end: GuestAddr,
    base: i32,
) -> CallResult<u32> {
    let parsed = parse::<T>(k, text, base)?;
    write_end::<T>(k, text, end, parsed)?;
    // Out of range: `ULONG_MAX`; a minus sign negates modulo 2 to the power of 32.
    let Ok(value) = u32::try_from(parsed.magnitude) else { return Ok(u32::MAX) };
    Ok(if parsed.is_negative { value.wrapping_neg() } else { value })
}

fn to_signed<T: Unit>(
    k: &mut Kernel,
    text: GuestAddr,
    end: GuestAddr,
    base: i32,
) -> CallResult<i32> {
    let parsed = parse::<T>(k, text, base)?;
    write_end::<T>(k, text, end, parsed)?;
    let limits = i128::from(i32::MIN)..=i128::from(i32::MAX);
    let value = parsed.signed().clamp(*limits.start(), *limits.end());
    Ok(low32(value).cast_signed())
}

fn write_end<T: Unit>(
    k: &mut Kernel,
    text: GuestAddr,
    end: GuestAddr,
    parsed: Parsed,
) -> CallResult<()> {
    if end.is_null() {
        return Ok(());
    }
    k.write_scalar(end, unit_at::<T>(text, parsed.used).0)
}

fn write_signed<T: Unit>(
    k: &mut Kernel,
    value: i32,
    to: GuestAddr,
    base: u32,
) -> CallResult<GuestAddr> {
    if base == 10 {
        return write_number::<T>(k, value < 0, value.unsigned_abs(), to, base);
    }
    write_number::<T>(k, false, value.cast_unsigned(), to, base)
}

fn write_number<T: Unit>(
    k: &mut Kernel,
    is_negative: bool,
    magnitude: u32,
    to: GuestAddr,
    base: u32,
) -> CallResult<GuestAddr> {
    let mut text = if is_negative { vec![b'-'] } else { Vec::new() };
    if magnitude == 0 {
        text.push(b'0');
    }
    text.extend(digits(u64::from(magnitude), u64::from(base.clamp(2, 36)), false));
    text.push(0);
    let units: Vec<T> = text.iter().map(|byte| T::of(u16::from(*byte))).collect();
    k.write_units(to, &units)?;
    Ok(to)
}

/// Writes at most `count` units, with a terminator if there is room; returns the length.
fn store<T: Unit>(k: &mut Kernel, to: GuestAddr, count: u64, units: &[T]) -> CallResult<u64> {
    if to.is_null() {
        return Ok(units.len() as u64);
    }
    let mut text = units.to_vec();
    if text.len() < bound(count) {
        text.push(T::default());
    }
    k.write_units(to, &text)?;
    Ok(units.len() as u64)
}

fn low32(value: i128) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use crate::testing::{block, call_by_name, kernel, narrow, narrow_at, wide, wide_at};

    #[test]
    fn numbers_are_read_as_in_c() {
        let mut k = kernel();
        let end = block(&mut k, &[0; 8]);
        let cases = [
            ("strtoul", " 42x", 10, 42, 3),
            ("strtoul", "0x1F", 16, 0x1f, 4),
            ("strtoul", "0x1F", 0, 0x1f, 4),
            ("strtoul", "017", 0, 0o17, 3),
            ("strtoul", "-1", 10, u32::MAX, 2),
            ("strtoul", "99999999999", 10, u32::MAX, 11),
            ("strtoul", "0xg", 16, 0, 1),
            ("strtoul", "zz", 10, 0, 0),
            ("strtol", "-2147483649", 10, 0x8000_0000, 11),
        ];
        for (name, text, base, value, used) in cases {
            let at = narrow(&mut k, text);
            let found = call_by_name(&mut k, name, &[at, end, base]).unwrap();
            assert_eq!(found & 0xffff_ffff, u64::from(value), "{name} {text}");
            assert_eq!(k.read_scalar::<u64>(GuestAddr(end)), Ok(at + used), "{name} {text}");
        }
        let text = narrow(&mut k, "-12abc");
        assert_eq!(call_by_name(&mut k, "atoi", &[text]).map(u64::cast_signed), Ok(-12));
    }

    #[test]
    fn numbers_are_written_in_a_base() {
        let mut k = kernel();
        let to = block(&mut k, &[0xee; 40]);
        let minus_one = u64::from(u32::MAX);
        for (value, base, text) in
            [(minus_one, 10, "-1"), (minus_one, 16, "ffffffff"), (0, 2, "0"), (35, 36, "z")]
        {
            call_by_name(&mut k, "_itoa", &[value, to, base]).unwrap();
            assert_eq!(narrow_at(&mut k, to), text);
        }
    }

    #[test]
    fn characters_and_their_sizes() {
        let mut k = kernel();
        for (name, unit, expected) in [
            ("toupper", 'q', 'Q'),
            ("tolower", 'Q', 'q'),
            ("towupper", '\u{e9}', '\u{e9}'),
            ("towlower", 'Z', 'z'),
        ] {
            let found = call_by_name(&mut k, name, &[u64::from(unit)]);
            assert_eq!(found, Ok(u64::from(expected)), "{name}");
        }
        assert_eq!(call_by_name(&mut k, "isspace", &[9]), Ok(1));
        assert_eq!(call_by_name(&mut k, "isspace", &[0xa0]), Ok(0));
        let (to, from) = (block(&mut k, &[0xee; 8]), narrow(&mut k, "abc"));
        assert_eq!(call_by_name(&mut k, "mbstowcs", &[to, from, 4]), Ok(3));
        assert_eq!(wide_at(&mut k, to), "abc");
        let (to, from) = (block(&mut k, &[0xee; 2]), wide(&mut k, "abc"));
        assert_eq!(call_by_name(&mut k, "wcstombs", &[to, from, 2]), Ok(2));
        assert_eq!(call_by_name(&mut k, "wcstombs", &[0, from, 0]), Ok(3));
        let first = call_by_name(&mut k, "rand", &[]).unwrap();
        assert!(first <= 32767);
        call_by_name(&mut k, "srand", &[1]).unwrap();
        assert_eq!(call_by_name(&mut k, "rand", &[]), Ok(first));
    }

    #[test]
    fn wide_and_long_forms_do_the_same() {
        let mut k = kernel();
        let end = block(&mut k, &[0; 8]);
        for (name, text, base, value, used) in [
            ("wcstoul", "0x1Fz", 16, 0x1f_u32, 4),
            ("wcstoul", "-1", 10, u32::MAX, 2),
            ("wcstol", " -20 ", 10, (-20_i32).cast_unsigned(), 4),
            ("wcstol", "2147483648", 10, 0x7fff_ffff, 10),
        ] {
            let at = wide(&mut k, text);
            let found = call_by_name(&mut k, name, &[at, end, base]).unwrap();
            assert_eq!(found & 0xffff_ffff, u64::from(value), "{name} {text}");
            assert_eq!(k.read_scalar::<u64>(GuestAddr(end)), Ok(at + 2 * used), "{name} {text}");
        }
        let text = narrow(&mut k, "  7-");
        assert_eq!(call_by_name(&mut k, "atol", &[text]), Ok(7));
        let to = block(&mut k, &[0xee; 80]);
        let minus_one = u64::from(u32::MAX);
        call_by_name(&mut k, "_ultoa", &[minus_one, to, 10]).unwrap();
        assert_eq!(narrow_at(&mut k, to), "4294967295");
        for (name, text) in [("_itow", "-1"), ("_ultow", "4294967295")] {
            call_by_name(&mut k, name, &[minus_one, to, 10]).unwrap();
            assert_eq!(wide_at(&mut k, to), text, "{name}");
        }
    }

    #[test]
    fn classes_of_the_c_locale() {
        let mut k = kernel();
        for (name, members, strangers) in [
            ("isdigit", "09", "a/:"),
            ("isalpha", "azAZ", "0[`\u{e9}"),
            ("isxdigit", "09afAF", "gG "),
            ("isupper", "AZ", "az0"),
            ("islower", "az", "AZ0"),
            ("isprint", " ~a", "\t\u{7f}\u{e9}"),
            ("isspace", " \t\n\r", "a0"),
        ] {
            for (text, expected) in [(members, 1), (strangers, 0)] {
                for character in text.chars() {
                    let found = call_by_name(&mut k, name, &[u64::from(character)]);
                    assert_eq!(found, Ok(expected), "{name} {character:?}");
                }
            }
        }
    }
}
