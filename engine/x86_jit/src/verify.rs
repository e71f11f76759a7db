//! The verifier: reads every block again before it may run.
//!
//! It shares nothing with the translator but the list of instructions that may be copied. It walks
//! over the bytes and keeps what it has proved: which bytes were compared, and which were stored
//! to. Where branches lead, that is proved which is on all ways there; it walks again until a way
//! back upwards proves no less than was taken for granted. A block passes only if every access to
//! guest memory is proved, every field it uses is one it may use, and control stays in the block,
//! or goes to the start of another, to a stub, or through the table of targets.
//!
//! What is said of a block besides its bytes is checked as well: where a fault leads back to is one
//! more branch, and only the distances of branches are changed later.

mod shape;

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use shape::{
    check_branch, check_faults, check_guesses, check_links, decode, entries_of, is_table_jump,
};

use crate::{
    allow::{LONGEST_FRAME_BYTES, is_copied, writes},
    context::{Places, TARGETS_ALIGN},
    faults::{Again, Faults},
    stubs::{OVERWRITTEN, Stubs, gpr},
};

/// Why a block was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at offset {offset:#x}")]
pub struct Rejected {
    /// Of the instruction.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// What a block may rely on.
pub(crate) struct Rules<'a> {
    pub(crate) places: Places,
    pub(crate) stubs: Stubs,
    pub(crate) state_adjust: i64,
    /// Host address of the code cache.
    pub(crate) cache: u64,
    /// Whether a block begins at a host address.
    pub(crate) is_block: &'a dyn Fn(u64) -> bool,
}

/// What is said of a block besides its bytes, and acted upon later.
pub(crate) struct Claims<'a> {
    /// Others enter at these offsets as well as at the start.
    pub(crate) entries: &'a [u32],
    /// Host addresses of distances that are going to lead to the start of other blocks.
    pub(crate) links: &'a [u64],
    /// Host addresses of constants that are going to be others.
    pub(crate) guesses: &'a [u64],
    pub(crate) faults: &'a Faults,
}

/// Bytes at an address formed from registers, in guest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    base: Register,
    index: Register,
    scale: u32,
    low: i64,
    high: i64,
}

/// Stand for the values in the fields that registers are put away in.
const IN_BORROWED: Register = Register::TR0;
const IN_BORROWED_RCX: Register = Register::TR1;

/// What is proved at a point.
#[derive(Clone, Debug, Default)]
struct Proved {
    /// States were read and compared, and the comparison did not branch away.
    compared: Vec<Span>,
    /// Bytes were stored to.
    stored: Vec<Span>,
    /// rsp is at least the longest frame above the lower bound, and not above the upper one.
    above_low: bool,
    below_end: bool,
}

impl Proved {
    /// Forgets what the other does not prove.
    fn meet(&mut self, other: &Self) {
        self.compared.retain(|span| is_covered(&other.compared, span));
        self.stored.retain(|span| is_covered(&other.stored, span));
        self.above_low &= other.above_low;
        self.below_end &= other.below_end;
    }

    /// Whether it proves all that the other does.
    fn implies(&self, other: &Self) -> bool {
        other.compared.iter().all(|span| is_covered(&self.compared, span))
            && other.stored.iter().all(|span| is_covered(&self.stored, span))
            && self.above_low >= other.above_low
            && self.below_end >= other.below_end
    }

    /// Forgets what concerns addresses formed from a register.
    fn forget(&mut self, is_changed: impl Fn(Register) -> bool) {
        let is_kept = |span: &Span| {
            (span.base == Register::None || !is_changed(span.base))
                && (span.index == Register::None || !is_changed(span.index))
        };
        self.compared.retain(is_kept);
        self.stored.retain(is_kept);
    }

