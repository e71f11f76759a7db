//! Which instructions may run natively: an allow-list.
//!
//! Nothing here is privileged, enters the host kernel, loads a segment register, reads the host's
//! identity or clock, or leaves a trace beyond the registers and memory that a case restores.

use cpu::Registers;
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::case::is_harmless;

/// Returns whether one instruction may run on the host.
pub(crate) fn is_allowed(instruction: &Instruction) -> bool {
    let registers = (0..instruction.op_count()).map(|i| instruction.op_register(i));
    let system =
        |r: Register| r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr() || r.is_bnd();
    ALLOWED.contains(&instruction.mnemonic())
        && !instruction.is_privileged()
        && !is_far(instruction.code())
        && !registers.into_iter().any(system)
        && instruction.segment_prefix() != Register::FS
}

fn is_far(code: Code) -> bool {
    use iced_x86::FlowControl;
    let flow = code.flow_control();
    let branches = matches!(
        flow,
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::ConditionalBranch
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Return
    );
    let near = code.is_jmp_short_or_near()
        || code.is_jmp_near_indirect()
        || code.is_jcc_short_or_near()
        || code.is_call_near()
        || code.is_call_near_indirect()
        || code.is_loop()
        || code.is_loopcc()
        || code.is_jcx_short()
        || matches!(code, Code::Retnq | Code::Retnq_imm16);
    branches && !near
}

/// Returns whether one instruction touches, with these registers, only addresses that the host
/// serves from the window or faults at. Does not ask the interpreter.
pub(crate) fn is_harmless_here(
    info: &mut InstructionInfoFactory,
    registers: &Registers,
    instruction: &Instruction,
) -> bool {
    if matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop | Mnemonic::Reservednop) {
        return true;
    }
    let value = |register: Register, _, _| {
        if register.is_segment_register() {
            return Some(if register == Register::GS { registers.gs_base } else { 0 });
        }
        let full = registers.gpr.get(register.full_register().number()).copied()?;
        Some(match register.size() {
            1 => full & 0xff,
            2 => full & 0xffff,
            4 => full & 0xffff_ffff,
            _ => full,
        })
    };
    // The index of a bit test reaches beyond what the decoder knows.
    let reach = if is_bit_string(instruction) {
        let index = value(instruction.op1_register(), 0, 0).unwrap_or(0);
        let bits = instruction.op1_register().size() as u32 * 8;
        ((index << (64 - bits)) as i64 >> (64 - bits)) >> 3
    } else {
        0
    };
    info.info(instruction).used_memory().iter().all(|memory| {
        let size = (memory.memory_size().size() as u64).max(64);
        memory.virtual_address(0, value).is_some_and(|at| {
            let moved = at.wrapping_add_signed(reach);
            is_harmless(at, size) && is_harmless(moved & !7, size)
        })
    })
}

/// Bit tests with a register index reach beyond their operand.
pub(crate) fn is_bit_string(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts)
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register
}

macro_rules! mnemonics {
    ($($name:ident)*) => { &[$(Mnemonic::$name),*] };
}

