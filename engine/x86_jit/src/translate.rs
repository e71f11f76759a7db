//! From guest instructions to a host block.
//!
//! Each sequence is arranged so that a host fault anywhere in it finds the guest as it was before
//! the instruction, up to borrowed registers that the owner of each host instruction names.

mod checks;
mod indirect;

use guest_memory::{GuestAddr, GuestMemory};
use iced_x86::{Code, IcedError, Instruction, OpKind, Register};

use crate::{
    allow::{Class, Strings, is_pure_store},
    context::Places,
    emit::{Emit, Label, Owner},
    exits::{Guess, Leave},
    faults::Faults,
    flags::Live,
    hoist::{checks_before, piece_read},
    operand::{Known, Operand, stack_operand},
    source::{End, Step, read},
    stubs::{Stubs, gpr},
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
    /// Host address of the code cache.
    pub(crate) cache: u64,
    /// The first address whose calls may be served in place.
    pub(crate) served: Option<u64>,
}

/// Where others enter a block that starts with its landing: offsets of instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries<T> {
    /// Behind the landing.
    pub(crate) body: T,
    /// Inside of it, for indirect branches that have guessed right: r11 and rcx are put away, and
    /// the event is to be counted or not.
    pub(crate) counted: T,
    pub(crate) uncounted: T,
}

/// A translated block.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Entries<u32>,
    /// Offset of the way back from a call that was served in place, with the number of the call's
    /// exit in the block.
    pub(crate) way_back: Option<(u32, usize)>,
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
    Event { target: u64, back: Label, keeps: bool },
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
        entries: Entries::default(),
        guesses: Vec::new(),
        backs: Vec::new(),
        way_back: 0,
    };
    writer.landing(start, source.before.first().is_none_or(|live| live.kept != 0));
    writer.entries.body = writer.e.next();
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
        return writer.finish(m, starts, &source.pages).ok();
    };
    starts.push((next, writer.e.next()));
    match source.end {
        End::Step(rip) => writer.leave(Leave::Step { rip }),
        _ => writer.link(next, false),
    }
    writer.finish(m, starts, &source.pages).ok()
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
    /// Numbers of instructions where others enter.
    entries: Entries<usize>,
    /// Guesses of indirect branches: number of the exit, of the instruction with the constant, and
    /// of the jump that is taken if it is right.
    guesses: Vec<(usize, usize, Option<usize>)>,
    /// Instructions that tell the stub the way back from a call, and where that begins.
    backs: Vec<usize>,
    way_back: usize,
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
            Class::Return(extra) => self.return_from(ins, extra),
            Class::String(strings) => self.string(ins, strings),
            Class::JumpIndirect | Class::CallIndirect => {
                self.branch_indirect(ins, class, taken.kept != 0);
            }
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
            }
            let none = self.e.label();
            self.e.store(Code::Mov_rm64_r64, p.borrowed_rcx(), Register::RCX);
            self.e.count_to_rcx();
            self.e.branch(Code::Jrcxz_rel8_64, none);
            self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
            self.link(target, true);
            self.e.place(none);
            self.e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
            self.e.branch(Code::Jmp_rel32_64, limit);
            return;
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
                ColdKind::Event { target, back, keeps } => self.event(target, back, keeps),
            }
            done += 1;
        }
        let at = self.site.at;
        let mut assembled = self.e.assemble(at)?;
        let offsets = std::mem::take(&mut assembled.offsets);
        let offset = |number: usize| offsets.get(number).copied().unwrap_or(u32::MAX);
        let mut exits = self.exits;
        // Constants and distances are at the end of their instructions.
        let end = |number: usize| at + u64::from(offset(number + 1));
        for (exit, constant, jump) in &self.guesses {
            if let Some(Leave::Indirect { guess, .. }) = exits.get_mut(*exit) {
                let jump = jump.map(|jump| end(jump) - 4);
                *guess = Guess { constant: end(*constant) - 8, jump };
            }
        }
        let back = u32::try_from(at - self.site.cache).unwrap_or(u32::MAX) + offset(self.way_back);
        for number in &self.backs {
            let end = usize::try_from(offset(number + 1)).unwrap_or(0);
            if let Some(value) = assembled.bytes.get_mut(end - 4..end) {
                value.copy_from_slice(&back.to_le_bytes());
            }
        }
        let call = self.guesses.first().filter(|_| !self.backs.is_empty());
        let way_back = call.map(|(exit, ..)| (offset(self.way_back), *exit));
        for (number, exit) in self.links {
            if let Some(Leave::Link { site, .. }) = exits.get_mut(exit) {
                *site = end(number) - 4;
            }
        }
        let starts = starts.into_iter().map(|(rip, number)| (rip, offset(number)));
        let owners = offsets.iter().copied().zip(assembled.owners);
        let faults = Faults::new(starts.collect(), owners.collect());
        let versions = pages.iter().map(|page| (*page, m.code_version(GuestAddr(*page))));
        let pages = versions.collect();
        let Entries { body, counted, uncounted } = self.entries;
        let entries =
            Entries { body: offset(body), counted: offset(counted), uncounted: offset(uncounted) };
        Ok(Draft { bytes: assembled.bytes, entries, way_back, exits, faults, pages })
    }
}
