//! The format engine behind `DbgPrint`, `_snwprintf` and kin.
//!
//! Source: "Format specification syntax: printf and wprintf functions", and the `DbgPrint` page for
//! what the kernel's version lacks.

use guest_memory::GuestAddr;
use nt_abi::structures::UNICODE_STRING;

use crate::{
    CallResult, Kernel, Stop, VarArgs,
    rtl::{
        c_text::{Unit, Units},
        code_page::{to_ansi, to_unicode},
    },
};

/// Longest text that one call makes.
const LONGEST_UNITS: usize = 1 << 20;
/// What a unit costs, in units of `GuestMemory::exert`.
const UNIT_EFFORT: u64 = 16;

/// What came out of a format string.
#[derive(Debug, Default)]
pub(crate) struct Formatted {
    /// The text: bytes for a routine of bytes, UTF-16 for a wide one.
    pub(crate) units: Vec<u16>,
    /// A UTF-16 argument was converted to bytes.
    pub(crate) converts_unicode: bool,
}

/// Formats for a routine whose format string consists of `T`.
pub(crate) fn format<T: Unit>(
    k: &mut Kernel,
    format: GuestAddr,
    args: &mut VarArgs,
) -> CallResult<Formatted> {
    let is_wide = T::SIZE_BYTES == 2;
    let mut engine = Engine { is_wide, out: Formatted::default() };
    let mut text = Units::<T>::at(format);
    let mut counted_units = 0;
    loop {
        let units = engine.out.units.len();
        k.memory.exert((units - counted_units) as u64 * UNIT_EFFORT);
        counted_units = units;
        let unit = text.next(k)?.code();
        if unit == 0 {
            return Ok(engine.out);
        }
        if unit != u16::from(b'%') {
            engine.push(&[unit])?;
            continue;
        }
        let directive = Directive::parse(k, &mut text, args)?;
        if directive.conversion == 0 {
            return Ok(engine.out);
        }
        engine.convert(k, &directive, args)?;
    }
}

/// Length of an argument, as a prefix names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Default,
    Byte,
    Short,
    Long,
    Wide,
    Int64,
    Int32,
}

/// One conversion specification.
#[derive(Clone, Copy, Debug)]
struct Directive {
    is_left: bool,
    has_plus: bool,
    has_space: bool,
    has_zero: bool,
    is_alternate: bool,
    width: usize,
    precision: Option<usize>,
    size: Size,
    /// The conversion character; 0 if the format string ended.
    conversion: u16,
}

impl Directive {
    fn parse<T: Unit>(k: &mut Kernel, text: &mut Units<T>, args: &mut VarArgs) -> CallResult<Self> {
        let mut this = Self {
            is_left: false,
            has_plus: false,
            has_space: false,
            has_zero: false,
            is_alternate: false,
            width: 0,
            precision: None,
            size: Size::Default,
            conversion: 0,
        };
        let mut unit = next_ascii(k, text)?;
        loop {
            match unit {
                b'-' => this.is_left = true,
                b'+' => this.has_plus = true,
                b' ' => this.has_space = true,
                b'0' => this.has_zero = true,
                b'#' => this.is_alternate = true,
                _ => break,
            }
            unit = next_ascii(k, text)?;
        }
        if let Some(width) = number(k, text, args, &mut unit)? {
            this.is_left |= width < 0;
            this.width = clamp(width.unsigned_abs());
        }
        if unit == b'.' {
            unit = next_ascii(k, text)?;
            let precision = number(k, text, args, &mut unit)?.unwrap_or(0);
            // A negative precision is as none.
            this.precision = u64::try_from(precision).ok().map(clamp);
        }
        this.parse_size(k, text, &mut unit)?;
        this.conversion = u16::from(unit);
        Ok(this)
    }

