//! C runtime: the bounded routines that end in `_s`.
//!
//! The kernel has no invalid parameter handler that a driver could set, so a bad argument is what
//! the documentation's table of return values says.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Kernel, exports,
    rtl::c_text::{Unit, bound, unit_at},
};

exports![
    memcpy_s, memmove_s, strcpy_s, wcscpy_s, strncpy_s, wcsncpy_s, strcat_s, wcscat_s, strncat_s,
    wcsncat_s,
];

/// `errno_t` values. Source: "errno constants".
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const STRUNCATE: i32 = 80;
/// `_TRUNCATE`: as many as fit.
const TRUNCATE: u64 = u64::MAX;

/// Copies if the destination is long enough, else zeroes it.
#[export(irql = .., ddi = "c-runtime-library/reference/memcpy-s-wmemcpy-s")]
fn memcpy_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    if count == 0 {
        return Ok(0);
    }
    if to.is_null() {
        return Ok(EINVAL);
    }
    if from.is_null() || size < count {
        k.fill(to, 0, size)?;
        return Ok(if from.is_null() { EINVAL } else { ERANGE });
    }
    k.copy(to, from, count)?;
    Ok(0)
}

/// Copies if the destination is long enough.
#[export(irql = .., ddi = "c-runtime-library/reference/memmove-s-wmemmove-s")]
fn memmove_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    if count == 0 {
        return Ok(0);
    }
    if to.is_null() || from.is_null() {
        return Ok(EINVAL);
    }
    if size < count {
        return Ok(ERANGE);
    }
    k.copy(to, from, count)?;
    Ok(0)
}

/// Copies with the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/strcpy-s-wcscpy-s-mbscpy-s")]
fn strcpy_s(k: &mut Kernel, to: GuestAddr, size: u64, from: GuestAddr) -> CallResult<i32> {
    place::<u8>(k, to, size, 0, from, None)
}

/// Copies UTF-16 with the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/strcpy-s-wcscpy-s-mbscpy-s")]
fn wcscpy_s(k: &mut Kernel, to: GuestAddr, size: u64, from: GuestAddr) -> CallResult<i32> {
    place::<u16>(k, to, size, 0, from, None)
}

/// Copies at most `count` bytes and a terminator.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/strncpy-s-strncpy-s-l-wcsncpy-s-wcsncpy-s-l-mbsncpy-s\
        -mbsncpy-s-l"
)]
fn strncpy_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    place::<u8>(k, to, size, 0, from, Some(count))
}

/// Copies at most `count` units of UTF-16 and a terminator.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/strncpy-s-strncpy-s-l-wcsncpy-s-wcsncpy-s-l-mbsncpy-s\
        -mbsncpy-s-l"
)]
fn wcsncpy_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    place::<u16>(k, to, size, 0, from, Some(count))
}

/// Appends with the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/strcat-s-wcscat-s-mbscat-s")]
fn strcat_s(k: &mut Kernel, to: GuestAddr, size: u64, from: GuestAddr) -> CallResult<i32> {
    append::<u8>(k, to, size, from, None)
}

/// Appends UTF-16 with the terminator.
#[export(irql = .., ddi = "c-runtime-library/reference/strcat-s-wcscat-s-mbscat-s")]
fn wcscat_s(k: &mut Kernel, to: GuestAddr, size: u64, from: GuestAddr) -> CallResult<i32> {
    append::<u16>(k, to, size, from, None)
}

/// Appends at most `count` bytes and a terminator.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/strncat-s-strncat-s-l-wcsncat-s-wcsncat-s-l-mbsncat-s\
        -mbsncat-s-l"
)]
fn strncat_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    append::<u8>(k, to, size, from, Some(count))
}

/// Appends at most `count` units of UTF-16 and a terminator.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/strncat-s-strncat-s-l-wcsncat-s-wcsncat-s-l-mbsncat-s\
        -mbsncat-s-l"
)]
fn wcsncat_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: u64,
) -> CallResult<i32> {
    append::<u16>(k, to, size, from, Some(count))
}

