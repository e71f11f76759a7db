//! How labels travel through SSE instructions that only move bits, mask them, or work on lanes.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use iced_x86::Mnemonic;
use x86_ops::Lazy;

use super::{
    general::general,
    label::{Label, Labelled},
    look::{Look, Out, Rule},
};
use crate::{Env, Grant, Kind, Registers, split};

type See<'a, 'e, L> = Look<'a, 'e, L>;

/// Moves between a register and memory, where a load replaces the whole register.
fn whole<L: Label>(look: &mut See<'_, '_, L>) {
    match look.op.kind {
        [Kind::Mem, ..] => {
            let bits = look.bits(0);
            let from = look.operand(1, bits);
            look.write(0, bits, from.label);
        }
        [_, Kind::Mem, _] => {
            let bits = look.bits(1);
            let from = look.operand(1, bits);
            look.write(0, 128, from.label);
        }
        _ => permute(look),
    }
}

/// movhps, movhpd, movlps, movlpd: a load replaces one half.
fn half<const LOW: u32, L: Label>(look: &mut See<'_, '_, L>) {
    if look.op.kind[0] == Kind::Mem {
        let from = look.operand(1, 128);
        look.write(0, 64, from.label.part(LOW, 64));
    } else {
        let (old, from) = (look.operand(0, 128), look.operand(1, 64));
        look.write(0, 128, old.label.with_part(LOW, 64, from.label));
    }
}

/// Instructions that only move bits: run on the labels, they give the labels.
fn permute<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = |label: &L| label.as_bits();
    let (Some(gpr), Some(xmm)) = (
        look.labels.gpr.iter().map(bits).collect::<Option<Vec<_>>>(),
        look.labels.xmm.iter().map(bits).collect::<Option<Vec<_>>>(),
    ) else {
        return general(look);
    };
    if look.op.kind[0] == Kind::Mem {
        return general(look);
    }
    let mut scratch = Registers::new();
    for (slot, bits) in scratch.gpr.iter_mut().zip(gpr) {
        *slot = split(bits)[0];
    }
    for (slot, bits) in scratch.xmm.iter_mut().zip(xmm) {
        *slot = bits;
    }
    let mut op = *look.op;
    if op.kind[1] == Kind::Mem {
        let size = look.bits(1);
        let Some(from) = look.operand(1, size).label.as_bits() else { return };
        let (kind, spare) = match (op.kind[0], size) {
            // pinsrb and pinsrw take memory or a general register.
            (Kind::Xmm, 8 | 16) => (Kind::Gpr, 0),
            (_, _) => (Kind::Xmm, (op.reg[0] + 1) & 15),
        };
        (op.kind[1], op.reg[1]) = (kind, spare);
        match kind {
            Kind::Gpr => scratch.gpr[0] = split(from)[0],
            _ => scratch.xmm[usize::from(spare)] = from,
        }
    }
    let mut env = Env {
        r: &mut scratch,
        m: look.e.m,
        lazy: Lazy::SETTLED,
        left: 1,
        alone: true,
        grant: Grant::None,
        may_decide: false,
        exit: None,
        labelled_load: None,
        stack: 0..0,
    };
    if (op.run)(&mut env, &op).is_err() {
        return general(look);
    }
    let register = op.reg[0];
    let index = usize::from(register & 15);
    if op.kind[0] == Kind::Xmm {
        let label = L::from_bits(scratch.xmm[index]);
        look.outs.push(Out::Xmm { register, label });
    } else {
        let label = L::from_bits(u128::from(scratch.gpr[index]));
        look.outs.push(Out::Gpr { register, low: 0, bits: 64, label });
    }
}

/// Shifts move bits if their count is an immediate.
fn shift<L: Label>(look: &mut See<'_, '_, L>) {
    if look.op.kind[1] == Kind::Imm { permute(look) } else { general(look) }
}

fn is_same_register<L: Label>(look: &See<'_, '_, L>) -> bool {
    look.op.kind[1] == Kind::Xmm && look.op.reg[0] == look.op.reg[1]
}

/// pand, pandn, por, pxor and their floating-point names.
fn logic<const KIND: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let (a, b) = (look.operand(0, 128), look.operand(1, 128));
    let label = match KIND {
        0 => L::and(a, b),
        1 => L::and(Labelled { value: !a.value, label: a.label }, b),
        2 => L::or(a, b),
        _ if is_same_register(look) => L::CLEAR,
        _ => a.label.join(b.label),
    };
    look.write(0, 128, label);
}

fn lanes<L: Label>(
    look: &mut See<'_, '_, L>,
    lane_bits: u32,
    of: impl Fn(Labelled<L>, Labelled<L>) -> L,
) {
    let (a, b) = (look.operand(0, 128), look.operand(1, 128));
    let mask = u128::MAX >> (128 - lane_bits);
    let lane = |x: Labelled<L>, low: u32| Labelled {
        value: x.value >> low & mask,
        label: x.label.part(low, lane_bits),
    };
    let label = (0..128)
        .step_by(lane_bits as usize)
        .fold(L::CLEAR, |all, low| all.with_part(low, lane_bits, of(lane(a, low), lane(b, low))));
    look.write(0, 128, label);
}

