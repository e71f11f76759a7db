//! How labels travel through integer instructions.

use iced_x86::Mnemonic;

use super::{
    label::{CF, Compare, FLAGS, Label, Labelled, OF, SF, ZF},
    look::{Look, Out, Rule},
};
use crate::Kind;

type See<'a, 'e, L> = Look<'a, 'e, L>;

fn nothing<L: Label>(_look: &mut See<'_, '_, L>) {}

/// mov and other copies of one width.
fn copy<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let from = look.operand(1, bits);
    look.write(0, bits, from.label);
}

fn movzx<L: Label>(look: &mut See<'_, '_, L>) {
    let (to, bits) = (look.bits(0), look.bits(1));
    let from = look.operand(1, bits);
    look.write(0, to, from.label);
}

fn movsx<L: Label>(look: &mut See<'_, '_, L>) {
    let (to, bits) = (look.bits(0), look.bits(1));
    let from = look.operand(1, bits);
    look.write(0, to, from.label.sign_extended(bits));
}

/// cbw, cwde, cdqe.
fn widen<const FROM: u32, L: Label>(look: &mut See<'_, '_, L>) {
    let from = look.gpr(0, FROM);
    look.write_gpr(0, FROM * 2, from.label.sign_extended(FROM));
}

/// cwd, cdq, cqo.
fn sign_to_rdx<const BITS: u32, L: Label>(look: &mut See<'_, '_, L>) {
    let sign = look.gpr(0, BITS).label.part(BITS - 1, 1);
    look.write_gpr(2, BITS, sign.sign_extended(1));
}

/// An address is a sum: base + scaled index + displacement.
fn lea<L: Label>(look: &mut See<'_, '_, L>) {
    let op = look.op;
    let part = |look: &See<'_, '_, L>, register: u8| match register {
        register if register < 16 => look.gpr(register, 64),
        _ => Labelled { value: 0, label: L::CLEAR },
    };
    let clear = Labelled { value: 0, label: L::CLEAR };
    let base = match op.form {
        crate::Form::Disp | crate::Form::Index => clear,
        _ => part(look, op.base),
    };
    let index = match op.form {
        crate::Form::Disp | crate::Form::Base => clear,
        _ => part(look, op.index),
    };
    let scaled = Labelled {
        value: (index.value << op.scale) & u128::from(u64::MAX),
        label: index.label.moved(i32::from(op.scale)).part(0, 64),
    };
    let sum = |a: Labelled<L>, b: Labelled<L>| Labelled {
        value: (a.value + b.value) & u128::from(u64::MAX),
        label: L::add(a, b, 64).0,
    };
    let disp = Labelled { value: u128::from(op.disp), label: L::CLEAR };
    let at = sum(sum(base, scaled), disp);
    let bits = if op.extra.short { 32 } else { 64 };
    let bits = look.bits(0).min(bits);
    let to = look.bits(0);
    look.write(0, to, at.label.part(0, bits));
}

fn xchg<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    look.write(0, bits, b.label);
    look.write(1, bits, a.label);
}

/// `xor r, r`, `sub r, r`: the result does not depend on the register.
fn is_same_register<L: Label>(look: &See<'_, '_, L>) -> bool {
    look.op.kind[0] != Kind::Mem
        && look.op.kind[0] == look.op.kind[1]
        && look.op.reg[0] == look.op.reg[1]
}

fn logic<const KIND: u8, const WRITES: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    let (value, label) = match KIND {
        0 => (a.value & b.value, L::and(a, b)),
        1 => (a.value | b.value, L::or(a, b)),
        _ if is_same_register(look) => (0, L::CLEAR),
        _ => (a.value ^ b.value, a.label.join(b.label)),
    };
    look.write_logic_flags(Labelled { value, label }, bits);
    if WRITES {
        look.write(0, bits, label);
    }
}

fn not<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let a = look.operand(0, bits);
    look.write(0, bits, a.label);
}

