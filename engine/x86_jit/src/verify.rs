//! The verifier: reads every block again before it may run.
//!
//! It shares nothing with the translator but the list of instructions that may be copied. It walks
//! over the bytes once and keeps what it has proved since the last place that a branch leads to:
//! which bytes were compared, and which were stored to. A block passes only if every access to
//! guest memory is proved, every field it uses is one it may use, and control stays in the block,
//! or goes to the start of another or to a stub.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use crate::{
    allow::{LONGEST_FRAME_BYTES, is_copied, writes},
    context::Places,
    stubs::Stubs,
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
    /// Whether a block begins at a host address.
    pub(crate) is_block: &'a dyn Fn(u64) -> bool,
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
    /// The 8 bytes at rsp were just pushed.
    is_pushed: bool,
}

/// Checks a block that is to lie at `at`.
pub(crate) fn verify(bytes: &[u8], at: u64, rules: &Rules<'_>) -> Result<(), Rejected> {
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
    let mut walk =
        Walk { at, rules, labels, proved: Proved::default(), looked: None, behind_test: None };
    let mut rest = code.as_slice();
    while let Some((ins, behind)) = rest.split_first() {
        let used = walk.step(ins, behind)?;
        rest = behind.get(used..).unwrap_or_default();
    }
    Ok(())
}

fn reject<T>(offset: usize, reason: &'static str) -> Result<T, Rejected> {
    Err(Rejected { offset, reason })
}

fn offset_of(ins: &Instruction, at: u64) -> usize {
    usize::try_from(ins.ip().wrapping_sub(at)).unwrap_or(usize::MAX)
}

fn decode(bytes: &[u8], at: u64) -> Result<Vec<Instruction>, Rejected> {
    let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
    let mut code = Vec::new();
    while decoder.can_decode() {
        let position = decoder.position();
        let ins = decoder.decode();
        if ins.is_invalid() {
            return reject(position, "not an instruction");
        }
        code.push(ins);
    }
    Ok(code)
}

/// Where a branch leads inside the block; it may lead to the stubs and to other blocks as well.
fn check_branch(
    ins: &Instruction,
    at: u64,
    len: usize,
    starts: &BTreeSet<u64>,
    rules: &Rules<'_>,
) -> Result<Option<u64>, Rejected> {
    if ins.flow_control() == FlowControl::Next {
        return Ok(None);
    }
    let is_direct = ins.is_jmp_short_or_near()
        || ins.is_jcc_short_or_near()
        || ins.code() == Code::Jrcxz_rel8_64;
    if !is_direct {
        return reject(offset_of(ins, at), "control leaves in a way that cannot be followed");
    }
    let target = ins.near_branch_target();
    if starts.contains(&target) {
        return Ok(Some(target));
    }
    let is_inside = target.wrapping_sub(at) < len as u64;
    let is_jump = ins.code() == Code::Jmp_rel32_64;
    let Stubs { exit, jump, call, go_back, string, .. } = rules.stubs;
    let is_known = [exit, jump, call, go_back, string].contains(&target)
        || !is_inside && (rules.is_block)(target);
    if is_jump && is_known {
        return Ok(None);
    }
    reject(offset_of(ins, at), "a branch leads to no known place")
}

struct Walk<'a> {
    at: u64,
    rules: &'a Rules<'a>,
    /// Addresses that branches of the block lead to, with how many do.
    labels: BTreeMap<u64, u32>,
    proved: Proved,
    /// A comparison that the next instruction has to branch on.
    looked: Option<Looked>,
    /// What is proved at a label that only the test in front of it leads to.
    behind_test: Option<(u64, Proved)>,
}

#[derive(Clone, Copy)]
enum Looked {
    /// Of states.
    States(Span),
    /// Of rsp with the lower bound.
    Low,
    /// Of rsp with the upper bound.
    End,
}