    /// The one has the value of the other from here on; each is a register or stands for a field.
    fn assign(&mut self, to: Register, from: Register) {
        self.forget(|register| register == to);
        let renamed = |register| if register == from { to } else { register };
        for spans in [&mut self.compared, &mut self.stored] {
            let like = spans.iter().filter(|span| [span.base, span.index].contains(&from));
            let copies = like.map(|span| Span {
                base: renamed(span.base),
                index: renamed(span.index),
                ..*span
            });
            let copies: Vec<Span> = copies.collect();
            spans.extend(copies);
        }
        if to == Register::RSP {
            (self.above_low, self.below_end) = (false, false);
        }
    }

    /// rsp is another by a constant: the same bytes have other distances from it.
    fn move_rsp(&mut self, by: i64) {
        for span in self.compared.iter_mut().chain(&mut self.stored) {
            if span.base == Register::RSP {
                (span.low, span.high) = (span.low - by, span.high - by);
            }
        }
    }
}

/// Walks over a block at most.
const MOST_WALKS: usize = 16;

/// Checks a block that is to lie at `at`.
pub(crate) fn verify(
    bytes: &[u8],
    at: u64,
    claims: &Claims<'_>,
    rules: &Rules<'_>,
) -> Result<(), Rejected> {
    let code = decode(bytes, at)?;
    let starts: BTreeSet<u64> = code.iter().map(Instruction::ip).collect();
    let mut labels = BTreeMap::new();
    for ins in &code {
        if let Some(target) = check_branch(ins, at, bytes.len(), &starts, rules)? {
            *labels.entry(target).or_default() += 1;
        }
    }
    let Some(last) = code.last() else { return reject(0, "no code") };
    if !matches!(last.code(), Code::Jmp_rel32_64) {
        return reject(offset_of(last, at), "the block does not end in a jump");
    }
    let entries = entries_of(&code, at, &starts, claims.entries, rules)?;
    for entry in &entries {
        *labels.entry(*entry).or_default() += 1;
    }
    check_links(&code, claims.links)?;
    check_guesses(&code, claims.guesses, rules.places)?;
    let faults = check_faults(&code, at, &starts, claims.faults)?;
    for (to, _) in faults.values() {
        *labels.entry(*to).or_default() += 1;
    }
    let mut upwards = BTreeMap::new();
    for _ in 0..MOST_WALKS {
        let mut walk = Walk {
            at,
            entries: &entries,
            rules,
            labels: &labels,
            faults: &faults,
            upwards,
            is_settled: true,
            ways: BTreeMap::new(),
            proved: Some(Proved::default()),
            looked: None,
            slot: Slot::None,
        };
        let mut rest = code.as_slice();
        while let Some((ins, behind)) = rest.split_first() {
            let used = walk.step(ins, behind)?;
            rest = behind.get(used..).unwrap_or_default();
        }
        if walk.is_settled {
            return Ok(());
        }
        upwards = walk.upwards;
    }
    reject(0, "what is proved does not settle")
}

fn reject<T>(offset: usize, reason: &'static str) -> Result<T, Rejected> {
    Err(Rejected { offset, reason })
}

fn offset_of(ins: &Instruction, at: u64) -> usize {
    usize::try_from(ins.ip().wrapping_sub(at)).unwrap_or(usize::MAX)
}

struct Walk<'a> {
    at: u64,
    /// Where others enter.
    entries: &'a BTreeSet<u64>,
    rules: &'a Rules<'a>,
    /// Addresses that branches and faults of the block lead to, with how many do.
    labels: &'a BTreeMap<u64, u32>,
    /// Where faults lead, and how.
    faults: &'a BTreeMap<u64, (u64, Again)>,
    /// What ways upwards prove at labels, as far as earlier walks found less than they had assumed.
    upwards: BTreeMap<u64, Proved>,
    /// Whether this walk did not.
    is_settled: bool,
    /// What is proved at labels: above, what was assumed; below, on the ways found so far.
    ways: BTreeMap<u64, Proved>,
    /// What is proved here; `None` behind a jump.
    proved: Option<Proved>,
    /// A comparison that the next instruction has to branch on.
    looked: Option<Looked>,
    /// How far rcx has become a place in the table of targets.
    slot: Slot,
}

