//! Moves, addition, logic, comparison, conditional moves and sets: the generic forms.

use x86_ops::{LazyKind, alu, flags};

use super::{Choice, Key, Table, by_size, code, one};
use crate::{Done, Env, Go, Kind, Op, Stop, Word};

/// A two-operand operation that writes its first operand.
pub(crate) trait Binary {
    /// Computes the result and sets the flags.
    fn apply<W: Word>(e: &mut Env<'_>, a: u64, b: u64) -> u64;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident($e:ident, $a:ident, $b:ident, $w:ident) $body:block)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<$w: Word>($e: &mut Env<'_>, $a: u64, $b: u64) -> u64 $body
        }
    )*};
}
binary! {
    /// add
    Add(e, a, b, W) {
        e.set_lazy::<W>(LazyKind::Add, a, b);
        W::cut(a.wrapping_add(b))
    }
    /// sub
    Sub(e, a, b, W) {
        e.set_lazy::<W>(LazyKind::Sub, a, b);
        W::cut(a.wrapping_sub(b))
    }
    /// and
    And(e, a, b, W) {
        e.set_lazy::<W>(LazyKind::Logic, a & b, 0);
        a & b
    }
    /// or
    Or(e, a, b, W) {
        e.set_lazy::<W>(LazyKind::Logic, a | b, 0);
        a | b
    }
    /// xor
    Xor(e, a, b, W) {
        e.set_lazy::<W>(LazyKind::Logic, a ^ b, 0);
        a ^ b
    }
    /// adc
    Adc(e, a, b, W) {
        let (result, status) = alu::adc::<W>(a, b, e.carry());
        e.set_status(status);
        result
    }
    /// sbb
    Sbb(e, a, b, W) {
        let (result, status) = alu::sbb::<W>(a, b, e.carry());
        e.set_status(status);
        result
    }
}

fn binary<B: Binary, W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = e.get::<W>(op, 1)?;
    let a = e.get_to_modify::<W>(op, 0)?;
    let (lazy, rflags) = (e.lazy, e.r.rflags);
    let result = B::apply::<W>(e, a, b);
    put_or_restore::<W>(e, op, result, lazy, rflags)
}

/// Writes operand 0; if that fails, the flags are as before.
fn put_or_restore<W: Word>(
    e: &mut Env<'_>,
    op: &Op,
    result: u64,
    lazy: x86_ops::Lazy,
    rflags: u64,
) -> Done {
    if let Err(stop) = e.put::<W>(op, 0, result) {
        (e.lazy, e.r.rflags) = (lazy, rflags);
        return Err(stop);
    }
    Ok(Go::Next)
}

fn sub_from_stack(e: &mut Env<'_>, op: &Op) -> Done {
    let b = e.get::<u64>(op, 1)?;
    if op.kind[0] != Kind::Gpr || op.reg[0] != 4 {
        return binary::<Sub, u64>(e, op);
    }
    let result = Sub::apply::<u64>(e, e.r.gpr[4], b);
    e.lower_stack(result);
    Ok(Go::Next)
}

fn cmp<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = e.get::<W>(op, 1)?;
    let a = e.get::<W>(op, 0)?;
    e.set_lazy::<W>(LazyKind::Sub, a, b);
    Ok(Go::Next)
}

fn test<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let b = e.get::<W>(op, 1)?;
    let a = e.get::<W>(op, 0)?;
    e.set_lazy::<W>(LazyKind::Logic, a & b, 0);
    Ok(Go::Next)
}

fn inc<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.get_to_modify::<W>(op, 0)?;
    let result = W::cut(a.wrapping_add(1));
    e.put::<W>(op, 0, result)?;
    let carry = u64::from(e.carry());
    e.set_lazy::<W>(LazyKind::Inc, result, carry);
    Ok(Go::Next)
}

fn dec<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.get_to_modify::<W>(op, 0)?;
    let result = W::cut(a.wrapping_sub(1));
    e.put::<W>(op, 0, result)?;
    let carry = u64::from(e.carry());
    e.set_lazy::<W>(LazyKind::Dec, result, carry);
    Ok(Go::Next)
}

fn neg<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.get_to_modify::<W>(op, 0)?;
    e.put::<W>(op, 0, W::cut(0u64.wrapping_sub(a)))?;
    e.set_lazy::<W>(LazyKind::Sub, 0, a);
    Ok(Go::Next)
}

fn not<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.get_to_modify::<W>(op, 0)?;
    e.put::<W>(op, 0, !a)?;
    Ok(Go::Next)
}

fn mov<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<W>(op, 1)?;
    if W::BITS == 64 && op.kind[0] == Kind::Gpr && op.reg[0] == 4 {
        e.lower_stack(value);
        return Ok(Go::Next);
    }
    e.put::<W>(op, 0, value)?;
    Ok(Go::Next)
}

