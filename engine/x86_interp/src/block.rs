//! Decoded code.

use std::sync::OnceLock;

use guest_memory::{GuestAddr, GuestMemory, PAGE_BYTES};
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, RflagsBits};

use crate::{Exit, Kind, Op, decode, fuse, hot, touched::Touched};

/// No block linked.
pub(crate) const NO_BLOCK: u32 = u32::MAX;
/// Longest block, in instructions.
const MAX_OPS: usize = 64;
/// The same in bytes: no instruction is longer than 15.
pub(crate) const LONGEST_BYTES: u64 = 15 * MAX_OPS as u64;

/// The versions of the pages that hold some code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages([u64; 2]);

impl Pages {
    /// Those of code that is to be decoded again: no page has this version.
    const EXPIRED: Self = Self([u64::MAX; 2]);

    /// The versions now, of code from `start` to before `end`, on at most two pages.
    pub(crate) fn of(m: &GuestMemory, start: u64, end: u64) -> Self {
        let last = end.wrapping_sub(1);
        let first = m.code_version(GuestAddr(start));
        let second = if start / PAGE_BYTES == last / PAGE_BYTES {
            first
        } else {
            m.code_version(GuestAddr(last))
        };
        Self([first, second])
    }
}

/// Instructions that run one after the other.
#[derive(Debug)]
pub(crate) struct Block {
    /// What to run.
    pub(crate) ops: Box<[Op]>,
    /// Epoch of the code when this was last known to be current.
    pub(crate) epoch: u64,
    /// Block behind a taken branch.
    pub(crate) taken: u32,
    /// Block behind the last instruction.
    pub(crate) fall: u32,
    /// Target of the branch at the end.
    pub(crate) target: u64,
    /// First address behind the block.
    pub(crate) end: u64,
    /// First address.
    pub(crate) start: u64,
    /// Page versions.
    pub(crate) pages: Pages,
    /// Whether taking the branch counts an event.
    pub(crate) is_back: bool,
    /// Whether its last instruction is a branch of any kind; else the block was cut.
    pub(crate) ends_in_branch: bool,
    /// Decoded for ring 3.
    pub(crate) is_user: bool,
    /// What its instructions use, once that was asked.
    touched: OnceLock<Touched>,
}

impl Block {
    /// Makes it be decoded again before it runs.
    pub(crate) fn expire(&mut self) {
        self.epoch = u64::MAX;
        self.pages = Pages::EXPIRED;
    }

    /// The registers and flags that the block uses.
    pub(crate) fn touches(&self, m: &mut GuestMemory) -> Touched {
        *self.touched.get_or_init(|| Touched::of(m, self.is_user, self.start..self.end))
    }

    /// Decodes the block at `start`, which ends before any address that `stops` names.
    pub(crate) fn decode(
        m: &mut GuestMemory,
        start: u64,
        is_user: bool,
        stops: impl Fn(u64) -> bool,
    ) -> Result<Self, Box<Exit>> {
        let mut instructions: Vec<(Instruction, Op)> = Vec::new();
        let mut end = start;
        let mut target = (0, false);
        let mut ends_in_branch = false;
        while instructions.len() < MAX_OPS {
            let is_first = instructions.is_empty();
            let within = end.wrapping_sub(start & !(PAGE_BYTES - 1)) < PAGE_BYTES;
            if !is_first && (!within || stops(end)) {
                break;
            }
            let lowered = decode::fetch(m, is_user, end).and_then(|ins| {
                let op = decode::lower(&ins);
                let op = op.ok_or_else(|| Box::new(decode::not_modelled(m, is_user, &ins)))?;
                Ok((ins, op))
            });
            let (ins, op) = match lowered {
                Ok(lowered) => lowered,
                Err(exit) if is_first => return Err(exit),
                Err(_) => break,
            };
            end = op.next();
            let is_last = ins.flow_control() != FlowControl::Next;
            if is_last && ins.op0_kind() == OpKind::NearBranch64 {
                target = (op.imm, op.imm <= op.rip);
            }
            instructions.push((ins, op));
            ends_in_branch = is_last;
            if is_last {
                break;
            }
        }
        Ok(Self {
            ops: optimise(&instructions),
            epoch: m.code_epoch(),
            taken: NO_BLOCK,
            fall: NO_BLOCK,
            target: target.0,
            end,
            start,
            pages: Pages::of(m, start, end),
            is_back: target.1,
            ends_in_branch,
            is_user,
            touched: OnceLock::new(),
        })
    }
}

