//! What a rule sees of one instruction, and what it says about it.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use guest_memory::GuestAddr;
use iced_x86::Instruction;

use super::label::{AF, CF, Compare, Label, Labelled, Labels, OF, PF, SF, ZF};
use crate::{Env, Form, Kind, Op, split};

/// Says how labels travel through one instruction, before it runs.
pub(crate) type Rule<L> = fn(&mut Look<'_, '_, L>);

/// A place that the instruction will have written, with its label then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Out<L> {
    /// Part of a general register.
    Gpr { register: u8, low: u8, bits: u32, label: L },
    /// A whole vector register.
    Xmm { register: u8, label: L },
    /// An x87 register, by physical number.
    X87 { index: usize, label: L },
    /// The x87 status word: these bits are replaced, and labels are added.
    X87Status { replaced: u16, label: L },
    /// A status flag.
    Flag { index: usize, label: L },
    /// Memory.
    Mem { at: u64, size: usize, label: L },
}

/// One instruction before it runs.
pub(crate) struct Look<'a, 'e, L> {
    pub(crate) e: &'a mut Env<'e>,
    pub(crate) op: &'a Op,
    pub(crate) ins: &'a Instruction,
    pub(crate) labels: &'a Labels<L>,
    /// What it will have written.
    pub(crate) outs: Vec<Out<L>>,
    /// The comparison it is.
    pub(crate) compare: Option<Compare<L>>,
    /// Whether it sets the status flags.
    pub(crate) sets_flags: bool,
    /// A label decides: an address (true) or a branch.
    pub(crate) decides: Option<bool>,
}

impl<L: Label> Look<'_, '_, L> {
    /// Says that `label` decides an address or a branch.
    pub(crate) fn decide(&mut self, label: L, is_address: bool) {
        if !label.is_clear() && self.decides != Some(true) {
            self.decides = Some(is_address);
        }
    }

    /// Width of operand `n` in bits.
    pub(crate) fn bits(&self, n: u32) -> u32 {
        u32::try_from(crate::ops::operand_bytes(self.ins, n) * 8).unwrap_or(0)
    }

    /// A general register.
    pub(crate) fn gpr(&self, register: u8, bits: u32) -> Labelled<L> {
        let index = usize::from(register & 15);
        let value = u128::from(self.e.r.gpr[index]) & (u128::MAX >> (128 - bits));
        Labelled { value, label: self.labels.gpr[index].part(0, bits) }
    }

    /// Memory; bytes that may not be touched have no label, the instruction will fault.
    pub(crate) fn memory(&mut self, at: u64, bits: u32) -> Labelled<L> {
        let size = (bits / 8) as usize;
        let who = self.e.who();
        let label = L::load(self.e.m, who, GuestAddr(at), size).unwrap_or(L::CLEAR);
        if !label.is_clear() {
            self.e.labelled_load = Some(at);
        }
        let (mut value, mut undefined) = ([0; 16], [0; 16]);
        if let (Some(value), Some(undefined)) = (value.get_mut(..size), undefined.get_mut(..size)) {
            // An objection leaves zeros; the instruction itself will meet it.
            let _objection = self.e.m.load_slow(who, GuestAddr(at), value, undefined, true).err();
        }
        Labelled { value: u128::from_le_bytes(value), label }
    }

    /// The address of the memory operand; its label decides.
    pub(crate) fn address(&mut self) -> u64 {
        let label = self.offset_label();
        self.decide(label, true);
        self.op.address(self.e.r)
    }

    /// The label of the effective address.
    pub(crate) fn offset_label(&self) -> L {
        let op = self.op;
        let part = |register: u8| match register {
            register if register < 16 => self.labels.gpr[usize::from(register)],
            _ => L::CLEAR,
        };
        match op.form {
            Form::Base => part(op.base),
            Form::Index => part(op.index),
            Form::Disp => L::CLEAR,
            Form::BaseIndex | Form::Extra => {
                let bits = if op.extra.short { 32 } else { 64 };
                part(op.base).join(part(op.index)).part(0, bits)
            }
        }
    }

    /// Operand `n` as a value of `bits`.
    pub(crate) fn operand(&mut self, n: usize, bits: u32) -> Labelled<L> {
        let (kind, register) = (self.op.kind[n], self.op.reg[n]);
        match kind {
            Kind::Gpr => self.gpr(register, bits),
            Kind::High => {
                let whole = self.gpr(register & 3, 16);
                Labelled { value: whole.value >> 8, label: whole.label.part(8, 8) }
            }
            Kind::Xmm => {
                let index = usize::from(register & 15);
                let value = self.e.r.xmm[index] & (u128::MAX >> (128 - bits));
                Labelled { value, label: self.labels.xmm[index].part(0, bits) }
            }
            Kind::Mem => {
                let at = self.address();
                self.memory(at, bits)
            }
            _ => {
                let value = u128::from(self.op.imm) & (u128::MAX >> (128 - bits));
                Labelled { value, label: L::CLEAR }
            }
        }
    }

