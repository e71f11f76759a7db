//! SSE moves: nothing is computed.

use super::{Table, code};
use crate::{Done, Env, Go, Kind, Op, Stop, Vector, Word, join, split};

/// movaps, movapd, movdqa, movntps, movntdq: memory must be aligned.
fn aligned(e: &mut Env<'_>, op: &Op) -> Done {
    if op.kind[0] == Kind::Mem {
        let at = op.address(e.r);
        e.check_aligned(at)?;
        let value = *e.xmm(op, 1);
        e.store128(at, value)?;
    } else {
        *e.xmm(op, 0) = e.xmm_or_aligned(op, 1)?;
    }
    Ok(Go::Next)
}

/// movups, movupd, movdqu, lddqu.
fn unaligned(e: &mut Env<'_>, op: &Op) -> Done {
    if op.kind[0] == Kind::Mem {
        let value = *e.xmm(op, 1);
        e.store128(op.address(e.r), value)?;
    } else if op.kind[1] == Kind::Mem {
        *e.xmm(op, 0) = e.load128(op.address(e.r))?;
    } else {
        *e.xmm(op, 0) = *e.xmm(op, 1);
    }
    Ok(Go::Next)
}

/// movss, movsd, movd, movq into xmm: a load clears the rest of the register.
fn load_clear<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = match op.kind[1] {
        Kind::Xmm => e.xmm_or_memory::<W>(op, 1)?,
        _ => e.get::<W>(op, 1)?,
    };
    *e.xmm(op, 0) = u128::from(value);
    Ok(Go::Next)
}

/// movss, movsd between registers: the rest of the register stays.
fn merge<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    if op.kind[1] == Kind::Mem {
        return load_clear::<W>(e, op);
    }
    let low = W::cut(split(*e.xmm(op, 1))[0]);
    let [old, high] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(old & !W::MASK | low, high);
    Ok(Go::Next)
}

/// The low part of xmm to memory, to a general register, or (movq) to an xmm register with the rest
/// cleared.
fn store_low<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let low = split(*e.xmm(op, 1))[0];
    match op.kind[0] {
        Kind::Xmm => *e.xmm(op, 0) = u128::from(W::cut(low)),
        _ => e.put::<W>(op, 0, low)?,
    }
    Ok(Go::Next)
}

/// movhps, movhpd, movlhps: the low half of the source becomes the high half.
fn load_high(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.xmm_or_memory::<u64>(op, 1)?;
    let [low, _] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(low, value);
    Ok(Go::Next)
}

fn store_high(e: &mut Env<'_>, op: &Op) -> Done {
    let [_, high] = split(*e.xmm(op, 1));
    e.store::<u64>(op.address(e.r), high)?;
    Ok(Go::Next)
}

/// movlps, movlpd from memory: the high half stays.
fn load_low(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.load::<u64>(op.address(e.r))?;
    let [_, high] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(value, high);
    Ok(Go::Next)
}

fn movhlps(e: &mut Env<'_>, op: &Op) -> Done {
    let [_, from] = split(*e.xmm(op, 1));
    let [_, high] = split(*e.xmm(op, 0));
    *e.xmm(op, 0) = join(from, high);
    Ok(Go::Next)
}

/// Non-temporal stores of general registers are plain stores.
fn movnti<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<W>(op, 1)?;
    e.put::<W>(op, 0, value)?;
    Ok(Go::Next)
}

fn sign_mask(value: u128, lane_bits: u32) -> u64 {
    let lanes = 128 / lane_bits;
    (0..lanes).fold(0, |mask, lane| {
        let sign = value >> (lane * lane_bits + lane_bits - 1) & 1;
        mask | split(sign << lane)[0]
    })
}

/// movmskps, movmskpd, pmovmskb.
fn mask<const LANE_BITS: u32>(e: &mut Env<'_>, op: &Op) -> Done {
    let mask = sign_mask(*e.xmm(op, 1), LANE_BITS);
    e.set_reg::<u64>(op.reg[0], mask);
    Ok(Go::Next)
}

