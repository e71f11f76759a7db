//! The code that all blocks share: entering, leaving, and indirect branches.

use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use crate::{
    context::{HOST_COLUMN, Places},
    emit::{Assembled, Emit, Label},
    serve::Outcome,
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
    /// Go on at the guest address in r11, whose own value is in `borrowed`, as that of rcx is in
    /// `borrowed_rcx`. A jump and a call have the address of the branch in rcx; a call has just
    /// stored where it returns to.
    pub(crate) jump: u64,
    pub(crate) call: u64,
    pub(crate) go_back: u64,
    /// Carries out the string instruction whose form is in the context and goes on at the guest
    /// address in r11; r11 and rcx are put away in the same way.
    pub(crate) string: u64,
}

/// What a branch to an address in a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indirect {
    Jump,
    Call,
    Return,
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
    for kind in [Indirect::Jump, Indirect::Call, Indirect::Return] {
        starts.push(e.next());
        indirect(&mut e, kind);
    }
    starts.push(e.next());
    string(&mut e);
    let assembled = e.assemble(at)?;
    let address = |index: usize| {
        let number = starts.get(index).copied().unwrap_or(0);
        at + assembled.offsets.get(number).map_or(0, |offset| u64::from(*offset))
    };
    let stubs = Stubs {
        enter: address(0),
        exit: address(1),
        fault: address(2),
        jump: address(3),
        call: address(4),
        go_back: address(5),
        string: address(6),
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

/// Looks the target up and goes there. No flag changes on the way.
fn indirect(e: &mut Emit, kind: Indirect) {
    let p = e.places;
    let (miss, hit, event, limit) = (e.label(), e.label(), e.label(), e.label());
    let counts = kind != Indirect::Return;
    if counts {
        e.store(Code::Mov_rm64_r64, p.own(), Register::RCX);
    }
    e.store(Code::Mov_rm64_r64, p.saved_r10(), Register::R10);
    find_entry(e);
    let behind = MemoryOperand::with_base_index(Register::RCX, Register::R11);
    e.push(Instruction::with2(Code::Lea_r64_m, Register::RCX, behind));
    e.branch(Code::Jrcxz_rel8_64, hit);
    e.branch(Code::Jmp_rel32_64, miss);
    e.place(hit);
    load_host(e);
    if counts {
        // The branch counts if it leads to its own address or below. Both are in the kernel half,
        // so that the top byte of the difference is its sign.
        e.push(Instruction::with1(Code::Not_rm64, Register::R11));
        e.load(Code::Mov_r64_rm64, Register::RCX, p.own());
        let difference =
            MemoryOperand::with_base_index_scale_displ_size(Register::RCX, Register::R11, 1, 1, 8);
        e.push(Instruction::with2(Code::Lea_r64_m, Register::RCX, difference));
        e.push(Instruction::with1(Code::Bswap_r64, Register::RCX));
        e.push(Instruction::with2(Code::Movzx_r32_rm8, Register::ECX, Register::CL));
        e.branch(Code::Jrcxz_rel8_64, event);
    }
    give_back(e);
    e.on_field(Code::Jmp_rm64, p.host_target());
    if counts {
        e.place(event);
        e.load(Code::Mov_r64_rm64, Register::RCX, p.left());
        let less = MemoryOperand::with_base_displ(Register::RCX, -1);
        e.push(Instruction::with2(Code::Lea_r64_m, Register::RCX, less));
        e.store(Code::Mov_rm64_r64, p.left(), Register::RCX);
        e.branch(Code::Jrcxz_rel8_64, limit);
        give_back(e);
        e.on_field(Code::Jmp_rm64, p.host_target());
        e.place(limit);
        e.push(Instruction::with1(Code::Not_rm64, Register::R11));
        e.store_imm(Code::Mov_rm32_imm32, p.exit(), EXIT_INDIRECT_LIMIT);
        leave_to_target(e);
    }
    e.place(miss);
    if kind == Indirect::Call {
        call_service(e);
    }
    leave_to_target(e);
}

/// rcx becomes what stands for the guest address r11 in the table, r10 the place of the entry.
fn find_entry(e: &mut Emit) {
    e.push(Instruction::with2(Code::Movzx_r32_rm16, Register::ECX, Register::R11W));
    e.load(Code::Lea_r64_m, Register::R10, e.places.targets());
    let entry = MemoryOperand::with_base_index_scale(Register::R10, Register::RCX, 8);
    e.push(Instruction::with2(Code::Lea_r64_m, Register::R10, entry));
    let guest = MemoryOperand::with_base(Register::R10);
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RCX, guest));
}

fn load_host(e: &mut Emit) {
    let host = MemoryOperand::with_base_displ(Register::R10, HOST_COLUMN);
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R10, host));
    e.store(Code::Mov_rm64_r64, e.places.host_target(), Register::R10);
}

fn give_back(e: &mut Emit) {
    let p = e.places;
    e.load(Code::Mov_r64_rm64, Register::R10, p.saved_r10());
    e.load(Code::Mov_r64_rm64, Register::R11, p.borrowed());
    e.load(Code::Mov_r64_rm64, Register::RCX, p.borrowed_rcx());
}