#[derive(Clone, Copy)]
enum Looked {
    /// Of states.
    States(Span),
    /// Of more than 8 states, in a mask register that is to be tested.
    Mask(Span),
    /// Of rsp with the lower bound.
    Low,
    /// Of rsp with the upper bound.
    End,
    /// None: the way back of a call was stored, which the next instruction makes.
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    None,
    /// An eighth of the address of the table.
    Table,
    /// Of a place in it.
    Place,
}

impl Walk<'_> {
    fn reject<T>(&self, ins: &Instruction, reason: &'static str) -> Result<T, Rejected> {
        reject(offset_of(ins, self.at), reason)
    }

    fn proved(&mut self) -> &mut Proved {
        self.proved.get_or_insert_default()
    }

    /// Comes to an instruction that branches lead to.
    fn arrive(&mut self, ip: u64) {
        (self.looked, self.slot) = (None, Slot::None);
        let ways = [self.proved.take(), self.ways.remove(&ip), self.upwards.get(&ip).cloned()];
        let mut proved = ways.into_iter().flatten().reduce(|mut all, way| {
            all.meet(&way);
            all
        });
        if self.entries.contains(&ip) {
            proved = None;
        }
        let proved = proved.unwrap_or_default();
        self.ways.insert(ip, proved.clone());
        self.proved = Some(proved);
    }

    /// A branch at `from` leads to `to` with what is proved.
    fn lead(&mut self, from: u64, to: u64, proved: &Proved) {
        if !self.labels.contains_key(&to) {
            return;
        }
        if to > from {
            self.ways.entry(to).and_modify(|way| way.meet(proved)).or_insert(proved.clone());
            return;
        }
        let assumed = self.ways.get(&to).cloned().unwrap_or_default();
        if !proved.implies(&assumed) {
            self.is_settled = false;
            self.upwards.entry(to).and_modify(|way| way.meet(proved)).or_insert(proved.clone());
        }
    }

    /// A fault here leads to where the guest instruction begins again, with the registers as they
    /// are but for those that are given back from their fields.
    fn fault(&mut self, ins: &Instruction) {
        let Some((to, Again { owner, .. })) = self.faults.get(&ins.ip()).copied() else { return };
        let mut proved = self.proved().clone();
        if let Some(number) = owner.borrowed {
            proved.assign(gpr(number), IN_BORROWED);
        }
        if owner.has_rcx {
            proved.assign(Register::RCX, IN_BORROWED_RCX);
        }
        self.lead(ins.ip(), to, &proved);
    }

    /// Checks one instruction, and those behind it that belong to it; returns how many those are.
    fn step(&mut self, ins: &Instruction, behind: &[Instruction]) -> Result<usize, Rejected> {
        if self.labels.contains_key(&ins.ip()) {
            self.arrive(ins.ip());
        }
        let looked = self.looked.take();
        let slot = std::mem::replace(&mut self.slot, Slot::None);
        if is_table_jump(ins) {
            if slot != Slot::Place {
                return self.reject(ins, "a jump through something else than the table");
            }
            self.proved = None;
            return Ok(0);
        }
        if ins.flow_control() != FlowControl::Next {
            let is_served = ins.near_branch_target() == self.rules.stubs.serve;
            if is_served && !matches!(looked, Some(Looked::Back)) {
                return self.reject(ins, "a call that is served without a way back");
            }
            self.branch(ins, looked);
            return Ok(0);
        }
        if let Some(used) = self.look_keeping_flags(ins, behind)? {
            return Ok(used);
        }
        if let Some(used) = self.look_in_rcx(ins, behind)? {
            return Ok(used);
        }
        if let (Some(Looked::Mask(span)), Code::VEX_Kortestb_kr_kr) = (looked, ins.code()) {
            self.looked = Some(Looked::States(span));
        }
        self.operands(ins)?;
        self.registers(ins)?;
        self.slot = self.slot_behind(ins, slot);
        Ok(0)
    }

    /// rcx becomes a place in the table by two instructions, the one behind the other: a constant,
    /// and 16 bits of whatever is in r11. The table lies at a multiple of its size.
    fn slot_behind(&self, ins: &Instruction, before: Slot) -> Slot {
        let places = self.rules.places;
        let is_table = places.targets().is_multiple_of(TARGETS_ALIGN as u64)
            && ins.code() == Code::Mov_r64_imm64
            && (ins.op0_register(), ins.immediate(1)) == (Register::RCX, places.targets() >> 3);
        let is_place = before == Slot::Table
            && matches!(ins.code(), Code::Mov_r16_rm16 | Code::Mov_rm16_r16)
            && (ins.op0_register(), ins.op1_register()) == (Register::CX, Register::R11W);
        match (is_table, is_place) {
            (true, _) => Slot::Table,
            (_, true) => Slot::Place,
            _ => Slot::None,
        }
    }

    /// What falls through a branch behind a comparison is proved.
    fn branch(&mut self, ins: &Instruction, looked: Option<Looked>) {
        let before = self.proved().clone();
        self.lead(ins.ip(), ins.near_branch_target(), &before);
        match (looked, ins.code()) {
            (Some(Looked::States(span)), Code::Jne_rel32_64) => self.compared(span),
            (Some(Looked::Low), Code::Jb_rel32_64) => self.proved().above_low = true,
            (Some(Looked::End), Code::Ja_rel32_64) => self.proved().below_end = true,
            (_, Code::Jmp_rel32_64 | Code::Jmp_rel8_64) => self.proved = None,
            _ => {}
        }
    }

    fn compared(&mut self, span: Span) {
        let compared = &mut self.proved().compared;
        if !is_covered(compared, &span) {
            compared.push(span);
        }
    }

    /// The form of a comparison that keeps flags: rcx is put away, loaded with the states, tested
    /// by `jrcxz`, and given back; five instructions that nothing else leads into.
    fn look_keeping_flags(
        &mut self,
        ins: &Instruction,
        behind: &[Instruction],
    ) -> Result<Option<usize>, Rejected> {
        let field = self.rules.places.borrowed_rcx();
        let [load, test, away, give, ..] = behind else { return Ok(None) };
        let is_put = ins.code() == Code::Mov_rm64_r64
            && is_field(ins, 0, field)
            && ins.op1_register() == Register::RCX;
        let (size, is_load) = match load.code() {
            Code::Movzx_r32_rm8 => (1, true),
            Code::Movzx_r32_rm16 => (2, true),
            Code::Mov_r32_rm32 => (4, true),
            Code::Mov_r64_rm64 => (8, true),
            _ => (0, false),
        };
        let is_load = is_load
            && load.memory_segment() == Register::FS
            && load.op0_register().full_register() == Register::RCX;
        if !is_put || !is_load {
            return Ok(None);
        }
        let is_tested = test.code() == Code::Jrcxz_rel8_64
            && test.near_branch_target() == give.ip()
            && away.code() == Code::Jmp_rel32_64
            && give.code() == Code::Mov_r64_rm64
            && give.op0_register() == Register::RCX
            && is_field(give, 1, field)
            && self.labels.get(&give.ip()) == Some(&1);
        let inside = [load, test, away].iter().any(|ins| self.labels.contains_key(&ins.ip()));
        if !is_tested || inside {
            // It may be that rcx stays away for longer.
            return Ok(None);
        }
        let Some(span) = self.states_span(load, size) else {
            return self.reject(load, "states at an address that cannot be followed");
        };
        self.proved().assign(IN_BORROWED_RCX, Register::RCX);
        self.fault(load);
        // rcx is still away where that leads.
        let mut before = self.proved().clone();
        before.forget(|register| register == Register::RCX);
        self.lead(away.ip(), away.near_branch_target(), &before);
        self.compared(span);
        Ok(Some(4))
    }

    /// The form for rcx that was put away before: 8 states are loaded, 1 is added if they are to be
    /// all undefined, and `jrcxz` leads over a jump to a label that nothing else leads to.
    fn look_in_rcx(
        &mut self,
        load: &Instruction,
        behind: &[Instruction],
    ) -> Result<Option<usize>, Rejected> {
        let is_load = load.code() == Code::Mov_r64_rm64
            && load.op0_register() == Register::RCX
            && load.op1_kind() == OpKind::Memory
            && load.segment_prefix() == Register::FS;
        if !is_load {
            return Ok(None);
        }
        let is_one_more = |ins: &Instruction| {
            ins.code() == Code::Lea_r64_m
                && (ins.op0_register(), ins.memory_base(), ins.memory_index())
                    == (Register::RCX, Register::RCX, Register::None)
                && ins.memory_displacement64() == 1
        };
        let skipped = usize::from(behind.first().is_some_and(is_one_more));
        let [test, away, next, ..] = behind.get(skipped..).unwrap_or_default() else {
            return self.reject(load, "states are loaded and not tested");
        };
        let is_tested = test.code() == Code::Jrcxz_rel8_64
            && test.near_branch_target() == next.ip()
            && away.code() == Code::Jmp_rel32_64
            && self.labels.get(&next.ip()) == Some(&1);
        let inside = behind.iter().take(skipped + 2);
        if !is_tested || inside.into_iter().any(|ins| self.labels.contains_key(&ins.ip())) {
            return self.reject(load, "states are loaded and not tested");
        }
        let span = self.states_span(load, 8);
        let Some(span) = span.filter(|span| ![span.base, span.index].contains(&Register::RCX))
        else {
            return self.reject(load, "states at an address that cannot be followed");
        };
        self.fault(load);
        // What is known about addresses with rcx is not any more.
        self.registers(load)?;
        let before = self.proved().clone();
        self.lead(away.ip(), away.near_branch_target(), &before);
        self.compared(span);
        let proved = self.proved.take().unwrap_or_default();
        self.lead(test.ip(), next.ip(), &proved);
        Ok(Some(skipped + 2))
    }

    /// The bytes whose states an instruction reads or writes, in guest terms.
    fn states_span(&self, ins: &Instruction, size_bytes: i64) -> Option<Span> {
        span_of(ins, size_bytes, -self.rules.state_adjust)
    }

    fn operands(&mut self, ins: &Instruction) -> Result<(), Rejected> {
        let count = (0..ins.op_count()).filter(|n| is_memory(ins.op_kind(*n))).count();
        if ins.mnemonic() == Mnemonic::Lea || ins.mnemonic() == Mnemonic::Nop {
            return Ok(());
        }
        let mut factory = InstructionInfoFactory::new();
        let used = factory.info(ins).used_memory().len();
        if used != count || count > 1 {
            return self.reject(ins, "memory is used without being an operand");
        }
        if count == 0 {
            return Ok(());
        }
        let Some(n) = (0..ins.op_count()).find(|n| ins.op_kind(*n) == OpKind::Memory) else {
            return self.reject(ins, "an operand that cannot be redirected");
        };
        self.fault(ins);
        match ins.segment_prefix() {
            Register::GS => self.data(ins),
            Register::FS => self.states(ins),
            _ if ins.memory_base() == Register::RIP => self.field(ins, n),
            _ => self.reject(ins, "host memory"),
        }
    }

    /// Guest data: every byte was compared.
    fn data(&mut self, ins: &Instruction) -> Result<(), Rejected> {
        let size = i64::try_from(ins.memory_size().size()).unwrap_or(0);
        let Some(span) = span_of(ins, size, 0) else {
            return self.reject(ins, "an address that cannot be followed");
        };
        if !is_covered(&self.proved().compared, &span) {
            return self.reject(ins, "guest memory without a check");
        }
        if !is_copied(ins) && !is_kept_aside(ins) {
            return self.reject(ins, "an instruction that must not be copied");
        }
        let mut factory = InstructionInfoFactory::new();
        let is_store = factory
            .info(ins)
            .used_memory()
            .iter()
            .any(|used| matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite));
        if is_store {
            self.proved().stored.push(span);
        }
        Ok(())
    }

    /// States: compared, or changed as a store or a new stack frame does.
    fn states(&mut self, ins: &Instruction) -> Result<(), Rejected> {
        if let Some((size, is_test)) = wide_states(ins) {
            return self.wide_states(ins, size, is_test);
        }
        let (size, is_compare) = match ins.code() {
            Code::Cmp_rm8_imm8 => (1, true),
            Code::Cmp_rm16_imm8 => (2, true),
            Code::Cmp_rm32_imm8 => (4, true),
            Code::Cmp_rm64_imm8 => (8, true),
            Code::Mov_rm8_imm8 => (1, false),
            Code::Mov_rm16_imm16 => (2, false),
            Code::Mov_rm32_imm32 => (4, false),
            Code::Mov_rm64_imm32 => (8, false),
            _ => return self.reject(ins, "states in an instruction that is none of theirs"),
        };
        let Some(span) = self.states_span(ins, size) else {
            return self.reject(ins, "states at an address that cannot be followed");
        };
        let value = ins.immediate(1);
        if is_compare {
            let all = u64::MAX >> (64 - 8 * size);
            if value & all != 0 && value & all != all {
                return self.reject(ins, "states compared with something else");
            }
            self.looked = Some(Looked::States(span));
            return Ok(());
        }
        match value {
            0 if is_covered(&self.proved().stored, &span) => Ok(()),
            u64::MAX if self.is_frame(&span) => Ok(()),
            _ => self.reject(ins, "states changed without a store"),
        }
    }

    /// 16, 32 or 64 states: tested, or those of a new stack frame.
    fn wide_states(&mut self, ins: &Instruction, size: i64, is_test: bool) -> Result<(), Rejected> {
        let Some(span) = self.states_span(ins, size) else {
            return self.reject(ins, "states at an address that cannot be followed");
        };
        if is_test {
            self.looked = Some(Looked::Mask(span));
        } else if !self.is_frame(&span) {
            return self.reject(ins, "states changed without a store");
        }
        Ok(())
    }

    /// Whether bytes belong to a new stack frame inside the declared stack.
    fn is_frame(&mut self, span: &Span) -> bool {
        let proved = self.proved();
        proved.above_low
            && proved.below_end
            && (span.base, span.index) == (Register::RSP, Register::None)
            && span.low >= -i64::from(LONGEST_FRAME_BYTES)
            && span.high <= 0
    }

    /// A field of the context.
    fn field(&mut self, ins: &Instruction, operand: u32) -> Result<(), Rejected> {
        let p = self.rules.places;
        let at = |field: u64| is_field(ins, operand, field);
        let is_borrowed = at(p.borrowed()) || at(p.borrowed_rcx());
        let register = ins.op_register(1 - operand.min(1));
        let is_left = at(p.left());
        let is_fine = match ins.code() {
            Code::Mov_rm64_r64 => {
                let is_call = at(p.return_to()) || at(p.own());
                let into = if at(p.borrowed()) { IN_BORROWED } else { IN_BORROWED_RCX };
                if is_borrowed {
                    self.proved().assign(into, register);
                }
                operand == 0 && (is_borrowed || is_call)
            }
            Code::Cmp_rm64_r64 => at(p.own()),
            Code::Mov_r64_rm64 if register == Register::RCX && at(p.own()) => operand == 1,
            Code::Mov_r64_rm64 if register == Register::RAX && at(p.saved_flags()) => operand == 1,
            Code::Mov_r64_rm64 => {
                let is_count = is_left && register == Register::RCX;
                operand == 1 && register != Register::RSP && (is_borrowed || is_count)
            }
            Code::Mov_rm32_imm32 if at(p.back()) => {
                // Where it leads is one of the entries.
                self.looked = Some(Looked::Back);
                true
            }
            Code::Mov_rm32_imm32 => at(p.exit()) || at(p.string()),
            Code::Movq_mmm64_mm => is_left && operand == 0 && register == Register::MM0,
            Code::Cmp_rm64_imm8 => is_left && ins.immediate(1) == 0,
            Code::Cmp_r64_rm64 if register == Register::RSP => {
                self.looked = match (at(p.stack_low()), at(p.stack_end())) {
                    (true, _) => Some(Looked::Low),
                    (_, true) => Some(Looked::End),
                    _ => None,
                };
                self.looked.is_some()
            }
            _ => false,
        };
        if is_fine { Ok(()) } else { self.reject(ins, "a field that blocks do not use so") }
    }

    /// The instruction itself may be there, and what is proved about registers it changes is not.
    fn registers(&mut self, ins: &Instruction) -> Result<(), Rejected> {
        let moved = rsp_moved_by(ins);
        let is_frame = self.proved().above_low && self.proved().below_end;
        let is_rsp_constant = match ins.code() {
            Code::Lea_r64_m => moved.is_some(),
            Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 => {
                moved.is_some_and(|by| (-i64::from(LONGEST_FRAME_BYTES)..0).contains(&by))
                    && is_frame
            }
            _ => false,
        };
        if !is_rsp_constant && !is_copied(ins) && !is_own(ins) {
            return self.reject(ins, "an instruction that must not be copied");
        }
        if ins.mnemonic() == Mnemonic::Lea && ins.is_ip_rel_memory_operand() {
            return self.reject(ins, "a host address in a register");
        }
        let proved = self.proved();
        if let Some(by) = moved {
            proved.move_rsp(by);
        }
        proved.forget(|register| {
            let is_moved = register == Register::RSP && moved.is_some();
            !is_moved && writes(ins, register)
        });
        if writes(ins, Register::RSP) {
            (proved.above_low, proved.below_end) = (false, false);
        }
        Ok(())
    }
}