fn ldmxcsr(e: &mut Env<'_>, op: &Op) -> Result<Go, Stop> {
    let value = e.load::<u32>(op.address(e.r))?;
    if value & !0xffff != 0 {
        return Err(e.fault(Vector::GeneralProtection));
    }
    e.r.mxcsr = u32::try_from(value).unwrap_or(0);
    Ok(Go::Next)
}

fn stmxcsr(e: &mut Env<'_>, op: &Op) -> Done {
    let value = u64::from(e.r.mxcsr);
    e.store::<u32>(op.address(e.r), value)?;
    Ok(Go::Next)
}

pub(super) static TABLE: Table = &[
    code!(Movaps_xmm_xmmm128, aligned),
    code!(Movaps_xmmm128_xmm, aligned),
    code!(Movapd_xmm_xmmm128, aligned),
    code!(Movapd_xmmm128_xmm, aligned),
    code!(Movdqa_xmm_xmmm128, aligned),
    code!(Movdqa_xmmm128_xmm, aligned),
    code!(Movntps_m128_xmm, aligned),
    code!(Movntpd_m128_xmm, aligned),
    code!(Movntdq_m128_xmm, aligned),
    code!(Movups_xmm_xmmm128, unaligned),
    code!(Movups_xmmm128_xmm, unaligned),
    code!(Movupd_xmm_xmmm128, unaligned),
    code!(Movupd_xmmm128_xmm, unaligned),
    code!(Movdqu_xmm_xmmm128, unaligned),
    code!(Movdqu_xmmm128_xmm, unaligned),
    code!(Lddqu_xmm_m128, unaligned),
    code!(Movss_xmm_xmmm32, merge::<u32>),
    code!(Movss_xmmm32_xmm, move_scalar_out::<u32>),
    code!(Movsd_xmm_xmmm64, merge::<u64>),
    code!(Movsd_xmmm64_xmm, move_scalar_out::<u64>),
    code!(Movd_xmm_rm32, load_clear::<u32>),
    code!(Movq_xmm_rm64, load_clear::<u64>),
    code!(Movq_xmm_xmmm64, load_clear::<u64>),
    code!(Movd_rm32_xmm, store_low::<u32>),
    code!(Movq_rm64_xmm, store_low::<u64>),
    code!(Movq_xmmm64_xmm, store_low::<u64>),
    code!(Movhps_xmm_m64, load_high),
    code!(Movhpd_xmm_m64, load_high),
    code!(Movlhps_xmm_xmm, load_high),
    code!(Movhps_m64_xmm, store_high),
    code!(Movhpd_m64_xmm, store_high),
    code!(Movlps_xmm_m64, load_low),
    code!(Movlpd_xmm_m64, load_low),
    code!(Movlps_m64_xmm, store_low::<u64>),
    code!(Movlpd_m64_xmm, store_low::<u64>),
    code!(Movhlps_xmm_xmm, movhlps),
    code!(Movnti_m32_r32, movnti::<u32>),
    code!(Movnti_m64_r64, movnti::<u64>),
    code!(Movmskps_r32_xmm, mask::<32>),
    code!(Movmskps_r64_xmm, mask::<32>),
    code!(Movmskpd_r32_xmm, mask::<64>),
    code!(Movmskpd_r64_xmm, mask::<64>),
    code!(Pmovmskb_r32_xmm, mask::<8>),
    code!(Pmovmskb_r64_xmm, mask::<8>),
    code!(Ldmxcsr_m32, ldmxcsr),
    code!(Stmxcsr_m32, stmxcsr),
];

/// movss, movsd with an xmm source: to memory, or merged into a register.
fn move_scalar_out<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    if op.kind[0] == Kind::Mem { store_low::<W>(e, op) } else { merge::<W>(e, op) }
}
