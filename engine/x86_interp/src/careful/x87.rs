//! How labels travel through the x87 unit.
//!
//! Copies of 80 bits are exact, everything else depends on all bits of its operands. The stack
//! pointer, the tags and the control word have no labels: what would be written to them from
//! labelled memory decides. With an unmasked exception an instruction may leave its result out, so
//! what stood there stays in question.

use iced_x86::Mnemonic;

use super::{
    label::{AF, CF, Label, OF, PF, SF, ZF},
    look::{Look, Out, Rule},
};
use crate::Kind;

type See<'a, 'e, L> = Look<'a, 'e, L>;

/// Bits of a register.
const WIDTH: u32 = 80;
const C1: u16 = 1 << 9;
/// C0, C2, C3.
const CONDITIONS: u16 = 1 << 8 | 1 << 10 | 1 << 14;
/// Flags of exceptions and their summary, which values decide about.
const EXCEPTIONS: u16 = 0x80bf;
/// Width of the flags of exceptions, and their summary, which stands in two places.
const FLAG_BITS: u32 = 6;
const SUMMARY: u16 = 0x8080;
const MASKS: u16 = 0x3f;
/// The stack pointer in the status word.
const TOP: (u32, u32) = (11, 3);

/// The place of st(i) before the instruction.
fn place<L: Label>(look: &See<'_, '_, L>, i: u8) -> usize {
    usize::from((look.e.r.x87_status >> TOP.0).wrapping_add(u16::from(i)) & 7)
}

fn st<L: Label>(look: &See<'_, '_, L>, i: u8) -> L {
    look.labels.x87.get(place(look, i)).copied().unwrap_or(L::CLEAR)
}

fn put<L: Label>(look: &mut See<'_, '_, L>, i: u8, label: L) {
    let index = place(look, i);
    let is_unmasked = look.e.r.x87_control & MASKS != MASKS;
    let old = if is_unmasked { st(look, i) } else { L::CLEAR };
    look.outs.push(Out::X87 { index, label: label.part(0, WIDTH).join(old) });
}

/// The label of these bits of the status word where all of them depend on `all`.
fn within<L: Label>(all: L, open: u16) -> L {
    match all.as_bits() {
        Some(0) => L::CLEAR,
        Some(_) => L::from_bits(u128::from(open)),
        None => all,
    }
}

/// The status word changes: these bits are written, those in `open` with a label if `all` is one.
fn status<L: Label>(look: &mut See<'_, '_, L>, written: u16, open: u16, all: L) {
    // Flags of exceptions are only ever added.
    let replaced = written & !EXCEPTIONS;
    look.outs.push(Out::X87Status { replaced, label: within(all, open) });
}

/// The second operand: memory, a register, or what the instruction implies.
fn source<L: Label>(look: &mut See<'_, '_, L>, implied: u8) -> L {
    let bits = u32::from(look.op.mem_bytes) * 8;
    match look.op.kind {
        [Kind::Mem, ..] => {
            let at = look.address();
            look.memory(at, bits).label
        }
        [_, Kind::St, _] => st(look, look.op.reg[1]),
        _ => st(look, implied),
    }
}

/// Pushes a copy, or a converted number.
fn load<L: Label>(look: &mut See<'_, '_, L>) {
    let is_memory = look.op.kind[0] == Kind::Mem;
    let from = if is_memory { source(look, 0) } else { st(look, look.op.reg[0]) };
    let is_exact = !is_memory || look.op.mem_bytes == 10;
    let (label, raises) = if is_exact { (from, L::CLEAR) } else { (from.flood(WIDTH), from) };
    put(look, 7, label);
    status(look, C1, EXCEPTIONS, raises);
}

fn constant<L: Label>(look: &mut See<'_, '_, L>) {
    put(look, 7, L::CLEAR);
    status(look, C1, 0, L::CLEAR);
}

/// Stores st(0) as it is, rounded, or as an integer.
fn store<L: Label>(look: &mut See<'_, '_, L>) {
    let from = st(look, 0);
    if look.op.kind[0] == Kind::St {
        put(look, look.op.reg[0], from);
        return status(look, C1, 0, L::CLEAR);
    }
    let bits = u32::from(look.op.mem_bytes) * 8;
    let is_exact = bits == WIDTH;
    let at = look.address();
    look.write_memory(at, bits, if is_exact { from } else { from.flood(bits) });
    let raises = if is_exact { L::CLEAR } else { from };
    status(look, C1, EXCEPTIONS | C1, raises);
}

fn exchange<L: Label>(look: &mut See<'_, '_, L>) {
    let other = look.op.reg[1];
    let (a, b) = (st(look, 0), st(look, other));
    put(look, 0, b);
    put(look, other, a);
    status(look, C1, 0, L::CLEAR);
}

/// Results of two operands.
fn arithmetic<L: Label>(look: &mut See<'_, '_, L>) {
    let to = if look.op.kind[0] == Kind::St { look.op.reg[0] } else { 0 };
    let all = source(look, 0).flood(WIDTH).join(st(look, to).flood(WIDTH));
    put(look, to, all);
    status(look, C1, EXCEPTIONS | C1, all);
}

fn unary<L: Label>(look: &mut See<'_, '_, L>) {
    let all = st(look, 0).flood(WIDTH);
    put(look, 0, all);
    status(look, C1, EXCEPTIONS | C1, all);
}

/// fabs and fchs.
fn sign<const IS_CLEARED: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let from = st(look, 0);
    let label = if IS_CLEARED { from.with_part(WIDTH - 1, 1, L::CLEAR) } else { from };
    put(look, 0, label);
    status(look, C1, 0, L::CLEAR);
}

