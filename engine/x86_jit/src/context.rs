//! What generated code and Rust share: a page of fields, and the table of branch targets.

use std::mem::offset_of;

/// Entries of the table of branch targets, indexed by the low 16 bits of the guest address.
pub(crate) const TARGETS: usize = 1 << 16;

/// The fields that generated code reads and writes, addressed relative to RIP.
#[repr(C, align(4096))]
pub(crate) struct Context {
    /// Guest registers while Rust runs.
    pub(crate) gpr: [u64; 16],
    pub(crate) xmm: [u128; 16],
    pub(crate) mxcsr: u32,
    pub(crate) host_mxcsr: u32,
    /// Status flags as `lahf` and `seto al` give them.
    pub(crate) flags: u64,
    /// Where the next entry goes.
    pub(crate) entry: u64,
    pub(crate) host_rsp: u64,
    /// Number of the exit taken.
    pub(crate) exit: u64,
    /// Events until the clock limit, and those counted beyond it. Code keeps the first in mm0 as
    /// well, and a one in mm1, so that counting an event does not wait for the one before to come
    /// through memory.
    pub(crate) left: u64,
    pub(crate) one: u64,
    pub(crate) over: u64,
    /// Registers that a sequence borrowed: any one, and rcx.
    pub(crate) borrowed: u64,
    pub(crate) borrowed_rcx: u64,
    /// Bounds of the declared stack; the lower one is raised by the longest frame.
    pub(crate) stack_low: u64,
    pub(crate) stack_end: u64,
    /// What a call overwrote with its return address, if its target has no code; and that address.
    pub(crate) overwritten: u64,
    pub(crate) return_to: u64,
    /// Of indirect branches: the address of the branch, or 0 if it cannot be an event; and where it
    /// leads.
    pub(crate) own: u64,
    pub(crate) target: u64,
    /// Where the call that is served in place comes back to, from the start of the cache.
    pub(crate) back: u64,
    /// What serves calls in place or declines them, and its arguments behind the context. Used
    /// only while `run` runs.
    pub(crate) service: u64,
    pub(crate) serving: u64,
    pub(crate) memory: u64,
    pub(crate) services: u64,
    /// Of the stub that calls it.
    pub(crate) saved_rax: u64,
    pub(crate) saved_r10: u64,
    pub(crate) saved_flags: u64,
    /// What serves string instructions, and the form of the one to serve.
    pub(crate) string_service: u64,
    pub(crate) string: u64,
    /// What the call gives to the guest, and how it ended if not in place.
    pub(crate) result: u64,
    pub(crate) outcome: u64,
    /// A signal: its trap number plus 1, or 0.
    pub(crate) fault: u64,
    pub(crate) fault_error: u64,
    pub(crate) fault_address: u64,
    pub(crate) fault_rip: u64,
    /// Where the signal handler goes on.
    pub(crate) fault_return: u64,
    /// Bytes that the stub of repeated string instructions has moved by itself.
    pub(crate) moved_bytes: u64,
}

/// The table of branch targets. Code reads the first column only.
#[repr(C)]
pub(crate) struct Targets {
    /// Host address of the landing of each entry; without an entry, of the stub that looks further.
    pub(crate) landing: [u64; TARGETS],
    /// Guest address of each entry; 0 is none.
    pub(crate) guest: [u64; TARGETS],
    /// Host address of the block, behind its landing.
    pub(crate) block: [u64; TARGETS],
}

/// The table lies at a multiple of the size of its first column, so that an address in it is made
/// of a constant and 16 bits of the guest address.
pub(crate) const TARGETS_ALIGN: usize = 8 * TARGETS;

/// Addresses of the fields in one translator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Of the context.
    pub(crate) context: u64,
    /// Whether the host has the registers of AVX-512, which the guest has not: blocks count in one
    /// of its mask registers and look at up to 64 states at once.
    pub(crate) is_wide: bool,
}

macro_rules! places {
    ($($name:ident)*) => {
        impl Places {
            $(pub(crate) fn $name(self) -> u64 {
                self.context + offset_of!(Context, $name) as u64
            })*
        }
    };
}
places!(gpr xmm mxcsr host_mxcsr flags entry host_rsp exit left one borrowed borrowed_rcx stack_low
    stack_end overwritten return_to own target back service serving memory
    services saved_rax saved_r10 saved_flags string_service string result outcome
    moved_bytes);

impl Places {
    /// The table of branch targets lies before the context.
    pub(crate) fn targets(self) -> u64 {
        self.context - size_of::<Targets>() as u64
    }

    /// What register holds an eighth of the address of a place in the table, but for its low 16
    /// bits, which are those of the guest address.
    pub(crate) fn table_eighth(self) -> u64 {
        self.targets() >> 3
    }
}
