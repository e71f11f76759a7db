//! C runtime: `sprintf`, `_snprintf` and kin.
//!
//! The kernel exports the forms of the old C library: `swprintf` has no length, `_snprintf` leaves
//! a full buffer without a terminator. Source: the C runtime reference, by routine.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Kernel, VarArgs, exports,
    rtl::{
        c_text::{Unit, bound},
        printf::format,
    },
};

exports![
    sprintf,
    swprintf,
    vsprintf,
    _snprintf,
    _snwprintf,
    _vsnprintf,
    _vsnwprintf,
    sprintf_s,
    swprintf_s,
    vsprintf_s,
    vswprintf_s,
    _snprintf_s,
    _snwprintf_s,
    _vsnprintf_s,
    _vsnwprintf_s,
];

/// Prints without a bound.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/sprintf-sprintf-l-swprintf-swprintf-l-swprintf-l",
)]
fn sprintf(k: &mut Kernel, to: GuestAddr, text: GuestAddr, mut args: VarArgs) -> CallResult<i32> {
    print::<u8>(k, to, None, text, &mut args)
}

/// Prints UTF-16 without a bound: the form with two named arguments.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/sprintf-sprintf-l-swprintf-swprintf-l-swprintf-l",
)]
fn swprintf(k: &mut Kernel, to: GuestAddr, text: GuestAddr, mut args: VarArgs) -> CallResult<i32> {
    print::<u16>(k, to, None, text, &mut args)
}

/// Prints a `va_list` without a bound.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsprintf-vsprintf-l-vswprintf-vswprintf-l-vswprintf-l",
)]
fn vsprintf(k: &mut Kernel, to: GuestAddr, text: GuestAddr, list: GuestAddr) -> CallResult<i32> {
    print::<u8>(k, to, None, text, &mut VarArgs::from_list(list))
}

/// Prints at most `count` bytes, with a terminator if there is room.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/snprintf-snprintf-snprintf-l-snwprintf-snwprintf-l",
)]
fn _snprintf(
    k: &mut Kernel,
    to: GuestAddr,
    count: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print::<u8>(k, to, Some(count), text, &mut args)
}

/// Prints at most `count` UTF-16 units, with a terminator if there is room.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/snprintf-snprintf-snprintf-l-snwprintf-snwprintf-l",
)]
fn _snwprintf(
    k: &mut Kernel,
    to: GuestAddr,
    count: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print::<u16>(k, to, Some(count), text, &mut args)
}

/// As `_snprintf`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsnprintf-vsnprintf-vsnprintf-l-vsnwprintf-vsnwprintf-l",
)]
fn _vsnprintf(
    k: &mut Kernel,
    to: GuestAddr,
    count: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print::<u8>(k, to, Some(count), text, &mut VarArgs::from_list(list))
}

/// As `_snwprintf`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsnprintf-vsnprintf-vsnprintf-l-vsnwprintf-vsnwprintf-l",
)]
fn _vsnwprintf(
    k: &mut Kernel,
    to: GuestAddr,
    count: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print::<u16>(k, to, Some(count), text, &mut VarArgs::from_list(list))
}

/// Prints into a buffer of known size; too little room empties it.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/sprintf-s-sprintf-s-l-swprintf-s-swprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn sprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print_secure::<u8>(k, to, size, u64::MAX - 1, text, &mut args)
}

/// As `sprintf_s`, of UTF-16.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/sprintf-s-sprintf-s-l-swprintf-s-swprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn swprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print_secure::<u16>(k, to, size, u64::MAX - 1, text, &mut args)
}

/// As `sprintf_s`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsprintf-s-vsprintf-s-l-vswprintf-s-vswprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn vsprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print_secure::<u8>(k, to, size, u64::MAX - 1, text, &mut VarArgs::from_list(list))
}

/// As `swprintf_s`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsprintf-s-vsprintf-s-l-vswprintf-s-vswprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn vswprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print_secure::<u16>(k, to, size, u64::MAX - 1, text, &mut VarArgs::from_list(list))
}

/// Prints at most `count` bytes and a terminator.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/snprintf-s-snprintf-s-l-snwprintf-s-snwprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn _snprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    count: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print_secure::<u8>(k, to, size, count, text, &mut args)
}

/// As `_snprintf_s`, of UTF-16.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/snprintf-s-snprintf-s-l-snwprintf-s-snwprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn _snwprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    count: u64,
    text: GuestAddr,
    mut args: VarArgs,
) -> CallResult<i32> {
    print_secure::<u16>(k, to, size, count, text, &mut args)
}

/// As `_snprintf_s`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsnprintf-s-vsnprintf-s-vsnprintf-s-l-vsnwprintf-s\
        -vsnwprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn _vsnprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    count: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print_secure::<u8>(k, to, size, count, text, &mut VarArgs::from_list(list))
}

/// As `_snwprintf_s`, for a `va_list`.
#[export(
    irql = ..,
    ddi = "c-runtime-library/reference/vsnprintf-s-vsnprintf-s-vsnprintf-s-l-vsnwprintf-s\
        -vsnwprintf-s-l",
    limits = "the invalid parameter handler is not called",
)]
fn _vsnwprintf_s(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    count: u64,
    text: GuestAddr,
    list: GuestAddr,
) -> CallResult<i32> {
    print_secure::<u16>(k, to, size, count, text, &mut VarArgs::from_list(list))
}

