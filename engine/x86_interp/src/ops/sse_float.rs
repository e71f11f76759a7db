//! SSE and SSE2 floating point and conversions.
//!
//! Every lane is computed by `soft_float`, whose flags are or-ed into MXCSR as the processor does:
//! if an exception that is known before computing is unmasked, only such flags are set; an unmasked
//! exception leaves the destination alone (Intel SDM volume 1, 11.5).

use x86_ops::{
    flags,
    soft_float::{self, DOUBLE, Env as Rounding, Float, Format, NanCompare, Order, SINGLE, flag},
};

use super::{Table, code, one};
use crate::{Done, Env, Go, Op, Stop, Vector, Word, join, split};

/// A binary operation on numbers; unary ones ignore the first.
type Arithmetic = fn(Float, Float, Format, &mut Rounding) -> Float;

/// Sets the flags in MXCSR, or faults if one of them is unmasked.
fn finish(e: &mut Env<'_>, rounding: &Rounding) -> Result<(), Stop> {
    let before = rounding.raised & flag::BEFORE;
    let raised = if before & !rounding.masked != 0 { before } else { rounding.raised };
    e.r.mxcsr |= u32::from(raised);
    if raised & !rounding.masked != 0 {
        return Err(e.fault(Vector::FloatingPoint));
    }
    Ok(())
}

fn lane32(value: u128, lane: u32) -> u64 {
    let [low, _] = split(value >> (lane * 32) & 0xffff_ffff);
    low
}

fn lane64(value: u128, lane: u32) -> u64 {
    let [low, _] = split(value >> (lane * 64));
    low
}

fn join32(lanes: [u64; 4]) -> u128 {
    join(lanes[1] << 32 | lanes[0], lanes[3] << 32 | lanes[2])
}

/// Applies `f` to bit patterns of one lane.
fn on_lane(
    a: u64,
    b: u64,
    format: Format,
    env: &mut Rounding,
    f: impl Fn(Float, Float, Format, &mut Rounding) -> Float,
) -> u64 {
    let (x, y) = (Float::unpack(a, format, env), Float::unpack(b, format, env));
    f(x, y, format, env).pack(format)
}

fn packed_single(e: &mut Env<'_>, op: &Op, f: impl Fn(u64, u64, &mut Rounding) -> u64) -> Done {
    let source = e.xmm_or_aligned(op, 1)?;
    let old = *e.xmm(op, 0);
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = [0, 1, 2, 3].map(|lane| f(lane32(old, lane), lane32(source, lane), &mut env));
    finish(e, &env)?;
    *e.xmm(op, 0) = join32(result);
    Ok(Go::Next)
}

fn packed_double(e: &mut Env<'_>, op: &Op, f: impl Fn(u64, u64, &mut Rounding) -> u64) -> Done {
    let source = e.xmm_or_aligned(op, 1)?;
    let old = *e.xmm(op, 0);
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let low = f(lane64(old, 0), lane64(source, 0), &mut env);
    let high = f(lane64(old, 1), lane64(source, 1), &mut env);
    finish(e, &env)?;
    *e.xmm(op, 0) = join(low, high);
    Ok(Go::Next)
}

fn scalar_single(e: &mut Env<'_>, op: &Op, f: impl Fn(u64, u64, &mut Rounding) -> u64) -> Done {
    let source = e.xmm_or_memory::<u32>(op, 1)?;
    let [low, high] = split(*e.xmm(op, 0));
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = f(low & 0xffff_ffff, source, &mut env);
    finish(e, &env)?;
    *e.xmm(op, 0) = join(low & !0xffff_ffff | result, high);
    Ok(Go::Next)
}

fn scalar_double(e: &mut Env<'_>, op: &Op, f: impl Fn(u64, u64, &mut Rounding) -> u64) -> Done {
    let source = e.xmm_or_memory::<u64>(op, 1)?;
    let [low, high] = split(*e.xmm(op, 0));
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = f(low, source, &mut env);
    finish(e, &env)?;
    *e.xmm(op, 0) = join(result, high);
    Ok(Go::Next)
}

fn ps(e: &mut Env<'_>, op: &Op, f: Arithmetic) -> Done {
    packed_single(e, op, |a, b, env| on_lane(a, b, SINGLE, env, f))
}
fn pd(e: &mut Env<'_>, op: &Op, f: Arithmetic) -> Done {
    packed_double(e, op, |a, b, env| on_lane(a, b, DOUBLE, env, f))
}
fn ss(e: &mut Env<'_>, op: &Op, f: Arithmetic) -> Done {
    scalar_single(e, op, |a, b, env| on_lane(a, b, SINGLE, env, f))
}
fn sd(e: &mut Env<'_>, op: &Op, f: Arithmetic) -> Done {
    scalar_double(e, op, |a, b, env| on_lane(a, b, DOUBLE, env, f))
}

