//! Handlers for the most frequent forms, one instance per operation, width and operand form, so
//! that nothing is looked up at run time. They compute what the general handlers in `ops` compute.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use std::marker::PhantomData;

use iced_x86::{Instruction, Mnemonic};
use x86_ops::LazyKind;

use crate::{
    Done, Env, Form, Go, Handler, Kind, Op, Registers, Stop, Word,
    ops::{self, Add, And, Binary, Or, Sub, Xor},
};

/// How an effective address is formed, fixed at decoding.
trait Address: 'static {
    fn of(op: &Op, r: &Registers) -> u64;
}
struct AtBase;
struct AtBaseIndex;
struct AtDisp;
struct AtAny;

impl Address for AtBase {
    #[inline(always)]
    fn of(op: &Op, r: &Registers) -> u64 {
        r.gpr[usize::from(op.base & 15)].wrapping_add(op.disp)
    }
}
impl Address for AtBaseIndex {
    #[inline(always)]
    fn of(op: &Op, r: &Registers) -> u64 {
        let index = r.gpr[usize::from(op.index & 15)] << (op.scale & 3);
        r.gpr[usize::from(op.base & 15)].wrapping_add(index).wrapping_add(op.disp)
    }
}
impl Address for AtDisp {
    #[inline(always)]
    fn of(op: &Op, _r: &Registers) -> u64 {
        op.disp
    }
}
impl Address for AtAny {
    #[inline(always)]
    fn of(op: &Op, r: &Registers) -> u64 {
        op.address(r)
    }
}

/// Where the second operand comes from, fixed at decoding.
trait Source: 'static {
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<u64, Stop>;
}
struct FromReg;
struct FromImm;
struct FromMem<A>(PhantomData<A>);

impl Source for FromReg {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<u64, Stop> {
        Ok(e.reg::<W>(op.reg[1]))
    }
}
impl Source for FromImm {
    #[inline(always)]
    fn get<W: Word>(_e: &mut Env<'_>, op: &Op) -> Result<u64, Stop> {
        Ok(W::cut(op.imm))
    }
}
impl<A: Address> Source for FromMem<A> {
    #[inline(always)]
    fn get<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<u64, Stop> {
        e.load::<W>(A::of(op, e.r))
    }
}

/// A generic handler waiting for its width and source.
trait Pick {
    fn pick<W: Word, S: Source>(&self) -> Handler;
}

fn by_width(op: &Op, bytes: usize, pick: &impl Pick) -> Option<Handler> {
    match bytes {
        1 => by_source::<u8>(op, pick),
        2 => by_source::<u16>(op, pick),
        4 => by_source::<u32>(op, pick),
        8 => by_source::<u64>(op, pick),
        _ => None,
    }
}

fn by_source<W: Word>(op: &Op, pick: &impl Pick) -> Option<Handler> {
    Some(match (op.kind[1], op.form) {
        (Kind::Gpr, _) => pick.pick::<W, FromReg>(),
        (Kind::Imm, _) => pick.pick::<W, FromImm>(),
        (Kind::Mem, Form::Base) => pick.pick::<W, FromMem<AtBase>>(),
        (Kind::Mem, Form::BaseIndex) => pick.pick::<W, FromMem<AtBaseIndex>>(),
        (Kind::Mem, Form::Disp) => pick.pick::<W, FromMem<AtDisp>>(),
        (Kind::Mem, _) => pick.pick::<W, FromMem<AtAny>>(),
        _ => return None,
    })
}

/// A binary operation with a result that does not need the flags.
trait Plain: Binary + 'static {
    fn value(a: u64, b: u64) -> u64;
}
macro_rules! plain {
    ($($name:ident $value:expr;)*) => {$(
        impl Plain for $name {
            #[inline(always)]
            fn value(a: u64, b: u64) -> u64 {
                $value(a, b)
            }
        }
    )*};
}
plain! {
    Add u64::wrapping_add;
    Sub u64::wrapping_sub;
    And |a, b| a & b;
    Or |a, b| a | b;
    Xor |a, b| a ^ b;
}