    fn parse_size<T: Unit>(
        &mut self,
        k: &mut Kernel,
        text: &mut Units<T>,
        unit: &mut u8,
    ) -> CallResult<()> {
        loop {
            self.size = match (*unit, self.size) {
                (b'h', Size::Short) => Size::Byte,
                (b'h', _) => Size::Short,
                (b'l', Size::Long) | (b'j' | b'z' | b't', _) => Size::Int64,
                (b'l', _) => Size::Long,
                (b'w', _) => Size::Wide,
                (b'I', _) => {
                    *unit = next_ascii(k, text)?;
                    self.size = Size::Int64;
                    if matches!(*unit, b'3' | b'6') {
                        self.size = if *unit == b'3' { Size::Int32 } else { Size::Int64 };
                        // The second digit, 2 or 4.
                        next_ascii(k, text)?;
                        *unit = next_ascii(k, text)?;
                    }
                    continue;
                }
                _ => return Ok(()),
            };
            *unit = next_ascii(k, text)?;
        }
    }

    /// Whether a character or string argument is UTF-16.
    fn is_wide(&self, by_default: bool) -> bool {
        match self.size {
            Size::Short => false,
            Size::Long | Size::Wide => true,
            _ => by_default,
        }
    }
}

/// A number in the format string, or `*` for an argument.
fn number<T: Unit>(
    k: &mut Kernel,
    text: &mut Units<T>,
    args: &mut VarArgs,
    unit: &mut u8,
) -> CallResult<Option<i64>> {
    if *unit == b'*' {
        *unit = next_ascii(k, text)?;
        return Ok(Some(sign_extend(args.next(k)?, 4)));
    }
    let mut value = None;
    while unit.is_ascii_digit() {
        let digit = i64::from(*unit - b'0');
        value = Some((value.unwrap_or(0) * 10 + digit).min(i64::from(i32::MAX)));
        *unit = next_ascii(k, text)?;
    }
    Ok(value)
}

/// The next unit of a specification; what is not ASCII is no conversion and prints as itself.
fn next_ascii<T: Unit>(k: &mut Kernel, text: &mut Units<T>) -> CallResult<u8> {
    Ok(u8::try_from(text.next(k)?.code()).unwrap_or(b'?'))
}

fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(LONGEST_UNITS)
}

/// The low bytes as a signed number.
fn sign_extend(value: u64, size_bytes: u32) -> i64 {
    let unused_bits = 64 - 8 * size_bytes;
    (value << unused_bits).cast_signed() >> unused_bits
}

#[derive(Debug)]
struct Engine {
    is_wide: bool,
    out: Formatted,
}

impl Engine {
    fn push(&mut self, units: &[u16]) -> CallResult<()> {
        if self.out.units.len() + units.len() > LONGEST_UNITS {
            return Err(Stop::Limit { what: format!("{LONGEST_UNITS} characters in one print") });
        }
        self.out.units.extend_from_slice(units);
        Ok(())
    }

    fn convert(&mut self, k: &mut Kernel, d: &Directive, args: &mut VarArgs) -> CallResult<()> {
        match u8::try_from(d.conversion).unwrap_or(0) {
            b'd' | b'i' => {
                let value = args.next(k)?;
                let value = sign_extend(value, size_bytes(d.size));
                self.integer(d, value < 0, value.unsigned_abs(), 10, b"")
            }
            b'u' => self.unsigned(k, d, args, 10, b""),
            b'o' => self.unsigned(k, d, args, 8, b"0"),
            b'x' => self.unsigned(k, d, args, 16, b"0x"),
            b'X' => self.unsigned(k, d, args, 16, b"0X"),
            b'p' => {
                let value = args.next(k)?;
                let d = Directive { precision: Some(16), conversion: u16::from(b'X'), ..*d };
                self.integer(&d, false, value, 16, b"0X")
            }
            b'c' => self.character(k, d, args, d.is_wide(self.is_wide)),
            b'C' => self.character(k, d, args, d.is_wide(!self.is_wide)),
            b's' => self.string(k, d, args, d.is_wide(self.is_wide)),
            b'S' => self.string(k, d, args, d.is_wide(!self.is_wide)),
            b'Z' => self.counted_string(k, d, args),
            letter @ (b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' | b'n') => {
                let routine = k.core().call.map_or("a print", |call| call.name);
                let letter = char::from(letter);
                Err(Stop::unsupported(format!("conversion `%{letter}` in `{routine}`")))
            }
            _ => self.push(&[d.conversion]),
        }
    }

