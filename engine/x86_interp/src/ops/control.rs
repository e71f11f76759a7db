//! Jumps, calls, the stack, and instructions that do nothing.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use iced_x86::Mnemonic;
use x86_ops::flags;

use super::{Choice, Key, Table, code, one};
use crate::{Done, Env, Exit, Fault, Go, Kind, Op, PrivilegedOp, Stop, Vector, Word};

pub(super) fn nop(_e: &mut Env<'_>, _op: &Op) -> Done {
    Ok(Go::Next)
}

fn jcc<const CODE: u8>(e: &mut Env<'_>, _op: &Op) -> Done {
    Ok(if e.lazy.holds::<CODE>(e.r.rflags) { Go::Taken } else { Go::Next })
}

fn jmp_direct(_e: &mut Env<'_>, _op: &Op) -> Done {
    Ok(Go::Taken)
}

fn jmp_indirect(e: &mut Env<'_>, op: &Op) -> Done {
    let target = e.get::<u64>(op, 0)?;
    e.jump(op, target)
}

fn call_direct(e: &mut Env<'_>, op: &Op) -> Done {
    e.push::<u64>(op.next())?;
    Ok(Go::Taken)
}

fn call_indirect(e: &mut Env<'_>, op: &Op) -> Done {
    let target = e.get::<u64>(op, 0)?;
    if let Err(wild) = e.check_target(target) {
        // A stack that cannot take the return address faults first.
        e.check_write(e.r.gpr[4].wrapping_sub(8), 8)?;
        return Err(wild);
    }
    e.push::<u64>(op.next())?;
    e.jump(op, target)
}

fn ret(e: &mut Env<'_>, op: &Op) -> Done {
    let top = e.r.gpr[4];
    let target = e.load::<u64>(top)?;
    let returned = e.jump(op, target)?;
    // `ret n` has its operand in the immediate; without operand that is 0.
    e.r.gpr[4] = top.wrapping_add(8).wrapping_add(op.imm & 0xffff);
    Ok(returned)
}

/// loop, loope, loopne with rcx or ecx.
fn loop_while(e: &mut Env<'_>, holds: impl Fn(u64) -> bool, is_short: bool) -> Done {
    let count = e.r.gpr[1].wrapping_sub(1);
    let count = if is_short { count & 0xffff_ffff } else { count };
    e.r.gpr[1] = count;
    Ok(if count != 0 && holds(e.status()) { Go::Taken } else { Go::Next })
}

fn loop_always<const SHORT: bool>(e: &mut Env<'_>, _op: &Op) -> Done {
    loop_while(e, |_| true, SHORT)
}
fn loope<const SHORT: bool>(e: &mut Env<'_>, _op: &Op) -> Done {
    loop_while(e, |status| status & flags::ZF != 0, SHORT)
}
fn loopne<const SHORT: bool>(e: &mut Env<'_>, _op: &Op) -> Done {
    loop_while(e, |status| status & flags::ZF == 0, SHORT)
}
fn jrcxz(e: &mut Env<'_>, _op: &Op) -> Done {
    Ok(if e.r.gpr[1] == 0 { Go::Taken } else { Go::Next })
}
fn jecxz(e: &mut Env<'_>, _op: &Op) -> Done {
    Ok(if e.reg::<u32>(1) == 0 { Go::Taken } else { Go::Next })
}

fn push<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.get::<W>(op, 0)?;
    e.push::<W>(value)?;
    Ok(Go::Next)
}

/// `pop [rsp + x]` forms its address with the raised rsp.
fn pop<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let top = e.r.gpr[4];
    let value = e.load::<W>(top)?;
    e.r.gpr[4] = top.wrapping_add(W::LEN);
    if op.kind[0] == Kind::Mem {
        if let Err(stop) = e.put::<W>(op, 0, value) {
            e.r.gpr[4] = top;
            return Err(stop);
        }
    } else {
        e.set_reg::<W>(op.reg[0], value);
    }
    Ok(Go::Next)
}

fn leave(e: &mut Env<'_>, _op: &Op) -> Done {
    let frame = e.r.gpr[5];
    e.r.gpr[5] = e.load::<u64>(frame)?;
    e.r.gpr[4] = frame.wrapping_add(8);
    Ok(Go::Next)
}

