//! String instructions with and without repetition.
//!
//! A repeated instruction that is stopped in the middle leaves rcx, rsi and rdi at the iteration
//! that did not complete, as the processor does; resuming it goes on there.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use guest_memory::{GuestAddr, PAGE_BYTES};
use x86_ops::{LazyKind, flags};

use super::{Choice, Key, Table};
use crate::{Done, Env, Exit, Go, Grant, Kind, Op, Stop, Word};

pub(crate) const RCX: usize = 1;
pub(crate) const RSI: usize = 6;
pub(crate) const RDI: usize = 7;

/// Iterations that one fast run covers at most, so that a huge count cannot stall the loop unseen.
const RUN_MAX_BYTES: u64 = 1 << 24;

fn step_of<W: Word>(e: &Env<'_>) -> u64 {
    if e.r.rflags & flags::DF == 0 { W::LEN } else { W::LEN.wrapping_neg() }
}

pub(crate) fn pointer(e: &Env<'_>, op: &Op, register: usize) -> u64 {
    let value = e.r.gpr[register & 15];
    if op.extra.short { value & 0xffff_ffff } else { value }
}

fn advance(e: &mut Env<'_>, op: &Op, register: usize, by: u64) {
    let moved = e.r.gpr[register & 15].wrapping_add(by);
    e.r.gpr[register & 15] = if op.extra.short { moved & 0xffff_ffff } else { moved };
}

pub(crate) fn source(e: &Env<'_>, op: &Op) -> u64 {
    pointer(e, op, RSI).wrapping_add(e.r.segment_base(op.extra.segment))
}

/// Iterations left.
pub(crate) fn count(e: &Env<'_>, op: &Op) -> u64 {
    pointer(e, op, RCX)
}

/// One iteration is done.
pub(crate) fn count_down(e: &mut Env<'_>, op: &Op) {
    advance(e, op, RCX, u64::MAX);
}

/// Whether ZF ends a repeated comparison.
pub(crate) fn comparison_ends(e: &Env<'_>, op: &Op) -> bool {
    (e.status() & flags::ZF != 0) == op.extra.repne
}

/// Bytes that an upward repeated instruction has left; `None` if it goes down or wraps at 32 bits.
pub(crate) fn rest_bytes(e: &Env<'_>, op: &Op) -> Option<u64> {
    let is_plain = !op.extra.short && e.r.rflags & flags::DF == 0;
    let size_bytes = count(e, op).checked_mul(u64::from(op.mem_bytes))?;
    (is_plain && size_bytes <= RUN_MAX_BYTES).then_some(size_bytes)
}

/// All iterations were done by other means.
pub(crate) fn skip(e: &mut Env<'_>, size_bytes: u64) {
    e.r.gpr[RCX] = 0;
    e.r.gpr[RSI] = e.r.gpr[RSI].wrapping_add(size_bytes);
    e.r.gpr[RDI] = e.r.gpr[RDI].wrapping_add(size_bytes);
}

/// Runs a string instruction and counts the bytes of its iterations, if it is repeated: they may be
/// so many that one event does not stand for them.
pub(crate) fn counted<T>(e: &mut Env<'_>, op: &Op, run: impl FnOnce(&mut Env<'_>) -> T) -> T {
    let before = count(e, op);
    let done = run(e);
    if op.extra.rep || op.extra.repne {
        e.m.exert((before - count(e, op)) * u64::from(op.mem_bytes));
    }
    done
}

