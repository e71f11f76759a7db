//! The code that all blocks share: entering, leaving, and indirect branches.

use iced_x86::{Code, IcedError, Instruction, Register};

use crate::{
    context::Places,
    emit::{Assembled, Emit},
    string_stub,
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
    /// Serves the call to the guest address in r11 in place, and goes on at the way back whose
    /// place in the cache was stored. r11 and rcx are put away.
    pub(crate) serve: u64,
    /// The guest address in r11 has no landing: leaves by the exit whose number was stored. r11 and
    /// rcx are put away, and the context says how the branch is counted.
    pub(crate) miss: u64,
    /// Carries out the string instruction whose form is in the context and goes on at the guest
    /// address in r11; r11 and rcx are put away in the same way. The last of the stubs, and the
    /// only one that touches guest memory.
    pub(crate) string: u64,
}

/// What a call overwrites with its return address is kept here until the target is known.
pub(crate) const OVERWRITTEN: Register = Register::MM2;

/// The exit number of a call that was not served in place: it is that with the way back.
pub(crate) const EXIT_OF_CALL: i32 = 0;
/// There is no code behind a string instruction.
pub(crate) const EXIT_NEXT: i32 = 1;
/// Numbers below this are those of the stubs.
pub(crate) const FIRST_EXIT: usize = 2;

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

/// Home space for what the stubs call. Six registers and a return address are above: a multiple
/// of 16.
const HOME: i64 = 0x28;

/// The register with this number.
pub(crate) fn gpr(number: u8) -> Register {
    *GPR.get(usize::from(number)).unwrap_or(&Register::None)
}

/// Assembles the stubs.
pub(crate) fn assemble(
    places: Places,
    state_adjust: i64,
    at: u64,
) -> Result<(Assembled, Stubs), IcedError> {
    let mut e = Emit::new(places);
    let mut starts = Vec::new();
    starts.push(e.next());
    enter(&mut e);
    starts.push(e.next());
    let back = exit(&mut e);
    starts.push(back);
    starts.push(e.next());
    serve(&mut e, at);
    starts.push(e.next());
    miss(&mut e);
    starts.push(e.next());
    string(&mut e, state_adjust);
    let assembled = e.assemble(at)?;
    let address = |index: usize| {
        let number = starts.get(index).copied().unwrap_or(0);
        at + assembled.offsets.get(number).map_or(0, |offset| u64::from(*offset))
    };
    let stubs = Stubs {
        enter: address(0),
        exit: address(1),
        fault: address(2),
        serve: address(3),
        miss: address(4),
        string: address(5),
    };
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
    e.move_rsp(-HOME);
    e.store(Code::Mov_rm64_r64, p.host_rsp(), Register::RSP);
    e.on_field(Code::Stmxcsr_m32, p.host_mxcsr());
    e.on_field(Code::Ldmxcsr_m32, p.mxcsr());
    for number in 0..16 {
        let field = p.xmm() + 16 * u64::from(number);
        e.load(Code::Movaps_xmm_xmmm128, xmm(number), field);
    }
    e.load_count();
    e.load(Code::Mov_r64_rm64, Register::RAX, p.flags());
    e.restore_flags();
    for (number, register) in (0..).zip(GPR) {
        e.load(Code::Mov_r64_rm64, register, p.gpr() + 8 * number);
    }
    e.on_field(Code::Jmp_rm64, p.entry());
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
    e.store_count();
    e.simple(Code::Emms);
    e.load(Code::Mov_r64_rm64, Register::RSP, p.host_rsp());
    e.move_rsp(HOME);
    e.on_field(Code::Ldmxcsr_m32, p.host_mxcsr());
    for register in KEPT.into_iter().rev() {
        e.push(Instruction::with1(Code::Pop_r64, register));
    }
    e.simple(Code::Retnq);
    back
}

fn give_back(e: &mut Emit) {
    let p = e.places;
    e.load(Code::Mov_r64_rm64, Register::R11, p.borrowed());
    e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
}

fn give_flags_back(e: &mut Emit) {
    e.load(Code::Mov_r64_rm64, Register::RAX, e.places.saved_flags());
    e.restore_flags();
}

/// What is put away while Rust runs on its own stack, below what `enter` pushed: the general
/// registers that a `win64` function may change, other than rax, rcx, r10 and r11, which are put
/// away already; and rsp, and what string instructions change.
const SERVED: [Register; 6] =
    [Register::RDX, Register::R8, Register::R9, Register::RSP, Register::RSI, Register::RDI];
/// How many of them concern calls.
const SERVED_BY_CALLS: usize = 4;
/// Vector registers that such a function may change: the first so many.
const SERVED_XMM: u32 = 6;