    fn unsigned(
        &mut self,
        k: &mut Kernel,
        d: &Directive,
        args: &mut VarArgs,
        base: u64,
        prefix: &[u8],
    ) -> CallResult<()> {
        let value = args.next(k)? & (u64::MAX >> (64 - 8 * size_bytes(d.size)));
        let plain = Directive { has_plus: false, has_space: false, ..*d };
        self.integer(&plain, false, value, base, prefix)
    }

    fn integer(
        &mut self,
        d: &Directive,
        is_negative: bool,
        magnitude: u64,
        base: u64,
        prefix: &[u8],
    ) -> CallResult<()> {
        let is_upper = d.conversion == u16::from(b'X');
        let mut digits = digits(magnitude, base, is_upper);
        let minimum = d.precision.unwrap_or(1);
        let is_octal = base == 8;
        while digits.len() < minimum {
            digits.insert(0, b'0');
        }
        let mut head = Vec::new();
        if is_negative {
            head.push(b'-');
        } else if d.has_plus {
            head.push(b'+');
        } else if d.has_space {
            head.push(b' ');
        }
        if d.is_alternate && is_octal && digits.first() != Some(&b'0') {
            digits.insert(0, b'0');
        }
        if d.is_alternate && !is_octal && magnitude != 0 {
            head.extend_from_slice(prefix);
        }
        let used = head.len() + digits.len();
        if d.has_zero && !d.is_left && d.precision.is_none() {
            head.extend(std::iter::repeat_n(b'0', d.width.saturating_sub(used)));
        }
        head.extend(digits);
        let units: Vec<u16> = head.into_iter().map(u16::from).collect();
        self.pad(d, &units)
    }

    fn character(
        &mut self,
        k: &mut Kernel,
        d: &Directive,
        args: &mut VarArgs,
        is_wide: bool,
    ) -> CallResult<()> {
        let [low, high, ..] = args.next(k)?.to_le_bytes();
        let unit = if is_wide { u16::from_le_bytes([low, high]) } else { u16::from(low) };
        let unit = self.converted(unit, is_wide);
        self.pad(d, &[unit])
    }

    fn string(
        &mut self,
        k: &mut Kernel,
        d: &Directive,
        args: &mut VarArgs,
        is_wide: bool,
    ) -> CallResult<()> {
        let at = GuestAddr(args.next(k)?);
        let limit = d.precision.unwrap_or(usize::MAX);
        let text = if at.is_null() {
            NULL_TEXT.iter().take(limit).map(|&b| u16::from(b)).collect()
        } else if is_wide {
            self.all_converted(&k.c_string::<u16>(at, limit)?, true)
        } else {
            let bytes = k.c_string::<u8>(at, limit)?;
            self.all_converted(&bytes.into_iter().map(u16::from).collect::<Vec<_>>(), false)
        };
        self.pad(d, &text)
    }

