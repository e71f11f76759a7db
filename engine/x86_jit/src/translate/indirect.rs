//! Indirect branches: where they arrive, how they leave, and how a served call comes back.

use iced_x86::{Code, Instruction, MemoryOperand, OpKind, Register};

use super::{Cold, ColdKind, Writer};
use crate::{
    allow::Class,
    emit::{Label, Owner},
    exits::{Done, Guess, Leave},
    operand::{Operand, stack_operand},
    stubs::OVERWRITTEN,
};

/// Where indirect branches arrive.
impl Writer<'_> {
    /// Indirect branches know 16 bits of where they lead; the landing compares the rest, which is
    /// in r11, and counts the event that a branch to its own address or below is. No flag changes
    /// before it is known that this is the target, and none that the block does not set anyhow.
    ///
    /// A branch that has guessed its target right knows whether it is an event, and arrives behind
    /// the comparisons.
    pub(super) fn landing(&mut self, start: u64, keeps: bool) {
        let p = self.e.places;
        self.e.owner.borrowed = u8::try_from(Register::R11.number()).ok();
        self.e.owner.has_rcx = true;
        let (hit, go, event) = (self.e.label(), self.e.label(), self.e.label());
        self.e.mov_imm64(Register::RCX, start.wrapping_neg());
        self.e.add_without_flags(Register::RCX, Register::R11);
        self.e.branch(Code::Jrcxz_rel8_64, hit);
        self.e.jump_out(self.site.stubs.miss);
        self.e.place(hit);
        if keeps {
            let counts = self.e.label();
            self.e.load(Code::Mov_r64_rm64, Register::RCX, p.own());
            self.e.branch(Code::Jrcxz_rel8_64, go);
            // Both addresses are in the kernel half, so that the top byte of the difference is its
            // sign.
            self.e.mov_imm64(Register::R11, start.wrapping_neg());
            self.e.add_without_flags(Register::RCX, Register::R11);
            self.e.push(Instruction::with1(Code::Bswap_r64, Register::RCX));
            self.e.push(Instruction::with2(Code::Movzx_r32_rm8, Register::ECX, Register::CL));
            self.e.branch(Code::Jrcxz_rel8_64, counts);
            self.e.branch(Code::Jmp_rel32_64, go);
            self.e.place(counts);
            self.e.branch(Code::Jmp_rel32_64, event);
        } else {
            self.e.store(Code::Cmp_rm64_r64, p.own(), Register::R11);
            self.e.branch(Code::Jae_rel32_64, event);
        }
        let kind = ColdKind::Event { target: start, back: go, keeps };
        self.cold.push(Cold { label: event, owner: self.e.owner, kind });
        self.entries.uncounted = self.e.next();
        self.e.place(go);
        self.give_back(Register::R11);
        self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
        self.e.owner.has_rcx = false;
    }

    /// Counts an indirect branch to `target`.
    pub(super) fn event(&mut self, target: u64, back: Label, keeps: bool) {
        self.entries.counted = self.e.next();
        self.e.count();
        if keeps {
            let limit = self.e.label();
            self.e.count_to_rcx();
            self.e.branch(Code::Jrcxz_rel8_64, limit);
            self.e.branch(Code::Jmp_rel32_64, back);
            self.e.place(limit);
        } else {
            self.e.test_count();
            self.e.branch(Code::Jne_rel32_64, back);
        }
        self.leave(Leave::Limit { target });
    }
}

