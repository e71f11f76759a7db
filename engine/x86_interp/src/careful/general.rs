//! The rule for every instruction that has none of its own: what it writes is labelled if anything
//! it reads is.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use iced_x86::{
    InstructionInfoFactory, Mnemonic, OpAccess, Register, RflagsBits, UsedMemory, UsedRegister,
};

use super::{
    label::{CF, FLAGS, Label, OF},
    look::{Look, Out},
};
use crate::block::may_set;

/// iced's flag bits in the order of [`FLAGS`].
const ICED_FLAGS: [u32; 6] = [
    RflagsBits::CF,
    RflagsBits::PF,
    RflagsBits::AF,
    RflagsBits::ZF,
    RflagsBits::SF,
    RflagsBits::OF,
];

fn reads(access: OpAccess) -> bool {
    use OpAccess::{CondRead, Read, ReadCondWrite, ReadWrite};
    matches!(access, Read | CondRead | ReadWrite | ReadCondWrite)
}

fn writes(access: OpAccess) -> bool {
    use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite)
}

/// All outputs are labelled if any input is.
pub(super) fn general<L: Label>(look: &mut Look<'_, '_, L>) {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(look.ins);
    let (registers, memory) = (info.used_registers().to_vec(), info.used_memory().to_vec());
    let mut all = L::CLEAR;
    for used in registers.iter().filter(|used| reads(used.access())) {
        all = all.join(register_label(look, *used).flood(1));
    }
    let places: Vec<(u64, usize, OpAccess)> =
        memory.iter().filter_map(|used| place(look, used)).collect();
    for (at, size, _) in places.iter().filter(|(.., access)| reads(*access)) {
        for (at, size) in pieces(*at, *size) {
            let bits = u32::try_from(size * 8).unwrap_or(128);
            all = all.join(look.memory(at, bits).label.flood(1));
        }
    }
    for (index, flag) in ICED_FLAGS.iter().enumerate() {
        if look.ins.rflags_read() & flag != 0 {
            all = all.join(look.labels.flags.get(index).copied().unwrap_or(L::CLEAR));
        }
    }
    // iced names an address register as read although it only forms the address; that was decided
    // above. What is written only under a condition keeps its label.
    let is_written = |access| {
        let may_stay = matches!(access, OpAccess::CondWrite | OpAccess::ReadCondWrite);
        writes(access) && !(may_stay && all.is_clear())
    };
    for used in registers.iter().filter(|used| is_written(used.access())) {
        write_register(look, *used, all);
    }
    for (at, size, _) in places.iter().filter(|(.., access)| is_written(*access)) {
        for (at, size) in pieces(*at, *size) {
            let label = all.sign_extended(1).part(0, u32::try_from(size * 8).unwrap_or(128));
            look.outs.push(Out::Mem { at, size, label });
        }
    }
    let rotates = matches!(look.ins.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr);
    if rotates {
        let bits = look.bits(0);
        let carry = look.labels.flags.get(CF).copied().unwrap_or(L::CLEAR);
        all = all.join(look.operand(0, bits).label.flood(1)).join(carry);
    }
    let modified = may_set(look.ins);
    for (index, flag) in ICED_FLAGS.iter().enumerate() {
        debug_assert!(index <= OF && FLAGS.len() == ICED_FLAGS.len());
        if modified & flag != 0 {
            let kept = look.labels.flags.get(index).copied().unwrap_or(L::CLEAR);
            // A flag that the architecture leaves undefined may stay as it was.
            let stays = look.ins.rflags_undefined() & flag != 0;
            let may_keep = stays || may_keep_flags(look.ins.mnemonic());
            look.write_flag(index, if may_keep { all.join(kept) } else { all });
        }
    }
}

/// Divisions leave the flags as they are, and so do shifts by zero.
fn may_keep_flags(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Div, Idiv, Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld, Shr, Shrd};
    matches!(mnemonic, Div | Idiv | Rcl | Rcr | Rol | Ror | Sal | Sar | Shl | Shld | Shr | Shrd)
}

/// Ranges in pieces of at most 16 bytes.
fn pieces(at: u64, size: usize) -> impl Iterator<Item = (u64, usize)> {
    (0..size).step_by(16).map(move |done| (at.wrapping_add(done as u64), (size - done).min(16)))
}

fn place<L: Label>(
    look: &mut Look<'_, '_, L>,
    used: &UsedMemory,
) -> Option<(u64, usize, OpAccess)> {
    let mut address_label = L::CLEAR;
    for register in [used.base(), used.index()] {
        if let Some(index) = gpr_index(register) {
            address_label = address_label.join(look.labels.gpr[index]);
        }
    }
    look.decide(address_label, true);
    let r = &*look.e.r;
    let at = used.virtual_address(0, |register, _, _| match register {
        Register::FS => Some(r.fs_base),
        Register::GS => Some(r.gs_base),
        _ if register.is_segment_register() => Some(0),
        _ => gpr_index(register).map(|index| {
            let (low, bits) = gpr_part(register);
            r.gpr[index] >> low & u64::MAX >> (64 - bits)
        }),
    })?;
    Some((at, used.memory_size().size(), used.access()))
}

fn gpr_index(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number() & 15)
}

fn register_label<L: Label>(look: &Look<'_, '_, L>, used: UsedRegister) -> L {
    let register = used.register();
    if let Some(index) = gpr_index(register) {
        let (low, bits) = gpr_part(register);
        return look.labels.gpr[index].part(low, bits);
    }
    if register.is_xmm() {
        return look.labels.xmm[register.number() & 15];
    }
    L::CLEAR
}

fn gpr_part(register: Register) -> (u32, u32) {
    use Register::{AH, BH, CH, DH};
    match register {
        AH | CH | DH | BH => (8, 8),
        register => (0, u32::try_from(register.size() * 8).unwrap_or(64)),
    }
}

fn write_register<L: Label>(look: &mut Look<'_, '_, L>, used: UsedRegister, all: L) {
    let register = used.register();
    let label = all.sign_extended(1);
    let Ok(number) = u8::try_from(register.full_register().number() & 15) else { return };
    // As an implicit operand the stack pointer moves by a constant.
    let operands = [look.ins.op0_register(), look.ins.op1_register()];
    let is_explicit =
        operands.iter().any(|operand| operand.full_register() == register.full_register());
    if register.is_gpr() && (register != Register::RSP || is_explicit) {
        let (low, bits) = gpr_part(register);
        let label = label.part(0, bits);
        let bits = if bits == 32 { 64 } else { bits };
        let low = u8::try_from(low).unwrap_or(0);
        look.outs.push(Out::Gpr { register: number, low, bits, label });
    } else if register.is_xmm() {
        look.outs.push(Out::Xmm { register: number, label: label.part(0, 128) });
    }
}
