//! Privileged instructions and those that ask about the host: decoded here, performed by the owner.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use super::{Table, code, one};
use crate::{Done, Env, Go, Kind, Op, PrivilegedOp, Stop, Vector, Word};

/// #GP at ring 3.
fn need_ring0(e: &mut Env<'_>) -> Result<(), Stop> {
    if e.r.is_user { Err(e.fault(Vector::GeneralProtection)) } else { Ok(()) }
}

fn ring0(e: &mut Env<'_>, op: &Op, what: PrivilegedOp) -> Done {
    need_ring0(e)?;
    Err(e.privileged(op, what))
}

fn any_ring(e: &mut Env<'_>, op: &Op, what: PrivilegedOp) -> Done {
    Err(e.privileged(op, what))
}

fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn low16(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn read_control(e: &mut Env<'_>, op: &Op) -> Done {
    ring0(e, op, PrivilegedOp::ReadControl { register: op.reg[0], control: op.reg[1] })
}
fn write_control(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.reg::<u64>(op.reg[1]);
    ring0(e, op, PrivilegedOp::WriteControl { control: op.reg[0], value })
}
fn read_debug(e: &mut Env<'_>, op: &Op) -> Done {
    ring0(e, op, PrivilegedOp::ReadDebug { register: op.reg[0], debug: op.reg[1] })
}
fn write_debug(e: &mut Env<'_>, op: &Op) -> Done {
    let value = e.reg::<u64>(op.reg[1]);
    ring0(e, op, PrivilegedOp::WriteDebug { debug: op.reg[0], value })
}
fn rdmsr(e: &mut Env<'_>, op: &Op) -> Done {
    let msr = low32(e.r.gpr[1]);
    ring0(e, op, PrivilegedOp::ReadMsr { msr })
}
fn wrmsr(e: &mut Env<'_>, op: &Op) -> Done {
    let (msr, low, high) = (low32(e.r.gpr[1]), e.reg::<u32>(0), e.reg::<u32>(2));
    ring0(e, op, PrivilegedOp::WriteMsr { msr, value: high << 32 | low })
}

fn port(e: &Env<'_>, op: &Op, operand: usize) -> u16 {
    if op.kind[operand] == Kind::Imm { low16(op.imm & 0xff) } else { low16(e.r.gpr[2]) }
}
fn input<const SIZE: u8>(e: &mut Env<'_>, op: &Op) -> Done {
    let port = port(e, op, 1);
    ring0(e, op, PrivilegedOp::In { port, size_bytes: SIZE })
}
fn output<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let (port, value) = (port(e, op, 0), low32(e.reg::<W>(0)));
    let size_bytes = u8::try_from(W::LEN).unwrap_or(4);
    ring0(e, op, PrivilegedOp::Out { port, size_bytes, value })
}
fn string_io<const SIZE: u8, const IS_OUT: bool>(e: &mut Env<'_>, op: &Op) -> Done {
    let port = low16(e.r.gpr[2]);
    let rep = op.extra.rep || op.extra.repne;
    ring0(e, op, PrivilegedOp::StringIo { port, size_bytes: SIZE, is_out: IS_OUT, rep })
}

fn cli(e: &mut Env<'_>, op: &Op) -> Done {
    ring0(e, op, PrivilegedOp::ClearInterrupts)
}
fn sti(e: &mut Env<'_>, op: &Op) -> Done {
    ring0(e, op, PrivilegedOp::SetInterrupts)
}
fn hlt(e: &mut Env<'_>, op: &Op) -> Done {
    ring0(e, op, PrivilegedOp::Halt)
}
fn cpuid(e: &mut Env<'_>, op: &Op) -> Done {
    let (leaf, subleaf) = (low32(e.r.gpr[0]), low32(e.r.gpr[1]));
    any_ring(e, op, PrivilegedOp::Cpuid { leaf, subleaf })
}
fn rdtsc(e: &mut Env<'_>, op: &Op) -> Done {
    any_ring(e, op, PrivilegedOp::ReadTsc)
}
fn rdtscp(e: &mut Env<'_>, op: &Op) -> Done {
    any_ring(e, op, PrivilegedOp::ReadTscp)
}
fn rdpmc(e: &mut Env<'_>, op: &Op) -> Done {
    let counter = low32(e.r.gpr[1]);
    ring0(e, op, PrivilegedOp::ReadPmc { counter })
}
fn random<W: Word>(e: &mut Env<'_>, op: &Op) -> Done {
    let size_bytes = u8::try_from(W::LEN).unwrap_or(8);
    any_ring(e, op, PrivilegedOp::Random { register: op.reg[0], size_bytes })
}