fn mask(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

fn add<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    let (label, carry) = L::add(a, b, bits);
    let result = Labelled { value: (a.value + b.value) & mask(bits), label };
    look.write_sum_flags([a, b], result, carry, bits);
    look.write(0, bits, label);
}

fn xadd<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    let (label, carry) = L::add(a, b, bits);
    let result = Labelled { value: (a.value + b.value) & mask(bits), label };
    look.write_sum_flags([a, b], result, carry, bits);
    look.write(1, bits, a.label);
    look.write(0, bits, label);
}

pub(super) fn difference<L: Label>(
    look: &mut See<'_, '_, L>,
    a: Labelled<L>,
    b: Labelled<L>,
    bits: u32,
) -> L {
    let (label, borrow) = L::sub(a, b, bits);
    let result = Labelled { value: a.value.wrapping_sub(b.value) & mask(bits), label };
    look.write_sum_flags([a, b], result, borrow, bits);
    // Equality is decided by any defined bit that differs.
    let differing = Labelled { value: a.value ^ b.value, label: a.label.join(b.label) };
    look.write_flag(ZF, L::zero(differing, bits));
    look.compare = Some(Compare { a, b, bits });
    label
}

fn sub<const WRITES: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    if is_same_register(look) {
        look.write_logic_flags(Labelled { value: 0, label: L::CLEAR }, bits);
        if WRITES {
            look.write(0, bits, L::CLEAR);
        }
        return;
    }
    let label = difference(look, a, b, bits);
    if WRITES {
        look.write(0, bits, label);
    }
}

fn neg<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let a = look.operand(0, bits);
    let zero = Labelled { value: 0, label: L::CLEAR };
    let label = difference(look, zero, a, bits);
    look.write(0, bits, label);
}

fn step<const UP: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, one) = (look.operand(0, bits), Labelled { value: 1, label: L::CLEAR });
    let (label, value) = if UP {
        (L::add(a, one, bits).0, a.value + 1)
    } else {
        (L::sub(a, one, bits).0, a.value.wrapping_sub(1))
    };
    let result = Labelled { value: value & mask(bits), label };
    let carry = look.labels.flags[CF];
    look.write_sum_flags([a, one], result, L::CLEAR, bits);
    look.write_flag(CF, carry);
    look.write(0, bits, label);
}

/// adc and sbb: everything from the lowest labelled bit up, or all of it if the carry is.
fn with_carry<const IS_SBB: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.operand(1, bits));
    let carry = look.labels.flags[CF];
    let (a_label, b_label) =
        if IS_SBB && is_same_register(look) { (L::CLEAR, L::CLEAR) } else { (a.label, b.label) };
    let label = a_label.join(b_label).join(carry).smear_up(bits);
    for flag in 0..FLAGS.len() {
        look.write_flag(flag, label.flood(1));
    }
    look.write(0, bits, label);
}

/// Shifts by a count without label move labels; any other count labels everything.
fn shift<const KIND: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, by) = (look.operand(0, bits), look.operand(1, 8));
    let count_bits = if bits == 64 { 6 } else { 5 };
    if !by.label.part(0, count_bits).is_clear() {
        return flood(look, a.label.join(by.label), bits);
    }
    let count = Look::<L>::low32(by.value) & ((1 << count_bits) - 1);
    if count == 0 {
        look.write(0, bits, a.label);
        return;
    }
    let by = count.min(127).cast_signed();
    let turn = (count % bits).cast_signed();
    let label = match KIND {
        0 => a.label.moved(by),
        1 => a.label.moved(-by),
        2 => a.label.sign_extended(bits).moved(-by),
        3 => a.label.moved(turn).join(a.label.moved(turn - bits.cast_signed())),
        _ => a.label.moved(-turn).join(a.label.moved(bits.cast_signed() - turn)),
    }
    .part(0, bits);
    let last_out = match KIND {
        0 => a.label.moved(by).moved(-bits.cast_signed()).part(0, 1),
        1 => a.label.moved(1 - by).part(0, 1),
        2 => a.label.sign_extended(bits).moved(1 - by).part(0, 1),
        3 => label.part(0, 1),
        _ => label.part(bits - 1, 1),
    };
    if KIND < 3 {
        let value = match KIND {
            0 => a.value << count,
            1 => a.value >> count,
            _ => sign_extended(a.value, bits) >> count,
        };
        look.write_result_flags(Labelled { value: value & mask(bits), label }, bits);
    }
    let top = label.part(bits - 1, 1).join(label.part(bits - 2, 1)).join(last_out);
    look.write_flag(CF, last_out);
    look.write_flag(OF, top.join(a.label.part(bits - 1, 1)));
    look.write(0, bits, label);
}

