//! Shifts and rotates. The count arrives masked to 5 or 6 bits, as the architecture masks it.
//!
//! Flags that the architecture leaves undefined get a fixed value here: OF of a shift by more than
//! one is computed as for the last single step, AF is clear.

#![expect(clippy::cast_possible_truncation, reason = "bit patterns")]

use crate::{
    Width,
    flags::{CF, OF, of_result},
};

fn carry_overflow(carry: bool, overflow: bool) -> u64 {
    (if carry { CF } else { 0 }) | (if overflow { OF } else { 0 })
}

/// shl; `count` is not 0.
pub fn shl<W: Width>(a: u64, count: u32) -> (u64, u64) {
    let wide = u128::from(a) << count;
    let result = W::cut(wide as u64);
    let carry = wide >> W::BITS & 1 == 1;
    let overflow = (result & W::SIGN != 0) != carry;
    (result, of_result::<W>(result) | carry_overflow(carry, overflow))
}

/// shr; `count` is not 0.
pub fn shr<W: Width>(a: u64, count: u32) -> (u64, u64) {
    let before = (u128::from(a) >> (count - 1)) as u64;
    let result = before >> 1;
    let overflow = before & W::SIGN != 0;
    (result, of_result::<W>(result) | carry_overflow(before & 1 == 1, overflow))
}

/// sar; `count` is not 0.
pub fn sar<W: Width>(a: u64, count: u32) -> (u64, u64) {
    let before = W::signed(a) >> (count - 1).min(63);
    let result = W::cut((before >> 1).cast_unsigned());
    (result, of_result::<W>(result) | carry_overflow(before & 1 == 1, false))
}

/// rol: the result, and CF and OF. `count` is not 0 before it is reduced to the width.
pub fn rol<W: Width>(a: u64, count: u32) -> (u64, u64) {
    let count = count % W::BITS;
    let result = if count == 0 { a } else { W::cut(a << count | a >> (W::BITS - count)) };
    let carry = result & 1 == 1;
    (result, carry_overflow(carry, (result & W::SIGN != 0) != carry))
}

/// ror: the result, and CF and OF.
pub fn ror<W: Width>(a: u64, count: u32) -> (u64, u64) {
    let count = count % W::BITS;
    let result = if count == 0 { a } else { W::cut(a >> count | a << (W::BITS - count)) };
    let carry = result & W::SIGN != 0;
    (result, carry_overflow(carry, carry != (result & W::SIGN >> 1 != 0)))
}

/// rcl through the carry: the result, and CF and OF.
pub fn rcl<W: Width>(a: u64, count: u32, carry: bool) -> (u64, u64) {
    let ring = W::BITS + 1;
    let count = count % ring;
    let wide = u128::from(a) | u128::from(carry) << W::BITS;
    let turned = if count == 0 { wide } else { wide << count | wide >> (ring - count) };
    let result = W::cut(turned as u64);
    let carry = turned >> W::BITS & 1 == 1;
    (result, carry_overflow(carry, (result & W::SIGN != 0) != carry))
}

/// rcr through the carry: the result, and CF and OF.
pub fn rcr<W: Width>(a: u64, count: u32, carry: bool) -> (u64, u64) {
    let ring = W::BITS + 1;
    let count = count % ring;
    let wide = u128::from(a) | u128::from(carry) << W::BITS;
    let turned = if count == 0 { wide } else { wide >> count | wide << (ring - count) };
    let result = W::cut(turned as u64);
    let carry = turned >> W::BITS & 1 == 1;
    let overflow = (result & W::SIGN != 0) != (result & W::SIGN >> 1 != 0);
    (result, carry_overflow(carry, overflow))
}

/// shld; `count` is not 0. A 16-bit operand with a count above 16 has an undefined result; here the
/// pair wraps.
pub fn shld<W: Width>(a: u64, fill: u64, count: u32) -> (u64, u64) {
    let bits = W::BITS;
    let pair = u128::from(a) << bits | u128::from(fill);
    let pair = if count > bits { pair << bits | u128::from(a) } else { pair };
    let shift = if count > bits { count - bits } else { count };
    let turned = pair << shift >> bits;
    let result = W::cut(turned as u64);
    let carry = pair >> (2 * bits - shift) & 1 == 1;
    let overflow = (result ^ a) & W::SIGN != 0;
    (result, of_result::<W>(result) | carry_overflow(carry, overflow))
}

/// shrd; `count` is not 0.
pub fn shrd<W: Width>(a: u64, fill: u64, count: u32) -> (u64, u64) {
    let bits = W::BITS;
    let pair = u128::from(fill) << bits | u128::from(a);
    let pair = if count > bits { u128::from(a) << bits | u128::from(fill) } else { pair };
    let shift = if count > bits { count - bits } else { count };
    let before = pair >> (shift - 1);
    let result = W::cut((before >> 1) as u64);
    let carry = before & 1 == 1;
    let overflow = (result ^ a) & W::SIGN != 0;
    (result, of_result::<W>(result) | carry_overflow(carry, overflow))
}
