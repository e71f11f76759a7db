//! String instructions with labels, iteration by iteration.

use guest_memory::GuestAddr;
use iced_x86::{Code, Instruction};

use super::{
    Careful,
    label::{Label, Labelled, Labels, ZF},
    look::Look,
    one_by,
};
use crate::{Env, Exit, Go, Op, ops::string};

/// What a string instruction does in one iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Move,
    Store,
    Load,
    Scan,
    Compare,
}

impl Unit {
    pub(super) fn of(ins: &Instruction) -> Option<Self> {
        use Code::{
            Cmpsb_m8_m8, Cmpsd_m32_m32, Cmpsq_m64_m64, Cmpsw_m16_m16, Lodsb_AL_m8, Lodsd_EAX_m32,
            Lodsq_RAX_m64, Lodsw_AX_m16, Movsb_m8_m8, Movsd_m32_m32, Movsq_m64_m64, Movsw_m16_m16,
            Scasb_AL_m8, Scasd_EAX_m32, Scasq_RAX_m64, Scasw_AX_m16, Stosb_m8_AL, Stosd_m32_EAX,
            Stosq_m64_RAX, Stosw_m16_AX,
        };
        Some(match ins.code() {
            Movsb_m8_m8 | Movsw_m16_m16 | Movsd_m32_m32 | Movsq_m64_m64 => Self::Move,
            Stosb_m8_AL | Stosw_m16_AX | Stosd_m32_EAX | Stosq_m64_RAX => Self::Store,
            Lodsb_AL_m8 | Lodsw_AX_m16 | Lodsd_EAX_m32 | Lodsq_RAX_m64 => Self::Load,
            Scasb_AL_m8 | Scasw_AX_m16 | Scasd_EAX_m32 | Scasq_RAX_m64 => Self::Scan,
            Cmpsb_m8_m8 | Cmpsw_m16_m16 | Cmpsd_m32_m32 | Cmpsq_m64_m64 => Self::Compare,
            _ => return None,
        })
    }

    fn rule<L: Label>(self) -> super::Rule<L> {
        match self {
            Self::Move => moves,
            Self::Store => stores,
            Self::Load => loads,
            Self::Scan => scans,
            Self::Compare => compares,
        }
    }

    fn compares(self) -> bool {
        matches!(self, Self::Scan | Self::Compare)
    }
}

/// Runs a string instruction; a repeated one to its end or to the iteration that stops.
pub(super) fn run<L: Label>(
    e: &mut Env<'_>,
    labels: &mut Labels<L>,
    op: &Op,
    ins: &Instruction,
    unit: Unit,
) -> Careful {
    if !op.extra.rep && !op.extra.repne {
        return one_by(e, labels, unit.rule(), op, ins);
    }
    let single = Op { extra: crate::Extra { rep: false, repne: false, ..op.extra }, ..*op };
    if !e.may_decide
        && !labels.gpr[string::RCX].is_clear()
        && let Some(exit) = L::decided(false)
    {
        return Careful::Exit(exit);
    }
    let [rax, rcx, .., rdi] = labels.gpr.first_chunk::<8>().copied().unwrap_or([L::CLEAR; 8]);
    if unit == Unit::Store && rax.join(rcx).join(rdi).is_clear() {
        // What it stores has no label, and storing it leaves none.
        return match (op.run)(e, op) {
            Ok(go) => Careful::Done(go),
            Err(stop) => Careful::Stop(stop),
        };
    }
    // A comparison that stops in the middle shows the flags from before its first iteration.
    let before = (e.lazy, e.r.rflags, labels.flags, labels.compare);
    let careful = string::counted(e, op, |e| repeat(e, labels, op, &single, ins, unit));
    if !matches!(careful, Careful::Done(_)) && unit.compares() {
        (e.lazy, e.r.rflags, labels.flags, labels.compare) = before;
    }
    careful
}

fn repeat<L: Label>(
    e: &mut Env<'_>,
    labels: &mut Labels<L>,
    op: &Op,
    single: &Op,
    ins: &Instruction,
    unit: Unit,
) -> Careful {
    let may_pass = e.may_decide;
    let decided = |label: L| if may_pass || label.is_clear() { None } else { L::decided(false) };
    let start = string::pages(e, op);
    while string::count(e, op) != 0 {
        if unit == Unit::Move && copy::<L>(e, labels, op) {
            continue;
        }
        match one_by(e, labels, unit.rule(), single, ins) {
            Careful::Done(_) => {}
            other => {
                string::show_run(e, op, unit.compares());
                return other;
            }
        }
        string::count_down(e, op);
        if unit.compares() {
            if let Some(exit) = decided(labels.flags[ZF]) {
                return resume_after(e, labels, op, unit, exit);
            }
            if string::comparison_ends(e, op) {
                break;
            }
        }
        string::use_grant(e, op, unit.compares(), start);
    }
    Careful::Done(Go::Next)
}

