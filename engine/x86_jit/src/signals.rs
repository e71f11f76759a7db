//! Faults of generated code: the handler saves the registers and goes on at the stub that leaves.

// UNSAFETY: a signal handler gets raw pointers and changes where the thread goes on. It touches its
// arguments and the announced context only, and needs no thread-local storage.
#![expect(unsafe_code, reason = "handles signals; see UNSAFETY above")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "moves bit patterns between fixed layouts"
)]

use std::{
    cell::Cell,
    mem,
    ops::Range,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{context::Context, host::Unavailable};

const SIGNAL_STACK_BYTES: usize = 0x1_0000;
const CAUGHT: [i32; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];

/// The announced code and its context.
static FIRST: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static CONTEXT: AtomicU64 = AtomicU64::new(0);

/// What handled the signals before.
static BEFORE: OnceLock<[libc::sigaction; 3]> = OnceLock::new();

thread_local! {
    static HAS_STACK: Cell<bool> = const { Cell::new(false) };
}

/// Faults in this code go to this context from now on.
pub(crate) fn announce(code: Range<u64>, context: u64) -> Result<(), Unavailable> {
    others_have_stacks()?;
    CONTEXT.store(context, Ordering::Release);
    END.store(code.end, Ordering::Release);
    FIRST.store(code.start, Ordering::Release);
    let before = CAUGHT.map(install);
    if before.iter().any(Option::is_none) {
        return Err(Unavailable::Signals);
    }
    let _ = BEFORE.set(before.map(|action| action.unwrap_or_else(default_action)));
    Ok(())
}

/// There is no code any more.
pub(crate) fn withdraw() {
    FIRST.store(0, Ordering::Release);
    END.store(0, Ordering::Release);
}

/// Gives this thread a stack for signals: the guest's rsp is no stack of the host.
pub(crate) fn prepare_thread() {
    if HAS_STACK.with(|has| has.replace(true)) {
        return;
    }
    let stack: &'static mut [u8] = vec![0; SIGNAL_STACK_BYTES].leak();
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: SIGNAL_STACK_BYTES,
    };
    // SAFETY: the stack is leaked, so it outlives every signal.
    let result = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    assert_eq!(result, 0, "a large enough signal stack is accepted");
}

fn default_action() -> libc::sigaction {
    // SAFETY: all-zero is a valid `sigaction`.
    unsafe { mem::zeroed() }
}

/// A handler that interrupts generated code must not run on the guest's stack.
fn others_have_stacks() -> Result<(), Unavailable> {
    for signal in 1..64 {
        let mut action = default_action();
        // SAFETY: asks for an action, into a place that holds one.
        if unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } != 0 {
            continue;
        }
        let is_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
        if is_handler && action.sa_flags & libc::SA_ONSTACK == 0 {
            return Err(Unavailable::Signals);
        }
    }
    Ok(())
}

fn install(signal: i32) -> Option<libc::sigaction> {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    let mut action = default_action();
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    let mut before = default_action();
    // SAFETY: the handler only touches its arguments and the announced context.
    let result = unsafe { libc::sigaction(signal, &raw const action, &raw mut before) };
    (result == 0).then_some(before)
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
    let interrupted = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut interrupted.uc_mcontext.gregs;
    let at = |index: i32| index as usize;
    let rip = registers[at(libc::REG_RIP)] as u64;
    if !(FIRST.load(Ordering::Acquire)..END.load(Ordering::Acquire)).contains(&rip) {
        hand_back(signal);
        return;
    }
    let context = CONTEXT.load(Ordering::Acquire) as usize;
    // SAFETY: the context belongs to the announced code, which was interrupted: nobody holds a
    // reference to it.
    let context = unsafe { &mut *ptr::with_exposed_provenance_mut::<Context>(context) };
    for (value, index) in context.gpr.iter_mut().zip(SAVED_AT) {
        *value = registers[at(index)] as u64;
    }
    let flags = registers[at(libc::REG_EFL)] as u64;
    context.flags = (flags & 0xd5 | 2) << 8 | flags >> 11 & 1;
    context.fault = registers[at(libc::REG_TRAPNO)] as u64 + 1;
    context.fault_error = registers[at(libc::REG_ERR)] as u64;
    context.fault_address = registers[at(libc::REG_CR2)] as u64;
    context.fault_rip = rip;
    let state = interrupted.uc_mcontext.fpregs;
    if !state.is_null() {
        // SAFETY: the kernel puts an `fxsave` image there.
        let state = unsafe { &*state };
        context.mxcsr = state.mxcsr;
        for (to, from) in context.xmm.iter_mut().zip(&state._xmm) {
            let words = from.element;
            *to = words.iter().rev().fold(0, |all, word| all << 32 | u128::from(*word));
        }
    }
    registers[at(libc::REG_RIP)] = context.fault_return as i64;
}

/// A fault of something else: who handled the signal before does so again when it repeats.
fn hand_back(signal: i32) {
    let index = CAUGHT.iter().position(|caught| *caught == signal);
    let before = index.and_then(|index| BEFORE.get()?.get(index));
    let action = before.copied().unwrap_or_else(default_action);
    // SAFETY: an action that was in force before, or the default one.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}