fn sign_extended(value: u128, bits: u32) -> u128 {
    let unused = 128 - bits;
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}

fn flood<L: Label>(look: &mut See<'_, '_, L>, label: L, bits: u32) {
    let all = label.flood(bits);
    for flag in 0..FLAGS.len() {
        look.write_flag(flag, all.flood(1));
    }
    look.write(0, bits, all);
}

/// A product depends on the factors' bits from the lowest labelled one up.
fn imul<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let is_three = look.op.kind[2] != Kind::None;
    if look.op.kind[1] == Kind::None {
        return mul(look);
    }
    let (a, b) = if is_three {
        let by = Labelled { value: u128::from(look.op.imm) & mask(bits), label: L::CLEAR };
        (look.operand(1, bits), by)
    } else {
        (look.operand(0, bits), look.operand(1, bits))
    };
    let product = product(a, b);
    let label = product.smear_up(bits);
    for flag in 0..FLAGS.len() {
        look.write_flag(flag, product.flood(1));
    }
    look.write(0, bits, label);
}

/// Trailing zeros of a defined factor keep that many low bits of the product defined.
fn product<L: Label>(a: Labelled<L>, b: Labelled<L>) -> L {
    let known_zero = |x: Labelled<L>| x.label.is_clear() && x.value == 0;
    if known_zero(a) || known_zero(b) {
        return L::CLEAR;
    }
    let shift = |x: Labelled<L>| {
        if x.label.is_clear() { x.value.trailing_zeros().min(64).cast_signed() } else { 0 }
    };
    a.label.moved(shift(b)).join(b.label.moved(shift(a)))
}

fn mul<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (a, b) = (look.operand(0, bits), look.gpr(0, bits));
    let label = product(a, b);
    let (low, high) = (label.smear_up(bits), label.flood(bits));
    for flag in 0..FLAGS.len() {
        look.write_flag(flag, high.flood(1));
    }
    if bits == 8 {
        look.write_gpr(0, 16, low.with_part(8, 8, high));
    } else {
        look.write_gpr(0, bits, low);
        look.write_gpr(2, bits, high);
    }
}

fn push<L: Label>(look: &mut See<'_, '_, L>) {
    // An immediate is as wide as the operand size, which is what the handler stores.
    let bits = match look.op.kind[0] {
        Kind::Imm => 64,
        _ => look.bits(0),
    };
    let from = look.operand(0, bits);
    stack_address(look);
    let top = look.e.r.gpr[4].wrapping_sub(u64::from(bits / 8));
    look.write_memory(top, bits, from.label);
}

fn stack_address<L: Label>(look: &mut See<'_, '_, L>) {
    let label = look.labels.gpr[4];
    look.decide(label, true);
}

fn pop<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    stack_address(look);
    let top = look.e.r.gpr[4];
    let from = look.memory(top, bits);
    if look.op.kind[0] == Kind::Mem {
        // The address is formed with the raised rsp.
        let label = look.offset_label();
        look.decide(label, true);
        look.e.r.gpr[4] = top.wrapping_add(u64::from(bits / 8));
        let at = look.op.address(look.e.r);
        look.e.r.gpr[4] = top;
        look.write_memory(at, bits, from.label);
    } else {
        look.write(0, bits, from.label);
    }
}

