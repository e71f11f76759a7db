//! Multiplication and division.

use x86_ops::alu;

use super::{Table, by_size};
use crate::{Done, Env, Go, Op, Vector, Word};

/// Writes a double-width value: ah:al for bytes, else rdx:rax parts.
fn set_pair<W: Word>(e: &mut Env<'_>, low: u64, high: u64) {
    if W::BITS == 8 {
        e.set_reg::<u16>(0, high << 8 | low);
    } else {
        e.set_reg::<W>(0, low);
        e.set_reg::<W>(2, high);
    }
}

fn pair<W: Word>(e: &Env<'_>) -> (u64, u64) {
    if W::BITS == 8 {
        (e.reg::<u8>(0), e.reg::<u16>(0) >> 8)
    } else {
        (e.reg::<W>(0), e.reg::<W>(2))
    }
}

fn mul<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let (low, high, status) = alu::mul::<W>(e.reg::<W>(0), e.get::<W>(op, 0)?);
    set_pair::<W>(e, low, high);
    e.set_status(status);
    Ok(Go::Next)
}

/// One, two or three operands.
fn imul<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    use crate::Kind;
    let (a, b) = match op.kind {
        [_, Kind::None, _] => {
            let (low, high, status) = alu::imul::<W>(e.reg::<W>(0), e.get::<W>(op, 0)?);
            set_pair::<W>(e, low, high);
            e.set_status(status);
            return Ok(Go::Next);
        }
        [_, _, Kind::None] => (e.reg::<W>(op.reg[0]), e.get::<W>(op, 1)?),
        _ => (e.get::<W>(op, 1)?, W::cut(op.imm)),
    };
    let (low, _, status) = alu::imul::<W>(a, b);
    e.set_reg::<W>(op.reg[0], low);
    e.set_status(status);
    Ok(Go::Next)
}

/// The status flags are undefined after a division; here they stay.
fn div<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let divisor = e.get::<W>(op, 0)?;
    let (low, high) = pair::<W>(e);
    let Some((quotient, remainder)) = alu::div::<W>(low, high, divisor) else {
        return Err(e.fault(Vector::DivideError));
    };
    set_pair::<W>(e, quotient, remainder);
    Ok(Go::Next)
}

fn idiv<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let divisor = e.get::<W>(op, 0)?;
    let (low, high) = pair::<W>(e);
    let Some((quotient, remainder)) = alu::idiv::<W>(low, high, divisor) else {
        return Err(e.fault(Vector::DivideError));
    };
    set_pair::<W>(e, quotient, remainder);
    Ok(Go::Next)
}

pub(super) static TABLE: Table =
    &[by_size!(Mul, mul), by_size!(Imul, imul), by_size!(Div, div), by_size!(Idiv, idiv)];