/// The constant that an instruction adds to rsp.
fn rsp_moved_by(ins: &Instruction) -> Option<i64> {
    if ins.op0_register() != Register::RSP {
        return None;
    }
    let immediate = || i64::from(ins.immediate32().cast_signed());
    match ins.code() {
        Code::Lea_r64_m => ((ins.memory_base(), ins.memory_index())
            == (Register::RSP, Register::None))
            .then(|| ins.memory_displacement64().cast_signed()),
        Code::Add_rm64_imm8 => Some(i64::from(ins.immediate8().cast_signed())),
        Code::Sub_rm64_imm8 => Some(-i64::from(ins.immediate8().cast_signed())),
        Code::Add_rm64_imm32 => Some(immediate()),
        Code::Sub_rm64_imm32 => Some(-immediate()),
        _ => None,
    }
}

/// The length of a test of states or of a store of ones to states, by the register of ones that no
/// guest has, and whether it is a test.
fn wide_states(ins: &Instruction) -> Option<(i64, bool)> {
    let (size, ones, is_test) = match ins.code() {
        Code::EVEX_Vptestmq_kr_k1_xmm_xmmm128b64 => (16, Register::XMM16, true),
        Code::EVEX_Vptestmq_kr_k1_ymm_ymmm256b64 => (32, Register::YMM16, true),
        Code::EVEX_Vptestmq_kr_k1_zmm_zmmm512b64 => (64, Register::ZMM16, true),
        Code::EVEX_Vmovdqu64_xmmm128_k1z_xmm => (16, Register::XMM16, false),
        Code::EVEX_Vmovdqu64_ymmm256_k1z_ymm => (32, Register::YMM16, false),
        Code::EVEX_Vmovdqu64_zmmm512_k1z_zmm => (64, Register::ZMM16, false),
        _ => return None,
    };
    let is_whole = !ins.has_op_mask() && !ins.is_broadcast();
    let is_found = !is_test || ins.op0_register() == Register::K1;
    (is_whole && is_found && ins.op1_register() == ones && ins.segment_prefix() == Register::FS)
        .then_some((size, is_test))
}