    /// `%wZ` and `%Z`: `UNICODE_STRING` and `STRING`, which have the same layout.
    fn counted_string(
        &mut self,
        k: &mut Kernel,
        d: &Directive,
        args: &mut VarArgs,
    ) -> CallResult<()> {
        let at = GuestAddr(args.next(k)?);
        let is_wide = d.is_wide(false);
        let buffer = if at.is_null() {
            GuestAddr::NULL
        } else {
            GuestAddr(k.get(at, UNICODE_STRING::Buffer)?)
        };
        if buffer.is_null() {
            let text: Vec<u16> = NULL_TEXT.iter().map(|&b| u16::from(b)).collect();
            return self.pad(d, &text);
        }
        let length_bytes = usize::from(k.get(at, UNICODE_STRING::Length)?);
        let unit_bytes = if is_wide { 2 } else { 1 };
        let count = (length_bytes / unit_bytes).min(d.precision.unwrap_or(usize::MAX));
        let bytes = k.read_vec(buffer, (count * unit_bytes) as u64)?;
        let units: Vec<u16> = if is_wide {
            bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
        } else {
            bytes.into_iter().map(u16::from).collect()
        };
        let text = self.all_converted(&units, is_wide);
        self.pad(d, &text)
    }

    fn all_converted(&mut self, units: &[u16], is_wide: bool) -> Vec<u16> {
        if is_wide && !self.is_wide {
            self.out.converts_unicode = true;
        }
        units.iter().map(|&unit| self.converted(unit, is_wide)).collect()
    }

    /// A unit of an argument as a unit of the result.
    fn converted(&mut self, unit: u16, is_wide: bool) -> u16 {
        match (is_wide, self.is_wide) {
            (true, false) => {
                self.out.converts_unicode = true;
                u16::from(to_ansi(unit))
            }
            (false, true) => to_unicode(u8::of(unit)),
            _ => unit,
        }
    }

    fn pad(&mut self, d: &Directive, text: &[u16]) -> CallResult<()> {
        let fill = if d.has_zero && !d.is_left && d.precision.is_none() { b'0' } else { b' ' };
        let missing = d.width.saturating_sub(text.len());
        let padding = |fill: u8| vec![u16::from(fill); missing];
        if !d.is_left {
            self.push(&padding(fill))?;
        }
        self.push(text)?;
        if d.is_left {
            self.push(&padding(b' '))?;
        }
        Ok(())
    }
}

const NULL_TEXT: &[u8] = b"(null)";

/// On Windows a `long` has 32 bits.
fn size_bytes(size: Size) -> u32 {
    match size {
        Size::Byte => 1,
        Size::Short => 2,
        Size::Default | Size::Long | Size::Wide | Size::Int32 => 4,
        Size::Int64 => 8,
    }
}