fn binary_reg<B: Plain, W: Word, S: Source, const FLAGS: bool>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = S::get::<W>(e, op)?;
    let a = e.reg::<W>(op.reg[0]);
    let result = if FLAGS { B::apply::<W>(e, a, b) } else { B::value(a, b) };
    e.set_reg::<W>(op.reg[0], result);
    Ok(Go::Next)
}

/// The destination is memory; the source cannot fail.
fn binary_mem<B: Plain, W: Word, S: Source, A: Address>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = S::get::<W>(e, op)?;
    let at = A::of(op, e.r);
    let a = e.load_to_modify::<W>(at)?;
    e.store::<W>(at, B::value(a, b))?;
    B::apply::<W>(e, a, b);
    Ok(Go::Next)
}

struct PickBinary<B, const FLAGS: bool>(PhantomData<B>);
impl<B: Plain, const FLAGS: bool> Pick for PickBinary<B, FLAGS> {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        binary_reg::<B, W, S, FLAGS>
    }
}
struct PickBinaryMem<B, A>(PhantomData<(B, A)>);
impl<B: Plain, A: Address> Pick for PickBinaryMem<B, A> {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        binary_mem::<B, W, S, A>
    }
}

fn binary<B: Plain>(op: &Op, bytes: usize, flags: bool) -> Option<Handler> {
    match (op.kind[0], op.form) {
        // Lowering rsp has its own handler.
        (Kind::Gpr, _) if op.reg[0] == 4 => None,
        (Kind::Gpr, _) if flags => by_width(op, bytes, &PickBinary::<B, true>(PhantomData)),
        (Kind::Gpr, _) => by_width(op, bytes, &PickBinary::<B, false>(PhantomData)),
        (Kind::Mem, Form::Base) => by_width(op, bytes, &PickBinaryMem::<B, AtBase>(PhantomData)),
        (Kind::Mem, _) => by_width(op, bytes, &PickBinaryMem::<B, AtAny>(PhantomData)),
        _ => None,
    }
}

fn mov_reg<W: Word, S: Source>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = S::get::<W>(e, op)?;
    e.set_reg::<W>(op.reg[0], value);
    Ok(Go::Next)
}
struct PickMov;
impl Pick for PickMov {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        mov_reg::<W, S>
    }
}

fn mov_mem<W: Word, S: Source, A: Address>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = S::get::<W>(e, op)?;
    e.store::<W>(A::of(op, e.r), value)?;
    Ok(Go::Next)
}
struct PickStore<A>(PhantomData<A>);
impl<A: Address> Pick for PickStore<A> {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        mov_mem::<W, S, A>
    }
}

fn mov(op: &Op, bytes: usize) -> Option<Handler> {
    match (op.kind[0], op.form) {
        (Kind::Gpr, _) if op.reg[0] == 4 => None,
        (Kind::Gpr, _) => by_width(op, bytes, &PickMov),
        (Kind::Mem, Form::Base) => by_width(op, bytes, &PickStore::<AtBase>(PhantomData)),
        (Kind::Mem, Form::BaseIndex) => by_width(op, bytes, &PickStore::<AtBaseIndex>(PhantomData)),
        (Kind::Mem, Form::Disp) => by_width(op, bytes, &PickStore::<AtDisp>(PhantomData)),
        (Kind::Mem, Form::Index | Form::Extra) => {
            by_width(op, bytes, &PickStore::<AtAny>(PhantomData))
        }
        _ => None,
    }
}

/// To 32 or 64 bits, which is the same.
fn movzx_reg<W: Word, S: Source>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = S::get::<W>(e, op)?;
    e.set_reg::<u64>(op.reg[0], value);
    Ok(Go::Next)
}
struct PickMovzx;
impl Pick for PickMovzx {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        movzx_reg::<W, S>
    }
}