/// Only nesting level 0 is modelled by a handler; other levels were never seen.
fn enter(e: &mut Env<'_>, op: &Op) -> Done {
    if op.disp & 31 != 0 {
        return Err(Stop::Unsupported);
    }
    let frame = e.r.gpr[4].wrapping_sub(8);
    e.check_write(frame, 8)?;
    // The processor probes the end of the new frame (Intel SDM volume 2, ENTER, "Page fault").
    e.check_write(frame.wrapping_sub(op.imm & 0xffff), 8)?;
    e.store::<u64>(frame, e.r.gpr[5])?;
    (e.r.gpr[5], e.r.gpr[4]) = (frame, frame);
    e.lower_stack(frame.wrapping_sub(op.imm & 0xffff));
    Ok(Go::Next)
}

/// What ring 3 may change: the status flags, TF, DF, NT, AC, ID. Ring 0 also changes IF and IOPL.
const USER_FLAGS: u64 = flags::STATUS | flags::TF | flags::DF | flags::NT | flags::AC | flags::ID;

fn pushf<W: Word>(e: &mut Env<'_>, _op: &Op) -> Done {
    e.settle();
    let image = e.r.rflags & !(flags::RF | flags::VM);
    e.push::<W>(image)?;
    Ok(Go::Next)
}

fn popf<W: Word>(e: &mut Env<'_>, _op: &Op) -> Done {
    let top = e.r.gpr[4];
    let image = e.load::<W>(top)?;
    e.settle();
    let allowed = if e.r.is_user { USER_FLAGS } else { USER_FLAGS | flags::IF | flags::IOPL };
    let mask = allowed & W::MASK;
    e.r.rflags = e.r.rflags & !mask & !flags::RF | image & mask | 2;
    e.r.gpr[4] = top.wrapping_add(W::LEN);
    Ok(Go::Next)
}

fn lahf(e: &mut Env<'_>, _op: &Op) -> Done {
    let low = e.status() & 0xd5 | 2;
    e.r.gpr[0] = e.r.gpr[0] & !0xff00 | low << 8;
    Ok(Go::Next)
}

fn sahf(e: &mut Env<'_>, _op: &Op) -> Done {
    let image = e.r.gpr[0] >> 8 & 0xff;
    e.set_some(flags::STATUS & !flags::OF, image);
    Ok(Go::Next)
}

fn clc(e: &mut Env<'_>, _op: &Op) -> Done {
    e.set_some(flags::CF, 0);
    Ok(Go::Next)
}
fn stc(e: &mut Env<'_>, _op: &Op) -> Done {
    e.set_some(flags::CF, flags::CF);
    Ok(Go::Next)
}
fn cmc(e: &mut Env<'_>, _op: &Op) -> Done {
    let flipped = e.status() ^ flags::CF;
    e.set_some(flags::CF, flipped);
    Ok(Go::Next)
}
fn cld(e: &mut Env<'_>, _op: &Op) -> Done {
    e.r.rflags &= !flags::DF;
    Ok(Go::Next)
}
fn std(e: &mut Env<'_>, _op: &Op) -> Done {
    e.r.rflags |= flags::DF;
    Ok(Go::Next)
}

fn xlat(e: &mut Env<'_>, op: &Op) -> Done {
    let base = e.r.gpr[3].wrapping_add(e.reg::<u8>(0));
    let base = if op.extra.short { base & 0xffff_ffff } else { base };
    let at = base.wrapping_add(e.r.segment_base(op.extra.segment));
    let value = e.load::<u8>(at)?;
    e.set_reg::<u8>(0, value);
    Ok(Go::Next)
}

fn raise(vector: Vector) -> impl Fn(&mut Env<'_>) -> Stop {
    move |e| e.leave(Exit::Fault(Fault::Vector(vector)))
}
fn ud2(e: &mut Env<'_>, _op: &Op) -> Done {
    Err(raise(Vector::InvalidOpcode)(e))
}
fn int3(e: &mut Env<'_>, _op: &Op) -> Done {
    Err(raise(Vector::Breakpoint)(e))
}
fn int1(e: &mut Env<'_>, _op: &Op) -> Done {
    Err(raise(Vector::Interrupt(1))(e))
}
fn int(e: &mut Env<'_>, op: &Op) -> Done {
    let number = u8::try_from(op.imm & 0xff).unwrap_or(0);
    Err(raise(Vector::Interrupt(number))(e))
}

fn transfer<const N: usize>(e: &mut Env<'_>, op: &Op) -> Done {
    const NAMES: [&str; 4] = ["syscall", "sysret", "iret", "far transfer"];
    if N != 0 && e.r.is_user {
        return Err(e.fault(Vector::GeneralProtection));
    }
    Err(e.privileged(op, PrivilegedOp::Other { name: NAMES[N] }))
}

