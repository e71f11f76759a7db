//! The registers of a processor and its clock.

/// The registers of one virtual processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// rax rcx rdx rbx rsp rbp rsi rdi r8 .. r15, in encoding order.
    pub gpr: [u64; 16],
    /// Next instruction.
    pub rip: u64,
    /// RFLAGS; bit 1 always set.
    pub rflags: u64,
    /// xmm0 .. xmm15.
    pub xmm: [u128; 16],
    /// MXCSR.
    pub mxcsr: u32,
    /// x87 stack as 80-bit values in the low bits, st(0) first by physical number.
    pub x87: [u128; 8],
    /// x87 control, status, tag words.
    pub x87_control: u16,
    pub x87_status: u16,
    pub x87_tag: u16,
    /// Segment bases.
    pub fs_base: u64,
    pub gs_base: u64,
    /// True at ring 3.
    pub is_user: bool,
    /// Undefined bits of registers; `None` while all are defined.
    pub undefined: Option<Box<Undefined>>,
}

/// Undefined bits per register; 1 = undefined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undefined {
    pub gpr: [u64; 16],
    pub xmm: [u128; 16],
    /// x87 registers, by physical number.
    pub x87: [u128; 8],
    /// Bits of the x87 status word.
    pub x87_status: u16,
    /// RFLAGS bits.
    pub rflags: u64,
    /// The comparison that left them so: it may decide a condition whose flags are undefined.
    pub compared: Option<Compared>,
}

/// The operands of the subtraction that set the flags last, with their undefined bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The minuend: value, undefined bits.
    pub a: (u64, u64),
    /// The subtrahend.
    pub b: (u64, u64),
    /// Width.
    pub bits: u32,
}

/// The event clock: taken jumps, calls and returns to an address not above their own, so that
/// each loop counts.
///
/// The owner adds import calls itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Events so far.
    pub events: u64,
    /// `run` returns `ClockLimit` when `events` reaches this.
    pub limit_events: u64,
}

impl Registers {
    /// Registers of a processor at ring 0 with nothing in them; MXCSR and x87 control as Windows
    /// starts a thread.
    pub fn new() -> Self {
        Self {
            gpr: [0; 16],
            rip: 0,
            rflags: 0x202,
            xmm: [0; 16],
            mxcsr: 0x1f80,
            x87: [0; 8],
            x87_control: 0x27f,
            x87_status: 0,
            x87_tag: 0xffff,
            fs_base: 0,
            gs_base: 0,
            is_user: false,
            undefined: None,
        }
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// The base of a segment: 1 = fs, 2 = gs, anything else is flat.
    pub fn segment_base(&self, segment: u8) -> u64 {
        match segment {
            1 => self.fs_base,
            2 => self.gs_base,
            _ => 0,
        }
    }
}
