//! SSE and SSE2 integer arithmetic, logic, shuffles, packs.

use x86_ops::packed;

use super::{Table, code, one};
use crate::{Done, Env, Go, Kind, Op, split};

/// `xmm = f(xmm, xmm or aligned memory)`.
fn combine(e: &mut Env<'_>, op: &Op, f: impl Fn(u128, u128) -> u128) -> Done {
    let source = e.xmm_or_aligned(op, 1)?;
    let slot = e.xmm(op, 0);
    *slot = f(*slot, source);
    Ok(Go::Next)
}

/// As [`combine`], with the immediate.
fn choose(e: &mut Env<'_>, op: &Op, f: impl Fn(u128, u128, u8) -> u128) -> Done {
    let [select, ..] = op.imm.to_le_bytes();
    combine(e, op, |a, b| f(a, b, select))
}

/// A shift by an immediate, or by the low quadword of a register or memory.
fn shift(e: &mut Env<'_>, op: &Op, f: impl Fn(u128, u64) -> u128) -> Done {
    let count = if op.kind[1] == Kind::Imm {
        op.imm & 0xff
    } else {
        let [low, _] = split(e.xmm_or_aligned(op, 1)?);
        low
    };
    let slot = e.xmm(op, 0);
    *slot = f(*slot, count);
    Ok(Go::Next)
}

/// Extracts a word to a general register.
fn pextrw(e: &mut Env<'_>, op: &Op) -> Done {
    let lane = *e.xmm(op, 1) >> ((op.imm & 7) * 16);
    let [low, _] = split(lane & 0xffff);
    e.set_reg::<u32>(op.reg[0], low);
    Ok(Go::Next)
}

/// Inserts a word of a general register or of memory.
fn pinsrw(e: &mut Env<'_>, op: &Op) -> Done {
    let word = e.get::<u16>(op, 1)?;
    let at = (op.imm & 7) * 16;
    let slot = e.xmm(op, 0);
    *slot = *slot & !(0xffff << at) | u128::from(word) << at;
    Ok(Go::Next)
}

/// Stores the bytes whose mask byte has its top bit set, at ds:rdi.
fn maskmovdqu(e: &mut Env<'_>, op: &Op) -> Done {
    // The address is an operand of its own kind, so the registers are operands 1 and 2.
    let (value, mask) = (*e.xmm(op, 1), *e.xmm(op, 2));
    let base = if op.extra.short { e.reg::<u32>(7) } else { e.r.gpr[7] };
    let base = base.wrapping_add(e.r.segment_base(op.extra.segment));
    let chosen = (0..16_u64).filter(|lane| mask >> (lane * 8 + 7) & 1 != 0);
    for lane in chosen.clone() {
        e.check_write(base.wrapping_add(lane), 1)?;
    }
    for lane in chosen {
        let [byte, _] = split(value >> (lane * 8) & 0xff);
        e.store::<u8>(base.wrapping_add(lane), byte)?;
    }
    Ok(Go::Next)
}

macro_rules! table {
    ($($how:ident: $($name:ident $f:ident)*;)*) => {
        &[
            $($(one!($name, |e, op| $how(e, op, packed::$f)),)*)*
            code!(Pextrw_r32_xmm_imm8, pextrw),
            code!(Pextrw_r64_xmm_imm8, pextrw),
            code!(Pinsrw_xmm_r32m16_imm8, pinsrw),
            code!(Pinsrw_xmm_r64m16_imm8, pinsrw),
            one!(Maskmovdqu, maskmovdqu),
        ]
    };
}

#[rustfmt::skip]
pub(super) static TABLE: Table = table![
    combine:
        Paddb paddb Paddw paddw Paddd paddd Paddq paddq
        Psubb psubb Psubw psubw Psubd psubd Psubq psubq
        Paddsb paddsb Paddsw paddsw Paddusb paddusb Paddusw paddusw
        Psubsb psubsb Psubsw psubsw Psubusb psubusb Psubusw psubusw
        Pmullw pmullw Pmulhw pmulhw Pmulhuw pmulhuw Pmuludq pmuludq Pmaddwd pmaddwd Psadbw psadbw
        Pavgb pavgb Pavgw pavgw Pminub pminub Pmaxub pmaxub Pminsw pminsw Pmaxsw pmaxsw
        Pcmpeqb pcmpeqb Pcmpeqw pcmpeqw Pcmpeqd pcmpeqd
        Pcmpgtb pcmpgtb Pcmpgtw pcmpgtw Pcmpgtd pcmpgtd
        Pand pand Pandn pandn Por por Pxor pxor
        Andps pand Andpd pand Andnps pandn Andnpd pandn Orps por Orpd por Xorps pxor Xorpd pxor
        Packsswb packsswb Packuswb packuswb Packssdw packssdw
        Punpcklbw punpcklbw Punpcklwd punpcklwd Punpckldq punpckldq Punpcklqdq punpcklqdq
        Punpckhbw punpckhbw Punpckhwd punpckhwd Punpckhdq punpckhdq Punpckhqdq punpckhqdq
        Unpcklps punpckldq Unpcklpd punpcklqdq Unpckhps punpckhdq Unpckhpd punpckhqdq;
    choose:
        Pshufd pshufd Pshuflw pshuflw Pshufhw pshufhw Shufps shufps Shufpd shufpd;
    shift:
        Psllw psllw Pslld pslld Psllq psllq Psrlw psrlw Psrld psrld Psrlq psrlq
        Psraw psraw Psrad psrad
        Pslldq pslldq Psrldq psrldq;
];