/// Calls the function in a field, with what `run` was given.
fn call_rust(e: &mut Emit, function: u64, registers: usize) {
    let p = e.places;
    let served = || SERVED.into_iter().take(registers);
    e.store_count();
    for register in served() {
        e.store(Code::Mov_rm64_r64, field_of(e, register), register);
    }
    for number in 0..SERVED_XMM {
        let field = p.xmm() + 16 * u64::from(number);
        e.store(Code::Movaps_xmmm128_xmm, field, xmm(number));
    }
    e.load(Code::Mov_r64_rm64, Register::RSP, p.host_rsp());
    e.load(Code::Lea_r64_m, Register::RCX, p.context);
    e.load(Code::Mov_r64_rm64, Register::RDX, p.serving());
    e.load(Code::Mov_r64_rm64, Register::R8, p.memory());
    e.load(Code::Mov_r64_rm64, Register::R9, p.services());
    e.on_field(Code::Call_rm64, function);
    // Rust may have counted, or changed the registers in which code counts.
    e.load_count();
    for register in served() {
        e.load(Code::Mov_r64_rm64, register, field_of(e, register));
    }
    for number in 0..SERVED_XMM {
        let field = p.xmm() + 16 * u64::from(number);
        e.load(Code::Movaps_xmm_xmmm128, xmm(number), field);
    }
}

/// rax and the flags are free behind this, until [`give_flags_back`] and rax itself.
fn put_flags_away(e: &mut Emit) {
    let p = e.places;
    e.store(Code::Mov_rm64_r64, p.saved_rax(), Register::RAX);
    save_flags(e);
    e.store(Code::Mov_rm64_r64, p.saved_flags(), Register::RAX);
}

/// Serves the call to the guest address in r11, or leaves with the registers as they were.
///
/// Rust runs on its own stack, below what `enter` pushed. What a `win64` function keeps is not
/// saved. The control bits of MXCSR are Rust's, or every call is declined. The way back restores
/// the flags if anybody reads them; else they are those of the last comparison here.
fn serve(e: &mut Emit, cache: u64) {
    let p = e.places;
    let leave = e.label();
    put_flags_away(e);
    e.store(Code::Mov_rm64_r64, p.target(), Register::R11);
    e.store(Code::Mov_rm64_r64, p.saved_r10(), Register::R10);
    call_rust(e, p.service(), SERVED_BY_CALLS);
    e.store_imm(Code::Cmp_rm32_imm8, p.outcome(), 0);
    e.branch(Code::Jne_rel32_64, leave);
    e.move_rsp(8);
    // The value is in rax already: through memory it would be late.
    e.load(Code::Mov_r64_rm64, Register::R10, p.saved_r10());
    e.load(Code::Mov_r32_rm32, Register::ECX, p.back());
    e.load(Code::Lea_r64_m, Register::R11, cache);
    e.add_without_flags(Register::RCX, Register::R11);
    e.push(Instruction::with1(Code::Jmp_rm64, Register::RCX));
    e.place(leave);
    e.store(Code::Mov_rm64_r64, p.result(), Register::RAX);
    e.load(Code::Mov_r64_rm64, Register::R10, p.saved_r10());
    e.load(Code::Mov_r64_rm64, Register::R11, p.target());
    e.store_imm(Code::Mov_rm32_imm32, p.exit(), EXIT_OF_CALL);
    give_flags_back(e);
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
    // It goes on as a call whose target has no landing.
}

/// The guest address in r11 is in no landing.
fn miss(e: &mut Emit) {
    let p = e.places;
    e.store(Code::Mov_rm64_r64, p.target(), Register::R11);
    e.store(Code::Movq_mmm64_mm, p.overwritten(), OVERWRITTEN);
    give_back(e);
    // A copy of the exit stub: cheaper than a way back to it.
    exit(e);
}

/// Carries out a string instruction here, or lets Rust do what it can of it.
fn string(e: &mut Emit, state_adjust: i64) {
    let p = e.places;
    let (slow, leave) = (e.label(), e.label());
    put_flags_away(e);
    e.store(Code::Mov_rm64_r64, p.saved_r10(), Register::R10);
    e.store(Code::Mov_rm64_r64, p.return_to(), Register::R11);
    if p.is_wide {
        string_stub::moves(e, state_adjust, slow);
        give_flags_back(e);
        e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
        go_on(e, EXIT_NEXT);
    }
    e.place(slow);
    call_rust(e, p.string_service(), SERVED.len());
    e.push(Instruction::with2(Code::Test_rm32_r32, Register::EAX, Register::EAX));
    e.branch(Code::Jne_rel32_64, leave);
    give_flags_back(e);
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
    go_on(e, EXIT_NEXT);
    e.place(leave);
    e.store(Code::Mov_rm32_r32, p.outcome(), Register::EAX);
    give_flags_back(e);
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
    e.load(Code::Mov_r64_rm64, Register::R10, p.saved_r10());
    give_back(e);
    exit(e);
}

fn field_of(e: &Emit, register: Register) -> u64 {
    e.places.gpr() + 8 * register.number() as u64
}

/// Goes on at the guest address in `return_to`, or leaves by this exit if no code is there.
fn go_on(e: &mut Emit, exit: i32) {
    let p = e.places;
    e.load(Code::Mov_r64_rm64, Register::R10, p.saved_r10());
    e.store_imm(Code::Mov_rm64_imm32, p.own(), 0);
    e.store_imm(Code::Mov_rm32_imm32, p.exit(), exit);
    e.load(Code::Mov_r64_rm64, Register::R11, p.return_to());
    e.jump_by_table();
}