fn movsx_reg<T: Word, W: Word, S: Source>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = W::signed(S::get::<W>(e, op)?);
    e.set_reg::<T>(op.reg[0], value.cast_unsigned());
    Ok(Go::Next)
}
struct PickMovsx<T>(PhantomData<T>);
impl<T: Word> Pick for PickMovsx<T> {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        movsx_reg::<T, W, S>
    }
}

fn lea<W: Word, A: Address>(e: &mut Env<'_>, op: &Op) -> Done {
    let at = A::of(op, e.r);
    e.set_reg::<W>(op.reg[0], at);
    Ok(Go::Next)
}

fn lea_of<W: Word>(op: &Op) -> Option<Handler> {
    match op.form {
        _ if op.reg[0] == 4 => None,
        Form::Base => Some(lea::<W, AtBase>),
        Form::BaseIndex => Some(lea::<W, AtBaseIndex>),
        Form::Disp => Some(lea::<W, AtDisp>),
        Form::Index => Some(lea::<W, AtAny>),
        Form::Extra => None,
    }
}

fn step<W: Word, const UP: bool, const FLAGS: bool>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.reg::<W>(op.reg[0]);
    let result = W::cut(if UP { a.wrapping_add(1) } else { a.wrapping_sub(1) });
    if FLAGS {
        let carry = u64::from(e.carry());
        e.set_lazy::<W>(if UP { LazyKind::Inc } else { LazyKind::Dec }, result, carry);
    }
    e.set_reg::<W>(op.reg[0], result);
    Ok(Go::Next)
}

fn step_of<const UP: bool>(bytes: usize, flags: bool) -> Option<Handler> {
    Some(match (bytes, flags) {
        (4, true) => step::<u32, UP, true>,
        (4, false) => step::<u32, UP, false>,
        (8, true) => step::<u64, UP, true>,
        (8, false) => step::<u64, UP, false>,
        _ => return None,
    })
}

/// Shifts of a register by a constant other than 0. `KIND`: 0 shl, 1 shr, 2 sar.
fn shift<W: Word, const KIND: u8>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.reg::<W>(op.reg[0]);
    let count = op.imm & 63;
    let (kind, result) = match KIND {
        0 => (LazyKind::Shl, a << count),
        1 => (LazyKind::Shr, a >> count),
        _ => (LazyKind::Sar, (W::signed(a) >> count).cast_unsigned()),
    };
    e.set_lazy::<W>(kind, a, count);
    e.set_reg::<W>(op.reg[0], W::cut(result));
    Ok(Go::Next)
}

fn shift_of<const KIND: u8>(op: &Op, bytes: usize) -> Option<Handler> {
    let is_constant = op.kind[0] == Kind::Gpr && op.kind[1] == Kind::Imm;
    match bytes {
        4 if is_constant && (1..32).contains(&op.imm) => Some(shift::<u32, KIND>),
        8 if is_constant && (1..64).contains(&op.imm) => Some(shift::<u64, KIND>),
        _ => None,
    }
}

/// A product of two operands: a register and a source, or a source and an immediate.
fn imul<W: Word, S: Source, const BY_IMM: bool>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = S::get::<W>(e, op)?;
    let b = if BY_IMM { W::cut(op.imm) } else { e.reg::<W>(op.reg[0]) };
    e.set_lazy::<W>(LazyKind::Imul, a, b);
    e.set_reg::<W>(op.reg[0], W::cut(a.wrapping_mul(b)));
    Ok(Go::Next)
}
struct PickImul<const BY_IMM: bool>;
impl<const BY_IMM: bool> Pick for PickImul<BY_IMM> {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        imul::<W, S, BY_IMM>
    }
}

fn push_reg(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.reg::<u64>(op.reg[0]);
    e.push::<u64>(value)?;
    Ok(Go::Next)
}

