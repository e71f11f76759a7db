//! The guest code of a block: what belongs to it, where it ends, and which flags are live in it.
//!
//! A block goes on behind conditional branches and at the targets of jumps upwards. It ends at any
//! other branch, at an instruction for the interpreter, or at the end of a page.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, OpKind, RflagsBits};
use x86_ops::undefined_flags::{self, ever_undefined};

use crate::{
    allow::{Class, classify},
    flags::{AT_CALL, AT_EXIT, Live, UNKNOWN, fetch, live_at},
};

/// Longest block, in guest instructions.
const MAX_INSTRUCTIONS: usize = 48;

/// How the block ends behind its last instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its branch.
    Branch,
    /// The code goes on here.
    Cut(u64),
    /// The interpreter runs what is here.
    Step(u64),
}

/// A guest instruction of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) ins: Instruction,
    pub(crate) class: Class,
    /// Live where a direct branch goes if taken, and behind an indirect call.
    pub(crate) taken: Live,
}

/// Guest code of a block with what is live before each instruction.
pub(crate) struct Source {
    pub(crate) code: Vec<Step>,
    pub(crate) before: Vec<Live>,
    pub(crate) end: End,
    pub(crate) pages: Vec<u64>,
}

/// Reads the guest code of a block and finds out what is live; `None` where there is no code.
pub(crate) fn read(m: &mut GuestMemory, start: u64, stops: impl Fn(u64) -> bool) -> Option<Source> {
    let mut pages = Vec::new();
    let mut code: Vec<Step> = Vec::new();
    let mut at = start;
    let is_within = |at: u64| at & !0xfff == start & !0xfff;
    let mut end = loop {
        if code.len() >= MAX_INSTRUCTIONS || !code.is_empty() && (!is_within(at) || stops(at)) {
            break End::Cut(at);
        }
        let ins = match fetch(m, at, &mut pages) {
            Some(ins) => ins,
            None if code.is_empty() => return None,
            None => break End::Step(at),
        };
        let class = classify(&ins);
        if class == Class::Step || !fits(&ins) {
            break End::Step(at);
        }
        let target = ins.near_branch_target();
        if class == Class::Jump && target > at && is_within(target) {
            // It does nothing but lead on.
            code.push(Step { ins, class: Class::Nothing, taken: UNKNOWN });
            at = target;
            continue;
        }
        let taken = match class {
            Class::Jump | Class::Call | Class::Conditional => live_at(m, target, &mut pages),
            Class::CallIndirect => live_at(m, ins.next_ip(), &mut pages),
            _ => UNKNOWN,
        };
        code.push(Step { ins, class, taken });
        at = ins.next_ip();
        if ends_block(class) {
            break End::Branch;
        }
    };
    let mut out = live_behind(m, &code, end, &mut pages);
    loop {
        let before = live_before(&code, out);
        let Some(cut) = first_undefined(&code, &before, out) else {
            return Some(Source { code, before, end, pages });
        };
        end = End::Step(code.get(cut).map_or(start, |step| step.ins.ip()));
        code.truncate(cut);
        out = AT_EXIT;
    }
}

/// Whether the displacement leaves room for what is added to it.
fn fits(ins: &Instruction) -> bool {
    let has_memory = (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory);
    let disp = ins.memory_displacement64().cast_signed();
    !has_memory || ins.is_ip_rel_memory_operand() || (-0x7fff_0000..0x7fff_0000).contains(&disp)
}

fn ends_block(class: Class) -> bool {
    use Class::{Call, CallIndirect, Jump, JumpIndirect, Return, String};
    matches!(class, Call | CallIndirect | Jump | JumpIndirect | Return(_) | String(_))
}

/// What is live behind the block.
fn live_behind(m: &mut GuestMemory, code: &[Step], end: End, pages: &mut Vec<u64>) -> Live {
    let Some(last) = code.last() else { return AT_EXIT };
    match (end, last.class) {
        (End::Step(_), _) => AT_EXIT,
        (End::Cut(next), _) => live_at(m, next, pages),
        (End::Branch, Class::Jump | Class::Call) => last.taken,
        (End::Branch, Class::String(_)) => live_at(m, last.ins.next_ip(), pages),
        (End::Branch, _) => AT_CALL,
    }
}

/// What is live before each instruction.
fn live_before(code: &[Step], out: Live) -> Vec<Live> {
    let mut live = out;
    let mut all: Vec<Live> = code
        .iter()
        .rev()
        .map(|step| {
            if step.class == Class::Conditional {
                live = live.or(step.taken);
            }
            live = live.before(&step.ins);
            live
        })
        .collect();
    all.reverse();
    all
}

/// The first instruction that leaves flags undefined which are read: the interpreter fixes them.
fn first_undefined(code: &[Step], before: &[Live], out: Live) -> Option<usize> {
    let after = before.iter().skip(1).chain(std::iter::once(&out));
    code.iter().zip(after).position(|(Step { ins, class, .. }, after)| {
        *class == Class::Copy && numbered_by_iced(ever_undefined(ins)) & after.read != 0
    })
}

/// RFLAGS bits as iced numbers them.
fn numbered_by_iced(rflags: u64) -> u32 {
    let rows = [
        (undefined_flags::CF, RflagsBits::CF),
        (undefined_flags::PF, RflagsBits::PF),
        (undefined_flags::AF, RflagsBits::AF),
        (undefined_flags::ZF, RflagsBits::ZF),
        (undefined_flags::SF, RflagsBits::SF),
        (undefined_flags::OF, RflagsBits::OF),
    ];
    rows.iter().fold(0, |all, (bit, name)| if rflags & bit == 0 { all } else { all | name })
}
