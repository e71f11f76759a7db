//! Bit scans and counts.

use crate::{
    Width,
    flags::{CF, ZF, of_result},
};

/// bsf; `None` leaves the destination alone and sets ZF.
pub fn bsf<W: Width>(a: u64) -> Option<u64> {
    (W::cut(a) != 0).then(|| u64::from(a.trailing_zeros()))
}

/// bsr; `None` leaves the destination alone and sets ZF.
pub fn bsr<W: Width>(a: u64) -> Option<u64> {
    (W::cut(a) != 0).then(|| u64::from(63 - W::cut(a).leading_zeros()))
}

/// tzcnt with flags.
pub fn tzcnt<W: Width>(a: u64) -> (u64, u64) {
    let count = if W::cut(a) == 0 { W::BITS } else { a.trailing_zeros() };
    count_flags::<W>(count)
}

/// lzcnt with flags.
pub fn lzcnt<W: Width>(a: u64) -> (u64, u64) {
    count_flags::<W>(W::cut(a).leading_zeros() - (64 - W::BITS))
}

fn count_flags<W: Width>(count: u32) -> (u64, u64) {
    let carry = if count == W::BITS { CF } else { 0 };
    let zero = if count == 0 { ZF } else { 0 };
    (u64::from(count), carry | zero)
}

/// popcnt with flags.
pub fn popcnt<W: Width>(a: u64) -> (u64, u64) {
    let count = u64::from(W::cut(a).count_ones());
    (count, of_result::<W>(count) & ZF)
}