impl Walk<'_> {
    fn reject<T>(&self, ins: &Instruction, reason: &'static str) -> Result<T, Rejected> {
        reject(offset_of(ins, self.at), reason)
    }

    /// Checks one instruction, and those behind it that belong to it; returns how many those are.
    fn step(&mut self, ins: &Instruction, behind: &[Instruction]) -> Result<usize, Rejected> {
        if self.labels.contains_key(&ins.ip()) {
            let behind_test = self.behind_test.take().filter(|(ip, _)| *ip == ins.ip());
            self.proved = behind_test.map(|(_, proved)| proved).unwrap_or_default();
            self.looked = None;
        }
        let looked = self.looked.take();
        if ins.flow_control() != FlowControl::Next {
            if ins.near_branch_target() == self.rules.stubs.call && !self.proved.is_pushed {
                return self.reject(ins, "a call that has not pushed where it returns to");
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
        self.operands(ins)?;
        self.registers(ins)?;
        Ok(0)
    }

    /// What falls through a branch behind a comparison is proved.
    fn branch(&mut self, ins: &Instruction, looked: Option<Looked>) {
        match (looked, ins.code()) {
            (Some(Looked::States(span)), Code::Jne_rel32_64) => self.proved.compared.push(span),
            (Some(Looked::Low), Code::Jb_rel32_64) => self.proved.above_low = true,
            (Some(Looked::End), Code::Ja_rel32_64) => self.proved.below_end = true,
            _ => {}
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
        self.proved.compared.push(span);
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
        // What is known about addresses with rcx is not any more.
        self.registers(load)?;
        self.proved.compared.push(span);
        self.behind_test = Some((next.ip(), self.proved.clone()));
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
        if !is_covered(&self.proved.compared, &span) {
            return self.reject(ins, "guest memory without a check");
        }
        if !is_copied(ins) {
            return self.reject(ins, "an instruction that must not be copied");
        }
        let mut factory = InstructionInfoFactory::new();
        let is_store = factory
            .info(ins)
            .used_memory()
            .iter()
            .any(|used| matches!(used.access(), OpAccess::Write | OpAccess::ReadWrite));
        if is_store {
            self.proved.stored.push(span);
        }
        Ok(())
    }

    /// States: compared, or changed as a store or a new stack frame does.
    fn states(&mut self, ins: &Instruction) -> Result<(), Rejected> {
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
        let is_frame = self.proved.above_low
            && self.proved.below_end
            && (span.base, span.index) == (Register::RSP, Register::None)
            && span.low >= -i64::from(LONGEST_FRAME_BYTES)
            && span.high <= 0;
        match value {
            0 if is_covered(&self.proved.stored, &span) => Ok(()),
            u64::MAX if is_frame => Ok(()),
            _ => self.reject(ins, "states changed without a store"),
        }
    }

    /// A field of the context.
    fn field(&mut self, ins: &Instruction, operand: u32) -> Result<(), Rejected> {
        let p = self.rules.places;
        let at = |field: u64| is_field(ins, operand, field);
        let is_borrowed = at(p.borrowed()) || at(p.borrowed_rcx());
        let register = ins.op_register(1 - operand.min(1));
        let is_left = at(p.left()) && register == Register::RCX;
        let is_fine = match ins.code() {
            Code::Mov_rm64_r64 => operand == 0 && (is_borrowed || is_left || at(p.overwritten())),
            Code::Mov_r64_rm64 => {
                operand == 1 && register != Register::RSP && (is_borrowed || is_left)
            }
            Code::Mov_rm32_imm32 => at(p.exit()) || at(p.string()),
            Code::Sub_rm64_imm8 => at(p.left()) && ins.immediate(1) == 1,
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
        let is_rsp_constant = match ins.code() {
            Code::Lea_r64_m => {
                (ins.op0_register(), ins.memory_base(), ins.memory_index())
                    == (Register::RSP, Register::RSP, Register::None)
            }
            Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 => {
                ins.op0_register() == Register::RSP
                    && self.proved.above_low
                    && self.proved.below_end
                    && (1..=u64::from(LONGEST_FRAME_BYTES)).contains(&ins.immediate(1))
            }
            _ => false,
        };
        if !is_rsp_constant && !is_copied(ins) && !is_own(ins) {
            return self.reject(ins, "an instruction that must not be copied");
        }
        if ins.mnemonic() == Mnemonic::Lea && ins.memory_base() == Register::RIP {
            return self.reject(ins, "a host address in a register");
        }
        let is_push = is_rsp_constant && ins.memory_displacement64().cast_signed() == -8;
        let pushed =
            Span { base: Register::RSP, index: Register::None, scale: 1, low: -8, high: 0 };
        let has_pushed = is_push && is_covered(&self.proved.stored, &pushed);
        let is_kept = |span: &Span| {
            (span.base == Register::None || !writes(ins, span.base))
                && (span.index == Register::None || !writes(ins, span.index))
        };
        self.proved.compared.retain(is_kept);
        self.proved.stored.retain(is_kept);
        if writes(ins, Register::RSP) {
            (self.proved.above_low, self.proved.below_end) = (false, false);
            self.proved.is_pushed = has_pushed;
        }
        Ok(())
    }
}

/// What the translator makes itself and no guest instruction is copied as.
fn is_own(ins: &Instruction) -> bool {
    ins.mnemonic() == Mnemonic::Nop && ins.code() == Code::Nopd
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
