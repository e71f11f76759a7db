//! Shifts and rotates.

use x86_ops::{flags, shift};

use super::{Table, by_size};
use crate::{Done, Env, Go, Op, Stop, Word};

/// The masked count: an immediate, or cl.
fn count<W: Word>(e: &mut Env<'_>, op: &Op, operand: usize) -> Result<u32, Stop> {
    let count = e.get::<u8>(op, operand)? & if W::BITS == 64 { 63 } else { 31 };
    Ok(u32::try_from(count).unwrap_or(0))
}

/// A shift that sets all status flags.
fn shifted<W: Word>(e: &mut Env<'_>, op: &Op, by: fn(u64, u32) -> (u64, u64)) -> Done {
    let count = count::<W>(e, op, 1)?;
    let a = e.get_to_modify::<W>(op, 0)?;
    if count == 0 {
        e.put::<W>(op, 0, a)?;
        return Ok(Go::Next);
    }
    let (result, status) = by(a, count);
    e.put::<W>(op, 0, result)?;
    e.set_status(status);
    Ok(Go::Next)
}

/// A rotate: it sets CF and OF only.
fn rotated<W: Word>(e: &mut Env<'_>, op: &Op, by: fn(u64, u32, bool) -> (u64, u64)) -> Done {
    let count = count::<W>(e, op, 1)?;
    let a = e.get_to_modify::<W>(op, 0)?;
    if count == 0 {
        e.put::<W>(op, 0, a)?;
        return Ok(Go::Next);
    }
    let (result, status) = by(a, count, e.carry());
    e.put::<W>(op, 0, result)?;
    e.set_some(flags::CF | flags::OF, status);
    Ok(Go::Next)
}

fn shl<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    shifted::<W>(e, op, shift::shl::<W>)
}
fn shr<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    shifted::<W>(e, op, shift::shr::<W>)
}
fn sar<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    shifted::<W>(e, op, shift::sar::<W>)
}
fn rol<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    rotated::<W>(e, op, |a, count, _| shift::rol::<W>(a, count))
}
fn ror<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    rotated::<W>(e, op, |a, count, _| shift::ror::<W>(a, count))
}
fn rcl<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    rotated::<W>(e, op, shift::rcl::<W>)
}
fn rcr<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    rotated::<W>(e, op, shift::rcr::<W>)
}

fn doubled<W: Word>(e: &mut Env<'_>, op: &Op, by: fn(u64, u64, u32) -> (u64, u64)) -> Done {
    let count = count::<W>(e, op, 2)?;
    let fill = e.get::<W>(op, 1)?;
    let a = e.get_to_modify::<W>(op, 0)?;
    if count == 0 {
        e.put::<W>(op, 0, a)?;
        return Ok(Go::Next);
    }
    let (result, status) = by(a, fill, count);
    e.put::<W>(op, 0, result)?;
    e.set_status(status);
    Ok(Go::Next)
}

fn shld<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    doubled::<W>(e, op, shift::shld::<W>)
}
fn shrd<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    doubled::<W>(e, op, shift::shrd::<W>)
}

pub(super) static TABLE: Table = &[
    by_size!(Shl, shl),
    by_size!(Sal, shl),
    by_size!(Shr, shr),
    by_size!(Sar, sar),
    by_size!(Rol, rol),
    by_size!(Ror, ror),
    by_size!(Rcl, rcl),
    by_size!(Rcr, rcr),
    by_size!(Shld, shld),
    by_size!(Shrd, shrd),
];
