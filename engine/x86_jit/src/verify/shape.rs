//! What is checked without walking: that the bytes are instructions, where branches lead, and what
//! is said of the block besides its bytes.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};

use super::{Rejected, Rules, is_field, offset_of, reject};
use crate::{
    context::Places,
    faults::{Again, Faults},
    stubs::Stubs,
};

pub(super) fn decode(bytes: &[u8], at: u64) -> Result<Vec<Instruction>, Rejected> {
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
pub(super) fn check_branch(
    ins: &Instruction,
    at: u64,
    len: usize,
    starts: &BTreeSet<u64>,
    rules: &Rules<'_>,
) -> Result<Option<u64>, Rejected> {
    if ins.flow_control() == FlowControl::Next || is_table_jump(ins) && !has_prefixes(ins) {
        return Ok(None);
    }
    let is_direct = ins.is_jmp_short_or_near()
        || ins.is_jcc_short_or_near()
        || ins.code() == Code::Jrcxz_rel8_64;
    if !is_direct {
        return reject(offset_of(ins, at), "control leaves in a way that cannot be followed");
    }
    if has_prefixes(ins) {
        return reject(offset_of(ins, at), "a branch with prefixes");
    }
    let target = ins.near_branch_target();
    if starts.contains(&target) {
        return Ok(Some(target));
    }
    let is_inside = target.wrapping_sub(at) < len as u64;
    let is_jump = ins.code() == Code::Jmp_rel32_64;
    let Stubs { exit, serve, miss, string, .. } = rules.stubs;
    let is_known =
        [exit, serve, miss, string].contains(&target) || !is_inside && (rules.is_block)(target);
    if is_jump && is_known {
        return Ok(None);
    }
    reject(offset_of(ins, at), "a branch leads to no known place")
}

/// A link is the distance at the end of a jump: wherever that leads, nothing is taken for proved.
pub(super) fn check_links(code: &[Instruction], links: &[u64]) -> Result<(), Rejected> {
    let is_long = |ins: &&Instruction| ins.code() == Code::Jmp_rel32_64 || ins.is_jcc_near();
    let distances: BTreeSet<u64> =
        code.iter().filter(is_long).map(|ins| ins.next_ip().wrapping_sub(4)).collect();
    let is_known = links.iter().all(|link| distances.contains(link));
    if is_known { Ok(()) } else { reject(0, "a link is not the distance of a branch") }
}

/// A guess is the constant that goes to rcx, and not the one that a place in the table is made of:
/// whatever is written there, nothing was taken for proved about it.
pub(super) fn check_guesses(
    code: &[Instruction],
    guesses: &[u64],
    places: Places,
) -> Result<(), Rejected> {
    let is_guess = |ins: &&Instruction| {
        (ins.code(), ins.op0_register()) == (Code::Mov_r64_imm64, Register::RCX)
            && ins.immediate(1) != places.table_eighth()
    };
    let constants: BTreeSet<u64> =
        code.iter().filter(is_guess).map(|ins| ins.next_ip().wrapping_sub(8)).collect();
    let is_known = guesses.iter().all(|guess| constants.contains(guess));
    if is_known { Ok(()) } else { reject(0, "a guess is not a constant for rcx") }
}

/// Where others enter: where it is said that they do, and on the ways back that are stored.
pub(super) fn entries_of(
    code: &[Instruction],
    at: u64,
    starts: &BTreeSet<u64>,
    said: &[u32],
    rules: &Rules<'_>,
) -> Result<BTreeSet<u64>, Rejected> {
    let stored = code
        .iter()
        .filter(|ins| ins.code() == Code::Mov_rm32_imm32 && is_field(ins, 0, rules.places.back()));
    let stored = stored.map(|ins| rules.cache + u64::from(ins.immediate32()));
    let entries: BTreeSet<u64> =
        said.iter().map(|offset| at + u64::from(*offset)).chain(stored).collect();
    if entries.is_subset(starts) {
        return Ok(entries);
    }
    reject(0, "the block is entered at no instruction")
}

/// Where a fault of each instruction leads that accesses guest memory or states.
pub(super) fn check_faults(
    code: &[Instruction],
    at: u64,
    starts: &BTreeSet<u64>,
    faults: &Faults,
) -> Result<BTreeMap<u64, (u64, Again)>, Rejected> {
    let is_guest = |ins: &&Instruction| {
        matches!(ins.segment_prefix(), Register::FS | Register::GS)
            && (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory)
    };
    let lead = |ins: &Instruction| {
        let offset = offset_of(ins, at);
        let again = u32::try_from(offset).ok().and_then(|offset| faults.at(offset));
        let to = again.map(|again| (at + u64::from(again.offset), again));
        let to = to.filter(|(to, _)| starts.contains(to));
        to.map_or_else(
            || reject(offset, "a fault leads to no instruction"),
            |to| Ok((ins.ip(), to)),
        )
    };
    code.iter().filter(is_guest).map(lead).collect()
}

/// Processors do not agree about what prefixes of branches mean: with 66h, the target has 16 bits
/// on those of AMD, and the instruction other bytes. Source: AMD64 Architecture Programmer's
/// Manual, volume 3, "Jcc" and "JMP (Near)".
fn has_prefixes(ins: &Instruction) -> bool {
    let plain = match ins.code() {
        Code::Jmp_rel32_64 => 5,
        Code::Jmp_rm64 => 7,
        _ if ins.is_jcc_near() => 6,
        _ => 2,
    };
    ins.len() != plain
}

/// A jump through the place in the table that rcx is an eighth of.
pub(super) fn is_table_jump(ins: &Instruction) -> bool {
    ins.code() == Code::Jmp_rm64
        && ins.op0_kind() == OpKind::Memory
        && ins.segment_prefix() == Register::None
        && (ins.memory_base(), ins.memory_index()) == (Register::None, Register::RCX)
        && ins.memory_index_scale() == 8
        && ins.memory_displacement64() == 0
}