/// How they leave. Flags are kept throughout, since nobody knows who reads them at the target:
/// states are looked at in rcx, which is put away for all of the sequence.
impl Writer<'_> {
    pub(super) fn return_from(&mut self, ins: &Instruction, extra: u16) {
        let operand = stack_operand(0);
        self.put_rcx_away();
        if !self.known.covers(&operand) {
            self.look(ins, &operand);
        }
        self.load_target(&operand);
        let raised = 8 + i64::from(extra);
        let behind = std::mem::take(&mut self.e.owner.behind);
        self.e.move_rsp(raised + i64::from(behind));
        self.leave_indirectly(ins, Done::Return(raised), 0);
    }

    /// The target goes to r11.
    pub(super) fn branch_indirect(&mut self, ins: &Instruction, class: Class, keeps: bool) {
        if ins.op0_kind() == OpKind::Register {
            self.borrow(Register::R11);
            let from = ins.op0_register();
            self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, from));
            self.put_rcx_away();
        } else if ins.is_ip_rel_memory_operand() {
            self.borrow(Register::R11);
            self.e.mov_imm64(Register::R11, ins.memory_displacement64());
            self.put_rcx_away();
            let operand = Operand { base: Register::R11, ..Operand::of(ins) };
            self.look(ins, &operand);
            let from = self.data(&operand);
            self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, from));
        } else {
            let operand = Operand::of(ins);
            if [operand.base, operand.index].contains(&Register::RCX) {
                self.check_load(ins, &operand, true);
                self.load_target(&operand);
                self.put_rcx_away();
            } else {
                self.put_rcx_away();
                if !self.known.covers(&operand) {
                    self.look(ins, &operand);
                }
                self.load_target(&operand);
            }
        }
        if class == Class::JumpIndirect {
            self.note_own(ins);
            let number = self.exit_number(Leave::Indirect {
                rip: ins.ip(),
                done: Done::Jump,
                guess: Guess::default(),
            });
            self.go_by_table(number);
            return;
        }
        let operand = stack_operand(-8);
        let is_undefined = self.e.label();
        self.cold.push(Cold {
            label: is_undefined,
            owner: self.e.owner,
            kind: ColdKind::Call { ins: *ins },
        });
        self.look_or(&operand, is_undefined);
        self.finish_call(ins, false);
        if !self.backs.is_empty() {
            self.way_back(ins, keeps);
        }
    }

    /// A call whose return address goes to bytes that are not all defined: if they are all
    /// undefined, they become defined.
    pub(super) fn call_undefined(&mut self, ins: &Instruction) {
        let operand = stack_operand(-8);
        let (define, cold) = (self.e.label(), self.cold_leave(Leave::Step { rip: ins.ip() }));
        let states = self.states(&operand);
        self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RCX, states));
        let more = MemoryOperand::with_base_displ(Register::RCX, 1);
        self.e.push(Instruction::with2(Code::Lea_r64_m, Register::RCX, more));
        self.e.branch(Code::Jrcxz_rel8_64, define);
        self.e.branch(Code::Jmp_rel32_64, cold);
        self.e.place(define);
        self.finish_call(ins, true);
    }

    /// Pushes the return address over bytes that may be touched, and goes to the target in r11.
    /// What was there is kept, for targets that the processor objects to.
    fn finish_call(&mut self, ins: &Instruction, over_undefined: bool) {
        let p = self.e.places;
        let operand = stack_operand(-8);
        let to = self.data(&operand);
        // Not through a general register to memory: then processors let the next call wait for it.
        self.e.push(Instruction::with2(Code::Movq_mm_mmm64, OVERWRITTEN, to));
        self.e.mov_imm64(Register::RCX, ins.next_ip());
        self.e.push(Instruction::with2(Code::Mov_rm64_r64, to, Register::RCX));
        self.e.store(Code::Mov_rm64_r64, p.return_to(), Register::RCX);
        if over_undefined {
            let states = self.states(&operand);
            self.e.push(Instruction::with2(Code::Mov_rm64_imm32, states, 0));
        }
        self.e.move_rsp(-8);
        // A call that is served in place is never an event.
        let served = self.site.served.filter(|served| *served > ins.ip());
        let first_guess = served.unwrap_or(0);
        self.leave_indirectly(ins, Done::Call { over_undefined }, first_guess);
    }

    /// The branch is an event unless it leads above its own address.
    fn note_own(&mut self, ins: &Instruction) {
        let p = self.e.places;
        self.e.mov_imm64(Register::RCX, ins.ip());
        self.e.store(Code::Mov_rm64_r64, p.own(), Register::RCX);
    }

    /// Goes on at the guest address in r11: at once if it is the one that is guessed, else by the
    /// table. r11 and rcx are borrowed. Of calls, only those that are served in place are guessed.
    fn leave_indirectly(&mut self, ins: &Instruction, done: Done, first_guess: u64) {
        let exit = self.exits.len();
        let guess = Guess::default();
        let number = self.exit_number(Leave::Indirect { rip: ins.ip(), done, guess });
        let is_call = matches!(done, Done::Call { .. });
        if is_call && first_guess == 0 {
            self.note_own(ins);
            self.go_by_table(number);
            return;
        }
        let (hit, other) = (self.e.label(), self.e.label());
        let constant = self.e.next();
        self.e.mov_imm64(Register::RCX, first_guess.wrapping_neg());
        self.e.add_without_flags(Register::RCX, Register::R11);
        self.e.branch(Code::Jrcxz_rel8_64, hit);
        self.e.place(other);
        self.note_own(ins);
        self.go_by_table(number);
        self.e.place(hit);
        let jump = if is_call {
            self.backs.push(self.e.next());
            self.e.store_imm(Code::Mov_rm32_imm32, self.e.places.back(), 0);
            self.e.jump_out(self.site.stubs.serve);
            None
        } else {
            let jump = self.e.next();
            self.e.branch(Code::Jmp_rel32_64, other);
            Some(jump)
        };
        self.guesses.push((exit, constant, jump));
        self.e.owner = Owner::of(self.e.owner.guest);
    }

    fn go_by_table(&mut self, number: i32) {
        let p = self.e.places;
        self.e.store_imm(Code::Mov_rm32_imm32, p.exit(), number);
        self.e.jump_by_table();
    }

    /// Where a call comes back to that was served in place: the flags are still in the context, and
    /// so are r11 and rcx.
    fn way_back(&mut self, ins: &Instruction, keeps: bool) {
        let p = self.e.places;
        self.way_back = self.e.next();
        if keeps {
            self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, Register::RAX));
            self.e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_flags());
            self.e.restore_flags();
            self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RAX, Register::R11));
        }
        self.give_back(Register::R11);
        self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
        self.link(ins.next_ip(), true);
    }

    fn load_target(&mut self, operand: &Operand) {
        self.borrow(Register::R11);
        let from = self.data(operand);
        self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, from));
    }

    pub(super) fn put_rcx_away(&mut self) {
        let p = self.e.places;
        self.e.store(Code::Mov_rm64_r64, p.borrowed_rcx(), Register::RCX);
        self.e.owner.has_rcx = true;
    }

    /// Leaves unless all 8 bytes may be touched and are defined. rcx was put away.
    fn look(&mut self, ins: &Instruction, operand: &Operand) {
        let cold = self.cold_leave(Leave::Step { rip: ins.ip() });
        self.look_or(operand, cold);
    }

    fn look_or(&mut self, operand: &Operand, cold: Label) {
        let good = self.e.label();
        let states = self.states(operand);
        self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RCX, states));
        self.e.branch(Code::Jrcxz_rel8_64, good);
        self.e.branch(Code::Jmp_rel32_64, cold);
        self.e.place(good);
    }
}
