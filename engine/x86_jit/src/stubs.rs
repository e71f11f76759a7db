//! The code that all blocks share: entering, leaving, and indirect branches.

use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use crate::{
    context::{HOST_COLUMN, Places},
    emit::{Assembled, Emit},
};

/// Where the stubs are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stubs {
    /// A `sysv64` function without arguments: loads the guest's registers and goes on at the entry.
    pub(crate) enter: u64,
    /// Saves the guest's registers and returns from `enter`.
    pub(crate) exit: u64,
    /// Returns from `enter`; the guest's registers were saved by the signal handler.
    pub(crate) fault: u64,
    /// Goes on at the guest address in rax; rcx holds the address of the branch, or 0 if it counts
    /// no event; their own values are in `borrowed` and `borrowed_rcx`.
    pub(crate) indirect: u64,
}

/// The exit number of an indirect branch that used up the clock.
pub(crate) const EXIT_INDIRECT_LIMIT: i32 = 0;

const GPR: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
/// What a `sysv64` function must keep.
const KEPT: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

/// The register with this number.
pub(crate) fn gpr(number: u8) -> Register {
    *GPR.get(usize::from(number)).unwrap_or(&Register::None)
}

/// Assembles the stubs.
pub(crate) fn assemble(places: Places, at: u64) -> Result<(Assembled, Stubs), IcedError> {
    let mut e = Emit::new(places);
    let mut starts = Vec::new();
    starts.push(e.next());
    enter(&mut e);
    starts.push(e.next());
    let back = exit(&mut e);
    starts.push(back);
    starts.push(e.next());
    indirect(&mut e);
    let assembled = e.assemble(at)?;
    let address = |index: usize| {
        let number = starts.get(index).copied().unwrap_or(0);
        at + assembled.offsets.get(number).map_or(0, |offset| u64::from(*offset))
    };
    let stubs =
        Stubs { enter: address(0), exit: address(1), fault: address(2), indirect: address(3) };
    Ok((assembled, stubs))
}

fn xmm(number: u32) -> Register {
    Register::XMM0 + number
}

fn enter(e: &mut Emit) {
    let p = e.places;
    for register in KEPT {
        e.push(Instruction::with1(Code::Push_r64, register));
    }
    e.store(Code::Mov_rm64_r64, p.host_rsp(), Register::RSP);
    e.on_field(Code::Stmxcsr_m32, p.host_mxcsr());
    e.on_field(Code::Ldmxcsr_m32, p.mxcsr());
    for number in 0..16 {
        let field = p.xmm() + 16 * u64::from(number);
        e.load(Code::Movaps_xmm_xmmm128, xmm(number), field);
    }
    e.load(Code::Mov_r64_rm64, Register::RAX, p.flags());
    restore_flags(e);
    for (number, register) in (0..).zip(GPR) {
        e.load(Code::Mov_r64_rm64, register, p.gpr() + 8 * number);
    }
    e.on_field(Code::Jmp_rm64, p.entry());
}

/// From al and ah, as `lahf` and `seto al` left them.
fn restore_flags(e: &mut Emit) {
    e.push(Instruction::with2(Code::Add_AL_imm8, Register::AL, 0x7f));
    e.simple(Code::Sahf);
}

fn save_flags(e: &mut Emit) {
    e.simple(Code::Lahf);
    e.push(Instruction::with1(Code::Seto_rm8, Register::AL));
}

/// Returns the number of the instruction where a fault goes on.
fn exit(e: &mut Emit) -> usize {
    let p = e.places;
    for (number, register) in (0..).zip(GPR) {
        e.store(Code::Mov_rm64_r64, p.gpr() + 8 * number, register);
    }
    save_flags(e);
    e.store(Code::Mov_rm64_r64, p.flags(), Register::RAX);
    for number in 0..16 {
        let field = p.xmm() + 16 * u64::from(number);
        e.store(Code::Movaps_xmmm128_xmm, field, xmm(number));
    }
    e.on_field(Code::Stmxcsr_m32, p.mxcsr());
    let back = e.next();
    e.load(Code::Mov_r64_rm64, Register::RSP, p.host_rsp());
    e.on_field(Code::Ldmxcsr_m32, p.host_mxcsr());
    for register in KEPT.into_iter().rev() {
        e.push(Instruction::with1(Code::Pop_r64, register));
    }
    e.simple(Code::Retnq);
    back
}

fn indirect(e: &mut Emit) {
    let p = e.places;
    let (miss, limit, go, leave) = (e.label(), e.label(), e.label(), e.label());
    e.store(Code::Mov_rm64_r64, p.saved_rdx(), Register::RDX);
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RDX, Register::RAX));
    save_flags(e);
    e.store(Code::Mov_rm64_r64, p.saved_flags(), Register::RAX);
    e.store(Code::Mov_rm64_r64, p.own(), Register::RCX);
    e.push(Instruction::with2(Code::Movzx_r32_rm16, Register::EAX, Register::DX));
    e.load(Code::Lea_r64_m, Register::RCX, p.targets());
    let guest = MemoryOperand::with_base_index_scale(Register::RCX, Register::RAX, 8);
    e.push(Instruction::with2(Code::Cmp_rm64_r64, guest, Register::RDX));
    e.branch(Code::Jne_rel32_64, miss);
    let host = MemoryOperand::with_base_index_scale_displ_size(
        Register::RCX,
        Register::RAX,
        8,
        HOST_COLUMN,
        8,
    );
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RAX, host));
    e.store(Code::Mov_rm64_r64, p.host_target(), Register::RAX);
    e.load(Code::Cmp_r64_rm64, Register::RDX, p.own());
    e.branch(Code::Ja_rel32_64, go);
    e.store_imm(Code::Sub_rm64_imm8, p.left(), 1);
    e.branch(Code::Je_rel32_64, limit);
    e.place(go);
    give_back(e);
    e.on_field(Code::Jmp_rm64, p.host_target());
    e.place(limit);
    e.store_imm(Code::Mov_rm32_imm32, p.exit(), EXIT_INDIRECT_LIMIT);
    e.branch(Code::Jmp_rel32_64, leave);
    e.place(miss);
    e.place(leave);
    e.store(Code::Mov_rm64_r64, p.target(), Register::RDX);
    give_back(e);
    // The exit stub is in front of this one; a second copy would do as well.
    exit(e);
}

fn give_back(e: &mut Emit) {
    let p = e.places;
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_flags());
    restore_flags(e);
    e.load(Code::Mov_r64_rm64, Register::RDX, p.saved_rdx());
    e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
    e.load(Code::Mov_r64_rm64, Register::RAX, p.borrowed());
}