/// Chooses the fastest handlers that give the same result, also at every possible exit.
fn optimise(instructions: &[(Instruction, Op)]) -> Box<[Op]> {
    let mut live = u32::MAX;
    let mut done: Vec<Op> = Vec::with_capacity(instructions.len());
    let mut rest = instructions;
    if let [.., (compare, first), (jump, second)] = instructions
        && let Some(fused) = fuse::fuse((compare, first), (jump, second))
    {
        done.push(fused);
        let flags_before = if may_exit(compare, first) { u32::MAX } else { 0 };
        live = flags_before;
        rest = instructions.get(..instructions.len() - 2).unwrap_or_default();
    }
    for (ins, op) in rest.iter().rev() {
        let are_seen = may_set(ins) & live & STATUS != 0;
        let run = hot::specialise(ins, op, are_seen).unwrap_or(op.run);
        done.push(Op { run, ..*op });
        live = live & !always_set(ins) | ins.rflags_read();
        if may_exit(ins, op) {
            live = u32::MAX;
        }
    }
    done.reverse();
    done.into_boxed_slice()
}

/// The status flags that an instruction may set. iced names none for a rotate through the carry by
/// a multiple of its period; here that sets flags like any count that the mask does not make 0.
pub(crate) fn may_set(ins: &Instruction) -> u32 {
    let is_constant = ins.op1_kind() == OpKind::Immediate8;
    let rotates = matches!(ins.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr)
        && (!is_constant || ins.immediate8() & 31 != 0);
    ins.rflags_modified() | if rotates { RflagsBits::CF | RflagsBits::OF } else { 0 }
}

/// The status flags that an instruction sets whatever its operands are. A shift by a count of zero
/// sets none, and neither does a repeated comparison that is not done once; some handlers keep the
/// flags that they leave undefined.
pub(crate) fn always_set(ins: &Instruction) -> u32 {
    use Mnemonic::{
        Bsf, Bsr, Bt, Btc, Btr, Bts, Div, Idiv, Lzcnt, Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld,
        Shr, Shrd, Tzcnt,
    };
    match ins.mnemonic() {
        Shl | Sal | Shr | Sar | Rol | Ror | Rcl | Rcr | Shld | Shrd => {
            let last = ins.op_count().saturating_sub(1);
            let is_constant = ins.op_kind(last) == OpKind::Immediate8;
            // 32 counts as zero for the narrower widths.
            if is_constant && ins.immediate8() & 31 != 0 {
                ins.rflags_written() | ins.rflags_cleared() | ins.rflags_set()
            } else {
                0
            }
        }
        Div | Idiv | Bsf | Bsr | Bt | Btc | Btr | Bts | Tzcnt | Lzcnt => {
            ins.rflags_written() | ins.rflags_cleared() | ins.rflags_set()
        }
        _ if ins.has_rep_prefix() || ins.has_repne_prefix() => 0,
        _ => ins.rflags_modified(),
    }
}

const STATUS: u32 = RflagsBits::CF
    | RflagsBits::PF
    | RflagsBits::AF
    | RflagsBits::ZF
    | RflagsBits::SF
    | RflagsBits::OF;

/// Whether execution may stop at this instruction, so that somebody could look at the flags.
fn may_exit(ins: &Instruction, op: &Op) -> bool {
    use Mnemonic::{
        Add, And, Cdqe, Cmp, Dec, Imul, Inc, Lea, Mov, Movsx, Movsxd, Movzx, Neg, Not, Or, Shl,
        Shr, Sub, Test, Xor,
    };
    const QUIET: [Mnemonic; 20] = [
        Add, And, Cdqe, Cmp, Dec, Imul, Inc, Lea, Mov, Movsx, Movsxd, Movzx, Neg, Not, Or, Shl,
        Shr, Sub, Test, Xor,
    ];
    let is_lea = ins.mnemonic() == Lea;
    let has_memory = op.kind.iter().any(|kind| matches!(kind, Kind::Mem | Kind::System));
    !QUIET.contains(&ins.mnemonic()) || (has_memory && !is_lea)
}

/// One instruction on its own, with what the decoder knows about it.
#[derive(Debug)]
pub(crate) struct Single {
    /// The instruction, not fused with another.
    pub(crate) op: Op,
    /// The decoder's view.
    pub(crate) ins: Instruction,
    /// Page versions.
    pub(crate) pages: Pages,
    /// Decoded for ring 3.
    pub(crate) is_user: bool,
}

impl Single {
    /// Decodes the instruction at `rip`.
    pub(crate) fn decode(m: &mut GuestMemory, rip: u64, is_user: bool) -> Result<Self, Box<Exit>> {
        let ins = decode::fetch(m, is_user, rip)?;
        let op =
            decode::lower(&ins).ok_or_else(|| Box::new(decode::not_modelled(m, is_user, &ins)))?;
        Ok(Self { op, ins, pages: Pages::of(m, rip, op.next()), is_user })
    }
}
