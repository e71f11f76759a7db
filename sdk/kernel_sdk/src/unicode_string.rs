//! `UNICODE_STRING`: counted UTF-16 without a terminator.

use core::{marker::PhantomData, slice};

/// A counted UTF-16 string that lives as long as `'a`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UnicodeString<'a> {
    len_bytes: u16,
    capacity_bytes: u16,
    units: *const u16,
    lives: PhantomData<&'a [u16]>,
}
const _: () = assert!(size_of::<UnicodeString<'_>>() == 16);

// SAFETY: nobody writes through it.
unsafe impl Sync for UnicodeString<'_> {}

impl<'a> UnicodeString<'a> {
    /// Refers to `units`, of which there are at most 32,767.
    pub const fn new(units: &'a [u16]) -> Self {
        assert!(units.len() <= 0x7FFF, "a UNICODE_STRING counts its bytes in 16 bits");
        let len_bytes = (units.len() * 2) as u16;
        Self { len_bytes, capacity_bytes: len_bytes, units: units.as_ptr(), lives: PhantomData }
    }

    /// The code units.
    pub const fn units(&self) -> &'a [u16] {
        if self.len_bytes < 2 {
            return &[];
        }
        // SAFETY: whoever made the string, here or in the kernel, points at that many bytes.
        unsafe { slice::from_raw_parts(self.units, self.len_bytes as usize / 2) }
    }
}

/// Widens ASCII text at compile time; see [`unicode_string!`](crate::unicode_string).
pub const fn encode_utf16<const N: usize>(text: &str) -> [u16; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() == N && text.is_ascii(), "the literal must be ASCII");
    let mut units = [0; N];
    let mut i = 0;
    while i < N {
        units[i] = bytes[i] as u16;
        i += 1;
    }
    units
}

/// A `UnicodeString<'static>` from an ASCII literal.
#[macro_export]
macro_rules! unicode_string {
    ($text:literal) => {{
        static UNITS: [u16; $text.len()] = $crate::encode_utf16($text);
        $crate::UnicodeString::new(&UNITS)
    }};
}