    /// Operand `n` will have been written.
    pub(crate) fn write(&mut self, n: usize, bits: u32, label: L) {
        let (kind, register) = (self.op.kind[n], self.op.reg[n]);
        match kind {
            Kind::Gpr => self.write_gpr(register, bits, label),
            Kind::High => {
                self.outs.push(Out::Gpr { register: register & 3, low: 8, bits: 8, label });
            }
            Kind::Xmm => self.outs.push(Out::Xmm { register, label }),
            Kind::Mem => {
                let at = self.address();
                self.write_memory(at, bits, label);
            }
            _ => {}
        }
    }

    /// A general register will have been written.
    pub(crate) fn write_gpr(&mut self, register: u8, bits: u32, label: L) {
        let label = label.part(0, bits);
        // Writing 32 bits clears the upper half.
        let bits = if bits == 32 { 64 } else { bits };
        self.outs.push(Out::Gpr { register, low: 0, bits, label });
    }

    /// Memory will have been written.
    pub(crate) fn write_memory(&mut self, at: u64, bits: u32, label: L) {
        let label = label.part(0, bits);
        self.outs.push(Out::Mem { at, size: (bits / 8) as usize, label });
    }

    /// A flag will have been written.
    pub(crate) fn write_flag(&mut self, index: usize, label: L) {
        self.sets_flags = true;
        self.outs.push(Out::Flag { index, label });
    }

    /// ZF, SF and PF of a result.
    pub(crate) fn write_result_flags(&mut self, result: Labelled<L>, bits: u32) {
        let zero = L::zero(result, bits);
        self.write_flag(ZF, zero);
        self.write_flag(SF, result.label.part(bits - 1, 1));
        self.write_flag(PF, result.label.part(0, 8).flood(1));
    }

    /// The flags of an addition or subtraction.
    pub(crate) fn write_sum_flags(
        &mut self,
        [a, b]: [Labelled<L>; 2],
        result: Labelled<L>,
        carry: L,
        bits: u32,
    ) {
        self.write_result_flags(result, bits);
        let inputs = a.label.join(b.label);
        let top = result.label.join(inputs).part(bits - 1, 1).join(carry);
        self.write_flag(CF, carry);
        self.write_flag(OF, top);
        self.write_flag(AF, inputs.part(0, 4).flood(1));
    }

    /// The flags of a logical operation.
    pub(crate) fn write_logic_flags(&mut self, result: Labelled<L>, bits: u32) {
        self.write_result_flags(result, bits);
        for flag in [CF, OF, AF] {
            self.write_flag(flag, L::CLEAR);
        }
    }

    /// The label of a condition.
    pub(crate) fn condition(&self, code: u8) -> L {
        L::condition(code, &self.labels.flags, self.labels.compare.as_ref())
    }

    /// The low 32 bits of a value.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub(crate) fn low32(value: u128) -> u32 {
        value as u32
    }

    /// The low 64 bits of a value.
    pub(crate) fn low(value: u128) -> u64 {
        split(value)[0]
    }
}

/// Enters what a rule said after the instruction completed.
pub(crate) fn apply<L: Label>(e: &mut Env<'_>, labels: &mut Labels<L>, outs: &[Out<L>]) {
    for out in outs {
        match *out {
            Out::Gpr { register, low, bits, label } => {
                let slot = &mut labels.gpr[usize::from(register & 15)];
                *slot = slot.with_part(u32::from(low), bits, label);
            }
            Out::Xmm { register, label } => labels.xmm[usize::from(register & 15)] = label,
            Out::X87 { index, label } => {
                if let Some(slot) = labels.x87.get_mut(index) {
                    *slot = label;
                }
            }
            Out::X87Status { replaced, label } => {
                let kept = match labels.x87_status.as_bits() {
                    Some(bits) => L::from_bits(bits & !u128::from(replaced)),
                    None => labels.x87_status,
                };
                labels.x87_status = kept.join(label);
            }
            Out::Flag { index, label } => {
                if let Some(slot) = labels.flags.get_mut(index) {
                    *slot = label.part(0, 1);
                }
            }
            Out::Mem { at, size, label } => {
                let who = e.who();
                label.store(e.m, who, GuestAddr(at), size);
            }
        }
    }
}