fn movzx<S: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<S>(op, 1)?;
    e.set_reg::<u64>(op.reg[0], value);
    Ok(Go::Next)
}

fn movzx_to16<S: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<S>(op, 1)?;
    e.set_reg::<u16>(op.reg[0], value);
    Ok(Go::Next)
}

fn movsx<S: Word, W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = S::signed(e.get::<S>(op, 1)?);
    e.set_reg::<W>(op.reg[0], value.cast_unsigned());
    Ok(Go::Next)
}

fn lea<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let at = op.offset(e.r);
    if W::BITS == 64 && op.reg[0] == 4 {
        e.lower_stack(at);
        return Ok(Go::Next);
    }
    e.set_reg::<W>(op.reg[0], at);
    Ok(Go::Next)
}

fn xchg<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    // One operand may be memory, in either place: it is written first, because only it can fail.
    let memory = usize::from(op.kind[1] == Kind::Mem);
    let register = 1 - memory;
    let old = e.get_to_modify::<W>(op, memory)?;
    let new = e.get::<W>(op, register)?;
    e.put::<W>(op, memory, new)?;
    e.put::<W>(op, register, old)?;
    Ok(Go::Next)
}

fn xadd<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let a = e.get_to_modify::<W>(op, 0)?;
    let b = e.get::<W>(op, 1)?;
    let sum = W::cut(a.wrapping_add(b));
    // The source register is written first: if both are the same register, the sum stays.
    if op.kind[0] == Kind::Mem {
        e.put::<W>(op, 0, sum)?;
        e.put::<W>(op, 1, a)?;
    } else {
        e.put::<W>(op, 1, a)?;
        e.put::<W>(op, 0, sum)?;
    }
    e.set_lazy::<W>(LazyKind::Add, a, b);
    Ok(Go::Next)
}

fn cmpxchg<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let old = e.get_to_modify::<W>(op, 0)?;
    let expected = e.reg::<W>(0);
    if old == expected {
        let new = e.get::<W>(op, 1)?;
        e.put::<W>(op, 0, new)?;
    } else {
        // The processor always writes: a read-only destination faults.
        if op.kind[0] == Kind::Mem {
            e.put::<W>(op, 0, old)?;
        }
        e.set_reg::<W>(0, old);
    }
    e.set_lazy::<W>(LazyKind::Sub, expected, old);
    Ok(Go::Next)
}

fn cmpxchg8b(e: &mut Env<'_>, op: &Op) -> Done {
    let at = op.address(e.r);
    let old = e.load_to_modify::<u64>(at)?;
    let pair = |high: u64, low: u64| high << 32 | low & 0xffff_ffff;
    let is_equal = old == pair(e.r.gpr[2], e.r.gpr[0]);
    let new = if is_equal { pair(e.r.gpr[1], e.r.gpr[3]) } else { old };
    e.store::<u64>(at, new)?;
    if !is_equal {
        (e.r.gpr[0], e.r.gpr[2]) = (old & 0xffff_ffff, old >> 32);
    }
    e.set_some(flags::ZF, if is_equal { flags::ZF } else { 0 });
    Ok(Go::Next)
}

fn cmpxchg16b(e: &mut Env<'_>, op: &Op) -> Done {
    let at = op.address(e.r);
    e.check_aligned(at)?;
    e.check_write(at, 16)?;
    let old = e.load128(at)?;
    let is_equal = old == crate::env::join(e.r.gpr[0], e.r.gpr[2]);
    let new = if is_equal { crate::env::join(e.r.gpr[3], e.r.gpr[1]) } else { old };
    e.store128(at, new)?;
    if !is_equal {
        [e.r.gpr[0], e.r.gpr[2]] = crate::env::split(old);
    }
    e.set_some(flags::ZF, if is_equal { flags::ZF } else { 0 });
    Ok(Go::Next)
}

fn setcc<const CODE: u8>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = u64::from(e.lazy.holds::<CODE>(e.r.rflags));
    e.put::<u8>(op, 0, value)?;
    Ok(Go::Next)
}

/// The source is read, and may fault, even if the condition does not hold; 32 bits clear the upper
/// half always.
fn cmov<const CODE: u8, W: Word>(e: &mut Env<'_>, op: &Op) -> Result<Go, Stop> {
    let source = e.get::<W>(op, 1)?;
    let value = if e.lazy.holds::<CODE>(e.r.rflags) { source } else { e.reg::<W>(op.reg[0]) };
    e.set_reg::<W>(op.reg[0], value);
    Ok(Go::Next)
}

fn bswap<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.reg::<W>(op.reg[0]);
    // With 16 bits the result is undefined by the architecture; processors give 0.
    let swapped = if W::BITS == 16 { 0 } else { value.swap_bytes() >> (64 - W::BITS) };
    e.set_reg::<W>(op.reg[0], swapped);
    Ok(Go::Next)
}

