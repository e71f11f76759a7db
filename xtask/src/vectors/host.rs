//! Runs cases natively on the host CPU.
//!
//! A stub at a fixed low address loads all registers from a state block, jumps to the code, and the
//! code ends in a jump to a second stub that saves all registers. Faults arrive as signals; the
//! handler copies the interrupted registers to the state block and continues at the stub that
//! returns to the caller. All memory that a case may touch lies at fixed addresses below 2 GiB, so
//! that the stubs need no register for addressing.

// UNSAFETY: executing arbitrary (allow-listed) instructions natively needs executable memory,
// signal handlers and a call into generated code. Nothing outside this module touches them.
#![expect(unsafe_code, reason = "runs generated code; see UNSAFETY above")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "moves bit patterns between fixed layouts"
)]

use std::mem::offset_of;
use std::ptr;

use anyhow::{Context, bail};
use cpu::Registers;
use iced_x86::code_asm::{
    CodeAssembler, dword_ptr, ptr as mem_ptr, qword_ptr, r8, r9, r10, r11, r12, r13, r14, r15, rax,
    rbp, rbx, rcx, rdi, rdx, rsi, rsp,
};

use super::case::{
    CODE, CODE_BYTES, Case, Ending, GUARD_BYTES, Outcome, PAD, READ_ONLY_BYTES, WINDOW,
    WINDOW_BYTES, abridged_tags, tag_word,
};

const STUB: u64 = CODE + 0x1_0000;
const BLOCK: u64 = CODE + 0x2_0000;
const SIGNAL_STACK_BYTES: usize = 0x4_0000;

/// The state block at `BLOCK`, shared with the stubs and the signal handler.
#[repr(C, align(64))]
struct Block {
    /// An `fxsave` image.
    fx: [u8; 512],
    gpr: [u64; 16],
    rflags: u64,
    /// Where the code starts.
    entry: u64,
    host_rsp: u64,
    host_mxcsr: u64,
    /// Address of the stub that returns to the caller after a fault.
    fault_return: u64,
    /// 0: no signal; else the trap number + 1.
    trap: u64,
    error_code: u64,
    fault_address: u64,
    rip: u64,
}

/// The host CPU, ready to run cases. There is one per process, since everything lies at fixed
/// addresses.
#[derive(Debug)]
pub(crate) struct Host {
    enter: extern "sysv64" fn(),
    exit: u64,
    gs_base: u64,
}

impl Host {
    /// Whether this host can run cases.
    pub(crate) const IS_PRESENT: bool = true;

    /// Maps the fixed memory, writes the stubs and installs the signal handlers.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let rwx = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        map(CODE, CODE_BYTES, rwx)?;
        map(STUB, 0x1000, rwx)?;
        map(BLOCK, 0x1000, rw)?;
        let window = WINDOW_BYTES as u64;
        let reserved = window + READ_ONLY_BYTES + 2 * GUARD_BYTES;
        map(WINDOW - GUARD_BYTES, reserved, libc::PROT_NONE)?;
        protect(WINDOW, window, rw)?;
        protect(WINDOW + window, READ_ONLY_BYTES, libc::PROT_READ)?;
        let (enter, exit) = write_stubs()?;
        install_handlers()?;
        // SAFETY: `enter` is the address of a complete function with this ABI, written just now.
        let enter = unsafe { std::mem::transmute::<usize, extern "sysv64" fn()>(enter as usize) };
        Ok(Self { enter, exit, gs_base: 0 })
    }

    /// Runs a case. The caller has checked that its instructions are on the allow-list and its
    /// accesses harmless.
    pub(crate) fn run(&mut self, case: &Case) -> Outcome {
        self.write_code(case);
        if case.before.gs_base != self.gs_base {
            set_gs_base(case.before.gs_base);
            self.gs_base = case.before.gs_base;
        }
        let block = BLOCK as *mut Block;
        let image = fx_from(&case.before);
        // SAFETY: `BLOCK` is mapped, aligned, zero-filled at first, and only this thread uses it.
        let block = unsafe { &mut *block };
        block.fx = image;
        block.gpr = case.before.gpr;
        block.rflags = case.before.rflags & !0x200 | 0x202;
        block.entry = case.address;
        block.trap = 0;
        // SAFETY: the window is mapped writable at this address and length.
        unsafe { ptr::copy_nonoverlapping(case.memory.as_ptr(), WINDOW as *mut u8, WINDOW_BYTES) };
        (self.enter)();
        // SAFETY: as above; the stubs and the handler wrote through the raw address, so it is read
        // anew.
        let block = unsafe { &*ptr::with_exposed_provenance::<Block>(BLOCK as usize) };
        let mut memory = Box::new([0; WINDOW_BYTES]);
        // SAFETY: the window is mapped readable at this address and length.
        unsafe { ptr::copy_nonoverlapping(WINDOW as *const u8, memory.as_mut_ptr(), WINDOW_BYTES) };
        let mut after = case.before.clone();
        after.gpr = block.gpr;
        after.rflags = block.rflags;
        fx_into(&block.fx, &mut after);
        let ending = ending(block, case, &mut after);
        Outcome { ending, after, memory }
    }

    /// Writes the code, a jump to the exit stub behind it, and breakpoints all around.
    fn write_code(&self, case: &Case) {
        let mut page = [PAD; CODE_BYTES as usize];
        let start = (case.address - CODE) as usize;
        let end = start + case.code.len();
        page[start..end].copy_from_slice(&case.code);
        let distance = (self.exit as i64 - (case.end() as i64 + 5)) as i32;
        page[end] = 0xe9;
        page[end + 1..end + 5].copy_from_slice(&distance.to_le_bytes());
        // SAFETY: the code page is mapped writable and not executing now.
        unsafe { ptr::copy_nonoverlapping(page.as_ptr(), CODE as *mut u8, page.len()) };
    }
}

