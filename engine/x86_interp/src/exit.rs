//! Why the processor stopped.

use guest_memory::{GuestAddr, Objection};

/// Why the processor stopped. `Registers::rip` is always the exact guest instruction named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `rip` entered the trap range (an import, a return to the kernel). Nothing at it was fetched.
    Trap(GuestAddr),
    /// The instruction at `rip` did not complete; no register or memory changed.
    Fault(Fault),
    /// The instruction at `rip` is privileged or asks about the host: the owner performs it and
    /// advances `rip`.
    Privileged {
        /// What it does, decoded.
        op: PrivilegedOp,
        /// Address of the next instruction.
        next: GuestAddr,
    },
    /// A watched page is about to be touched: look, then `step(Grant::Watch)`. A repeated string
    /// instruction asks for each page, a repeated comparison for each iteration.
    Watched(Objection),
    /// An undefined value decides a branch or an address: look, then `step(Grant::Undefined)`.
    UndefinedDecides {
        /// True for an address, false for a branch.
        is_address: bool,
    },
    /// The event clock reached its limit, between two instructions.
    ClockLimit,
    /// A breakpoint of the owner at `rip`; `step` passes it.
    Breakpoint,
    /// One instruction was stepped.
    Stepped,
    /// The instruction is not modelled; its bytes.
    Unsupported {
        /// Up to 15 bytes.
        bytes: Vec<u8>,
        /// Disassembly.
        text: String,
    },
}

/// A processor exception raised by an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A memory access was objected to (page fault, or a byte nobody may touch).
    Memory(Objection),
    /// A vector without memory operand: divide error, invalid opcode, general protection, ...
    Vector(Vector),
}

/// Exceptions and interrupts of the architecture that instructions raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vector {
    /// #DE.
    DivideError,
    /// int3; `rip` is the int3 itself.
    Breakpoint,
    /// #UD, also ud2.
    InvalidOpcode,
    /// #GP without memory operand, or a misaligned SSE operand.
    GeneralProtection,
    /// #MF or #XM.
    FloatingPoint,
    /// `int n`.
    Interrupt(u8),
}

/// A privileged instruction. Register numbers are 0 = rax .. 15 = r15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegedOp {
    /// mov r64, crN.
    ReadControl { register: u8, control: u8 },
    /// mov crN, r64; the value.
    WriteControl { control: u8, value: u64 },
    /// mov r64, drN.
    ReadDebug { register: u8, debug: u8 },
    /// mov drN, r64.
    WriteDebug { debug: u8, value: u64 },
    /// rdmsr; result goes to edx:eax.
    ReadMsr { msr: u32 },
    /// wrmsr.
    WriteMsr { msr: u32, value: u64 },
    /// in al/ax/eax; result goes to the low `size_bytes` of rax.
    In { port: u16, size_bytes: u8 },
    /// out.
    Out { port: u16, size_bytes: u8, value: u32 },
    /// ins/outs, one iteration or rep: the owner performs it or stops.
    StringIo { port: u16, size_bytes: u8, is_out: bool, rep: bool },
    /// cli.
    ClearInterrupts,
    /// sti.
    SetInterrupts,
    /// hlt.
    Halt,
    /// cpuid with this leaf and sub-leaf; results go to eax, ebx, ecx, edx.
    Cpuid { leaf: u32, subleaf: u32 },
    /// rdtsc; result goes to edx:eax.
    ReadTsc,
    /// rdtscp; also ecx.
    ReadTscp,
    /// rdpmc.
    ReadPmc { counter: u32 },
    /// rdrand or rdseed into a register of this size; sets CF.
    Random { register: u8, size_bytes: u8 },
    /// swapgs, wrgsbase and others the owner knows by name.
    Other { name: &'static str },
}

/// What a single step may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing.
    None,
    /// What [`Exit::Watched`] names was shown to the owner.
    Watch,
    /// An undefined decision was shown to the owner.
    Undefined,
}