fn add<const LANE: u32, L: Label>(look: &mut See<'_, '_, L>) {
    lanes(look, LANE, |a, b| L::add(a, b, LANE).0);
}

fn sub<const LANE: u32, L: Label>(look: &mut See<'_, '_, L>) {
    if is_same_register(look) {
        return look.write(0, 128, L::CLEAR);
    }
    lanes(look, LANE, |a, b| L::sub(a, b, LANE).0);
}

/// Equality of a lane is decided by any defined bit that differs.
fn equal<const LANE: u32, L: Label>(look: &mut See<'_, '_, L>) {
    if is_same_register(look) {
        return look.write(0, 128, L::CLEAR);
    }
    lanes(look, LANE, |a, b| {
        let label = a.label.join(b.label);
        L::zero(Labelled { value: a.value ^ b.value, label }, LANE).sign_extended(1).part(0, LANE)
    });
}

/// A lane of the result depends on the same lane of both operands.
fn each<const LANE: u32, L: Label>(look: &mut See<'_, '_, L>) {
    use Mnemonic::{Pcmpgtb, Pcmpgtd, Pcmpgtw};
    if is_same_register(look) && matches!(look.ins.mnemonic(), Pcmpgtb | Pcmpgtw | Pcmpgtd) {
        return look.write(0, 128, L::CLEAR);
    }
    lanes(look, LANE, |a, b| a.label.join(b.label).flood(LANE));
}

/// maskmovdqu: the top bit of each byte of the mask says whether a byte is stored.
fn masked_store<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = if look.op.extra.short { 32 } else { 64 };
    let base = look.gpr(7, bits);
    look.decide(base.label, true);
    let base =
        Look::<L>::low(base.value).wrapping_add(look.e.r.segment_base(look.op.extra.segment));
    // The address is an operand of its own kind.
    let (from, mask) = (look.operand(1, 128), look.operand(2, 128));
    for (lane, at) in (0..16).map(|lane| lane * 8).zip((0..16).map(|n| base.wrapping_add(n))) {
        let chosen = mask.label.part(lane + 7, 1);
        if !chosen.is_clear() {
            look.write_memory(at, 8, chosen.sign_extended(1));
        } else if mask.value >> (lane + 7) & 1 != 0 {
            look.write_memory(at, 8, from.label.part(lane, 8));
        }
    }
}

/// The rules of this file.
pub(super) struct Table<L>(std::marker::PhantomData<L>);

impl<L: Label> Table<L> {
    pub(super) const ALL: &'static [(Mnemonic, Rule<L>)] = rules! {
        whole => Movaps Movapd Movdqa Movups Movupd Movdqu Lddqu Movd Movq Movss Movsd
            Movntps Movntpd Movntdq;
        half::<64, L> => Movhps Movhpd;
        half::<0, L> => Movlps Movlpd;
        permute => Movhlps Movlhps Movmskps Movmskpd Pmovmskb Pslldq Psrldq Palignr
            Punpcklbw Punpcklwd Punpckldq Punpcklqdq Punpckhbw Punpckhwd Punpckhdq Punpckhqdq
            Unpcklps Unpcklpd Unpckhps Unpckhpd Pshufd Pshuflw Pshufhw Shufps Shufpd
            Pinsrw Pextrw Pinsrb Movddup Movsldup Movshdup;
        masked_store => Maskmovdqu;
        shift => Psllw Pslld Psllq Psrlw Psrld Psrlq Psraw Psrad;
        logic::<0, L> => Pand Andps Andpd;
        logic::<1, L> => Pandn Andnps Andnpd;
        logic::<2, L> => Por Orps Orpd;
        logic::<3, L> => Pxor Xorps Xorpd;
        add::<8, L> => Paddb;
        add::<16, L> => Paddw;
        add::<32, L> => Paddd;
        add::<64, L> => Paddq;
        sub::<8, L> => Psubb;
        sub::<16, L> => Psubw;
        sub::<32, L> => Psubd;
        sub::<64, L> => Psubq;
        equal::<8, L> => Pcmpeqb;
        equal::<16, L> => Pcmpeqw;
        equal::<32, L> => Pcmpeqd;
        each::<8, L> => Pcmpgtb Pminub Pmaxub Paddsb Paddusb Psubsb Psubusb Pavgb;
        each::<16, L> => Pcmpgtw Pminsw Pmaxsw Paddsw Paddusw Psubsw Psubusw Pavgw Pmullw Pmulhw
            Pmulhuw;
        each::<32, L> => Pcmpgtd Pmaddwd Addps Subps Mulps Divps Minps Maxps;
        each::<64, L> => Pmuludq Addpd Subpd Mulpd Divpd Minpd Maxpd;
    };
}
