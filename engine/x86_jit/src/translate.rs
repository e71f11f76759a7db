//! From guest instructions to a host block.
//!
//! Each sequence is arranged so that a host fault anywhere in it finds the guest as it was before
//! the instruction, up to borrowed registers that the owner of each host instruction names.

mod checks;

use guest_memory::{GuestAddr, GuestMemory};
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, OpKind, Register};

use crate::{
    allow::{Class, Strings, is_pure_store},
    context::Places,
    emit::{Emit, Label, Owner},
    exits::{Done, Leave},
    faults::Faults,
    flags::Live,
    hoist::{checks_before, piece_read},
    operand::{Known, Operand, stack_operand},
    source::{End, Step, read},
    stubs::{EXIT_OF_CALL, OVERWRITTEN, Stubs, gpr},
};

/// What a block is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Host address of the block.
    pub(crate) at: u64,
    pub(crate) places: Places,
    pub(crate) stubs: Stubs,
    /// Added to the displacement of an access to states: the thread pointer is no page address.
    pub(crate) state_adjust: i64,
    /// Number of the block's first exit.
    pub(crate) first_exit: u32,
}

/// A translated block.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    /// Where the block begins behind its landing.
    pub(crate) body: u32,
    pub(crate) exits: Vec<Leave>,
    pub(crate) faults: Faults,
    /// Pages that the translation rests on, with their versions.
    pub(crate) pages: Vec<(u64, u64)>,
}

/// Code that is emitted behind the block.
#[derive(Clone, Copy)]
struct Cold {
    label: Label,
    owner: Owner,
    kind: ColdKind,
}

#[derive(Clone, Copy)]
enum ColdKind {
    /// Leaves by the exit with this number.
    Leave(i32),
    /// A call that stores its return address into bytes that are not all defined.
    Call { ins: Instruction },
    /// A store into undefined bytes: the bytes become defined.
    Define { operand: Operand, store: Instruction, back: Label, rip: u64 },
    /// An indirect branch to this address is an event.
    Event { target: u64, back: Label },
}

/// Translates the block at `start`, which ends before any address that `stops` names.
pub(crate) fn translate(
    m: &mut GuestMemory,
    start: u64,
    stops: impl Fn(u64) -> bool,
    site: &Site,
) -> Option<Draft> {
    let source = read(m, start, stops)?;
    let mut writer = Writer {
        e: Emit::new(site.places),
        site,
        exits: Vec::new(),
        links: Vec::new(),
        cold: Vec::new(),
        known: Known::default(),
        ahead: Vec::new(),
        piece: None,
    };
    writer.landing(start, source.before.first().is_none_or(|live| live.kept != 0));
    let body = writer.e.next();
    let mut starts = Vec::new();
    let numbered = source.code.iter().zip(&source.before).enumerate();
    for (number, (step, live)) in numbered {
        writer.begin(number, step);
        starts.push((step.ins.ip(), writer.e.next()));
        writer.piece = piece_read(&source, number);
        writer.ahead = if live.kept == 0 { checks_before(&source, number) } else { Vec::new() };
        if !matches!(step.class, Class::LowerStack(_)) {
            writer.check_ahead(&step.ins);
        }
        writer.instruction(&step.ins, step.class, *live, step.taken);
        writer.known.pass(&step.ins, step.class);
    }
    writer.catch_up();
    writer.e.owner = Owner::of(u16::try_from(source.code.len()).unwrap_or(u16::MAX));
    let (End::Step(next) | End::Cut(next)) = source.end else {
        return writer.finish(m, body, starts, &source.pages).ok();
    };
    starts.push((next, writer.e.next()));
    match source.end {
        End::Step(rip) => writer.leave(Leave::Step { rip }),
        _ => writer.link(next, false),
    }
    writer.finish(m, body, starts, &source.pages).ok()
}

struct Writer<'a> {
    e: Emit,
    site: &'a Site,
    exits: Vec<Leave>,
    /// Jumps to be patched: number of the instruction, number of the exit.
    links: Vec<(usize, usize)>,
    cold: Vec<Cold>,
    /// What needs no check.
    known: Known,
    /// What to check before this instruction for those behind it.
    ahead: Vec<Operand>,
    /// What it reads, with what instructions behind it read beside that.
    piece: Option<Operand>,
}

