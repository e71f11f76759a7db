//! Between UTF-16 and the ANSI code page, and between cases.
//!
//! The code page of a machine is a setting; this one has Windows-1252, as Western systems do.

/// Windows-1252 from 0x80 to 0x9F. Source: "Code Page 1252 Windows Latin 1 (ANSI)". Unassigned
/// bytes stand for the control character of the same number.
const HIGH_CONTROLS: [u16; 32] = [
    0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
    0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
];

/// Converts a byte of the ANSI code page.
pub(crate) fn to_unicode(byte: u8) -> u16 {
    let high = byte.checked_sub(0x80).and_then(|index| HIGH_CONTROLS.get(usize::from(index)));
    high.copied().unwrap_or(u16::from(byte))
}

/// Converts to a byte of the ANSI code page; what it lacks becomes a question mark.
pub(crate) fn to_ansi(unit: u16) -> u8 {
    match u8::try_from(unit) {
        Ok(byte) if to_unicode(byte) == unit => byte,
        _ => (0x80..=0x9f).find(|&byte| to_unicode(byte) == unit).unwrap_or(b'?'),
    }
}

/// Upper case of one unit, one to one; never an ASCII letter for one that is not.
pub(crate) fn upcase(unit: u16) -> u16 {
    change_case(unit, |c| one(c.to_uppercase()))
}

/// Lower case of one unit, one to one; never an ASCII letter for one that is not.
pub(crate) fn downcase(unit: u16) -> u16 {
    change_case(unit, |c| one(c.to_lowercase()))
}

fn change_case(unit: u16, change: impl Fn(char) -> Option<char>) -> u16 {
    let changed = char::from_u32(u32::from(unit)).and_then(change);
    let changed = changed.and_then(|c| u16::try_from(u32::from(c)).ok()).unwrap_or(unit);
    if changed < 0x80 && unit >= 0x80 { unit } else { changed }
}

fn one(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::{downcase, to_ansi, to_unicode, upcase};

    #[test]
    fn every_byte_comes_back() {
        assert!((0..=0xff).all(|byte| to_ansi(to_unicode(byte)) == byte));
        assert_eq!((to_ansi(0x20ac), to_ansi(0x4e2d)), (0x80, b'?'));
    }

    #[test]
    fn case_changes_one_to_one() {
        let cases = [
            ('a', 'A'),
            ('z', 'Z'),
            ('[', '['),
            ('\u{e9}', '\u{c9}'),
            ('\u{df}', '\u{df}'),
            ('\u{131}', '\u{131}'),
        ];
        for (lower, upper) in cases {
            let unit = |c: char| u16::try_from(u32::from(c)).unwrap();
            assert_eq!(upcase(unit(lower)), unit(upper), "{lower}");
        }
        assert_eq!(downcase(u16::from(b'Q')), u16::from(b'q'));
    }
}