fn sqrt(_: Float, b: Float, format: Format, env: &mut Rounding) -> Float {
    soft_float::sqrt(b, format, env)
}

/// The second operand unless the first is smaller; equal zeros and NaNs give the second, unchanged.
fn min(a: Float, b: Float, _: Format, env: &mut Rounding) -> Float {
    if soft_float::compare(a, b, NanCompare::Signalling, env) == Order::Less { a } else { b }
}

fn max(a: Float, b: Float, _: Format, env: &mut Rounding) -> Float {
    if soft_float::compare(a, b, NanCompare::Signalling, env) == Order::Greater { a } else { b }
}

/// Whether predicate `imm` of cmpps and its kin holds.
fn predicate(a: u64, b: u64, imm: u64, format: Format, env: &mut Rounding) -> bool {
    let (x, y) = (Float::unpack(a, format, env), Float::unpack(b, format, env));
    // lt, le and their negations are invalid for every NaN.
    let nans = if matches!(imm & 3, 1 | 2) { NanCompare::Signalling } else { NanCompare::Quiet };
    let order = soft_float::compare(x, y, nans, env);
    let plain = match imm & 3 {
        0 => order == Order::Equal,
        1 => order == Order::Less,
        2 => matches!(order, Order::Less | Order::Equal),
        _ => order == Order::Unordered,
    };
    plain != (imm & 4 != 0)
}

fn mask32(holds: bool) -> u64 {
    if holds { 0xffff_ffff } else { 0 }
}

fn mask64(holds: bool) -> u64 {
    if holds { u64::MAX } else { 0 }
}

fn cmpps(e: &mut Env<'_>, op: &Op) -> Done {
    packed_single(e, op, |a, b, env| mask32(predicate(a, b, op.imm, SINGLE, env)))
}
fn cmppd(e: &mut Env<'_>, op: &Op) -> Done {
    packed_double(e, op, |a, b, env| mask64(predicate(a, b, op.imm, DOUBLE, env)))
}
fn cmpss(e: &mut Env<'_>, op: &Op) -> Done {
    scalar_single(e, op, |a, b, env| mask32(predicate(a, b, op.imm, SINGLE, env)))
}
fn cmpsd(e: &mut Env<'_>, op: &Op) -> Done {
    scalar_double(e, op, |a, b, env| mask64(predicate(a, b, op.imm, DOUBLE, env)))
}

/// comiss and its kin: the order in ZF, PF and CF; the other status flags are cleared.
fn compare<W: Word>(e: &mut Env<'_>, op: &Op, format: Format, nans: NanCompare) -> Done {
    let b = e.xmm_or_memory::<W>(op, 1)?;
    let a = e.xmm_or_memory::<W>(op, 0)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let (x, y) = (Float::unpack(a, format, &env), Float::unpack(b, format, &env));
    let order = soft_float::compare(x, y, nans, &mut env);
    finish(e, &env)?;
    e.set_status(order_flags(order));
    Ok(Go::Next)
}

/// The status flags that a comparison sets, also used by `fcomi`.
pub(super) fn order_flags(order: Order) -> u64 {
    match order {
        Order::Greater => 0,
        Order::Less => flags::CF,
        Order::Equal => flags::ZF,
        Order::Unordered => flags::ZF | flags::PF | flags::CF,
    }
}

/// Converts one number between formats.
fn convert(bits: u64, from: Format, to: Format, env: &mut Rounding) -> u64 {
    let value = Float::unpack(bits, from, env);
    soft_float::convert(value, to, env).pack(to)
}