/// Where indirect branches arrive.
impl Writer<'_> {
    /// Indirect branches know 16 bits of where they lead; the landing compares the rest, which is
    /// in r11, and counts the event that a branch to its own address or below is. No flag changes
    /// before it is known that this is the target, and none that the block does not set anyhow.
    fn landing(&mut self, start: u64, keeps: bool) {
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
        let kind = ColdKind::Event { target: start, back: go };
        self.cold.push(Cold { label: event, owner: self.e.owner, kind });
        self.e.place(go);
        self.give_back(Register::R11);
        self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
        self.e.owner.has_rcx = false;
    }

    /// Counts an indirect branch to `target`.
    fn event(&mut self, target: u64, back: Label) {
        let limit = self.e.label();
        self.e.count();
        self.e.count_to_rcx();
        self.e.branch(Code::Jrcxz_rel8_64, limit);
        self.e.branch(Code::Jmp_rel32_64, back);
        self.e.place(limit);
        self.leave(Leave::Limit { target });
    }
}

/// Whole instructions.
impl Writer<'_> {
    /// Begins an instruction. Pushes and pops in a row move rsp once.
    fn begin(&mut self, number: usize, step: &Step) {
        let goes_on = match step.class {
            Class::Push => step.ins.op0_register() != Register::RSP,
            Class::Pop | Class::Return(_) => true,
            _ => false,
        };
        if !goes_on {
            self.catch_up();
        }
        let behind = self.e.owner.behind;
        let owner = Owner::of(u16::try_from(number).unwrap_or(u16::MAX));
        self.e.owner = Owner { behind, ..owner };
    }

    /// Checks where flags need not be kept.
    fn check_ahead(&mut self, ins: &Instruction) {
        for operand in std::mem::take(&mut self.ahead) {
            self.check_load(ins, &operand, false);
        }
    }

    /// Brings rsp to where the guest has it.
    fn catch_up(&mut self) {
        let behind = std::mem::take(&mut self.e.owner.behind);
        if behind != 0 {
            self.e.move_rsp(i64::from(behind));
        }
    }

    fn instruction(&mut self, ins: &Instruction, class: Class, live: Live, taken: Live) {
        let keeps = live.kept != 0;
        match class {
            Class::Copy => self.copy(ins, keeps),
            Class::Nothing | Class::Step => {}
            Class::Push => self.push(ins, keeps),
            Class::Pop => {
                let operand = stack_operand(0);
                self.check_load(ins, &operand, keeps);
                let from = self.data(&operand);
                self.e.push(Instruction::with2(Code::Mov_r64_rm64, ins.op0_register(), from));
                self.e.owner.behind += 8;
            }
            Class::LowerStack(by) => self.lower_stack(ins, by),
            Class::Jump => self.count_and_link(ins, ins.near_branch_target(), taken),
            Class::Conditional => self.conditional(ins, taken),
            Class::Call => {
                self.push_return(ins, keeps);
                self.count_and_link(ins, ins.near_branch_target(), taken);
            }
            Class::Return(extra) => {
                let operand = stack_operand(0);
                self.put_rcx_away();
                if !self.known.covers(&operand) {
                    self.look(ins, &operand);
                }
                self.load_target(&operand);
                let raised = 8 + i64::from(extra);
                let behind = std::mem::take(&mut self.e.owner.behind);
                self.e.move_rsp(raised + i64::from(behind));
                self.note_own(ins);
                self.indirect(ins, Done::Return(raised));
            }
            Class::String(strings) => self.string(ins, strings),
            Class::JumpIndirect | Class::CallIndirect => self.branch_indirect(ins, class),
        }
    }

    /// An instruction that does in the host what it does in the guest.
    fn copy(&mut self, ins: &Instruction, keeps: bool) {
        let has_memory = (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory);
        if !has_memory || ins.code() == Code::Lea_r64_m && !ins.is_ip_rel_memory_operand() {
            self.e.copy(ins);
            return;
        }
        if ins.mnemonic() == iced_x86::Mnemonic::Lea {
            self.lea(ins);
            return;
        }
        let (operand, borrowed) = self.operand(ins);
        let mut redirected = *ins;
        redirected.set_segment_prefix(Register::GS);
        if borrowed.is_some() {
            redirected.set_memory_base(operand.base);
            redirected.set_memory_displacement64(0);
            redirected.set_memory_displ_size(0);
        }
        if is_pure_store(ins) && !keeps {
            let back = self.e.label();
            self.check_store(ins, &operand, redirected, back);
            self.e.copy(&redirected);
            self.e.place(back);
        } else {
            self.check_read(ins, &operand, keeps);
            self.e.copy(&redirected);
        }
        if let Some(register) = borrowed {
            self.give_back(register);
        }
    }

    fn lea(&mut self, ins: &Instruction) {
        if !ins.is_ip_rel_memory_operand() {
            self.e.copy(ins);
            return;
        }
        let value = ins.memory_displacement64();
        let to = ins.op0_register();
        match ins.code() {
            Code::Lea_r64_m => self.e.mov_imm64(to, value),
            Code::Lea_r32_m => {
                let low = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
                self.e.push(Instruction::with2(Code::Mov_r32_imm32, to, low));
            }
            _ => {
                let low = u32::try_from(value & 0xffff).unwrap_or(0);
                self.e.push(Instruction::with2(Code::Mov_r16_imm16, to, low));
            }
        }
    }

    fn push(&mut self, ins: &Instruction, keeps: bool) {
        let operand = stack_operand(-8);
        let to = self.data(&operand);
        let store = match ins.op0_kind() {
            OpKind::Register => Instruction::with2(Code::Mov_rm64_r64, to, ins.op0_register()),
            // The immediate is sign-extended already.
            _ => {
                let value = i32::try_from(ins.immediate(0).cast_signed()).unwrap_or(0);
                Instruction::with2(Code::Mov_rm64_imm32, to, value)
            }
        };
        self.store(ins, &operand, store, keeps);
        self.e.owner.behind -= 8;
    }

    /// Pushes the address behind `ins`. The register with the address is borrowed around the store.
    fn push_return(&mut self, ins: &Instruction, keeps: bool) {
        let operand = stack_operand(-8);
        self.borrow(Register::R11);
        self.e.mov_imm64(Register::R11, ins.next_ip());
        let to = self.data(&operand);
        let store = Instruction::with2(Code::Mov_rm64_r64, to, Register::R11);
        self.store(ins, &operand, store, keeps);
        self.give_back(Register::R11);
        self.e.move_rsp(-8);
    }

    /// `sub rsp, by`: the bytes of the new frame become undefined, if they are in the stack.
    fn lower_stack(&mut self, ins: &Instruction, by: u32) {
        let p = self.e.places;
        let cold = self.cold_leave(Leave::Step { rip: ins.ip() });
        // The instruction sets all flags, so the comparisons may. The lower bound leaves room for
        // the longest frame.
        self.e.load(Code::Cmp_r64_rm64, Register::RSP, p.stack_low());
        self.e.branch(Code::Jb_rel32_64, cold);
        self.e.load(Code::Cmp_r64_rm64, Register::RSP, p.stack_end());
        self.e.branch(Code::Ja_rel32_64, cold);
        self.undefine(by);
        self.known.lower_stack();
        self.check_ahead(ins);
        self.e.copy(ins);
    }

    /// The target goes to r11. Flags are kept throughout, since nobody knows who reads them there:
    /// states are looked at in rcx, which is put away for all of the sequence.
    fn branch_indirect(&mut self, ins: &Instruction, class: Class) {
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
            self.indirect(ins, Done::Jump);
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
    }

    /// A call whose return address goes to bytes that are not all defined: if they are all
    /// undefined, they become defined.
    fn call_undefined(&mut self, ins: &Instruction) {
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
        self.note_own(ins);
        self.e.move_rsp(-8);
        self.indirect(ins, Done::Call { over_undefined });
    }

    /// The branch is an event unless it leads above its own address.
    fn note_own(&mut self, ins: &Instruction) {
        let p = self.e.places;
        self.e.mov_imm64(Register::RCX, ins.ip());
        self.e.store(Code::Mov_rm64_r64, p.own(), Register::RCX);
    }

    /// Goes on at the guest address in r11. It and rcx are borrowed.
    fn indirect(&mut self, ins: &Instruction, done: Done) {
        let p = self.e.places;
        let call = if matches!(done, Done::Call { .. }) { EXIT_OF_CALL } else { 0 };
        let number = self.exit_number(Leave::Indirect { rip: ins.ip(), done });
        self.e.store_imm(Code::Mov_rm32_imm32, p.exit(), number | call);
        self.e.jump_by_table();
        self.e.owner = Owner::of(self.e.owner.guest);
    }

    /// Rust does what it can of the instruction; the interpreter does the rest.
    fn string(&mut self, ins: &Instruction, strings: Strings) {
        let p = self.e.places;
        self.put_rcx_away();
        self.borrow(Register::R11);
        self.e.mov_imm64(Register::R11, ins.next_ip());
        let number = self.exit_number(Leave::Step { rip: ins.ip() });
        self.e.store_imm(Code::Mov_rm32_imm32, p.string(), i32::from(strings.number()));
        self.e.store_imm(Code::Mov_rm32_imm32, p.exit(), number);
        self.e.jump_out(self.site.stubs.string);
        self.e.owner = Owner::of(self.e.owner.guest);
    }

    fn load_target(&mut self, operand: &Operand) {
        self.borrow(Register::R11);
        let from = self.data(operand);
        self.e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, from));
    }

    fn put_rcx_away(&mut self) {
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

/// Branches and leaving.
impl Writer<'_> {
    /// A taken branch: an event if it does not lead above its own address.
    fn count_and_link(&mut self, ins: &Instruction, target: u64, live: Live) {
        if target <= ins.ip() {
            let p = self.e.places;
            let limit = self.cold_leave(Leave::Limit { target });
            self.e.count();
            if live.kept == 0 {
                self.e.test_count();
                self.link_by(Code::Jne_rel32_64, target, true);
                self.e.branch(Code::Jmp_rel32_64, limit);
                return;
            } else {
                let go = self.e.label();
                self.e.store(Code::Mov_rm64_r64, p.borrowed_rcx(), Register::RCX);
                self.e.count_to_rcx();
                // Not zero is the rule: the short jump leads to the way out.
                let none = self.e.label();
                self.e.branch(Code::Jrcxz_rel8_64, none);
                self.e.branch(Code::Jmp_rel32_64, go);
                self.e.place(none);
                self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
                self.e.branch(Code::Jmp_rel32_64, limit);
                self.e.place(go);
                self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
            }
        }
        self.link(target, true);
    }

    /// A conditional branch; the code goes on behind it.
    fn conditional(&mut self, ins: &Instruction, taken: Live) {
        let target = ins.near_branch_target();
        if target > ins.ip() {
            self.link_by(ins.code().as_near_branch(), target, true);
            return;
        }
        // Mostly a loop: what is taken needs no second jump.
        let mut not = *ins;
        not.negate_condition_code();
        let label = self.e.label();
        self.e.branch(not.code().as_near_branch(), label);
        self.count_and_link(ins, target, taken);
        self.e.place(label);
    }

    /// Goes on at a guest address; leaves until that is linked.
    fn link(&mut self, target: u64, is_branch: bool) {
        self.link_by(Code::Jmp_rel32_64, target, is_branch);
    }

    /// The same by another branch that ends in a distance of 4 bytes.
    fn link_by(&mut self, code: Code, target: u64, is_branch: bool) {
        let exit = self.exits.len();
        let site = self.e.next();
        // It first leads to the cold code that leaves.
        let cold = self.cold_leave(Leave::Link { target, site: 0, is_branch });
        self.e.branch(code, cold);
        self.links.push((site, exit));
    }

    fn leave(&mut self, leave: Leave) {
        let number = self.exit_number(leave);
        self.leave_by(number);
    }

    fn leave_by(&mut self, number: i32) {
        let p = self.e.places;
        self.catch_up();
        if self.e.owner.has_rcx {
            self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
        }
        if let Some(number) = self.e.owner.borrowed {
            self.e.load(Code::Mov_r64_rm64, gpr(number), p.borrowed());
        }
        self.e.store_imm(Code::Mov_rm32_imm32, p.exit(), number);
        self.e.jump_out(self.site.stubs.exit);
    }

    fn exit_number(&mut self, leave: Leave) -> i32 {
        let number = self.site.first_exit as usize + self.exits.len();
        self.exits.push(leave);
        i32::try_from(number).unwrap_or(i32::MAX)
    }

    /// Cold code that leaves, with the registers borrowed now given back.
    fn cold_leave(&mut self, leave: Leave) -> Label {
        let label = self.e.label();
        let kind = ColdKind::Leave(self.exit_number(leave));
        self.cold.push(Cold { label, owner: self.e.owner, kind });
        label
    }
}