fn append<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    from: GuestAddr,
    count: Option<u64>,
) -> CallResult<i32> {
    if to.is_null() || size == 0 {
        return Ok(EINVAL);
    }
    let used = k.c_length::<T>(to, bound(size))?;
    if used == size {
        // No terminator within the size told.
        k.write_units(to, &[T::default()])?;
        return Ok(EINVAL);
    }
    place::<T>(k, to, size, used, from, count)
}

/// Puts a string behind `used` units of a buffer; a failure empties the buffer.
fn place<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    used: u64,
    from: GuestAddr,
    count: Option<u64>,
) -> CallResult<i32> {
    if count == Some(0) && to.is_null() && size == 0 {
        return Ok(0);
    }
    if to.is_null() || size == 0 {
        return Ok(EINVAL);
    }
    if from.is_null() && count != Some(0) {
        k.write_units(to, &[T::default()])?;
        return Ok(EINVAL);
    }
    let room = size - used - 1;
    let limit = count.unwrap_or(u64::MAX).min(room.saturating_add(1));
    let wanted = k.c_length::<T>(from, bound(limit))?;
    let is_cut = wanted > room;
    if is_cut && count != Some(TRUNCATE) {
        k.write_units(to, &[T::default()])?;
        return Ok(ERANGE);
    }
    let length = wanted.min(room);
    let end = unit_at::<T>(to, used);
    k.copy(end, from, length * T::SIZE_BYTES as u64)?;
    k.write_units(unit_at::<T>(end, length), &[T::default()])?;
    Ok(if is_cut { STRUNCATE } else { 0 })
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use super::TRUNCATE;
    use crate::testing::{block, call_by_name, kernel, narrow, wide};

    #[test]
    fn a_buffer_too_small_is_emptied() {
        type Case = (&'static str, &'static str, u64, &'static [u64], u64, &'static [u8; 6]);
        let cases: [Case; 6] = [
            ("strcpy_s", "abc", 4, &[], 0, b"abc\0.."),
            ("strcpy_s", "abcd", 4, &[], 34, b"\0....."),
            ("strcpy_s", "abc", 0, &[], 22, b"......"),
            ("strncpy_s", "abcd", 4, &[2], 0, b"ab\0..."),
            ("strncpy_s", "abcd", 4, &[TRUNCATE], 80, b"abc\0.."),
            ("strncpy_s", "abcd", 4, &[4], 34, b"\0....."),
        ];
        for (name, text, size, rest, result, expected) in cases {
            let mut k = kernel();
            let to = block(&mut k, b"......");
            let mut arguments = vec![to, size, narrow(&mut k, text)];
            arguments.extend(rest);
            assert_eq!(call_by_name(&mut k, name, &arguments), Ok(result), "{name} {text}");
            assert_eq!(k.read_vec(GuestAddr(to), 6).unwrap(), expected, "{name} {text}");
        }
    }

    #[test]
    fn appending_needs_a_terminator_in_the_destination() {
        let mut k = kernel();
        let from = narrow(&mut k, "cd");
        for (before, size, result, after) in [
            (b"ab\0...", 6, 0, b"abcd\0."),
            (b"ab\0...", 4, 34, b"\0b\0..."),
            (b"abcdef", 6, 22, b"\0bcdef"),
        ] {
            let to = block(&mut k, before);
            assert_eq!(call_by_name(&mut k, "strcat_s", &[to, size, from]), Ok(result));
            assert_eq!(k.read_vec(GuestAddr(to), 6).unwrap(), after);
        }
    }

    #[test]
    fn memory_copies_check_their_room() {
        let mut k = kernel();
        let (to, from) = (block(&mut k, b"...."), block(&mut k, b"abcd"));
        for (size, count, result, after) in
            [(4, 4, 0, b"abcd"), (3, 4, 34, b"\0\0\0d"), (4, 0, 0, b"\0\0\0d")]
        {
            assert_eq!(call_by_name(&mut k, "memcpy_s", &[to, size, from, count]), Ok(result));
            assert_eq!(k.read_vec(GuestAddr(to), 4).unwrap(), after);
        }
    }

    #[test]
    fn wide_forms_count_units() {
        type Case = (&'static str, &'static str, u64, &'static [u64], u64, &'static str);
        let cases: [Case; 8] = [
            ("wcscpy_s", "abc", 4, &[], 0, "abc\0.."),
            ("wcscpy_s", "abcd", 4, &[], 34, "\0....."),
            ("wcsncpy_s", "abcd", 4, &[2], 0, "ab\0..."),
            ("wcsncpy_s", "abcd", 4, &[TRUNCATE], 80, "abc\0.."),
            ("wcscat_s", "cd", 6, &[], 22, "\0....."),
            ("wcsncat_s", "cd", 6, &[1], 22, "\0....."),
            ("strcat_s", "cd", 6, &[], 22, "\0....."),
            ("strncat_s", "cd", 6, &[1], 22, "\0....."),
        ];
        for (name, text, size, rest, result, expected) in cases {
            let mut k = kernel();
            let is_wide = name.starts_with('w');
            let unit_bytes = if is_wide { 2 } else { 1 };
            let old = if is_wide { b".\0".repeat(6) } else { b".".repeat(6) };
            let to = block(&mut k, &old);
            let from = if is_wide { wide(&mut k, text) } else { narrow(&mut k, text) };
            let arguments = [&[to, size, from], rest].concat();
            assert_eq!(call_by_name(&mut k, name, &arguments), Ok(result), "{name} {text}");
            let bytes = k.read_vec(GuestAddr(to), 6 * unit_bytes as u64).unwrap();
            let found: String = bytes.iter().step_by(unit_bytes).map(|b| char::from(*b)).collect();
            assert_eq!(found, expected, "{name} {text}");
        }
    }

    #[test]
    fn a_counted_append_adds_no_more_than_that() {
        let mut k = kernel();
        let (narrow_to, narrow_from) = (block(&mut k, b"ab\0..."), narrow(&mut k, "cde"));
        assert_eq!(call_by_name(&mut k, "strncat_s", &[narrow_to, 6, narrow_from, 2]), Ok(0));
        assert_eq!(k.read_vec(GuestAddr(narrow_to), 6).unwrap(), b"abcd\0.");
        let wide_to = block(&mut k, b"a\0\0\0.\0.\0.\0.\0");
        let wide_from = wide(&mut k, "cde");
        assert_eq!(call_by_name(&mut k, "wcsncat_s", &[wide_to, 6, wide_from, 1]), Ok(0));
        assert_eq!(k.read_vec(GuestAddr(wide_to), 8).unwrap(), b"a\0c\0\0\0.\0");
        assert_eq!(call_by_name(&mut k, "wcscat_s", &[wide_to, 6, wide_from]), Ok(0));
        assert_eq!(k.read_vec(GuestAddr(wide_to), 12).unwrap(), b"a\0c\0c\0d\0e\0\0\0");
    }

    #[test]
    fn a_move_that_does_not_fit_changes_nothing() {
        let mut k = kernel();
        let at = block(&mut k, b"abcd");
        for (size, count, result, after) in
            [(3, 3, 0, b"aabc"), (2, 3, 34, b"aabc"), (3, 0, 0, b"aabc")]
        {
            let arguments = [at + 1, size, at, count];
            assert_eq!(call_by_name(&mut k, "memmove_s", &arguments), Ok(result));
            assert_eq!(k.read_vec(GuestAddr(at), 4).unwrap(), after);
        }
        assert_eq!(call_by_name(&mut k, "memmove_s", &[at, 4, 0, 1]), Ok(22));
    }
}