/// Formats, writes at most `count` units (`None`: all), and a terminator if it fits. Returns the
/// length, or -1 if it was cut.
fn print<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    count: Option<u64>,
    text: GuestAddr,
    args: &mut VarArgs,
) -> CallResult<i32> {
    let mut units: Vec<T> = formatted(k, text, args)?;
    let length = units.len();
    let count = count.map_or(usize::MAX, bound);
    if length < count {
        units.push(T::default());
    }
    units.truncate(count);
    k.write_units(to, &units)?;
    Ok(if length > count { -1 } else { length_of(length) })
}

/// `_TRUNCATE`: as many as fit.
const TRUNCATE: u64 = u64::MAX;

/// Formats for a routine that knows the buffer's size in units and always writes a terminator.
fn print_secure<T: Unit>(
    k: &mut Kernel,
    to: GuestAddr,
    size: u64,
    count: u64,
    text: GuestAddr,
    args: &mut VarArgs,
) -> CallResult<i32> {
    if to.is_null() || text.is_null() || size == 0 {
        return Ok(-1);
    }
    let mut units: Vec<T> = formatted(k, text, args)?;
    let length = units.len();
    let room = bound(size - 1);
    let wanted = if count == TRUNCATE { room.min(length) } else { bound(count).min(length) };
    if wanted > room {
        k.write_units(to, &[T::default()])?;
        return Ok(-1);
    }
    units.truncate(wanted);
    units.push(T::default());
    k.write_units(to, &units)?;
    Ok(if wanted < length { -1 } else { length_of(length) })
}

fn formatted<T: Unit>(k: &mut Kernel, text: GuestAddr, args: &mut VarArgs) -> CallResult<Vec<T>> {
    Ok(format::<T>(k, text, args)?.units.into_iter().map(T::of).collect())
}

fn length_of(length: usize) -> i32 {
    i32::try_from(length).expect("the format engine bounds its text")
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;

    use super::TRUNCATE;
    use crate::{
        Kernel,
        testing::{block, call_by_name, kernel, narrow, wide},
    };

    const MINUS_ONE: u64 = u64::MAX;
    /// What the buffer holds before.
    const OLD: u8 = b'.';

    /// Calls a routine whose last arguments are a format of one number and that number, or a list
    /// with it, and returns the result with the buffer of 8 units as text.
    fn print(name: &str, bounds: &[u64]) -> (u64, String) {
        let mut k = kernel();
        let is_wide = name.contains('w');
        let (old, format) = if is_wide {
            ([OLD, 0].repeat(8), wide(&mut k, "x=%d"))
        } else {
            (vec![OLD; 8], narrow(&mut k, "x=%d"))
        };
        let to = block(&mut k, &old);
        let list = block(&mut k, &1234_u64.to_le_bytes());
        let is_list = name.contains("vs");
        let arguments = [&[to], bounds, &[format, if is_list { list } else { 1234 }]].concat();
        let result = call_by_name(&mut k, name, &arguments).unwrap();
        // An `int`: the upper half of the register says nothing.
        let result = u64::from_le_bytes(i64::from(low(result)).to_le_bytes());
        (result, text(&mut k, to, if is_wide { 2 } else { 1 }))
    }

    fn low(result: u64) -> i32 {
        u32::try_from(result & 0xffff_ffff).expect("32 bits").cast_signed()
    }

    fn text(k: &mut Kernel, at: u64, unit_bytes: usize) -> String {
        let bytes = k.read_vec(GuestAddr(at), 8 * unit_bytes as u64).unwrap();
        bytes.iter().step_by(unit_bytes).map(|byte| char::from(*byte)).collect()
    }

    #[test]
    fn the_plain_forms_write_all_and_a_terminator() {
        for name in ["sprintf", "swprintf", "vsprintf"] {
            assert_eq!(print(name, &[]), (6, "x=1234\0.".to_owned()), "{name}");
        }
    }

    #[test]
    fn the_counted_forms_cut_and_leave_out_the_terminator() {
        for name in ["_snprintf", "_snwprintf", "_vsnprintf", "_vsnwprintf"] {
            assert_eq!(print(name, &[8]), (6, "x=1234\0.".to_owned()), "{name}");
            assert_eq!(print(name, &[6]), (6, "x=1234..".to_owned()), "{name}");
            assert_eq!(print(name, &[4]), (MINUS_ONE, "x=12....".to_owned()), "{name}");
        }
    }

    #[test]
    fn the_secure_forms_empty_a_buffer_that_is_too_small() {
        for name in ["sprintf_s", "swprintf_s", "vsprintf_s", "vswprintf_s"] {
            assert_eq!(print(name, &[8]), (6, "x=1234\0.".to_owned()), "{name}");
            assert_eq!(print(name, &[7]), (6, "x=1234\0.".to_owned()), "{name}");
            assert_eq!(print(name, &[6]), (MINUS_ONE, "\0.......".to_owned()), "{name}");
        }
    }

    #[test]
    fn the_secure_counted_forms_cut_at_the_count() {
        for name in ["_snprintf_s", "_snwprintf_s", "_vsnprintf_s", "_vsnwprintf_s"] {
            assert_eq!(print(name, &[8, 7]), (6, "x=1234\0.".to_owned()), "{name}");
            assert_eq!(print(name, &[8, 3]), (MINUS_ONE, "x=1\0....".to_owned()), "{name}");
            assert_eq!(print(name, &[4, TRUNCATE]), (MINUS_ONE, "x=1\0....".to_owned()), "{name}");
            assert_eq!(print(name, &[4, 6]), (MINUS_ONE, "\0.......".to_owned()), "{name}");
        }
    }
}
