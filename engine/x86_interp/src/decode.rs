//! From bytes to decoded instructions.

use guest_memory::{GuestAddr, GuestMemory, Objection, PAGE_BYTES};
use iced_x86::{
    Code, Decoder, DecoderError, DecoderOptions, Formatter, Instruction, Mnemonic, NasmFormatter,
    OpKind, Register,
};

use crate::{
    Exit, Fault, Form, Kind, Op, Vector, makers,
    op::{Extra, NO_REGISTER},
    ops,
};

/// Fetches and decodes the instruction at `rip`.
pub(crate) fn fetch(
    mem: &mut GuestMemory,
    is_user: bool,
    rip: u64,
) -> Result<Instruction, Box<Exit>> {
    let fault = |objection: Objection| Box::new(Exit::Fault(Fault::Memory(objection)));
    let mut bytes = [0; 15];
    let len = mem.fetch(is_user, GuestAddr(rip), &mut bytes).map_err(fault)?;
    let bytes = bytes.get(..len).unwrap_or(&bytes);
    let mut decoder = Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE);
    let ins = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => match makers::difference(&ins, bytes) {
            None => Ok(ins),
            Some(difference) => Err(Box::new(Exit::Unsupported {
                bytes: bytes.get(..ins.len()).unwrap_or(bytes).to_vec(),
                text: format!("{} ({difference})", text(&ins)),
            })),
        },
        DecoderError::NoMoreBytes if len < 15 => {
            let beyond = GuestAddr(rip).page().add(PAGE_BYTES);
            match mem.fetch(is_user, beyond, &mut [0; 15]) {
                Err(objection) => Err(fault(objection)),
                Ok(_) => Err(Box::new(unsupported(rip, bytes))),
            }
        }
        // The longest legal instruction has 15 bytes.
        DecoderError::NoMoreBytes => {
            Err(Box::new(Exit::Fault(Fault::Vector(Vector::GeneralProtection))))
        }
        _ if is_illegal_lock(bytes) => {
            Err(Box::new(Exit::Fault(Fault::Vector(Vector::InvalidOpcode))))
        }
        _ => Err(Box::new(unsupported(rip, bytes))),
    }
}

/// Returns whether the bytes are an instruction that must not have the lock prefix they have.
fn is_illegal_lock(bytes: &[u8]) -> bool {
    let options = DecoderOptions::NO_INVALID_CHECK;
    let ins = Decoder::new(64, bytes, options).decode();
    ins.code() != Code::INVALID && ins.has_lock_prefix()
}

fn unsupported(rip: u64, bytes: &[u8]) -> Exit {
    let ins = Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE).decode();
    Exit::Unsupported { bytes: bytes.to_vec(), text: text(&ins) }
}

/// The exit for an instruction that decodes but has no handler.
pub(crate) fn not_modelled(mem: &mut GuestMemory, is_user: bool, ins: &Instruction) -> Exit {
    let mut bytes = [0; 15];
    let fetched = mem.fetch(is_user, GuestAddr(ins.ip()), &mut bytes).unwrap_or(0);
    let len = fetched.min(ins.len());
    Exit::Unsupported { bytes: bytes.get(..len).unwrap_or(&bytes).to_vec(), text: text(ins) }
}

/// Disassembles.
pub(crate) fn text(ins: &Instruction) -> String {
    let mut text = String::new();
    NasmFormatter::new().format(ins, &mut text);
    text
}

/// Builds the operands of one instruction and finds its handler; `None` if it is not modelled.
pub(crate) fn lower(ins: &Instruction) -> Option<Op> {
    let run = ops::select(ins)?;
    let mut op = Op {
        run,
        imm: 0,
        rip: ins.ip(),
        disp: ins.memory_displacement64(),
        kind: [Kind::None; 3],
        reg: [0; 3],
        base: 0,
        index: 0,
        scale: u8::try_from(ins.memory_index_scale().trailing_zeros()).unwrap_or(0),
        form: Form::Disp,
        len: u8::try_from(ins.len()).unwrap_or(15),
        mem_bytes: u8::try_from(ins.memory_size().size()).unwrap_or(0),
        extra: Extra {
            rep: ins.has_rep_prefix(),
            repne: ins.has_repne_prefix(),
            // `xchg` with memory is locked by itself.
            lock: ins.has_lock_prefix() || is_exchange(ins),
            short: false,
            segment: segment_number(ins.memory_segment()),
        },
    };
    for n in 0..ins.op_count() {
        lower_operand(ins, n, &mut op);
    }
    Some(op)
}

