//! Bit tests, scans and counts.

use x86_ops::{bits, flags};

use super::{Table, by_size};
use crate::{Done, Env, Go, Kind, Op, Word};

/// Where a bit-test instruction finds its bit.
enum Change {
    None,
    Set,
    Reset,
    Complement,
}

fn bit_test<W: Word>(e: &mut Env<'_>, op: &Op, change: &Change) -> Done {
    let offset = e.get::<W>(op, 1)?;
    let bit = offset & u64::from(W::BITS - 1);
    if op.kind[0] != Kind::Mem {
        let value = e.reg::<W>(op.reg[0]);
        e.set_some(flags::CF, value >> bit & 1);
        if !matches!(change, Change::None) {
            e.set_reg::<W>(op.reg[0], changed(value, bit, change));
        }
        return Ok(Go::Next);
    }
    // A register offset reaches beyond the operand; an immediate does not.
    let mut at = op.address(e.r);
    if op.kind[1] == Kind::Gpr {
        let units = W::signed(offset) >> W::BITS.trailing_zeros();
        at = op.moved_address(e.r, units.wrapping_mul(W::LEN.cast_signed()).cast_unsigned());
    }
    let value = if matches!(change, Change::None) {
        e.load::<W>(at)?
    } else {
        let value = e.load_to_modify::<W>(at)?;
        e.store::<W>(at, changed(value, bit, change))?;
        value
    };
    e.set_some(flags::CF, value >> bit & 1);
    Ok(Go::Next)
}

fn changed(value: u64, bit: u64, change: &Change) -> u64 {
    match change {
        Change::None => value,
        Change::Set => value | 1 << bit,
        Change::Reset => value & !(1 << bit),
        Change::Complement => value ^ 1 << bit,
    }
}

fn bt<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    bit_test::<W>(e, op, &Change::None)
}
fn bts<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    bit_test::<W>(e, op, &Change::Set)
}
fn btr<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    bit_test::<W>(e, op, &Change::Reset)
}
fn btc<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    bit_test::<W>(e, op, &Change::Complement)
}

/// The other flags are undefined by the architecture; here they stay.
fn scan<W: Word>(e: &mut Env<'_>, op: &Op, by: fn(u64) -> Option<u64>) -> Done {
    let value = e.get::<W>(op, 1)?;
    // Without a set bit the destination keeps its value, all 64 bits of it (documented by AMD, done
    // by Intel).
    if let Some(index) = by(value) {
        e.set_reg::<W>(op.reg[0], index);
    }
    e.set_some(flags::ZF, if value == 0 { flags::ZF } else { 0 });
    Ok(Go::Next)
}

fn bsf<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    scan::<W>(e, op, bits::bsf::<W>)
}
fn bsr<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    scan::<W>(e, op, bits::bsr::<W>)
}

fn count<W: Word>(e: &mut Env<'_>, op: &Op, mask: u64, by: fn(u64) -> (u64, u64)) -> Done {
    let (result, status) = by(e.get::<W>(op, 1)?);
    e.set_reg::<W>(op.reg[0], result);
    e.set_some(mask, status);
    Ok(Go::Next)
}

fn tzcnt<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    count::<W>(e, op, flags::CF | flags::ZF, bits::tzcnt::<W>)
}
fn lzcnt<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    count::<W>(e, op, flags::CF | flags::ZF, bits::lzcnt::<W>)
}
fn popcnt<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    count::<W>(e, op, flags::STATUS, bits::popcnt::<W>)
}

pub(super) static TABLE: Table = &[
    by_size!(Bt, bt),
    by_size!(Bts, bts),
    by_size!(Btr, btr),
    by_size!(Btc, btc),
    by_size!(Bsf, bsf),
    by_size!(Bsr, bsr),
    by_size!(Tzcnt, tzcnt),
    by_size!(Lzcnt, lzcnt),
    by_size!(Popcnt, popcnt),
];