fn leave<L: Label>(look: &mut See<'_, '_, L>) {
    let frame = look.gpr(5, 64);
    look.decide(frame.label, true);
    let saved = look.memory(Look::<L>::low(frame.value), 64);
    look.write_gpr(5, 64, saved.label);
    look.write_gpr(4, 64, frame.label);
}

fn call<L: Label>(look: &mut See<'_, '_, L>) {
    jump(look);
    stack_address(look);
}

/// An indirect target is an address.
fn jump<L: Label>(look: &mut See<'_, '_, L>) {
    if look.op.kind[0] != Kind::Imm {
        let target = look.operand(0, 64);
        look.decide(target.label, true);
    }
}

fn ret<L: Label>(look: &mut See<'_, '_, L>) {
    stack_address(look);
    let top = look.e.r.gpr[4];
    let target = look.memory(top, 64);
    look.decide(target.label, true);
}

fn jcc<const CODE: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let label = look.condition(CODE);
    look.decide(label, false);
}

fn setcc<const CODE: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let label = look.condition(CODE).part(0, 1);
    look.write(0, 8, label);
}

/// With an open condition the result is open where the two values differ or either is open.
fn cmov<const CODE: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (old, new) = (look.operand(0, bits), look.operand(1, bits));
    let condition = look.condition(CODE);
    let label = if !condition.is_clear() {
        let differing = old.value ^ new.value;
        let spread = condition.sign_extended(1).part(0, bits);
        let differing = Labelled { value: differing, label: L::CLEAR };
        let spread = L::and(differing, Labelled { value: 0, label: spread });
        old.label.join(new.label).join(spread)
    } else if x86_ops::flags::holds(CODE, look.e.status()) {
        new.label
    } else {
        old.label
    };
    look.write(0, bits, label);
}

/// loop: the count decides.
fn loop_<L: Label>(look: &mut See<'_, '_, L>) {
    let one = Labelled { value: 1, label: L::CLEAR };
    let count = look.gpr(1, 64);
    let label = L::sub(count, one, 64).0;
    let left = Labelled { value: count.value.wrapping_sub(1) & mask(64), label };
    look.decide(L::zero(left, 64), false);
    if !matches!(look.ins.mnemonic(), Mnemonic::Loop) {
        let zero = look.labels.flags[ZF];
        look.decide(zero, false);
    }
    look.write_gpr(1, 64, label);
}

fn jrcxz<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = if look.ins.mnemonic() == Mnemonic::Jecxz { 32 } else { 64 };
    let count = look.gpr(1, bits);
    look.decide(L::zero(count, bits), false);
}

/// bt, bts, btr, btc.
fn bit_test<const KIND: u8, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let index = look.operand(1, bits);
    let is_memory = look.op.kind[0] == Kind::Mem;
    if is_memory && look.op.kind[1] == Kind::Gpr {
        // The index reaches beyond the operand: part of an address. The bit is looked up where it
        // lies.
        look.decide(index.label, true);
        return far_bit_test::<KIND, L>(look, index.value, bits);
    }
    let a = look.operand(0, bits);
    let index_bits = bits.trailing_zeros();
    let open = index.label.part(0, index_bits);
    if !open.is_clear() {
        let all = a.label.join(open).flood(bits);
        look.write_flag(CF, all.flood(1));
        if KIND != 0 {
            look.write(0, bits, all);
        }
        return;
    }
    let bit = Look::<L>::low32(index.value) & (bits - 1);
    look.write_flag(CF, a.label.part(bit, 1));
    if KIND != 0 {
        let label = if KIND == 3 { a.label } else { a.label.with_part(bit, 1, L::CLEAR) };
        look.write(0, bits, label);
    }
}