/// What the translator makes itself and no guest instruction is copied as.
fn is_own(ins: &Instruction) -> bool {
    match ins.code() {
        Code::Nopd => true,
        // Counting. No guest instruction uses these registers.
        Code::Psubq_mm_mmm64 => {
            (ins.op0_register(), ins.op1_register()) == (Register::MM0, Register::MM1)
        }
        // Its memory operand is a field.
        Code::Movq_mmm64_mm => {
            (ins.op0_kind(), ins.op1_register()) == (OpKind::Memory, Register::MM0)
        }
        Code::VEX_Kaddq_kr_kr_kr => {
            let registers = [ins.op0_register(), ins.op1_register(), ins.op2_register()];
            registers == [Register::K2, Register::K2, Register::K3]
        }
        Code::VEX_Kortestb_kr_kr => {
            (ins.op0_register(), ins.op1_register()) == (Register::K1, Register::K1)
        }
        Code::VEX_Kortestq_kr_kr => {
            (ins.op0_register(), ins.op1_register()) == (Register::K2, Register::K2)
        }
        Code::VEX_Kmovq_r64_kr => {
            (ins.op0_register(), ins.op1_register()) == (Register::RCX, Register::K2)
        }
        _ => is_kept_aside(ins) || wide_states(ins).is_some(),
    }
}