/// Comparisons that answer in the status word.
fn compare<L: Label>(look: &mut See<'_, '_, L>) {
    let other = if look.ins.mnemonic() == Mnemonic::Ftst { L::CLEAR } else { source(look, 1) };
    let all = st(look, 0).join(other);
    status(look, C1 | CONDITIONS, CONDITIONS | EXCEPTIONS, all);
}

/// Comparisons that answer in the flags.
fn compare_flags<L: Label>(look: &mut See<'_, '_, L>) {
    let all = source(look, 1).join(st(look, 0)).flood(1);
    for flag in [ZF, PF, CF] {
        look.write_flag(flag, all);
    }
    for flag in [OF, SF, AF] {
        look.write_flag(flag, L::CLEAR);
    }
    status(look, 0, EXCEPTIONS, all);
}

fn examine<L: Label>(look: &mut See<'_, '_, L>) {
    let all = st(look, 0);
    status(look, C1 | CONDITIONS, C1 | CONDITIONS, all);
}

fn moves_top<L: Label>(look: &mut See<'_, '_, L>) {
    status(look, C1, 0, L::CLEAR);
}

fn nothing<L: Label>(_: &mut See<'_, '_, L>) {}

fn clear_exceptions<L: Label>(look: &mut See<'_, '_, L>) {
    look.outs.push(Out::X87Status { replaced: 0x80ff, label: L::CLEAR });
}

fn initialise<L: Label>(look: &mut See<'_, '_, L>) {
    look.outs.push(Out::X87Status { replaced: 0xffff, label: L::CLEAR });
}

fn store_status<L: Label>(look: &mut See<'_, '_, L>) {
    look.write(0, 16, look.labels.x87_status);
}

fn store_control<L: Label>(look: &mut See<'_, '_, L>) {
    look.write(0, 16, L::CLEAR);
}

fn load_control<L: Label>(look: &mut See<'_, '_, L>) {
    let from = look.operand(0, 16).label;
    look.decide(from, false);
    // The summary says whether a flag meets an unmasked exception.
    let flags = look.labels.x87_status.part(0, FLAG_BITS);
    look.outs.push(Out::X87Status { replaced: SUMMARY, label: within(flags, SUMMARY) });
}

/// Where the state image has the status word, the x87 registers and the vector registers.
const IMAGE_STATUS: u64 = 2;
const IMAGE_X87: u64 = 32;
const IMAGE_XMM: u64 = 160;
/// Control word, tags, MXCSR: address and width.
const IMAGE_CONTROLS: [(u64, u32); 3] = [(0, 16), (4, 8), (24, 32)];

fn save<L: Label>(look: &mut See<'_, '_, L>) {
    let at = look.address();
    look.write_memory(at.wrapping_add(IMAGE_STATUS), 16, look.labels.x87_status);
    for i in 0..8 {
        let slot = at.wrapping_add(IMAGE_X87 + 16 * u64::from(i));
        let label = st(look, i);
        look.write_memory(slot, WIDTH, label);
    }
    for (slot, label) in (0..).map(|i| IMAGE_XMM + 16 * i).zip(look.labels.xmm) {
        look.write_memory(at.wrapping_add(slot), 128, label);
    }
}

fn restore<L: Label>(look: &mut See<'_, '_, L>) {
    let at = look.address();
    for (offset, bits) in IMAGE_CONTROLS {
        let label = look.memory(at.wrapping_add(offset), bits).label;
        look.decide(label, false);
    }
    let word = look.memory(at.wrapping_add(IMAGE_STATUS), 16);
    look.decide(word.label.part(TOP.0, TOP.1), false);
    let summary = within(word.label.part(0, FLAG_BITS), SUMMARY);
    look.outs.push(Out::X87Status { replaced: 0xffff, label: word.label.join(summary) });
    let top = Look::<L>::low(word.value) >> TOP.0;
    for i in 0..8_u64 {
        let label = look.memory(at.wrapping_add(IMAGE_X87 + 16 * i), WIDTH).label;
        let index = usize::try_from((top + i) & 7).unwrap_or(0);
        look.outs.push(Out::X87 { index, label });
    }
    for (register, slot) in (0..16).zip((0..).map(|i| IMAGE_XMM + 16 * i)) {
        let label = look.memory(at.wrapping_add(slot), 128).label;
        look.outs.push(Out::Xmm { register, label });
    }
}

/// The rules of this file.
pub(super) struct Table<L>(std::marker::PhantomData<L>);

impl<L: Label> Table<L> {
    pub(super) const ALL: &'static [(Mnemonic, Rule<L>)] = rules! {
        load => Fld Fild;
        constant => Fld1 Fldz Fldpi Fldl2t Fldl2e Fldlg2 Fldln2;
        store => Fst Fstp Fist Fistp Fisttp;
        exchange => Fxch;
        arithmetic => Fadd Faddp Fiadd Fmul Fmulp Fimul Fsub Fsubp Fisub Fsubr Fsubrp Fisubr
            Fdiv Fdivp Fidiv Fdivr Fdivrp Fidivr;
        unary => Fsqrt Frndint;
        sign::<true, L> => Fabs;
        sign::<false, L> => Fchs;
        compare => Fcom Fcomp Fcompp Fucom Fucomp Fucompp Ficom Ficomp Ftst;
        compare_flags => Fcomi Fcomip Fucomi Fucomip;
        examine => Fxam;
        moves_top => Fincstp Fdecstp;
        nothing => Ffree Fnop Wait Emms;
        load_control => Fldcw;
        store_control => Fnstcw;
        store_status => Fnstsw;
        clear_exceptions => Fnclex;
        initialise => Fninit;
        save => Fxsave Fxsave64;
        restore => Fxrstor Fxrstor64;
    };
}