fn far_bit_test<const KIND: u8, L: Label>(look: &mut See<'_, '_, L>, index: u128, bits: u32) {
    let signed = sign_extended(index, bits).cast_signed();
    let byte = i64::try_from(signed >> 3).unwrap_or(0).cast_unsigned();
    let at = look.address().wrapping_add(byte);
    let bit = Look::<L>::low32(index) & 7;
    let a = look.memory(at, 8);
    look.write_flag(CF, a.label.part(bit, 1));
    if KIND != 0 {
        // The store covers the whole unit and defines it: give every byte its label back.
        let unit = i64::try_from(signed >> bits.trailing_zeros()).unwrap_or(0);
        let unit = unit.wrapping_mul(i64::from(bits / 8)).cast_unsigned();
        let start = look.address().wrapping_add(unit);
        let whole = look.memory(start, bits).label;
        let place = Look::<L>::low32(index) & (bits - 1);
        let label = if KIND == 3 { whole } else { whole.with_part(place, 1, L::CLEAR) };
        look.write_memory(start, bits, label);
    }
}

/// bsf, tzcnt, bsr, lzcnt: decided if the bit found lies before every open one.
fn scan<const UP: bool, L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (old, a) = (look.operand(0, bits), look.operand(1, bits));
    let zero = L::zero(a, bits);
    let is_open = !a.label.is_clear() && {
        // The bits on the far side of the first set one do not matter.
        let found = if UP { a.value.trailing_zeros() } else { 127 - a.value.leading_zeros() };
        if a.value == 0 {
            true
        } else if UP {
            !a.label.part(0, found + 1).is_clear()
        } else {
            !a.label.part(found, bits - found).is_clear()
        }
    };
    let label = if is_open { a.label.flood(bits) } else { L::CLEAR };
    // bsf and bsr of 0 keep the old value.
    let is_count = matches!(look.ins.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt);
    let label = if a.value == 0 && !is_count { label.join(old.label) } else { label };
    if is_count {
        let first = if UP { 0 } else { bits - 1 };
        look.write_flag(CF, zero);
        look.write_flag(ZF, a.label.part(first, 1));
    } else {
        look.write_flag(ZF, zero);
    }
    if !is_count && bits == 32 && (a.value == 0 || !zero.is_clear()) {
        // All 64 bits stay if the source is 0.
        let open = if zero.is_clear() { L::CLEAR } else { a.label.flood(64) };
        let old = look.operand(0, 64);
        return look.write(0, 64, old.label.join(open));
    }
    look.write(0, bits, label);
}

fn bswap<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let a = look.operand(0, bits);
    let bytes = bits / 8;
    let label = (0..bytes).fold(L::CLEAR, |all, byte| {
        all.with_part((bytes - 1 - byte) * 8, 8, a.label.part(byte * 8, 8))
    });
    look.write(0, bits, label);
}

fn movbe<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let a = look.operand(1, bits);
    let bytes = bits / 8;
    let label = (0..bytes).fold(L::CLEAR, |all, byte| {
        all.with_part((bytes - 1 - byte) * 8, 8, a.label.part(byte * 8, 8))
    });
    look.write(0, bits, label);
}

fn cmpxchg<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = look.bits(0);
    let (old, expected, new) = (look.operand(0, bits), look.gpr(0, bits), look.operand(1, bits));
    difference(look, expected, old, bits);
    let differing =
        Labelled { value: expected.value ^ old.value, label: expected.label.join(old.label) };
    let is_memory = look.op.kind[0] == Kind::Mem;
    if !L::zero(differing, bits).is_clear() {
        // Which of the two registers is written is open, and with 32 bits so is what becomes of its
        // upper half.
        let width = if bits == 32 && !is_memory { 64 } else { bits };
        let open = old.label.join(new.label).join(expected.label).flood(64);
        look.write(0, width, open);
        look.write_gpr(0, if bits == 32 { 64 } else { bits }, open);
    } else if old.value == expected.value {
        look.write(0, bits, new.label);
    } else {
        if is_memory {
            look.write(0, bits, old.label);
        }
        look.write_gpr(0, bits, old.label);
    }
}

