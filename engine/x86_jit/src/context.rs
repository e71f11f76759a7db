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
    /// Events until the clock limit, and those counted beyond it.
    pub(crate) left: u64,
    pub(crate) over: u64,
    /// Registers that a sequence borrowed: any one, and rcx.
    pub(crate) borrowed: u64,
    pub(crate) borrowed_rcx: u64,
    /// Bounds of the declared stack; the lower one is raised by the longest frame.
    pub(crate) stack_low: u64,
    pub(crate) stack_end: u64,
    /// What a call overwrote with its return address.
    pub(crate) overwritten: u64,
    /// Of the stubs of indirect branches.
    pub(crate) saved_r10: u64,
    pub(crate) own: u64,
    pub(crate) target: u64,
    pub(crate) host_target: u64,
    /// Addresses whose calls are served in place: the first, and how many bytes.
    pub(crate) served_start: u64,
    pub(crate) served_bytes: u64,
    /// What serves them, and its arguments behind the context. Used only while `run` runs.
    pub(crate) service: u64,
    pub(crate) serving: u64,
    pub(crate) memory: u64,
    pub(crate) services: u64,
    /// Of the stub that calls it.
    pub(crate) saved_rax: u64,
    pub(crate) saved_flags: u64,
    pub(crate) return_to: u64,
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
}

/// The table of branch targets.
#[repr(C)]
pub(crate) struct Targets {
    /// What added to the guest address of an entry gives 0; [`vacant`] if there is none.
    pub(crate) guest: [u64; TARGETS],
    /// Host address of each entry.
    pub(crate) host: [u64; TARGETS],
}

/// What stands in a place of the table without an entry: no address that is looked up there
/// matches.
pub(crate) fn vacant(slot: usize) -> u64 {
    u64::from(slot == 0)
}

/// Where the second column of the table begins.
pub(crate) const HOST_COLUMN: i64 = 0x8_0000;
const _: () = assert!(offset_of!(Targets, host) == 0x8_0000, "one place for the distance");

/// Addresses of the fields in one translator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Of the context.
    pub(crate) context: u64,
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
places!(gpr xmm mxcsr host_mxcsr flags entry host_rsp exit left borrowed borrowed_rcx stack_low
    stack_end overwritten saved_r10 own target host_target served_start served_bytes service serving
    memory services saved_rax saved_flags return_to string_service string result outcome);

impl Places {
    /// The table of branch targets lies behind the context.
    pub(crate) fn targets(self) -> u64 {
        self.context + size_of::<Context>() as u64
    }
}