/// The target in r11 has no code.
fn leave_to_target(e: &mut Emit) {
    e.store(Code::Mov_rm64_r64, e.places.target(), Register::R11);
    give_back(e);
    // A copy of the exit stub: cheaper than a way back to it.
    exit(e);
}

fn give_flags_back(e: &mut Emit) {
    e.load(Code::Mov_r64_rm64, Register::RAX, e.places.saved_flags());
    restore_flags(e);
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
    for register in served() {
        e.store(Code::Mov_rm64_r64, field_of(e, register), register);
    }
    for number in 0..SERVED_XMM {
        let field = p.xmm() + 16 * u64::from(number);
        e.store(Code::Movaps_xmmm128_xmm, field, xmm(number));
    }
    e.load(Code::Mov_r64_rm64, Register::RSP, p.host_rsp());
    // Home space, and six registers and a return address are above: a multiple of 16.
    e.move_rsp(-0x28);
    e.load(Code::Lea_r64_m, Register::RCX, p.context);
    e.load(Code::Mov_r64_rm64, Register::RDX, p.serving());
    e.load(Code::Mov_r64_rm64, Register::R8, p.memory());
    e.load(Code::Mov_r64_rm64, Register::R9, p.services());
    e.on_field(Code::Call_rm64, function);
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

/// Lets Rust do what it can of a string instruction.
fn string(e: &mut Emit) {
    let p = e.places;
    let leave = e.label();
    e.store(Code::Mov_rm64_r64, p.saved_r10(), Register::R10);
    put_flags_away(e);
    e.store(Code::Mov_rm64_r64, p.return_to(), Register::R11);
    call_rust(e, p.string_service(), SERVED.len());
    go_on(e, leave, Outcome::NEXT, |e| {
        e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
    });
    e.place(leave);
    e.store(Code::Mov_rm32_r32, p.outcome(), Register::EAX);
    give_flags_back(e);
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
    give_back(e);
    exit(e);
}

/// Serves a call in place if its target, in r11, is one of those; else goes on behind this with the
/// registers as they were.
///
/// Rust runs on its own stack, below what `enter` pushed. What a `win64` function keeps is not
/// saved. The control bits of MXCSR are Rust's, or nothing would be served.
fn call_service(e: &mut Emit) {
    let p = e.places;
    let (none, go, leave) = (e.label(), e.label(), e.label());
    put_flags_away(e);
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::RAX, Register::R11));
    e.load(Code::Sub_r64_rm64, Register::RAX, p.served_start());
    e.load(Code::Cmp_r64_rm64, Register::RAX, p.served_bytes());
    e.branch(Code::Jae_rel32_64, none);
    e.load(Code::Cmp_r64_rm64, Register::R11, p.own());
    e.branch(Code::Ja_rel32_64, go);
    e.store_imm(Code::Sub_rm64_imm8, p.left(), 1);
    e.branch(Code::Jne_rel32_64, go);
    e.store_imm(Code::Mov_rm32_imm32, p.exit(), EXIT_INDIRECT_LIMIT);
    e.branch(Code::Jmp_rel32_64, none);
    e.place(go);
    e.store(Code::Mov_rm64_r64, p.target(), Register::R11);
    // The block stored it there just now, so it can be loaded.
    let top = MemoryOperand::new(Register::RSP, Register::None, 1, 0, 0, false, Register::GS);
    e.push(Instruction::with2(Code::Mov_r64_rm64, Register::R11, top));
    e.store(Code::Mov_rm64_r64, p.return_to(), Register::R11);
    call_rust(e, p.service(), SERVED_BY_CALLS);
    go_on(e, leave, Outcome::RETURN, |e| {
        e.move_rsp(8);
        e.load(Code::Mov_r64_rm64, Register::RAX, p.result());
    });
    e.place(leave);
    e.store(Code::Mov_rm32_r32, p.outcome(), Register::EAX);
    e.load(Code::Mov_r64_rm64, Register::R11, p.target());
    e.place(none);
    give_flags_back(e);
    e.load(Code::Mov_r64_rm64, Register::RAX, p.saved_rax());
}

fn field_of(e: &Emit, register: Register) -> u64 {
    e.places.gpr() + 8 * register.number() as u64
}

/// Goes on at the guest address that is in the context, if there is code and the outcome in eax
/// says so; without code the outcome becomes another. `finish` changes what the guest sees.
fn go_on(e: &mut Emit, leave: Label, without_code: u32, finish: impl FnOnce(&mut Emit)) {
    let p = e.places;
    let miss = e.label();
    e.push(Instruction::with2(Code::Test_rm32_r32, Register::EAX, Register::EAX));
    e.branch(Code::Jne_rel32_64, leave);
    e.load(Code::Mov_r64_rm64, Register::R11, p.return_to());
    find_entry(e);
    e.push(Instruction::with2(Code::Add_r64_rm64, Register::RCX, Register::R11));
    e.branch(Code::Jne_rel32_64, miss);
    load_host(e);
    give_flags_back(e);
    finish(e);
    give_back(e);
    e.on_field(Code::Jmp_rm64, p.host_target());
    e.place(miss);
    e.push(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, without_code));
}