#[rustfmt::skip]
const ALLOWED: &[Mnemonic] = mnemonics![
    // Integer.
    Adc Add And Bsf Bsr Bswap Bt Btc Btr Bts Cbw Cdq Cdqe Clc Cld Cmc Cmp Cmpxchg Cmpxchg16b
    Cmpxchg8b Cqo Cwd Cwde Dec Div Enter Idiv Imul Inc Lahf Lea Leave Mov Movbe Movnti Movsx
    Movsxd Movzx Mul Neg Nop Not Or Pause Pop Popcnt Popf Popfq Push Pushf Pushfq Rcl Rcr Rol
    Ror Sahf Sal Sar Sbb Shl Shld Shr Shrd Stc Std Sub Test Ud0 Ud1 Ud2 Xadd Xchg Xlatb Xor
    Crc32 Int3 Cmova Cmovae Cmovb Cmovbe Cmove Cmovg Cmovge Cmovl Cmovle Cmovne Cmovno Cmovnp
    Cmovns Cmovo Cmovp Cmovs Seta Setae Setb Setbe Sete Setg Setge Setl Setle Setne Setno Setnp
    Setns Seto Setp Sets
    // Control.
    Call Ja Jae Jb Jbe Je Jecxz Jg Jge Jl Jle Jmp Jne Jno Jnp Jns Jo Jp Jrcxz Js Loop Loope
    Loopne Ret
    // Strings.
    Cmpsb Cmpsd Cmpsq Cmpsw Lodsb Lodsd Lodsq Lodsw Movsb Movsd Movsq Movsw Scasb Scasd Scasq
    Scasw Stosb Stosd Stosq Stosw
    // Fences and hints.
    Clflush Lfence Mfence Sfence Prefetchnta Prefetcht0 Prefetcht1 Prefetcht2 Prefetchw
    Reservednop Endbr64
    // SSE and SSE2: moves, logic, integers.
    Andnpd Andnps Andpd Andps Maskmovdqu Movapd Movaps Movd Movdqa Movdqu Movhlps Movhpd Movhps
    Movlhps Movlpd Movlps Movmskpd Movmskps Movntdq Movntpd Movntps Movq Movss Movupd Movups
    Orpd Orps Xorpd Xorps Lddqu Packssdw Packsswb Packuswb Paddb Paddd Paddq Paddsb Paddsw
    Paddusb Paddusw Paddw Pand Pandn Pavgb Pavgw Pcmpeqb Pcmpeqd Pcmpeqw Pcmpgtb Pcmpgtd Pcmpgtw
    Pextrw Pinsrw Pmaddwd Pmaxsw Pmaxub Pminsw Pminub Pmovmskb Pmulhuw Pmulhw Pmullw Pmuludq Por
    Psadbw Pshufd Pshufhw Pshuflw Pslld Pslldq Psllq Psllw Psrad Psraw Psrld Psrldq Psrlq Psrlw
    Psubb Psubd Psubq Psubsb Psubsw Psubusb Psubusw Psubw Punpckhbw Punpckhdq Punpckhqdq
    Punpckhwd Punpcklbw Punpckldq Punpcklqdq Punpcklwd Pxor Shufpd Shufps Unpckhpd Unpckhps
    Unpcklpd Unpcklps Movddup Movshdup Movsldup Pshufb Pabsb Pabsw Pabsd Palignr
    // SSE and SSE2: floating point.
    Addpd Addps Addsd Addss Cmppd Cmpps Cmpsd Cmpss Comisd Comiss Divpd Divps Divsd Divss
    Ldmxcsr Maxpd Maxps Maxsd Maxss Minpd Minps Minsd Minss Mulpd Mulps Mulsd Mulss Sqrtpd
    Sqrtps Sqrtsd Sqrtss Stmxcsr Subpd Subps Subsd Subss Ucomisd Ucomiss Cvtdq2pd Cvtdq2ps
    Cvtpd2dq Cvtpd2ps Cvtps2dq Cvtps2pd Cvtsd2si Cvtsd2ss Cvtsi2sd Cvtsi2ss Cvtss2sd Cvtss2si
    Cvttpd2dq Cvttps2dq Cvttsd2si Cvttss2si
    // x87.
    Emms Fabs Fadd Faddp Fchs Fcom Fcomi Fcomip Fcomp Fcompp Fdecstp Fdiv Fdivp Fdivr Fdivrp
    Ffree Fiadd Ficom Ficomp Fidiv Fidivr Fild Fimul Fincstp Fist Fistp Fisttp Fisub Fisubr Fld
    Fld1 Fldcw Fldl2e Fldl2t Fldlg2 Fldln2 Fldpi Fldz Fmul Fmulp Fnclex Fninit Fnop Fnstcw
    Fnstsw Frndint Fsqrt Fst Fstp Fsub Fsubp Fsubr Fsubrp Ftst Fucom Fucomi Fucomip Fucomp
    Fucompp Wait Fxam Fxch Fxrstor Fxrstor64 Fxsave Fxsave64
];