/// An open comparison decides whether the instruction goes on. The iteration is complete; the exit
/// names the instruction, and passing it goes on with the next iteration.
fn resume_after<L: Label>(
    e: &mut Env<'_>,
    labels: &mut Labels<L>,
    op: &Op,
    unit: Unit,
    exit: Exit,
) -> Careful {
    if string::comparison_ends(e, op) {
        // Nothing is left to do: the decision is the branch behind the instruction. How far it
        // came is open, and so are all flags: they could be those of a later iteration.
        if string::count(e, op) != 0 {
            let ended = labels.flags[ZF];
            labels.flags = labels.flags.map(|flag| flag.join(ended));
            labels.compare = None;
            let open = ended.sign_extended(1).part(0, 64);
            let gpr = &mut labels.gpr;
            gpr[string::RCX] = gpr[string::RCX].join(open);
            if unit == Unit::Compare {
                gpr[string::RSI] = gpr[string::RSI].join(open);
            }
            gpr[string::RDI] = gpr[string::RDI].join(open);
        }
        return Careful::Done(Go::Next);
    }
    if string::count(e, op) == 0 {
        return Careful::Done(Go::Next);
    }
    Careful::Exit(exit)
}

/// Copies the rest at once where nothing objects and the ranges do not feed each other.
fn copy<L: Label>(e: &mut Env<'_>, labels: &Labels<L>, op: &Op) -> bool {
    let addresses = labels.gpr[string::RSI].join(labels.gpr[string::RDI]);
    let size_bytes = string::rest_bytes(e, op).filter(|&size| size > 64);
    let (Some(size_bytes), true) = (size_bytes, addresses.is_clear()) else { return false };
    let (to, from) = (e.r.gpr[string::RDI], string::source(e, op));
    let gap = to.wrapping_sub(from);
    if gap != 0 && gap < size_bytes {
        return false;
    }
    let is_done = L::copy(e.m, e.who(), GuestAddr(to), GuestAddr(from), size_bytes);
    if is_done {
        string::skip(e, size_bytes);
    }
    is_done
}

fn source<L: Label>(look: &mut Look<'_, '_, L>) -> u64 {
    let label = look.labels.gpr[string::RSI];
    look.decide(label, true);
    string::source(look.e, look.op)
}

fn target<L: Label>(look: &mut Look<'_, '_, L>) -> u64 {
    let label = look.labels.gpr[string::RDI];
    look.decide(label, true);
    string::pointer(look.e, look.op, string::RDI)
}

fn unit_bits<L>(look: &Look<'_, '_, L>) -> u32 {
    u32::from(look.op.mem_bytes) * 8
}

fn moves<L: Label>(look: &mut Look<'_, '_, L>) {
    let bits = unit_bits(look);
    let (from, to) = (source(look), target(look));
    let value = look.memory(from, bits);
    look.write_memory(to, bits, value.label);
}

fn stores<L: Label>(look: &mut Look<'_, '_, L>) {
    let bits = unit_bits(look);
    let to = target(look);
    let value = look.gpr(0, bits);
    look.write_memory(to, bits, value.label);
}

fn loads<L: Label>(look: &mut Look<'_, '_, L>) {
    let bits = unit_bits(look);
    let from = source(look);
    let value = look.memory(from, bits);
    look.write_gpr(0, bits, value.label);
}

fn scans<L: Label>(look: &mut Look<'_, '_, L>) {
    let bits = unit_bits(look);
    let at = target(look);
    let (a, b) = (look.gpr(0, bits), look.memory(at, bits));
    compared(look, a, b, bits);
}

fn compares<L: Label>(look: &mut Look<'_, '_, L>) {
    let bits = unit_bits(look);
    let (from, to) = (source(look), target(look));
    let (a, b) = (look.memory(from, bits), look.memory(to, bits));
    compared(look, a, b, bits);
}

fn compared<L: Label>(look: &mut Look<'_, '_, L>, a: Labelled<L>, b: Labelled<L>, bits: u32) {
    super::rules::difference(look, a, b, bits);
}