/// The status flags as they lie in RFLAGS.
fn flags_label<L: Label>(look: &See<'_, '_, L>) -> L {
    FLAGS
        .iter()
        .zip(&look.labels.flags)
        .fold(L::CLEAR, |all, (flag, label)| all.with_part(flag.trailing_zeros(), 1, *label))
}

fn pushf<L: Label>(look: &mut See<'_, '_, L>) {
    let bits = if look.ins.mnemonic() == Mnemonic::Pushf { 16 } else { 64 };
    stack_address(look);
    let label = flags_label(look);
    let top = look.e.r.gpr[4].wrapping_sub(u64::from(bits / 8));
    look.write_memory(top, bits, label);
}

fn popf<L: Label>(look: &mut See<'_, '_, L>) {
    stack_address(look);
    let top = look.e.r.gpr[4];
    let image = look.memory(top, 16);
    for (index, flag) in FLAGS.iter().enumerate() {
        look.write_flag(index, image.label.part(flag.trailing_zeros(), 1));
    }
}

fn lahf<L: Label>(look: &mut See<'_, '_, L>) {
    let label = flags_label(look).part(0, 8);
    look.outs.push(Out::Gpr { register: 0, low: 8, bits: 8, label });
}

fn sahf<L: Label>(look: &mut See<'_, '_, L>) {
    let image = look.gpr(0, 16).label.part(8, 8);
    for (index, flag) in FLAGS.iter().enumerate().take(SF + 1) {
        look.write_flag(index, image.part(flag.trailing_zeros(), 1));
    }
}

fn set_carry<L: Label>(look: &mut See<'_, '_, L>) {
    look.write_flag(CF, L::CLEAR);
}

fn complement_carry<L: Label>(look: &mut See<'_, '_, L>) {
    let carry = look.labels.flags[CF];
    look.write_flag(CF, carry);
}

/// The rule of each mnemonic that has one; the rest go by the general rule.
pub(super) struct Table<L>(std::marker::PhantomData<L>);

macro_rules! conditions {
    ($rule:ident: $($mnemonic:ident $code:literal)*) => {
        &[$((Mnemonic::$mnemonic, $rule::<$code, L> as Rule<L>)),*]
    };
}