/// Digits without leading zeros; none for 0.
pub(crate) fn digits(mut value: u64, base: u64, is_upper: bool) -> Vec<u8> {
    let mut digits = Vec::new();
    while value != 0 {
        let digit = u32::try_from(value % base).expect("a base is at most 36");
        let base = u32::try_from(base).expect("a base is at most 36");
        let digit = char::from_digit(digit, base).expect("a digit is below its base");
        let digit = if is_upper { digit.to_ascii_uppercase() } else { digit };
        digits.push(u8::try_from(digit).expect("digits are ASCII"));
        value /= u64::from(base);
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use crate::testing::{block, call_by_name, kernel, narrow, narrow_at, unicode_string, wide};

    /// An argument of a test case.
    #[derive(Clone, Copy)]
    enum Arg {
        Int(u64),
        Narrow(&'static str),
        Wide(&'static str),
        Counted(&'static str),
    }
    use Arg::{Counted, Int, Narrow, Wide};

    fn check(format: &str, args: &[Arg], expected: &str) {
        let mut k = kernel();
        let to = block(&mut k, &[0xee; 256]);
        let mut arguments = vec![to, narrow(&mut k, format)];
        for arg in args {
            arguments.push(match arg {
                Int(value) => *value,
                Narrow(text) => narrow(&mut k, text),
                Wide(text) => wide(&mut k, text),
                Counted(text) => unicode_string(&mut k, text, 0),
            });
        }
        let length = call_by_name(&mut k, "sprintf", &arguments).unwrap();
        assert_eq!(narrow_at(&mut k, to), expected, "{format}");
        assert_eq!(length, expected.chars().count() as u64, "{format}");
    }

    #[test]
    fn conversions_follow_the_documentation() {
        let minus = |value: i64| Int(value.cast_unsigned());
        check("100%%", &[], "100%");
        check("%d %i", &[minus(-5), Int(7)], "-5 7");
        check("%d", &[Int(0xffff_ffff)], "-1");
        check("%u", &[Int(0xffff_ffff_ffff_ffff)], "4294967295");
        check("%I64x %llX %I64d", &[Int(0x1_0000_0000), Int(0xab), minus(-1)], "100000000 AB -1");
        check("%hd|%hu", &[Int(0x1_8000), Int(0x1_8000)], "-32768|32768");
        check("%08x|%-8x|%8x|", &[Int(0xbeef); 3], "0000beef|beef    |    beef|");
        check("%#x %#X %#o %#x", &[Int(26), Int(26), Int(8), Int(0)], "0x1a 0X1A 010 0");
        check("%+d % d %+u", &[Int(3), Int(3), Int(3)], "+3  3 3");
        check("%.5d|%8.3d|%-6.2d|%08.3d", &[Int(42); 4], "00042|     042|42    |     042");
        check("%.0d|%d", &[Int(0), Int(0)], "|0");
        check("%*d|%-*d|%.*d", &[Int(4), Int(1), Int(4), Int(1), Int(3), Int(1)], "   1|1   |001");
        check("%p", &[Int(0xffff_8000_1234_abcd)], "FFFF80001234ABCD");
        check("%c%C", &[Int(0x41), Int(0x42)], "AB");
        check("%s|%5s|%-5s|%.2s", &[Narrow("abc"); 4], "abc|  abc|abc  |ab");
        check("%ws %ls %S %hs", &[Wide("w"), Wide("l"), Wide("S"), Narrow("h")], "w l S h");
        check(
            "%wZ|%10wZ|%.2wZ",
            &[Counted("zed"), Counted("zed"), Counted("zed")],
            "zed|       zed|ze",
        );
        check("%s %ws %wZ", &[Int(0), Int(0), Int(0)], "(null) (null) (null)");
        check("%ws", &[Wide("\u{20ac}\u{4e2d}")], "\u{fffd}?");
        check("%y", &[], "y");
    }

    #[test]
    fn a_string_is_not_read_behind_its_precision() {
        let mut k = kernel();
        let to = block(&mut k, &[0; 16]);
        let text = block(&mut k, b"abc");
        let format = narrow(&mut k, "%.3s");
        call_by_name(&mut k, "sprintf", &[to, format, text]).unwrap();
        assert_eq!(narrow_at(&mut k, to), "abc");
    }

    #[test]
    fn lengths_and_terminators_follow_the_routine() {
        let cases: &[(&str, &[u64], &str, i64, &str)] = &[
            ("_snprintf", &[8], "abcd", 4, "abcd\0"),
            ("_snprintf", &[4], "abcd", 4, "abcd."),
            ("_snprintf", &[3], "abcd", -1, "abc.."),
            ("sprintf_s", &[5], "abcd", 4, "abcd\0"),
            ("sprintf_s", &[4], "abcd", -1, "\0...."),
            ("_snprintf_s", &[5, u64::MAX], "abcdef", -1, "abcd\0"),
            ("_snprintf_s", &[5, 2], "abcdef", -1, "ab\0.."),
        ];
        for (name, sizes, text, result, expected) in cases {
            let mut k = kernel();
            let to = block(&mut k, b".....");
            let mut arguments = vec![to];
            arguments.extend(*sizes);
            arguments.push(narrow(&mut k, text));
            let returned = call_by_name(&mut k, name, &arguments).unwrap();
            assert_eq!(returned.cast_signed(), *result, "{name} {sizes:?}");
            let bytes = k.read_vec(guest_memory::GuestAddr(to), 5).unwrap();
            assert_eq!(bytes, expected.as_bytes(), "{name} {sizes:?}");
        }
    }
}
