//! Addition, logic, multiplication and division.

#![expect(clippy::cast_possible_truncation, reason = "halves of products are bit patterns")]

use crate::{
    Width,
    flags::{CF, OF, of_add, of_result, of_sub},
};

/// `a + b + carry` with flags.
#[inline]
pub fn adc<W: Width>(a: u64, b: u64, carry: bool) -> (u64, u64) {
    let result = W::cut(a.wrapping_add(b).wrapping_add(u64::from(carry)));
    (result, of_add::<W>(a, b, result))
}

/// `a - b - borrow` with flags.
#[inline]
pub fn sbb<W: Width>(a: u64, b: u64, borrow: bool) -> (u64, u64) {
    let result = W::cut(a.wrapping_sub(b).wrapping_sub(u64::from(borrow)));
    (result, of_sub::<W>(a, b, result))
}

/// Unsigned product: low half, high half, flags. SF, ZF, AF and PF are undefined by the
/// architecture; here SF and PF are those of the low half, ZF and AF are clear.
pub fn mul<W: Width>(a: u64, b: u64) -> (u64, u64, u64) {
    let product = u128::from(a) * u128::from(b);
    let (low, high) = (W::cut(product as u64), W::cut((product >> W::BITS) as u64));
    let overflow = if high != 0 { CF | OF } else { 0 };
    (low, high, product_flags::<W>(low) | overflow)
}

/// Signed product: low half, high half, flags.
pub fn imul<W: Width>(a: u64, b: u64) -> (u64, u64, u64) {
    let product = i128::from(W::signed(a)) * i128::from(W::signed(b));
    let product = product.cast_unsigned();
    let (low, high) = (W::cut(product as u64), W::cut((product >> W::BITS) as u64));
    let fits = i128::from(W::signed(low)).cast_unsigned() == product;
    let overflow = if fits { 0 } else { CF | OF };
    (low, high, product_flags::<W>(low) | overflow)
}

fn product_flags<W: Width>(low: u64) -> u64 {
    of_result::<W>(low) & !crate::flags::ZF
}

/// Unsigned quotient and remainder of `high:low / divisor`; `None` is a divide error.
pub fn div<W: Width>(low: u64, high: u64, divisor: u64) -> Option<(u64, u64)> {
    if divisor == 0 || high >= divisor {
        return None;
    }
    if high == 0 {
        return Some((low / divisor, low % divisor));
    }
    let dividend = u128::from(high) << W::BITS | u128::from(low);
    let divisor = u128::from(divisor);
    Some(((dividend / divisor) as u64, (dividend % divisor) as u64))
}

/// Signed quotient and remainder of `high:low / divisor`; `None` is a divide error.
pub fn idiv<W: Width>(low: u64, high: u64, divisor: u64) -> Option<(u64, u64)> {
    let divisor = i128::from(W::signed(divisor));
    if divisor == 0 {
        return None;
    }
    let bits = u128::from(high) << W::BITS | u128::from(low);
    let unused = 128 - 2 * W::BITS;
    let dividend = (bits << unused).cast_signed() >> unused;
    let quotient = dividend.checked_div(divisor)?;
    let remainder = dividend.checked_rem(divisor)?;
    let cut = |value: i128| W::cut(value.cast_unsigned() as u64);
    let fits = i128::from(W::signed(cut(quotient))) == quotient;
    fits.then(|| (cut(quotient), cut(remainder)))
}