/// Repeats `once` while rcx is not 0 and, for repe and repne of comparisons, while ZF is as asked.
fn repeat(
    e: &mut Env<'_>,
    op: &Op,
    compares: bool,
    once: impl Fn(&mut Env<'_>, &Op) -> Result<(), Stop>,
) -> Done {
    if !op.extra.rep && !op.extra.repne {
        once(e, op)?;
        return Ok(Go::Next);
    }
    let before = (e.lazy, e.r.rflags);
    let start = pages(e, op);
    while count(e, op) != 0 {
        if let Err(stop) = once(e, op) {
            show_run(e, op, compares);
            // A comparison that is stopped shows the flags from before its first iteration (Intel
            // SDM volume 2, REP: "the EFLAGS value is restored").
            (e.lazy, e.r.rflags) = before;
            return Err(stop);
        }
        count_down(e, op);
        if compares && comparison_ends(e, op) {
            break;
        }
        use_grant(e, op, compares, start);
    }
    Ok(Go::Next)
}

/// The pages that the next iteration begins in.
pub(crate) fn pages(e: &Env<'_>, op: &Op) -> [u64; 2] {
    [source(e, op) / PAGE_BYTES, pointer(e, op, RDI) / PAGE_BYTES]
}

/// A grant for a watched page is for the iterations that begin in it; for a single one of a
/// comparison, since how far that goes depends on what it reads.
pub(crate) fn use_grant(e: &mut Env<'_>, op: &Op, compares: bool, start: [u64; 2]) {
    if e.grant == Grant::Watch && (compares || pages(e, op) != start) {
        e.grant = Grant::None;
    }
}

/// Shows all that a grant would cover as one access, not only that of the next iteration.
pub(crate) fn show_run(e: &mut Env<'_>, op: &Op, compares: bool) {
    let (mut units, size_bytes) = (count(e, op), u64::from(op.mem_bytes).max(1));
    let is_down = e.r.rflags & flags::DF != 0;
    let pointers = [(op.kind[0], pointer(e, op, RDI)), (op.kind[1], source(e, op))];
    for (_, at) in pointers.into_iter().filter(|(kind, _)| *kind == Kind::Mem) {
        let in_page = at % PAGE_BYTES;
        let left = if is_down { in_page + 1 } else { PAGE_BYTES - in_page };
        units = units.min(left.div_ceil(size_bytes));
    }
    if let Some(Exit::Watched(objection)) = &mut e.exit
        && !compares
    {
        let more_bytes = units.saturating_sub(1) * size_bytes;
        objection.size_bytes = objection.size_bytes.max(size_bytes + more_bytes);
        if is_down {
            objection.address = GuestAddr(objection.address.0.wrapping_sub(more_bytes));
        }
    }
}

fn movs_once<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(), Stop> {
    let step = step_of::<W>(e);
    let value = e.load::<W>(source(e, op))?;
    e.store::<W>(pointer(e, op, RDI), value)?;
    advance(e, op, RSI, step);
    advance(e, op, RDI, step);
    Ok(())
}

fn movs<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let is_plain = !op.extra.short && e.r.rflags & flags::DF == 0;
    counted(e, op, |e| {
        if is_plain && (op.extra.rep || op.extra.repne) {
            while copy_fast::<W>(e, op) {}
        }
        repeat(e, op, false, movs_once::<W>)
    })
}

/// Moves whole iterations as long as nothing special is in the way; the plain loop does the rest.
/// Says whether nothing was, and more are left.
fn copy_fast<W: Word>(e: &mut Env<'_>, op: &Op) -> bool {
    let (from, to) = (source(e, op), e.r.gpr[RDI]);
    if e.r.gpr[RCX].saturating_mul(W::LEN) < 16 {
        return false;
    }
    let size_bytes = e.r.gpr[RCX].min(RUN_MAX_BYTES / W::LEN) * W::LEN;
    if may_change_code(e, to, size_bytes) {
        return false;
    }
    // By units: at an undefined byte no part of its unit has moved, which may overlap what is read.
    let places = (GuestAddr(to), GuestAddr(from));
    let done = e.m.copy_units(e.who(), places, size_bytes / W::LEN, W::LEN);
    e.r.gpr[RCX] -= done;
    e.r.gpr[RSI] = e.r.gpr[RSI].wrapping_add(done * W::LEN);
    e.r.gpr[RDI] = to.wrapping_add(done * W::LEN);
    done * W::LEN == size_bytes && e.r.gpr[RCX] != 0
}

