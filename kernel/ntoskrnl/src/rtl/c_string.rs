//! C runtime: strings of bytes and of UTF-16.
//!
//! Each routine of bytes has a wide twin with the same body; comparisons without case follow the C
//! locale, which knows the case of ASCII only.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use std::cmp::Ordering;

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Kernel, exports,
    rtl::c_text::{Unit, Units, bound, unit_at},
};

exports![
    strlen, wcslen, strnlen, wcsnlen, strcmp, wcscmp, strncmp, wcsncmp, _stricmp, _wcsicmp,
    _strnicmp, _wcsnicmp, strcpy, wcscpy, strncpy, wcsncpy, strcat, wcscat, strncat, wcsncat,
    strchr, wcschr, strrchr, wcsrchr, strstr, wcsstr, strspn, wcsspn, _strupr, _wcsupr, _strlwr,
    _wcslwr,
];

/// Declares a routine and its wide twin.
macro_rules! twins {
    ($(#[$meta:meta])* $page:literal: $bytes:ident, $wide:ident
        ($k:ident, $($arg:ident: $type:ty),*) -> $result:ty = $body:ident) => {
        $(#[$meta])*
        #[export(irql = .., ddi = $page)]
        fn $bytes($k: &mut Kernel, $($arg: $type),*) -> CallResult<$result> {
            $body::<u8>($k, $($arg),*)
        }

        $(#[$meta])*
        #[export(irql = .., ddi = $page)]
        fn $wide($k: &mut Kernel, $($arg: $type),*) -> CallResult<$result> {
            $body::<u16>($k, $($arg),*)
        }
    };
}

twins! {
    /// Counts units up to the terminator.
    "c-runtime-library/reference/strlen-wcslen-mbslen-mbslen-l-mbstrlen-mbstrlen-l":
    strlen, wcslen(k, text: GuestAddr) -> u64 = length
}
twins! {
    /// Counts units up to the terminator, at most `limit`.
    "c-runtime-library/reference/strnlen-strnlen-s":
    strnlen, wcsnlen(k, text: GuestAddr, limit: u64) -> u64 = length_within
}
twins! {
    /// Compares.
    "c-runtime-library/reference/strcmp-wcscmp-mbscmp":
    strcmp, wcscmp(k, a: GuestAddr, b: GuestAddr) -> i32 = compare
}
twins! {
    /// Compares at most `limit` units.
    "c-runtime-library/reference/strncmp-wcsncmp-mbsncmp-mbsncmp-l":
    strncmp, wcsncmp(k, a: GuestAddr, b: GuestAddr, limit: u64) -> i32 = compare_within
}
twins! {
    /// Compares without case.
    "c-runtime-library/reference/stricmp-wcsicmp-mbsicmp-stricmp-l-wcsicmp-l-mbsicmp-l":
    _stricmp, _wcsicmp(k, a: GuestAddr, b: GuestAddr) -> i32 = compare_caseless
}
twins! {
    /// Compares at most `limit` units without case.
    "c-runtime-library/reference/strnicmp-wcsnicmp-mbsnicmp-strnicmp-l-wcsnicmp-l-mbsnicmp-l":
    _strnicmp, _wcsnicmp(k, a: GuestAddr, b: GuestAddr, limit: u64) -> i32
        = compare_caseless_within
}
twins! {
    /// Copies with the terminator.
    "c-runtime-library/reference/strcpy-wcscpy-mbscpy":
    strcpy, wcscpy(k, to: GuestAddr, from: GuestAddr) -> GuestAddr = copy
}
twins! {
    /// Copies at most `count` units and pads with zeros up to it; there may be no terminator.
    "c-runtime-library/reference/strncpy-strncpy-l-wcsncpy-wcsncpy-l-mbsncpy-mbsncpy-l":
    strncpy, wcsncpy(k, to: GuestAddr, from: GuestAddr, count: u64) -> GuestAddr = copy_padded
}
twins! {
    /// Appends with the terminator.
    "c-runtime-library/reference/strcat-wcscat-mbscat":
    strcat, wcscat(k, to: GuestAddr, from: GuestAddr) -> GuestAddr = append
}
twins! {
    /// Appends at most `count` units and a terminator.
    "c-runtime-library/reference/strncat-strncat-l-wcsncat-wcsncat-l-mbsncat-mbsncat-l":
    strncat, wcsncat(k, to: GuestAddr, from: GuestAddr, count: u64) -> GuestAddr = append_within
}
twins! {
    /// Finds the first unit equal to `unit`, which may be the terminator.
    "c-runtime-library/reference/strchr-wcschr-mbschr-mbschr-l":
    strchr, wcschr(k, text: GuestAddr, unit: u16) -> GuestAddr = find_first
}
twins! {
    /// Finds the last unit equal to `unit`, which may be the terminator.
    "c-runtime-library/reference/strrchr-wcsrchr-mbsrchr-mbsrchr-l":
    strrchr, wcsrchr(k, text: GuestAddr, unit: u16) -> GuestAddr = find_last
}
twins! {
    /// Finds a string in a string.
    "c-runtime-library/reference/strstr-wcsstr-mbsstr-mbsstr-l":
    strstr, wcsstr(k, text: GuestAddr, wanted: GuestAddr) -> GuestAddr = find_text
}
twins! {
    /// Counts the units at the start that are in a set.
    "c-runtime-library/reference/strspn-wcsspn-mbsspn-mbsspn-l":
    strspn, wcsspn(k, text: GuestAddr, set: GuestAddr) -> u64 = count_of_set
}
twins! {
    /// Changes to upper case in place.
    "c-runtime-library/reference/strupr-strupr-l-mbsupr-mbsupr-l-wcsupr-l-wcsupr":
    _strupr, _wcsupr(k, text: GuestAddr) -> GuestAddr = to_upper
}
twins! {
    /// Changes to lower case in place.
    "c-runtime-library/reference/strlwr-wcslwr-mbslwr-strlwr-l-wcslwr-l-mbslwr-l":
    _strlwr, _wcslwr(k, text: GuestAddr) -> GuestAddr = to_lower
}

fn length<T: Unit>(k: &mut Kernel, text: GuestAddr) -> CallResult<u64> {
    k.c_length::<T>(text, usize::MAX)
}

fn length_within<T: Unit>(k: &mut Kernel, text: GuestAddr, limit: u64) -> CallResult<u64> {
    k.c_length::<T>(text, bound(limit))
}

fn compare<T: Unit>(k: &mut Kernel, a: GuestAddr, b: GuestAddr) -> CallResult<i32> {
    compare_by::<T>(k, a, b, u64::MAX, |unit| unit)
}

fn compare_within<T: Unit>(
    k: &mut Kernel,
    a: GuestAddr,
    b: GuestAddr,
    limit: u64,
) -> CallResult<i32> {
    compare_by::<T>(k, a, b, limit, |unit| unit)
}

fn compare_caseless<T: Unit>(k: &mut Kernel, a: GuestAddr, b: GuestAddr) -> CallResult<i32> {
    compare_by::<T>(k, a, b, u64::MAX, T::lower)
}

fn compare_caseless_within<T: Unit>(
    k: &mut Kernel,
    a: GuestAddr,
    b: GuestAddr,
    limit: u64,
) -> CallResult<i32> {
    compare_by::<T>(k, a, b, limit, T::lower)
}

fn compare_by<T: Unit>(
    k: &mut Kernel,
    a: GuestAddr,
    b: GuestAddr,
    limit: u64,
    fold: fn(T) -> T,
) -> CallResult<i32> {
    let (mut left, mut right) = (Units::<T>::at(a), Units::<T>::at(b));
    for _ in 0..limit {
        let (l, r) = (fold(left.next(k)?), fold(right.next(k)?));
        match l.cmp(&r) {
            Ordering::Less => return Ok(-1),
            Ordering::Greater => return Ok(1),
            Ordering::Equal if l == T::default() => return Ok(0),
            Ordering::Equal => {}
        }
    }
    Ok(0)
}

fn copy<T: Unit>(k: &mut Kernel, to: GuestAddr, from: GuestAddr) -> CallResult<GuestAddr> {
    let length = k.c_length::<T>(from, usize::MAX)?;
    k.copy(to, from, (length + 1) * T::SIZE_BYTES as u64)?;
    Ok(to)
}

fn copy_padded<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    from: GuestAddr,
    count: u64,
) -> CallResult<GuestAddr> {
    let length = k.c_length::<T>(from, bound(count))?;
    let unit_bytes = T::SIZE_BYTES as u64;
    k.copy(to, from, length * unit_bytes)?;
    k.fill(unit_at::<T>(to, length), 0, (count - length).saturating_mul(unit_bytes))?;
    Ok(to)
}

fn append<T: Unit>(k: &mut Kernel, to: GuestAddr, from: GuestAddr) -> CallResult<GuestAddr> {
    let used = k.c_length::<T>(to, usize::MAX)?;
    copy::<T>(k, unit_at::<T>(to, used), from)?;
    Ok(to)
}

fn append_within<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    from: GuestAddr,
    count: u64,
) -> CallResult<GuestAddr> {
    let used = k.c_length::<T>(to, usize::MAX)?;
    let length = k.c_length::<T>(from, bound(count))?;
    let end = unit_at::<T>(to, used);
    k.copy(end, from, length * T::SIZE_BYTES as u64)?;
    k.write_units(unit_at::<T>(end, length), &[T::default()])?;
    Ok(to)
}

fn find_first<T: Unit>(k: &mut Kernel, text: GuestAddr, unit: u16) -> CallResult<GuestAddr> {
    let wanted = T::of(unit);
    let mut units = Units::<T>::at(text);
    for index in 0.. {
        let unit = units.next(k)?;
        if unit == wanted {
            return Ok(unit_at::<T>(text, index));
        }
        if unit == T::default() {
            break;
        }
    }
    Ok(GuestAddr::NULL)
}

fn find_last<T: Unit>(k: &mut Kernel, text: GuestAddr, unit: u16) -> CallResult<GuestAddr> {
    let wanted = T::of(unit);
    let mut units = k.c_string::<T>(text, usize::MAX)?;
    units.push(T::default());
    let found = units.iter().rposition(|unit| *unit == wanted);
    Ok(found.map_or(GuestAddr::NULL, |index| unit_at::<T>(text, index as u64)))
}

fn find_text<T: Unit>(k: &mut Kernel, text: GuestAddr, wanted: GuestAddr) -> CallResult<GuestAddr> {
    let (units, wanted) =
        (k.c_string::<T>(text, usize::MAX)?, k.c_string::<T>(wanted, usize::MAX)?);
    if wanted.is_empty() {
        return Ok(text);
    }
    let found = units.windows(wanted.len()).position(|window| window == wanted.as_slice());
    Ok(found.map_or(GuestAddr::NULL, |index| unit_at::<T>(text, index as u64)))
}

fn count_of_set<T: Unit>(k: &mut Kernel, text: GuestAddr, set: GuestAddr) -> CallResult<u64> {
    let set = k.c_string::<T>(set, usize::MAX)?;
    let text = k.c_string::<T>(text, usize::MAX)?;
    Ok(text.iter().take_while(|unit| set.contains(unit)).count() as u64)
}

fn to_upper<T: Unit>(k: &mut Kernel, text: GuestAddr) -> CallResult<GuestAddr> {
    change_case(k, text, T::upper)
}

fn to_lower<T: Unit>(k: &mut Kernel, text: GuestAddr) -> CallResult<GuestAddr> {
    change_case(k, text, T::lower)
}

fn change_case<T: Unit>(
    k: &mut Kernel,
    text: GuestAddr,
    change: fn(T) -> T,
) -> CallResult<GuestAddr> {
    let units = k.c_string::<T>(text, usize::MAX)?;
    let changed: Vec<T> = units.iter().map(|unit| change(*unit)).collect();
    // Only what changes is written: constant strings in the right case may lie in read-only memory.
    for (index, (old, new)) in units.iter().zip(&changed).enumerate() {
        if old != new {
            k.write_scalar(unit_at::<T>(text, index as u64), *new)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::testing::{block, call_by_name, kernel, narrow, narrow_at, wide, wide_at};

    /// Calls the routine of bytes and its wide twin; the result counts units.
    fn check(names: [&str; 2], a: &str, b: &str, rest: &[u64], expected: i64) {
        for (name, make) in names.iter().zip([narrow, wide]) {
            let mut k = kernel();
            let mut arguments = vec![make(&mut k, a), make(&mut k, b)];
            arguments.extend(rest);
            let found = call_by_name(&mut k, name, &arguments).unwrap().cast_signed();
            assert_eq!(found, expected, "{name} {a} {b} {rest:?}");
        }
    }

    #[test]
    fn comparisons_end_where_the_strings_differ() {
        let plain = ["strcmp", "wcscmp"];
        check(plain, "abc", "abc", &[], 0);
        check(plain, "abc", "abd", &[], -1);
        check(plain, "abc", "ab", &[], 1);
        check(plain, "", "a", &[], -1);
        check(["strncmp", "wcsncmp"], "abcx", "abcy", &[3], 0);
        check(["strncmp", "wcsncmp"], "abcx", "abcy", &[4], -1);
        check(["_stricmp", "_wcsicmp"], "HeLLo", "hEllO", &[], 0);
        check(["_stricmp", "_wcsicmp"], "a_", "aB", &[], -1);
        check(["_strnicmp", "_wcsnicmp"], "PREfix", "preFAR", &[3], 0);
        check(["strspn", "wcsspn"], "aabbc", "ab", &[], 4);
    }

    #[test]
    fn searches_return_addresses() {
        let mut k = kernel();
        for (names, unit_bytes) in
            [(["strchr", "strrchr", "strstr"], 1), (["wcschr", "wcsrchr", "wcsstr"], 2)]
        {
            let make = if unit_bytes == 1 { narrow } else { wide };
            let text = make(&mut k, "a-b-c");
            let dash = u64::from(b'-');
            let [first, last, within] = names;
            let at = |index: u64| Ok(text + index * unit_bytes);
            assert_eq!(call_by_name(&mut k, first, &[text, dash]), at(1));
            assert_eq!(call_by_name(&mut k, last, &[text, dash]), at(3));
            assert_eq!(call_by_name(&mut k, first, &[text, 0]), at(5));
            assert_eq!(call_by_name(&mut k, first, &[text, u64::from(b'x')]), Ok(0));
            let wanted = make(&mut k, "b-");
            assert_eq!(call_by_name(&mut k, within, &[text, wanted]), at(2));
            let empty = make(&mut k, "");
            assert_eq!(call_by_name(&mut k, within, &[text, empty]), at(0));
        }
    }

    #[test]
    fn copies_fill_what_they_should() {
        let mut k = kernel();
        let to = block(&mut k, b"........");
        let from = narrow(&mut k, "abc");
        let bytes = |k: &mut crate::Kernel| {
            String::from_utf8(k.read_vec(guest_memory::GuestAddr(to), 8).unwrap()).unwrap()
        };
        call_by_name(&mut k, "strcpy", &[to, from]).unwrap();
        assert_eq!(bytes(&mut k), "abc\0....");
        call_by_name(&mut k, "strcat", &[to, from]).unwrap();
        assert_eq!(bytes(&mut k), "abcabc\0.");
        call_by_name(&mut k, "strncpy", &[to, from, 2]).unwrap();
        assert_eq!(bytes(&mut k), "abcabc\0.");
        call_by_name(&mut k, "strncpy", &[to, from, 7]).unwrap();
        assert_eq!(bytes(&mut k), "abc\0\0\0\0.");
        call_by_name(&mut k, "strncat", &[to, from, 1]).unwrap();
        assert_eq!(bytes(&mut k), "abca\0\0\0.");
        call_by_name(&mut k, "_strupr", &[to]).unwrap();
        assert_eq!(narrow_at(&mut k, to), "ABCA");
        let text = wide(&mut k, "MiXed\u{c9}");
        call_by_name(&mut k, "_wcslwr", &[text]).unwrap();
        assert_eq!(wide_at(&mut k, text), "mixed\u{c9}");
        assert_eq!(call_by_name(&mut k, "wcslen", &[text]), Ok(6));
        assert_eq!(call_by_name(&mut k, "wcsnlen", &[text, 4]), Ok(4));
        // No room for the terminator.
        let short = block(&mut k, b"...");
        assert!(call_by_name(&mut k, "strcpy", &[short, from]).is_err());
    }

    #[test]
    fn wide_copies_count_units() {
        let mut k = kernel();
        let to = block(&mut k, &b".\0".repeat(8));
        let from = wide(&mut k, "abc");
        let units = |k: &mut crate::Kernel| -> String {
            let bytes = k.read_vec(guest_memory::GuestAddr(to), 16).unwrap();
            bytes.iter().step_by(2).map(|byte| char::from(*byte)).collect()
        };
        assert_eq!(call_by_name(&mut k, "wcscpy", &[to, from]), Ok(to));
        assert_eq!(units(&mut k), "abc\0....");
        assert_eq!(call_by_name(&mut k, "wcscat", &[to, from]), Ok(to));
        assert_eq!(units(&mut k), "abcabc\0.");
        assert_eq!(call_by_name(&mut k, "wcsncpy", &[to, from, 5]), Ok(to));
        assert_eq!(units(&mut k), "abc\0\0c\0.");
        assert_eq!(call_by_name(&mut k, "wcsncat", &[to, from, 2]), Ok(to));
        assert_eq!(units(&mut k), "abcab\0\0.");
        call_by_name(&mut k, "_wcsupr", &[to]).unwrap();
        assert_eq!(units(&mut k), "ABCAB\0\0.");
        let text = narrow(&mut k, "MiXed1");
        call_by_name(&mut k, "_strlwr", &[text]).unwrap();
        assert_eq!(narrow_at(&mut k, text), "mixed1");
        assert_eq!(call_by_name(&mut k, "strlen", &[text]), Ok(6));
        assert_eq!(call_by_name(&mut k, "strnlen", &[text, 4]), Ok(4));
        assert_eq!(call_by_name(&mut k, "strnlen", &[text, 40]), Ok(6));
    }
}
