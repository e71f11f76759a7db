//! Checks that go before the instruction that sets the flags.
//!
//! A check where the flags must be kept costs twice as much as one where they need not be. The
//! checks of instructions behind one that sets all flags anyhow go before it, as far as their
//! addresses are known there.

use iced_x86::Register;

use crate::{
    allow::{Class, is_pure_store, writes},
    operand::{Operand, has_plain_memory, rsp_moved_by, stack_operand},
    source::Source,
};

/// Instructions looked at.
const MOST_AHEAD: usize = 16;

/// The operands to check before the instruction with this number, where no flag must be kept.
///
/// Not beyond a branch, since the address may be none on that way, and not before a new stack
/// frame; a frame is made before its own instruction checks for others. If such a check fails, the
/// interpreter runs the instruction before which it was made, and the others are checked again in
/// their places.
pub(crate) fn checks_before(source: &Source, number: usize) -> Vec<Operand> {
    let mut found = Vec::new();
    let mut moved_by = 0;
    let steps = source.code.iter().zip(&source.before).enumerate().skip(number);
    for (at, (step, live)) in steps.take(MOST_AHEAD) {
        if at > number {
            if live.kept == 0 {
                break;
            }
            found.extend(wanted(&step.ins, step.class).and_then(|operand| {
                let passed = source.code.get(number..at).unwrap_or_default();
                let is_same = |register: Register| {
                    [Register::None, Register::RSP].contains(&register)
                        || !passed.iter().any(|step| writes(&step.ins, register))
                };
                let is_stack = operand.base == Register::RSP;
                let disp = operand.disp + if is_stack { moved_by } else { 0 };
                let is_fine = is_same(operand.base) && is_same(operand.index);
                // What is below rsp here is what is pushed until then, or a new frame.
                let is_there = !is_stack || disp >= 0;
                (is_fine && is_there).then_some(Operand { disp, ..operand })
            }));
        }
        let goes_on = match step.class {
            Class::Copy | Class::Nothing | Class::Push | Class::Pop => true,
            Class::LowerStack(_) => at == number,
            _ => false,
        };
        match rsp_moved_by(&step.ins, step.class) {
            Some(by) if goes_on => moved_by += by,
            _ => break,
        }
    }
    found
}

/// The longest piece of 16, 32 or 64 bytes around what the instruction with this number reads of
/// which it and those behind it read every byte, through the same registers and before any branch.
/// Not in the stack: its states were mostly stored a moment ago, in shorter pieces.
///
/// A failing check of the piece is one of its first instruction: the interpreter runs that one, and
/// the others are checked in their places.
pub(crate) fn piece_read(source: &Source, number: usize) -> Option<Operand> {
    let first = source.code.get(number).and_then(|step| wanted(&step.ins, step.class))?;
    if first.base == Register::RSP {
        return None;
    }
    let mut all = vec![(first.disp, first.disp + i64::from(first.size_bytes))];
    for pair in source.code.get(number..)?.windows(2).take(MOST_AHEAD) {
        let [passed, step] = pair else { break };
        let is_same =
            |register: Register| register == Register::None || !writes(&passed.ins, register);
        let goes_on = matches!(passed.class, Class::Copy | Class::Nothing);
        if !goes_on || !is_same(first.base) || !is_same(first.index) {
            break;
        }
        let Some(next) = wanted(&step.ins, step.class) else { continue };
        if (next.base, next.index, next.scale) == (first.base, first.index, first.scale) {
            all.push((next.disp, next.disp + i64::from(next.size_bytes)));
        }
    }
    // The run without a gap that it belongs to.
    all.sort_unstable();
    let (mut low, mut high) = (i64::MIN, i64::MIN);
    for (from, to) in all {
        if from > high {
            if high > first.disp {
                break;
            }
            low = from;
        }
        high = high.max(to);
    }
    let size_bytes = [64, 32, 16].into_iter().find(|size| i64::from(*size) <= high - low)?;
    let disp = low.max(first.disp.min(high - i64::from(size_bytes)));
    let is_around = first.disp + i64::from(first.size_bytes) <= disp + i64::from(size_bytes);
    (is_around && size_bytes >= first.size_bytes).then_some(Operand { disp, size_bytes, ..first })
}

/// What an instruction reads through an address in registers.
fn wanted(ins: &iced_x86::Instruction, class: Class) -> Option<Operand> {
    match class {
        Class::Pop | Class::Return(_) => Some(stack_operand(0)),
        Class::Copy | Class::JumpIndirect | Class::CallIndirect
            if has_plain_memory(ins)
                && !is_pure_store(ins)
                && ins.mnemonic() != iced_x86::Mnemonic::Lea =>
        {
            Some(Operand::of(ins))
        }
        _ => None,
    }
}
