//! A comparison and the conditional jump behind it, as one instruction.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use iced_x86::{Instruction, Mnemonic};
use x86_ops::LazyKind;

use crate::{Done, Env, Go, Handler, Kind, Op, Stop, Word, ops};

/// A pair of operands, fixed at decoding.
trait Pair: 'static {
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop>;
}
struct RegReg;
struct RegImm;
struct RegMem;
struct MemReg;
struct MemImm;

impl Pair for RegReg {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop> {
        Ok((e.reg::<W>(op.reg[0]), e.reg::<W>(op.reg[1])))
    }
}
impl Pair for RegImm {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop> {
        Ok((e.reg::<W>(op.reg[0]), W::cut(op.imm)))
    }
}
impl Pair for RegMem {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop> {
        let b = e.load::<W>(op.address(e.r))?;
        Ok((e.reg::<W>(op.reg[0]), b))
    }
}
impl Pair for MemReg {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop> {
        let a = e.load::<W>(op.address(e.r))?;
        Ok((a, e.reg::<W>(op.reg[1])))
    }
}
impl Pair for MemImm {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(u64, u64), Stop> {
        let a = e.load::<W>(op.address(e.r))?;
        Ok((a, W::cut(op.imm)))
    }
}

fn branch(is_taken: bool) -> Done {
    Ok(if is_taken { Go::Taken } else { Go::Next })
}

fn cmp_jcc<W: Word, P: Pair, const CODE: u8>(e: &mut Env<'_>, op: &Op) -> Done {
    let (a, b) = P::get::<W>(e, op)?;
    e.set_lazy::<W>(LazyKind::Sub, a, b);
    let (x, y) = (W::raised(a), W::raised(b));
    let plain = match CODE >> 1 {
        1 => x < y,
        2 => x == y,
        3 => x <= y,
        4 => x.wrapping_sub(y) >> 63 == 1,
        6 => x.cast_signed() < y.cast_signed(),
        7 => x.cast_signed() <= y.cast_signed(),
        _ => return branch(e.lazy.holds::<CODE>(e.r.rflags)),
    };
    branch(plain != (CODE & 1 == 1))
}

fn test_jcc<W: Word, P: Pair, const CODE: u8>(e: &mut Env<'_>, op: &Op) -> Done {
    let (a, b) = P::get::<W>(e, op)?;
    let result = a & b;
    e.set_lazy::<W>(LazyKind::Logic, result, 0);
    let x = W::raised(result).cast_signed();
    let plain = match CODE >> 1 {
        2 => x == 0,
        4 | 6 => x < 0,
        7 => x <= 0,
        _ => return branch(e.lazy.holds::<CODE>(e.r.rflags)),
    };
    branch(plain != (CODE & 1 == 1))
}

trait Pick {
    fn pick<W: Word, P: Pair, const CODE: u8>() -> Handler;
}
struct Cmp;
struct Test;
impl Pick for Cmp {
    fn pick<W: Word, P: Pair, const CODE: u8>() -> Handler {
        cmp_jcc::<W, P, CODE>
    }
}
impl Pick for Test {
    fn pick<W: Word, P: Pair, const CODE: u8>() -> Handler {
        test_jcc::<W, P, CODE>
    }
}

fn by_code<K: Pick, W: Word, P: Pair>(code: u8) -> Handler {
    let all: [Handler; 16] = [
        K::pick::<W, P, 0>(),
        K::pick::<W, P, 1>(),
        K::pick::<W, P, 2>(),
        K::pick::<W, P, 3>(),
        K::pick::<W, P, 4>(),
        K::pick::<W, P, 5>(),
        K::pick::<W, P, 6>(),
        K::pick::<W, P, 7>(),
        K::pick::<W, P, 8>(),
        K::pick::<W, P, 9>(),
        K::pick::<W, P, 10>(),
        K::pick::<W, P, 11>(),
        K::pick::<W, P, 12>(),
        K::pick::<W, P, 13>(),
        K::pick::<W, P, 14>(),
        K::pick::<W, P, 15>(),
    ];
    all[usize::from(code & 15)]
}

fn by_pair<K: Pick, W: Word>(op: &Op, code: u8) -> Option<Handler> {
    Some(match (op.kind[0], op.kind[1]) {
        (Kind::Gpr, Kind::Gpr) => by_code::<K, W, RegReg>(code),
        (Kind::Gpr, Kind::Imm) => by_code::<K, W, RegImm>(code),
        (Kind::Gpr, Kind::Mem) => by_code::<K, W, RegMem>(code),
        (Kind::Mem, Kind::Gpr) => by_code::<K, W, MemReg>(code),
        (Kind::Mem, Kind::Imm) => by_code::<K, W, MemImm>(code),
        _ => return None,
    })
}

fn by_width<K: Pick>(op: &Op, bytes: usize, code: u8) -> Option<Handler> {
    match bytes {
        1 => by_pair::<K, u8>(op, code),
        2 => by_pair::<K, u16>(op, code),
        4 => by_pair::<K, u32>(op, code),
        8 => by_pair::<K, u64>(op, code),
        _ => None,
    }
}

/// The condition code of a direct conditional jump.
fn condition(jump: &Instruction) -> Option<u8> {
    jump.is_jcc_short_or_near().then(|| ops::condition_code(jump.mnemonic())).flatten()
}

/// One instruction for a comparison and the jump behind it.
pub(crate) fn fuse(first: (&Instruction, &Op), jump: (&Instruction, &Op)) -> Option<Op> {
    let code = condition(jump.0)?;
    let (ins, op) = first;
    let bytes = ops::operand_bytes(ins, 0);
    let run = match ins.mnemonic() {
        Mnemonic::Cmp => by_width::<Cmp>(op, bytes, code),
        Mnemonic::Test => by_width::<Test>(op, bytes, code),
        _ => None,
    }?;
    Some(Op { run, ..*op })
}