/// The end.
impl Writer<'_> {
    fn finish(
        mut self,
        m: &GuestMemory,
        body: usize,
        starts: Vec<(u64, usize)>,
        pages: &[u64],
    ) -> Result<Draft, IcedError> {
        let mut done = 0;
        // Cold code may have cold code of its own.
        while let Some(cold) = self.cold.get(done).copied() {
            self.e.owner = cold.owner;
            self.e.place(cold.label);
            match cold.kind {
                ColdKind::Leave(number) => self.leave_by(number),
                ColdKind::Call { ins } => self.call_undefined(&ins),
                ColdKind::Define { operand, store, back, rip } => {
                    self.define(&operand, &store, back, rip);
                }
                ColdKind::Event { target, back } => self.event(target, back),
            }
            done += 1;
        }
        let at = self.site.at;
        let assembled = self.e.assemble(at)?;
        let offset = |number: usize| assembled.offsets.get(number).copied().unwrap_or(u32::MAX);
        let mut exits = self.exits;
        for (number, exit) in self.links {
            if let Some(Leave::Link { site, .. }) = exits.get_mut(exit) {
                // The distance is at the end of the branch.
                *site = at + u64::from(offset(number + 1)) - 4;
            }
        }
        let starts = starts.into_iter().map(|(rip, number)| (rip, offset(number)));
        let owners = assembled.offsets.iter().copied().zip(assembled.owners);
        let faults = Faults::new(starts.collect(), owners.collect());
        let versions = pages.iter().map(|page| (*page, m.code_version(GuestAddr(*page))));
        let pages = versions.collect();
        Ok(Draft { bytes: assembled.bytes, body: offset(body), exits, faults, pages })
    }
}