fn pop_reg(e: &mut Env<'_>, op: &Op) -> Done {
    let top = e.r.gpr[4];
    let value = e.load::<u64>(top)?;
    e.r.gpr[4] = top.wrapping_add(8);
    e.set_reg::<u64>(op.reg[0], value);
    Ok(Go::Next)
}

fn cmp_reg<W: Word, S: Source>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = S::get::<W>(e, op)?;
    let a = e.reg::<W>(op.reg[0]);
    e.set_lazy::<W>(LazyKind::Sub, a, b);
    Ok(Go::Next)
}
fn test_reg<W: Word, S: Source>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = S::get::<W>(e, op)?;
    let a = e.reg::<W>(op.reg[0]);
    e.set_lazy::<W>(LazyKind::Logic, a & b, 0);
    Ok(Go::Next)
}
struct PickCmp;
impl Pick for PickCmp {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        cmp_reg::<W, S>
    }
}
struct PickTest;
impl Pick for PickTest {
    fn pick<W: Word, S: Source>(&self) -> Handler {
        test_reg::<W, S>
    }
}

/// The handler of a hot form; `flags` says whether anybody sees the flags it sets.
pub(crate) fn specialise(ins: &Instruction, op: &Op, flags: bool) -> Option<Handler> {
    let bytes = ops::operand_bytes(ins, 0);
    let plain = |kind| matches!(kind, Kind::Gpr | Kind::Mem | Kind::Imm | Kind::None);
    if op.extra.lock || !op.kind.into_iter().all(plain) {
        return None;
    }
    match ins.mnemonic() {
        Mnemonic::Mov => mov(op, bytes),
        Mnemonic::Lea if bytes == 4 => lea_of::<u32>(op),
        Mnemonic::Lea if bytes == 8 => lea_of::<u64>(op),
        Mnemonic::Movzx if bytes >= 4 => by_width(op, ops::operand_bytes(ins, 1), &PickMovzx),
        Mnemonic::Movsx | Mnemonic::Movsxd => {
            let from = ops::operand_bytes(ins, 1);
            match bytes {
                4 => by_width(op, from, &PickMovsx::<u32>(PhantomData)),
                8 => by_width(op, from, &PickMovsx::<u64>(PhantomData)),
                _ => None,
            }
        }
        Mnemonic::Add => binary::<Add>(op, bytes, flags),
        Mnemonic::Sub => binary::<Sub>(op, bytes, flags),
        Mnemonic::And => binary::<And>(op, bytes, flags),
        Mnemonic::Or => binary::<Or>(op, bytes, flags),
        Mnemonic::Xor => binary::<Xor>(op, bytes, flags),
        Mnemonic::Cmp if op.kind[0] == Kind::Gpr => by_width(op, bytes, &PickCmp),
        Mnemonic::Test if op.kind[0] == Kind::Gpr => by_width(op, bytes, &PickTest),
        Mnemonic::Inc if op.kind[0] == Kind::Gpr => step_of::<true>(bytes, flags),
        Mnemonic::Dec if op.kind[0] == Kind::Gpr => step_of::<false>(bytes, flags),
        Mnemonic::Shl => shift_of::<0>(op, bytes),
        Mnemonic::Shr => shift_of::<1>(op, bytes),
        Mnemonic::Sar => shift_of::<2>(op, bytes),
        Mnemonic::Imul if op.kind[1] == Kind::None => None,
        Mnemonic::Imul if op.kind[2] == Kind::None => by_width(op, bytes, &PickImul::<false>),
        Mnemonic::Imul => by_width(op, bytes, &PickImul::<true>),
        Mnemonic::Push if op.kind[0] == Kind::Gpr && bytes == 8 => Some(push_reg),
        Mnemonic::Pop if op.kind[0] == Kind::Gpr && bytes == 8 => Some(pop_reg),
        _ => None,
    }
}