/// An instruction of ring 0 that the owner knows by name.
macro_rules! named_ring0 {
    ($($function:ident $name:literal;)*) => {$(
        fn $function(e: &mut Env<'_>, op: &Op) -> Done {
            ring0(e, op, PrivilegedOp::Other { name: $name })
        }
    )*};
}
/// An instruction of any ring that the owner knows by name.
macro_rules! named {
    ($($function:ident $name:literal;)*) => {$(
        fn $function(e: &mut Env<'_>, op: &Op) -> Done {
            any_ring(e, op, PrivilegedOp::Other { name: $name })
        }
    )*};
}
named_ring0! {
    swapgs "swapgs"; invlpg "invlpg";
    wbinvd "wbinvd"; invd "invd"; lgdt "lgdt"; lidt "lidt";
    lldt "lldt"; ltr "ltr"; clts "clts"; lmsw "lmsw"; xsetbv "xsetbv";
    wrsegment "mov to segment register";
    monitor "monitor"; mwait "mwait"; invpcid "invpcid"; vm "virtual machine instruction";
}
named! {
    sgdt "sgdt"; sidt "sidt"; sldt "sldt"; str_ "str"; smsw "smsw"; xgetbv "xgetbv";
    rdsegment "mov from segment register"; rdfsbase "rdfsbase"; rdgsbase "rdgsbase";
    wrfsbase "wrfsbase"; wrgsbase "wrgsbase"; rdpid "rdpid";
}

/// clflush and clflushopt access one byte of the line and change nothing.
fn clflush(e: &mut Env<'_>, op: &Op) -> Done {
    e.load::<u8>(op.address(e.r))?;
    Ok(Go::Next)
}

pub(super) static TABLE: Table = &[
    code!(Mov_r64_cr, read_control),
    code!(Mov_cr_r64, write_control),
    code!(Mov_r64_dr, read_debug),
    code!(Mov_dr_r64, write_debug),
    code!(Mov_Sreg_rm16, wrsegment),
    code!(Mov_Sreg_r32m16, wrsegment),
    code!(Mov_Sreg_r64m16, wrsegment),
    code!(Mov_rm16_Sreg, rdsegment),
    code!(Mov_r32m16_Sreg, rdsegment),
    code!(Mov_r64m16_Sreg, rdsegment),
    one!(Rdmsr, rdmsr),
    one!(Wrmsr, wrmsr),
    code!(In_AL_imm8, input::<1>),
    code!(In_AX_imm8, input::<2>),
    code!(In_EAX_imm8, input::<4>),
    code!(In_AL_DX, input::<1>),
    code!(In_AX_DX, input::<2>),
    code!(In_EAX_DX, input::<4>),
    code!(Out_imm8_AL, output::<u8>),
    code!(Out_imm8_AX, output::<u16>),
    code!(Out_imm8_EAX, output::<u32>),
    code!(Out_DX_AL, output::<u8>),
    code!(Out_DX_AX, output::<u16>),
    code!(Out_DX_EAX, output::<u32>),
    one!(Insb, string_io::<1, false>),
    one!(Insw, string_io::<2, false>),
    one!(Insd, string_io::<4, false>),
    one!(Outsb, string_io::<1, true>),
    one!(Outsw, string_io::<2, true>),
    one!(Outsd, string_io::<4, true>),
    one!(Cli, cli),
    one!(Sti, sti),
    one!(Hlt, hlt),
    one!(Cpuid, cpuid),
    one!(Rdtsc, rdtsc),
    one!(Rdtscp, rdtscp),
    one!(Rdpmc, rdpmc),
    code!(Rdrand_r16, random::<u16>),
    code!(Rdrand_r32, random::<u32>),
    code!(Rdrand_r64, random::<u64>),
    code!(Rdseed_r16, random::<u16>),
    code!(Rdseed_r32, random::<u32>),
    code!(Rdseed_r64, random::<u64>),
    one!(Swapgs, swapgs),
    one!(Invlpg, invlpg),
    one!(Wbinvd, wbinvd),
    one!(Invd, invd),
    one!(Lgdt, lgdt),
    one!(Lidt, lidt),
    one!(Lldt, lldt),
    one!(Ltr, ltr),
    one!(Clts, clts),
    one!(Lmsw, lmsw),
    one!(Xsetbv, xsetbv),
    one!(Monitor, monitor),
    one!(Mwait, mwait),
    one!(Invpcid, invpcid),
    one!(Vmcall, vm),
    one!(Vmxon, vm),
    one!(Vmrun, vm),
    one!(Sgdt, sgdt),
    one!(Sidt, sidt),
    one!(Sldt, sldt),
    one!(Str, str_),
    one!(Smsw, smsw),
    one!(Xgetbv, xgetbv),
    one!(Rdfsbase, rdfsbase),
    one!(Rdgsbase, rdgsbase),
    one!(Wrfsbase, wrfsbase),
    one!(Wrgsbase, wrgsbase),
    one!(Rdpid, rdpid),
    one!(Clflush, clflush),
    one!(Clflushopt, clflush),
];