/// Loads what a call overwrites; it never comes back to a register of the guest.
fn is_kept_aside(ins: &Instruction) -> bool {
    ins.code() == Code::Movq_mm_mmm64
        && ins.op0_register() == OVERWRITTEN
        && ins.op1_kind() == OpKind::Memory
}

fn is_memory(kind: OpKind) -> bool {
    kind == OpKind::Memory || (kind >= OpKind::MemorySegSI && kind <= OpKind::MemoryESRDI)
}

fn is_field(ins: &Instruction, operand: u32, field: u64) -> bool {
    ins.op_kind(operand) == OpKind::Memory
        && ins.memory_base() == Register::RIP
        && ins.segment_prefix() == Register::None
        && ins.memory_displacement64() == field
}

fn span_of(ins: &Instruction, size_bytes: i64, adjust: i64) -> Option<Span> {
    let is_wide = |register: Register| register == Register::None || register.is_gpr64();
    let (base, index) = (ins.memory_base(), ins.memory_index());
    let has_any = base != Register::None || index != Register::None;
    if size_bytes == 0 || !has_any || !is_wide(base) || !is_wide(index) {
        return None;
    }
    let low = ins.memory_displacement64().cast_signed().checked_add(adjust)?;
    Some(Span { base, index, scale: ins.memory_index_scale(), low, high: low + size_bytes })
}

/// Whether the spans together cover one.
fn is_covered(spans: &[Span], wanted: &Span) -> bool {
    let is_like = |span: &&Span| {
        (span.base, span.index, span.scale) == (wanted.base, wanted.index, wanted.scale)
    };
    let mut low = wanted.low;
    while low < wanted.high {
        let here = spans.iter().filter(is_like).filter(|span| span.low <= low && span.high > low);
        match here.map(|span| span.high).max() {
            Some(high) => low = high,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