/// Whether a store to the range may change code that is about to run in this block.
fn may_change_code(e: &Env<'_>, to: u64, size_bytes: u64) -> bool {
    let mut pages = (0..size_bytes + PAGE_BYTES).step_by(4096);
    !e.alone && pages.any(|done| e.m.holds_code(GuestAddr(to).add(done), 1))
}

fn stos_once<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(), Stop> {
    let value = e.r.gpr[0];
    e.store::<W>(pointer(e, op, RDI), value)?;
    advance(e, op, RDI, step_of::<W>(e));
    Ok(())
}

fn stos<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let is_plain = !op.extra.short && e.r.rflags & flags::DF == 0;
    counted(e, op, |e| {
        if is_plain && (op.extra.rep || op.extra.repne) && e.r.gpr[RCX] > 1 {
            while fill_fast::<W>(e) {}
        }
        repeat(e, op, false, stos_once::<W>)
    })
}

fn fill_fast<W: Word>(e: &mut Env<'_>) -> bool {
    let to = e.r.gpr[RDI];
    let count = e.r.gpr[RCX].min(RUN_MAX_BYTES / W::LEN);
    if may_change_code(e, to, count * W::LEN) {
        return false;
    }
    let value = e.r.gpr[0].to_le_bytes();
    let (unit, _) = value.split_at(usize::try_from(W::LEN).unwrap_or(value.len()));
    let done = e.m.fill_units(e.who(), GuestAddr(to), unit, count);
    e.r.gpr[RCX] -= done;
    e.r.gpr[RDI] = to.wrapping_add(done * W::LEN);
    done == count && e.r.gpr[RCX] != 0
}

fn lods_once<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(), Stop> {
    let value = e.load::<W>(source(e, op))?;
    e.set_reg::<W>(0, value);
    advance(e, op, RSI, step_of::<W>(e));
    Ok(())
}
fn lods<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    counted(e, op, |e| repeat(e, op, false, lods_once::<W>))
}

fn scas_once<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(), Stop> {
    let value = e.load::<W>(pointer(e, op, RDI))?;
    e.set_lazy::<W>(LazyKind::Sub, e.reg::<W>(0), value);
    advance(e, op, RDI, step_of::<W>(e));
    Ok(())
}
fn scas<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    counted(e, op, |e| repeat(e, op, true, scas_once::<W>))
}

fn cmps_once<W: Word>(e: &mut Env<'_>, op: &Op) -> Result<(), Stop> {
    let a = e.load::<W>(source(e, op))?;
    let b = e.load::<W>(pointer(e, op, RDI))?;
    e.set_lazy::<W>(LazyKind::Sub, a, b);
    let step = step_of::<W>(e);
    advance(e, op, RSI, step);
    advance(e, op, RDI, step);
    Ok(())
}
fn cmps<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    counted(e, op, |e| repeat(e, op, true, cmps_once::<W>))
}

macro_rules! string {
    ($($handler:ident: $b:ident $w:ident $d:ident $q:ident;)*) => {
        &[$(
            (Key::Code(iced_x86::Code::$b), Choice::One($handler::<u8>)),
            (Key::Code(iced_x86::Code::$w), Choice::One($handler::<u16>)),
            (Key::Code(iced_x86::Code::$d), Choice::One($handler::<u32>)),
            (Key::Code(iced_x86::Code::$q), Choice::One($handler::<u64>)),
        )*]
    };
}
pub(super) static TABLE: Table = string! {
    movs: Movsb_m8_m8 Movsw_m16_m16 Movsd_m32_m32 Movsq_m64_m64;
    stos: Stosb_m8_AL Stosw_m16_AX Stosd_m32_EAX Stosq_m64_RAX;
    lods: Lodsb_AL_m8 Lodsw_AX_m16 Lodsd_EAX_m32 Lodsq_RAX_m64;
    scas: Scasb_AL_m8 Scasw_AX_m16 Scasd_EAX_m32 Scasq_RAX_m64;
    cmps: Cmpsb_m8_m8 Cmpsw_m16_m16 Cmpsd_m32_m32 Cmpsq_m64_m64;
};