/// The low 64 bits of operand 1, from memory of that size.
fn cvtps2pd(e: &mut Env<'_>, op: &Op) -> Done {
    let source = e.xmm_or_memory::<u64>(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let low = convert(source & 0xffff_ffff, SINGLE, DOUBLE, &mut env);
    let high = convert(source >> 32, SINGLE, DOUBLE, &mut env);
    finish(e, &env)?;
    *e.xmm(op, 0) = join(low, high);
    Ok(Go::Next)
}

fn cvtpd2ps(e: &mut Env<'_>, op: &Op) -> Done {
    let source = e.xmm_or_aligned(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let low = convert(lane64(source, 0), DOUBLE, SINGLE, &mut env);
    let high = convert(lane64(source, 1), DOUBLE, SINGLE, &mut env);
    finish(e, &env)?;
    *e.xmm(op, 0) = u128::from(high << 32 | low);
    Ok(Go::Next)
}

fn cvtss2sd(e: &mut Env<'_>, op: &Op) -> Done {
    let source = e.xmm_or_memory::<u32>(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = convert(source, SINGLE, DOUBLE, &mut env);
    finish(e, &env)?;
    let [_, high] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(result, high);
    Ok(Go::Next)
}

fn cvtsd2ss(e: &mut Env<'_>, op: &Op) -> Done {
    let source = e.xmm_or_memory::<u64>(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = convert(source, DOUBLE, SINGLE, &mut env);
    finish(e, &env)?;
    let [low, high] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(low & !0xffff_ffff | result, high);
    Ok(Go::Next)
}

/// A signed integer to a number.
fn from_int(value: i64, to: Format, env: &mut Rounding) -> u64 {
    soft_float::round_only(Float::from_i64(value), to, env).pack(to)
}

/// The low 32 bits as a signed integer.
fn signed32(bits: u64) -> i64 {
    (bits << 32).cast_signed() >> 32
}

fn cvtdq2ps(e: &mut Env<'_>, op: &Op) -> Done {
    packed_single(e, op, |_, b, env| from_int(signed32(b), SINGLE, env))
}

fn cvtdq2pd(e: &mut Env<'_>, op: &Op) -> Done {
    let source = e.xmm_or_memory::<u64>(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let low = from_int(signed32(source), DOUBLE, &mut env);
    let high = from_int(signed32(source >> 32), DOUBLE, &mut env);
    *e.xmm(op, 0) = join(low, high);
    Ok(Go::Next)
}

/// cvtsi2ss, cvtsi2sd: operand 1 has 32 or 64 bits.
fn int_to_scalar<W: Word>(e: &mut Env<'_>, op: &Op, to: Format) -> Done {
    let value = W::signed(e.get::<W>(op, 1)?);
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = from_int(value, to, &mut env);
    finish(e, &env)?;
    let [low, high] = split(*e.xmm(op, 0));
    let kept = if to == SINGLE { low & !0xffff_ffff } else { 0 };
    *e.xmm(op, 0) = join(kept | result, high);
    Ok(Go::Next)
}

/// A number to a signed integer of `bits` bits; what does not fit gives the smallest integer.
fn to_int(pattern: u64, from: Format, bits: u32, env: &mut Rounding, truncate: Truncate) -> u64 {
    let value = Float::unpack(pattern, from, env);
    let rounding = match truncate {
        Truncate::Yes => soft_float::Rounding::Zero,
        Truncate::No => env.rounding,
    };
    let indefinite = 1_u64 << (bits - 1);
    let mask = u64::MAX >> (64 - bits);
    match soft_float::to_int(value, bits, rounding, env) {
        Some(value) => value.cast_unsigned() & mask,
        None => indefinite,
    }
}

/// Whether a conversion ignores the rounding mode.
#[derive(Clone, Copy)]
enum Truncate {
    Yes,
    No,
}

fn ps_to_dq(e: &mut Env<'_>, op: &Op, truncate: Truncate) -> Done {
    packed_single(e, op, |_, b, env| to_int(b, SINGLE, 32, env, truncate))
}

fn pd_to_dq(e: &mut Env<'_>, op: &Op, truncate: Truncate) -> Done {
    let source = e.xmm_or_aligned(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let low = to_int(lane64(source, 0), DOUBLE, 32, &mut env, truncate);
    let high = to_int(lane64(source, 1), DOUBLE, 32, &mut env, truncate);
    finish(e, &env)?;
    *e.xmm(op, 0) = u128::from(high << 32 | low);
    Ok(Go::Next)
}

/// cvtss2si and its kin: `W` is the width in memory, `R` that of the destination.
fn scalar_to_int<W: Word, R: Word>(
    e: &mut Env<'_>,
    op: &Op,
    from: Format,
    truncate: Truncate,
) -> Done {
    let source = e.xmm_or_memory::<W>(op, 1)?;
    let mut env = Rounding::from_mxcsr(e.r.mxcsr);
    let result = to_int(source, from, R::BITS, &mut env, truncate);
    finish(e, &env)?;
    e.set_reg::<R>(op.reg[0], result);
    Ok(Go::Next)
}

pub(super) static TABLE: Table = &[
    one!(Addps, |e, op| ps(e, op, soft_float::add)),
    one!(Addpd, |e, op| pd(e, op, soft_float::add)),
    one!(Addss, |e, op| ss(e, op, soft_float::add)),
    one!(Addsd, |e, op| sd(e, op, soft_float::add)),
    one!(Subps, |e, op| ps(e, op, soft_float::sub)),
    one!(Subpd, |e, op| pd(e, op, soft_float::sub)),
    one!(Subss, |e, op| ss(e, op, soft_float::sub)),
    one!(Subsd, |e, op| sd(e, op, soft_float::sub)),
    one!(Mulps, |e, op| ps(e, op, soft_float::mul)),
    one!(Mulpd, |e, op| pd(e, op, soft_float::mul)),
    one!(Mulss, |e, op| ss(e, op, soft_float::mul)),
    one!(Mulsd, |e, op| sd(e, op, soft_float::mul)),
    one!(Divps, |e, op| ps(e, op, soft_float::div)),
    one!(Divpd, |e, op| pd(e, op, soft_float::div)),
    one!(Divss, |e, op| ss(e, op, soft_float::div)),
    one!(Divsd, |e, op| sd(e, op, soft_float::div)),
    one!(Sqrtps, |e, op| ps(e, op, sqrt)),
    one!(Sqrtpd, |e, op| pd(e, op, sqrt)),
    one!(Sqrtss, |e, op| ss(e, op, sqrt)),
    one!(Sqrtsd, |e, op| sd(e, op, sqrt)),
    one!(Minps, |e, op| ps(e, op, min)),
    one!(Minpd, |e, op| pd(e, op, min)),
    one!(Minss, |e, op| ss(e, op, min)),
    one!(Minsd, |e, op| sd(e, op, min)),
    one!(Maxps, |e, op| ps(e, op, max)),
    one!(Maxpd, |e, op| pd(e, op, max)),
    one!(Maxss, |e, op| ss(e, op, max)),
    one!(Maxsd, |e, op| sd(e, op, max)),
    one!(Cmpps, cmpps),
    one!(Cmppd, cmppd),
    one!(Cmpss, cmpss),
    // The string instruction has the same mnemonic.
    code!(Cmpsd_xmm_xmmm64_imm8, cmpsd),
    one!(Comiss, |e, op| compare::<u32>(e, op, SINGLE, NanCompare::Signalling)),
    one!(Comisd, |e, op| compare::<u64>(e, op, DOUBLE, NanCompare::Signalling)),
    one!(Ucomiss, |e, op| compare::<u32>(e, op, SINGLE, NanCompare::Quiet)),
    one!(Ucomisd, |e, op| compare::<u64>(e, op, DOUBLE, NanCompare::Quiet)),
    one!(Cvtps2pd, cvtps2pd),
    one!(Cvtpd2ps, cvtpd2ps),
    one!(Cvtss2sd, cvtss2sd),
    one!(Cvtsd2ss, cvtsd2ss),
    one!(Cvtdq2ps, cvtdq2ps),
    one!(Cvtdq2pd, cvtdq2pd),
    one!(Cvtps2dq, |e, op| ps_to_dq(e, op, Truncate::No)),
    one!(Cvttps2dq, |e, op| ps_to_dq(e, op, Truncate::Yes)),
    one!(Cvtpd2dq, |e, op| pd_to_dq(e, op, Truncate::No)),
    one!(Cvttpd2dq, |e, op| pd_to_dq(e, op, Truncate::Yes)),
    code!(Cvtsi2ss_xmm_rm32, |e, op| int_to_scalar::<u32>(e, op, SINGLE)),
    code!(Cvtsi2ss_xmm_rm64, |e, op| int_to_scalar::<u64>(e, op, SINGLE)),
    code!(Cvtsi2sd_xmm_rm32, |e, op| int_to_scalar::<u32>(e, op, DOUBLE)),
    code!(Cvtsi2sd_xmm_rm64, |e, op| int_to_scalar::<u64>(e, op, DOUBLE)),
    code!(Cvtss2si_r32_xmmm32, |e, op| scalar_to_int::<u32, u32>(e, op, SINGLE, Truncate::No)),
    code!(Cvtss2si_r64_xmmm32, |e, op| scalar_to_int::<u32, u64>(e, op, SINGLE, Truncate::No)),
    code!(Cvtsd2si_r32_xmmm64, |e, op| scalar_to_int::<u64, u32>(e, op, DOUBLE, Truncate::No)),
    code!(Cvtsd2si_r64_xmmm64, |e, op| scalar_to_int::<u64, u64>(e, op, DOUBLE, Truncate::No)),
    code!(Cvttss2si_r32_xmmm32, |e, op| scalar_to_int::<u32, u32>(e, op, SINGLE, Truncate::Yes)),
    code!(Cvttss2si_r64_xmmm32, |e, op| scalar_to_int::<u32, u64>(e, op, SINGLE, Truncate::Yes)),
    code!(Cvttsd2si_r32_xmmm64, |e, op| scalar_to_int::<u64, u32>(e, op, DOUBLE, Truncate::Yes)),
    code!(Cvttsd2si_r64_xmmm64, |e, op| scalar_to_int::<u64, u64>(e, op, DOUBLE, Truncate::Yes)),
];