impl<L: Label> Table<L> {
    pub(super) const ALL: [&'static [(Mnemonic, Rule<L>)]; 4] =
        [Self::INTEGER, Self::JCC, Self::SETCC, Self::CMOV];

    const INTEGER: &'static [(Mnemonic, Rule<L>)] = &[
        (Mnemonic::Nop, nothing),
        (Mnemonic::Prefetchnta, nothing),
        (Mnemonic::Prefetcht0, nothing),
        (Mnemonic::Prefetcht1, nothing),
        (Mnemonic::Prefetcht2, nothing),
        (Mnemonic::Prefetchw, nothing),
        (Mnemonic::Mov, copy),
        (Mnemonic::Movnti, copy),
        (Mnemonic::Movzx, movzx),
        (Mnemonic::Movsx, movsx),
        (Mnemonic::Movsxd, movsx),
        (Mnemonic::Cbw, widen::<8, L>),
        (Mnemonic::Cwde, widen::<16, L>),
        (Mnemonic::Cdqe, widen::<32, L>),
        (Mnemonic::Cwd, sign_to_rdx::<16, L>),
        (Mnemonic::Cdq, sign_to_rdx::<32, L>),
        (Mnemonic::Cqo, sign_to_rdx::<64, L>),
        (Mnemonic::Lea, lea),
        (Mnemonic::Xchg, xchg),
        (Mnemonic::And, logic::<0, true, L>),
        (Mnemonic::Or, logic::<1, true, L>),
        (Mnemonic::Xor, logic::<2, true, L>),
        (Mnemonic::Test, logic::<0, false, L>),
        (Mnemonic::Not, not),
        (Mnemonic::Add, add),
        (Mnemonic::Xadd, xadd),
        (Mnemonic::Sub, sub::<true, L>),
        (Mnemonic::Cmp, sub::<false, L>),
        (Mnemonic::Neg, neg),
        (Mnemonic::Inc, step::<true, L>),
        (Mnemonic::Dec, step::<false, L>),
        (Mnemonic::Adc, with_carry::<false, L>),
        (Mnemonic::Sbb, with_carry::<true, L>),
        (Mnemonic::Shl, shift::<0, L>),
        (Mnemonic::Sal, shift::<0, L>),
        (Mnemonic::Shr, shift::<1, L>),
        (Mnemonic::Sar, shift::<2, L>),
        (Mnemonic::Rol, shift::<3, L>),
        (Mnemonic::Ror, shift::<4, L>),
        (Mnemonic::Imul, imul),
        (Mnemonic::Mul, mul),
        (Mnemonic::Push, push),
        (Mnemonic::Pop, pop),
        (Mnemonic::Leave, leave),
        (Mnemonic::Call, call),
        (Mnemonic::Jmp, jump),
        (Mnemonic::Ret, ret),
        (Mnemonic::Loop, loop_),
        (Mnemonic::Loope, loop_),
        (Mnemonic::Loopne, loop_),
        (Mnemonic::Jrcxz, jrcxz),
        (Mnemonic::Jecxz, jrcxz),
        (Mnemonic::Bt, bit_test::<0, L>),
        (Mnemonic::Bts, bit_test::<1, L>),
        (Mnemonic::Btr, bit_test::<2, L>),
        (Mnemonic::Btc, bit_test::<3, L>),
        (Mnemonic::Bsf, scan::<true, L>),
        (Mnemonic::Tzcnt, scan::<true, L>),
        (Mnemonic::Bsr, scan::<false, L>),
        (Mnemonic::Lzcnt, scan::<false, L>),
        (Mnemonic::Bswap, bswap),
        (Mnemonic::Movbe, movbe),
        (Mnemonic::Cmpxchg, cmpxchg),
        (Mnemonic::Pushf, pushf),
        (Mnemonic::Pushfq, pushf),
        (Mnemonic::Popf, popf),
        (Mnemonic::Popfq, popf),
        (Mnemonic::Lahf, lahf),
        (Mnemonic::Sahf, sahf),
        (Mnemonic::Clc, set_carry),
        (Mnemonic::Stc, set_carry),
        (Mnemonic::Cmc, complement_carry),
    ];
    const JCC: &'static [(Mnemonic, Rule<L>)] = conditions! { jcc:
        Jo 0 Jno 1 Jb 2 Jae 3 Je 4 Jne 5 Jbe 6 Ja 7
        Js 8 Jns 9 Jp 10 Jnp 11 Jl 12 Jge 13 Jle 14 Jg 15
    };
    const SETCC: &'static [(Mnemonic, Rule<L>)] = conditions! { setcc:
        Seto 0 Setno 1 Setb 2 Setae 3 Sete 4 Setne 5 Setbe 6 Seta 7
        Sets 8 Setns 9 Setp 10 Setnp 11 Setl 12 Setge 13 Setle 14 Setg 15
    };
    const CMOV: &'static [(Mnemonic, Rule<L>)] = conditions! { cmov:
        Cmovo 0 Cmovno 1 Cmovb 2 Cmovae 3 Cmove 4 Cmovne 5 Cmovbe 6 Cmova 7
        Cmovs 8 Cmovns 9 Cmovp 10 Cmovnp 11 Cmovl 12 Cmovge 13 Cmovle 14 Cmovg 15
    };
}