/// Conditional jumps in the order of their codes.
pub(super) const JUMPS: [Mnemonic; 16] = [
    Mnemonic::Jo,
    Mnemonic::Jno,
    Mnemonic::Jb,
    Mnemonic::Jae,
    Mnemonic::Je,
    Mnemonic::Jne,
    Mnemonic::Jbe,
    Mnemonic::Ja,
    Mnemonic::Js,
    Mnemonic::Jns,
    Mnemonic::Jp,
    Mnemonic::Jnp,
    Mnemonic::Jl,
    Mnemonic::Jge,
    Mnemonic::Jle,
    Mnemonic::Jg,
];

macro_rules! jcc_entries {
    ($($mnemonic:ident $code:literal;)*) => { [$(one!($mnemonic, jcc::<$code>)),*] };
}
pub(super) static CONDITIONAL: [(Key, Choice); 16] = jcc_entries! {
    Jo 0; Jno 1; Jb 2; Jae 3; Je 4; Jne 5; Jbe 6; Ja 7;
    Js 8; Jns 9; Jp 10; Jnp 11; Jl 12; Jge 13; Jle 14; Jg 15;
};

pub(super) static TABLE: Table = &[
    one!(Nop, nop),
    one!(Reservednop, nop),
    one!(Pause, nop),
    one!(Endbr64, nop),
    one!(Endbr32, nop),
    // Without shadow stacks these do nothing (Intel SDM volume 2, RDSSPD/RDSSPQ).
    one!(Rdsspd, nop),
    one!(Rdsspq, nop),
    one!(Lfence, nop),
    one!(Sfence, nop),
    one!(Mfence, nop),
    one!(Prefetch, nop),
    one!(Prefetchw, nop),
    one!(Prefetchwt1, nop),
    one!(Prefetchnta, nop),
    one!(Prefetcht0, nop),
    one!(Prefetcht1, nop),
    one!(Prefetcht2, nop),
    code!(Jmp_rel8_64, jmp_direct),
    code!(Jmp_rel32_64, jmp_direct),
    code!(Jmp_rm64, jmp_indirect),
    code!(Call_rel32_64, call_direct),
    code!(Call_rm64, call_indirect),
    code!(Retnq, ret),
    code!(Retnq_imm16, ret),
    code!(Loop_rel8_64_RCX, loop_always::<false>),
    code!(Loop_rel8_64_ECX, loop_always::<true>),
    code!(Loope_rel8_64_RCX, loope::<false>),
    code!(Loope_rel8_64_ECX, loope::<true>),
    code!(Loopne_rel8_64_RCX, loopne::<false>),
    code!(Loopne_rel8_64_ECX, loopne::<true>),
    code!(Jrcxz_rel8_64, jrcxz),
    code!(Jecxz_rel8_64, jecxz),
    code!(Push_r64, push::<u64>),
    code!(Push_rm64, push::<u64>),
    code!(Pushq_imm32, push::<u64>),
    code!(Pushq_imm8, push::<u64>),
    code!(Push_r16, push::<u16>),
    code!(Push_rm16, push::<u16>),
    code!(Push_imm16, push::<u16>),
    code!(Pushw_imm8, push::<u16>),
    code!(Pop_r64, pop::<u64>),
    code!(Pop_rm64, pop::<u64>),
    code!(Pop_r16, pop::<u16>),
    code!(Pop_rm16, pop::<u16>),
    code!(Leaveq, leave),
    code!(Enterq_imm16_imm8, enter),
    code!(Pushfq, pushf::<u64>),
    code!(Pushfw, pushf::<u16>),
    code!(Popfq, popf::<u64>),
    code!(Popfw, popf::<u16>),
    one!(Lahf, lahf),
    one!(Sahf, sahf),
    one!(Clc, clc),
    one!(Stc, stc),
    one!(Cmc, cmc),
    one!(Cld, cld),
    one!(Std, std),
    one!(Xlatb, xlat),
    one!(Ud0, ud2),
    one!(Ud1, ud2),
    one!(Ud2, ud2),
    one!(Int3, int3),
    one!(Int1, int1),
    one!(Int, int),
    one!(Syscall, transfer::<0>),
    one!(Sysret, transfer::<1>),
    one!(Sysretq, transfer::<1>),
    one!(Iretq, transfer::<2>),
    one!(Iretd, transfer::<2>),
    one!(Retf, transfer::<3>),
];
