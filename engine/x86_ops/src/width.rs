//! Operand sizes of integer instructions.

#![expect(clippy::cast_possible_truncation, reason = "truncation to the width is the purpose")]
#![expect(clippy::cast_possible_wrap, reason = "bit patterns")]

/// An operand size. Values travel as `u64`, zero-extended.
pub trait Width: Copy + Eq + Default + 'static {
    /// Bits in the operand.
    const BITS: u32;
    /// Bytes in the operand.
    const LEN: u64 = Self::BITS as u64 / 8;
    /// 0 for 8 bits, 3 for 64.
    const INDEX: u8;
    /// A left shift that raises the sign bit to bit 63.
    const RAISE: u8 = (64 - Self::BITS) as u8;
    /// All bits of the operand.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// Truncates.
    fn of(value: u64) -> Self;
    /// Zero-extends.
    fn wide(self) -> u64;

    /// Returns the value truncated to this width.
    #[inline(always)]
    fn cut(value: u64) -> u64 {
        Self::of(value).wide()
    }
    /// Returns the value sign-extended from this width.
    #[inline(always)]
    fn signed(value: u64) -> i64 {
        ((value << (64 - Self::BITS)) as i64) >> (64 - Self::BITS)
    }
    /// Moves the operand's sign bit to bit 63, so that one comparison serves all widths.
    #[inline(always)]
    fn raised(value: u64) -> u64 {
        value << (64 - Self::BITS)
    }
}

macro_rules! width {
    ($($type:ty, $bits:literal, $index:literal;)*) => {$(
        impl Width for $type {
            const BITS: u32 = $bits;
            const INDEX: u8 = $index;
            #[inline(always)]
            fn of(value: u64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn wide(self) -> u64 {
                u64::from(self)
            }
        }
    )*};
}
width! { u8, 8, 0; u16, 16, 1; u32, 32, 2; u64, 64, 3; }