fn is_exchange(ins: &Instruction) -> bool {
    let is_memory = (0..ins.op_count()).any(|n| ins.op_kind(n) == OpKind::Memory);
    ins.mnemonic() == Mnemonic::Xchg && is_memory
}

fn lower_operand(ins: &Instruction, n: u32, op: &mut Op) {
    let (kind, reg) = match ins.op_kind(n) {
        OpKind::Register => register(ins.op_register(n)),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            op.imm = ins.near_branch_target();
            (Kind::Imm, 0)
        }
        OpKind::Memory => {
            lower_memory(ins, op);
            (Kind::Mem, 0)
        }
        // enter has two immediates: the second goes where no address needs the room.
        OpKind::Immediate8_2nd => {
            op.disp = u64::from(ins.immediate8_2nd());
            (Kind::Imm, 0)
        }
        kind if is_string_memory(kind) => {
            op.extra.short = is_short_string(kind);
            (Kind::Mem, 0)
        }
        _ => {
            op.imm = ins.try_immediate(n).unwrap_or(0);
            (Kind::Imm, 0)
        }
    };
    if let Some(slot) = op.kind.get_mut(n as usize) {
        *slot = kind;
    }
    if let Some(slot) = op.reg.get_mut(n as usize) {
        *slot = reg;
    }
}

fn is_string_memory(kind: OpKind) -> bool {
    kind >= OpKind::MemorySegSI && kind <= OpKind::MemoryESRDI
}

fn is_short_string(kind: OpKind) -> bool {
    use OpKind::{MemoryESEDI, MemorySegEDI, MemorySegESI};
    matches!(kind, MemoryESEDI | MemorySegEDI | MemorySegESI)
}

fn segment_number(segment: Register) -> u8 {
    match segment {
        Register::FS => 1,
        Register::GS => 2,
        _ => 0,
    }
}

fn lower_memory(ins: &Instruction, op: &mut Op) {
    let (base, index) = (ins.memory_base(), ins.memory_index());
    let is_relative = matches!(base, Register::RIP | Register::EIP);
    let number = |register: Register| match register {
        Register::None | Register::RIP | Register::EIP => NO_REGISTER,
        register => u8::try_from(register.number()).unwrap_or(NO_REGISTER),
    };
    (op.base, op.index) = (number(base), number(index));
    op.extra.short = base.is_gpr32()
        || index.is_gpr32()
        || base == Register::EIP
        || (base == Register::None && index == Register::None && ins.memory_displ_size() == 4);
    // iced resolves a RIP-relative displacement to the target.
    debug_assert!(!is_relative || op.base == NO_REGISTER);
    if op.extra.segment != 0 || op.extra.short {
        op.form = Form::Extra;
        return;
    }
    op.form = match (op.base == NO_REGISTER, op.index == NO_REGISTER) {
        (false, true) => Form::Base,
        (false, false) => Form::BaseIndex,
        (true, true) => Form::Disp,
        (true, false) => Form::Index,
    };
}

fn register(register: Register) -> (Kind, u8) {
    // The number of a byte register counts ah to bh; that of the whole register is the encoding.
    let number = if register.is_gpr() { register.full_register() } else { register }.number();
    let number = u8::try_from(number).unwrap_or(0);
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => (Kind::High, number & 3),
        _ if register.is_gpr() => (Kind::Gpr, number),
        _ if register.is_xmm() => (Kind::Xmm, number),
        _ if register.is_mm() => (Kind::Mmx, number),
        _ if register.is_st() => (Kind::St, number),
        _ => (Kind::System, number),
    }
}