fn ending(block: &Block, case: &Case, after: &mut Registers) -> Ending {
    after.rip = case.end();
    if block.trap == 0 {
        return Ending::Done;
    }
    after.rip = block.rip;
    match block.trap - 1 {
        0 => Ending::DivideError,
        3 => {
            let at = block.rip.wrapping_sub(1);
            // A breakpoint of the case itself stays where it begins; the others are where a jump
            // landed.
            let is_own = (case.address..case.end()).contains(&at);
            after.rip = if is_own { case.address } else { at };
            Ending::Done
        }
        6 => Ending::InvalidOpcode,
        12 | 13 => Ending::GeneralProtection,
        14 => Ending::Page { at: block.fault_address, is_write: block.error_code & 2 != 0 },
        16 | 19 => Ending::FloatingPoint,
        other => Ending::Other(format!("trap {other}")),
    }
}

fn map(at: u64, size_bytes: u64, protection: i32) -> anyhow::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a fresh anonymous mapping that replaces none.
    let got = unsafe { libc::mmap(at as *mut _, size_bytes as usize, protection, flags, -1, 0) };
    if got as u64 != at {
        bail!("cannot map {size_bytes:#x} bytes at {at:#x}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn protect(at: u64, size_bytes: u64, protection: i32) -> anyhow::Result<()> {
    // SAFETY: the range was mapped by `map` and holds no Rust object.
    let result = unsafe { libc::mprotect(at as *mut _, size_bytes as usize, protection) };
    if result != 0 {
        bail!("cannot protect {at:#x}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn set_gs_base(base: u64) {
    const ARCH_SET_GS: i32 = 0x1001;
    // SAFETY: user code on Linux x86-64 does not use gs, so its base is free.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) };
}

/// Writes the stubs; returns the addresses of the entry and of the exit.
fn write_stubs() -> anyhow::Result<(u64, u64)> {
    let field = |offset: usize| BLOCK + offset as u64;
    let gpr = |index: usize| qword_ptr(field(offset_of!(Block, gpr) + 8 * index));
    let registers = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
    let saved = [rbx, rbp, r12, r13, r14, r15];
    let fx = mem_ptr(field(offset_of!(Block, fx)));
    let host_rsp = qword_ptr(field(offset_of!(Block, host_rsp)));
    let host_mxcsr = dword_ptr(field(offset_of!(Block, host_mxcsr)));
    let rflags = qword_ptr(field(offset_of!(Block, rflags)));

    let mut a = CodeAssembler::new(64)?;
    for register in saved {
        a.push(register)?;
    }
    a.mov(host_rsp, rsp)?;
    a.stmxcsr(host_mxcsr)?;
    a.fxrstor(fx)?;
    a.push(rflags)?;
    a.popfq()?;
    for (index, register) in registers.into_iter().enumerate() {
        if register != rsp {
            a.mov(register, gpr(index))?;
        }
    }
    a.mov(rsp, gpr(4))?;
    a.jmp(qword_ptr(field(offset_of!(Block, entry))))?;

    let mut exit = a.create_label();
    let mut back = a.create_label();
    a.set_label(&mut exit)?;
    for (index, register) in registers.into_iter().enumerate() {
        a.mov(gpr(index), register)?;
    }
    a.mov(rsp, host_rsp)?;
    a.pushfq()?;
    a.pop(rflags)?;
    a.fxsave(fx)?;
    a.set_label(&mut back)?;
    a.mov(rsp, host_rsp)?;
    a.cld()?;
    a.fninit()?;
    a.ldmxcsr(host_mxcsr)?;
    for register in saved.into_iter().rev() {
        a.pop(register)?;
    }
    a.ret()?;

    let result =
        a.assemble_options(STUB, iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
    let exit = result.label_ip(&exit)?;
    let back = result.label_ip(&back)?;
    let code = &result.inner.code_buffer;
    // SAFETY: the stub page is mapped writable, is long enough, and not executing now.
    unsafe { ptr::copy_nonoverlapping(code.as_ptr(), STUB as *mut u8, code.len().min(0x1000)) };
    // SAFETY: the block is mapped and aligned.
    unsafe { (*(BLOCK as *mut Block)).fault_return = back };
    Ok((STUB, exit))
}

fn install_handlers() -> anyhow::Result<()> {
    // The handler must not run on the stack of the case, whose rsp is arbitrary.
    let stack: &'static mut [u8] = vec![0; SIGNAL_STACK_BYTES].leak();
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: SIGNAL_STACK_BYTES,
    };
    // SAFETY: the stack is leaked, so it outlives every signal.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot set the signal stack");
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
        // SAFETY: all-zero is a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler only touches its arguments and the state block.
        if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot install a handler");
        }
    }
    Ok(())
}

/// Index of each guest register (encoding order) in the saved registers of Linux.
const SAVED_AT: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn on_signal(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid context for a handler with SA_SIGINFO.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let at = |index: i32| index as usize;
    let rip = registers[at(libc::REG_RIP)] as u64;
    // A jump of the case may have ended in the window or in the null page.
    if rip >= 1 << 31 || (STUB..STUB + 0x1000).contains(&rip) {
        // Not a case: a bug of our own. Let it be fatal.
        // SAFETY: restores the default action, so that the fault repeats and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: `BLOCK` is mapped and aligned; the interrupted code holds no reference to it.
    let block = unsafe { &mut *(BLOCK as *mut Block) };
    for (value, index) in block.gpr.iter_mut().zip(SAVED_AT) {
        *value = registers[at(index)] as u64;
    }
    block.rflags = registers[at(libc::REG_EFL)] as u64;
    block.rip = rip;
    block.trap = registers[at(libc::REG_TRAPNO)] as u64 + 1;
    block.error_code = registers[at(libc::REG_ERR)] as u64;
    block.fault_address = registers[at(libc::REG_CR2)] as u64;
    let state = context.uc_mcontext.fpregs.cast::<[u8; 512]>();
    if !state.is_null() {
        // SAFETY: the kernel puts an `fxsave` image there.
        block.fx = unsafe { state.read_unaligned() };
    }
    registers[at(libc::REG_RIP)] = block.fault_return as i64;
}

/// Builds an `fxsave` image.
fn fx_from(r: &Registers) -> [u8; 512] {
    let mut image = [0; 512];
    image[0..2].copy_from_slice(&r.x87_control.to_le_bytes());
    image[2..4].copy_from_slice(&r.x87_status.to_le_bytes());
    image[4] = abridged_tags(r.x87_tag);
    image[24..28].copy_from_slice(&r.mxcsr.to_le_bytes());
    let top = usize::from(r.x87_status >> 11 & 7);
    for i in 0..8 {
        let value = r.x87[(top + i) & 7].to_le_bytes();
        image[32 + 16 * i..42 + 16 * i].copy_from_slice(&value[..10]);
    }
    for (i, value) in r.xmm.iter().enumerate() {
        image[160 + 16 * i..176 + 16 * i].copy_from_slice(&value.to_le_bytes());
    }
    image
}

/// Reads an `fxsave` image.
fn fx_into(image: &[u8; 512], r: &mut Registers) {
    let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    r.x87_control = word(0);
    r.x87_status = word(2);
    r.x87_tag = tag_word(image[4]);
    r.mxcsr = u32::from(word(24)) | u32::from(word(26)) << 16;
    let wide = |at: usize, bytes: usize| {
        image[at..at + bytes]
            .iter()
            .rev()
            .fold(0_u128, |value, byte| value << 8 | u128::from(*byte))
    };
    let top = usize::from(r.x87_status >> 11 & 7);
    for i in 0..8 {
        r.x87[(top + i) & 7] = wide(32 + 16 * i, 10);
        r.xmm[i] = wide(160 + 16 * i, 16);
        r.xmm[i + 8] = wide(288 + 16 * i, 16);
    }
}
