//! Checks and redirected operands of one instruction.

use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::{Cold, ColdKind, Writer};
use crate::{
    emit::Label,
    exits::Leave,
    operand::{Operand, stack_operand, unused_register},
    stubs::gpr,
};

/// Memory.
impl Writer<'_> {
    /// The operand of an instruction; an address relative to RIP goes to a borrowed register.
    pub(super) fn operand(&mut self, ins: &Instruction) -> (Operand, Option<Register>) {
        let operand = Operand::of(ins);
        if !ins.is_ip_rel_memory_operand() {
            return (operand, None);
        }
        let register = unused_register(ins);
        self.borrow(register);
        self.e.mov_imm64(register, ins.memory_displacement64());
        (Operand { base: register, ..operand }, Some(register))
    }

    pub(super) fn borrow(&mut self, register: Register) {
        let p = self.e.places;
        self.e.store(Code::Mov_rm64_r64, p.borrowed(), register);
        self.known.forget(register);
        self.e.owner.borrowed = u8::try_from(register.number()).ok();
    }

    pub(super) fn give_back(&mut self, register: Register) {
        let p = self.e.places;
        self.e.load(Code::Mov_r64_rm64, register, p.borrowed());
        self.e.owner.borrowed = None;
    }

    pub(super) fn data(&self, operand: &Operand) -> MemoryOperand {
        operand.at(Register::GS, self.behind(operand))
    }

    pub(super) fn states(&self, operand: &Operand) -> MemoryOperand {
        operand.at(Register::FS, self.site.state_adjust + self.behind(operand))
    }

    /// What an address lacks if rsp is behind.
    pub(super) fn behind(&self, operand: &Operand) -> i64 {
        if operand.base == Register::RSP { i64::from(self.e.owner.behind) } else { 0 }
    }

    /// A store whose bytes may be undefined before, if the flags allow to look twice.
    pub(super) fn store(
        &mut self,
        ins: &Instruction,
        operand: &Operand,
        store: Result<Instruction, IcedError>,
        keeps: bool,
    ) {
        let Ok(redirected) = store else {
            self.e.push(store);
            return;
        };
        if keeps {
            self.check_load(ins, operand, keeps);
            self.e.copy(&redirected);
        } else {
            let back = self.e.label();
            self.check_store(ins, operand, redirected, back);
            self.e.copy(&redirected);
            self.e.place(back);
        }
    }

    /// Whether bytes need no check.
    pub(super) fn is_known(&self, operand: &Operand) -> bool {
        self.is_lasting(operand) && self.known.covers(operand)
    }

    /// Whether what is found out about bytes holds behind the instruction as well.
    pub(super) fn is_lasting(&self, operand: &Operand) -> bool {
        let borrowed = self.e.owner.borrowed.map(gpr);
        ![Some(operand.base), Some(operand.index)].contains(&borrowed) || borrowed.is_none()
    }

    pub(super) fn learn(&mut self, operand: &Operand) {
        if self.is_lasting(operand) {
            self.known.learn(*operand);
        }
    }

    /// Leaves unless all bytes may be touched and are defined.
    pub(super) fn check_load(&mut self, ins: &Instruction, operand: &Operand, keeps: bool) {
        let most_bytes = if keeps { 8 } else { self.longest_look() };
        let parts = operand.parts(most_bytes).filter(|part| !self.is_known(part));
        let parts: Vec<_> = parts.collect();
        self.check_parts(ins, &parts, keeps);
        self.learn(operand);
    }

    /// The same for what an instruction reads, together with what those behind it read beside it.
    pub(super) fn check_read(&mut self, ins: &Instruction, operand: &Operand, keeps: bool) {
        let piece = self.piece.take().filter(|_| !keeps && !self.is_known(operand));
        match piece.filter(|_| self.e.places.is_wide) {
            Some(piece) => self.check_load(ins, &piece, false),
            None => self.check_load(ins, operand, keeps),
        }
    }

    /// Bytes whose states are compared at once where flags need not be kept.
    fn longest_look(&self) -> u32 {
        if self.e.places.is_wide { 64 } else { 8 }
    }

    pub(super) fn check_parts(&mut self, ins: &Instruction, parts: &[Operand], keeps: bool) {
        let leave = Leave::Step { rip: ins.ip() };
        if parts.is_empty() {
            return;
        }
        if !keeps {
            let cold = self.cold_leave(leave);
            for part in parts {
                self.compare(part, 0);
                self.e.branch(Code::Jne_rel32_64, cold);
            }
            return;
        }
        let p = self.e.places;
        for part in parts {
            let good = self.e.label();
            let states = self.states(part);
            let (code, to) = match part.size_bytes {
                1 => (Code::Movzx_r32_rm8, Register::ECX),
                2 => (Code::Movzx_r32_rm16, Register::ECX),
                4 => (Code::Mov_r32_rm32, Register::ECX),
                _ => (Code::Mov_r64_rm64, Register::RCX),
            };
            self.e.store(Code::Mov_rm64_r64, p.borrowed_rcx(), Register::RCX);
            self.e.owner.has_rcx = true;
            self.e.push(Instruction::with2(code, to, states));
            self.e.branch(Code::Jrcxz_rel8_64, good);
            let cold = self.cold_leave(leave);
            self.e.branch(Code::Jmp_rel32_64, cold);
            self.e.place(good);
            self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
            self.e.owner.has_rcx = false;
        }
    }

    /// Goes to cold code unless all bytes are defined; from there back behind the store.
    pub(super) fn check_store(
        &mut self,
        ins: &Instruction,
        operand: &Operand,
        store: Instruction,
        back: Label,
    ) {
        if self.is_known(operand) {
            return;
        }
        let label = self.e.label();
        let kind = ColdKind::Define { operand: *operand, store, back, rip: ins.ip() };
        self.cold.push(Cold { label, owner: self.e.owner, kind });
        for part in operand.parts(self.longest_look()) {
            self.compare(&part, 0);
            self.e.branch(Code::Jne_rel32_64, label);
        }
        self.learn(operand);
    }

    /// Compares states with 0 or -1; more than 8 with 0 only.
    pub(super) fn compare(&mut self, part: &Operand, with: i32) {
        let code = match part.size_bytes {
            9.. => return self.test_wide(part),
            1 => Code::Cmp_rm8_imm8,
            2 => Code::Cmp_rm16_imm8,
            4 => Code::Cmp_rm32_imm8,
            _ => Code::Cmp_rm64_imm8,
        };
        let states = self.states(part);
        self.e.push(Instruction::with2(code, states, with));
    }

    /// Sets the zero flag if 16, 32 or 64 states are 0.
    fn test_wide(&mut self, part: &Operand) {
        let (code, ones) = match part.size_bytes {
            16 => (Code::EVEX_Vptestmq_kr_k1_xmm_xmmm128b64, Register::XMM16),
            32 => (Code::EVEX_Vptestmq_kr_k1_ymm_ymmm256b64, Register::YMM16),
            _ => (Code::EVEX_Vptestmq_kr_k1_zmm_zmmm512b64, Register::ZMM16),
        };
        let (states, found) = (self.states(part), Register::K1);
        self.e.push(Instruction::with3(code, found, ones, states));
        self.e.push(Instruction::with2(Code::VEX_Kortestb_kr_kr, found, found));
    }

    /// Makes the bytes from `by` below rsp up to it undefined.
    pub(super) fn undefine(&mut self, by: u32) {
        let mut left = by;
        while left > 0 {
            let most = if self.e.places.is_wide { 64 } else { 8 };
            let (size, code, ones) = match left.min(most) {
                64.. => (64, Code::EVEX_Vmovdqu64_zmmm512_k1z_zmm, Register::ZMM16),
                32.. => (32, Code::EVEX_Vmovdqu64_ymmm256_k1z_ymm, Register::YMM16),
                16.. => (16, Code::EVEX_Vmovdqu64_xmmm128_k1z_xmm, Register::XMM16),
                _ => (8, Code::Mov_rm64_imm32, Register::None),
            };
            let to = self.states(&stack_operand(-i64::from(left)));
            self.e.push(match ones {
                Register::None => Instruction::with2(code, to, -1),
                _ => Instruction::with2(code, to, ones),
            });
            left -= size;
        }
    }

    /// The bytes are all undefined: stores, then makes them defined. In this order a store that
    /// faults has changed nothing, and states are written only where the store was possible.
    pub(super) fn define(&mut self, operand: &Operand, store: &Instruction, back: Label, rip: u64) {
        let cold = self.cold_leave(Leave::Step { rip });
        for part in operand.parts(8) {
            self.compare(&part, -1);
            self.e.branch(Code::Jne_rel32_64, cold);
        }
        self.e.copy(store);
        for part in operand.parts(8) {
            let code = match part.size_bytes {
                1 => Code::Mov_rm8_imm8,
                2 => Code::Mov_rm16_imm16,
                4 => Code::Mov_rm32_imm32,
                _ => Code::Mov_rm64_imm32,
            };
            let states = self.states(&part);
            self.e.push(Instruction::with2(code, states, 0));
        }
        self.e.branch(Code::Jmp_rel32_64, back);
    }
}