fn movbe<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<W>(op, 1)?;
    e.put::<W>(op, 0, value.swap_bytes() >> (64 - W::BITS))?;
    Ok(Go::Next)
}

/// cbw, cwde, cdqe.
fn widen<S: Word, W: Word>(e: &mut Env<'_>, _op: &Op) -> Done {
    let value = S::signed(e.r.gpr[0]);
    e.set_reg::<W>(0, value.cast_unsigned());
    Ok(Go::Next)
}

/// cwd, cdq, cqo.
fn sign_to_rdx<W: Word>(e: &mut Env<'_>, _op: &Op) -> Done {
    let sign = W::signed(e.r.gpr[0]) >> 63;
    e.set_reg::<W>(2, sign.cast_unsigned());
    Ok(Go::Next)
}

macro_rules! conditional {
    ($set:ident, $mov:ident, $code:literal) => {
        [one!($set, setcc::<$code>), cmov_entry!($mov, $code)]
    };
}
macro_rules! cmov_entry {
    ($mov:ident, $code:literal) => {
        (
            Key::Mnemonic(iced_x86::Mnemonic::$mov),
            Choice::BySize([
                cmov::<$code, u8>,
                cmov::<$code, u16>,
                cmov::<$code, u32>,
                cmov::<$code, u64>,
            ]),
        )
    };
}

pub(super) static CONDITIONAL: [[(Key, Choice); 2]; 16] = [
    conditional!(Seto, Cmovo, 0),
    conditional!(Setno, Cmovno, 1),
    conditional!(Setb, Cmovb, 2),
    conditional!(Setae, Cmovae, 3),
    conditional!(Sete, Cmove, 4),
    conditional!(Setne, Cmovne, 5),
    conditional!(Setbe, Cmovbe, 6),
    conditional!(Seta, Cmova, 7),
    conditional!(Sets, Cmovs, 8),
    conditional!(Setns, Cmovns, 9),
    conditional!(Setp, Cmovp, 10),
    conditional!(Setnp, Cmovnp, 11),
    conditional!(Setl, Cmovl, 12),
    conditional!(Setge, Cmovge, 13),
    conditional!(Setle, Cmovle, 14),
    conditional!(Setg, Cmovg, 15),
];

pub(super) static TABLE: Table = &[
    by_size!(Add, binary, Add),
    by_size!(Or, binary, Or),
    by_size!(Adc, binary, Adc),
    by_size!(Sbb, binary, Sbb),
    by_size!(And, binary, And),
    (
        Key::Mnemonic(iced_x86::Mnemonic::Sub),
        Choice::BySize([binary::<Sub, u8>, binary::<Sub, u16>, binary::<Sub, u32>, sub_from_stack]),
    ),
    by_size!(Xor, binary, Xor),
    by_size!(Cmp, cmp),
    by_size!(Test, test),
    by_size!(Inc, inc),
    by_size!(Dec, dec),
    by_size!(Neg, neg),
    by_size!(Not, not),
    by_size!(Mov, mov),
    by_size!(Lea, lea),
    by_size!(Xchg, xchg),
    by_size!(Xadd, xadd),
    by_size!(Cmpxchg, cmpxchg),
    by_size!(Bswap, bswap),
    by_size!(Movbe, movbe),
    code!(Movzx_r16_rm8, movzx_to16::<u8>),
    code!(Movzx_r16_rm16, movzx_to16::<u16>),
    code!(Movzx_r32_rm8, movzx::<u8>),
    code!(Movzx_r32_rm16, movzx::<u16>),
    code!(Movzx_r64_rm8, movzx::<u8>),
    code!(Movzx_r64_rm16, movzx::<u16>),
    code!(Movsx_r16_rm8, movsx::<u8, u16>),
    code!(Movsx_r16_rm16, movsx::<u16, u16>),
    code!(Movsx_r32_rm8, movsx::<u8, u32>),
    code!(Movsx_r32_rm16, movsx::<u16, u32>),
    code!(Movsx_r64_rm8, movsx::<u8, u64>),
    code!(Movsx_r64_rm16, movsx::<u16, u64>),
    code!(Movsxd_r16_rm16, movsx::<u16, u16>),
    code!(Movsxd_r32_rm32, movsx::<u32, u32>),
    code!(Movsxd_r64_rm32, movsx::<u32, u64>),
    code!(Cmpxchg8b_m64, cmpxchg8b),
    code!(Cmpxchg16b_m128, cmpxchg16b),
    one!(Cbw, widen::<u8, u16>),
    one!(Cwde, widen::<u16, u32>),
    one!(Cdqe, widen::<u32, u64>),
    one!(Cwd, sign_to_rdx::<u16>),
    one!(Cdq, sign_to_rdx::<u32>),
    one!(Cqo, sign_to_rdx::<u64>),
];
