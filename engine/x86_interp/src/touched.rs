//! Which registers some code uses, and which are labelled: where the two do not meet, labels stay
//! as they are and the fast loop may run.

use std::ops::Range;

use guest_memory::GuestMemory;
use iced_x86::{CpuidFeature, Instruction, InstructionInfoFactory};

use crate::{Registers, block::may_set, decode};

/// A set of general and vector registers, with the status flags and the x87 unit as one each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched(u64);

const XMM_SHIFT: usize = 16;
const FLAGS: u64 = 1 << 32;
const X87: u64 = 1 << 33;

impl Touched {
    /// What the code of a range uses.
    pub(crate) fn of(m: &mut GuestMemory, is_user: bool, code: Range<u64>) -> Self {
        let mut factory = InstructionInfoFactory::new();
        let mut all = 0;
        let mut at = code.start;
        while code.contains(&at) {
            // Code that cannot be read now is decoded again before it runs.
            let Ok(ins) = decode::fetch(m, is_user, at) else { return Self(u64::MAX) };
            for used in factory.info(&ins).used_registers() {
                let register = used.register();
                let number = register.full_register().number() & 15;
                if register.is_gpr() {
                    all |= 1 << number;
                } else if register.is_vector_register() {
                    all |= 1 << (XMM_SHIFT + number);
                }
            }
            if uses_x87(&ins) {
                all |= X87;
            }
            if ins.rflags_read() | may_set(&ins) != 0 {
                all |= FLAGS;
            }
            at = ins.next_ip();
        }
        Self(all)
    }

    /// What has an undefined bit.
    pub(crate) fn labelled(r: &Registers) -> Self {
        let Some(undefined) = &r.undefined else { return Self(0) };
        let gpr = undefined.gpr.iter().map(|bits| *bits != 0);
        let xmm = undefined.xmm.iter().map(|bits| *bits != 0);
        let registers = gpr.chain(xmm).enumerate();
        let all = registers.fold(0, |all, (bit, is_set)| all | u64::from(is_set) << bit);
        let is_x87 = undefined.x87_status != 0 || undefined.x87.iter().any(|bits| *bits != 0);
        let flags = if undefined.rflags == 0 { 0 } else { FLAGS };
        Self(all | flags | if is_x87 { X87 } else { 0 })
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Whether an instruction may use registers or status of the x87 unit.
fn uses_x87(ins: &Instruction) -> bool {
    use CpuidFeature::{FPU, FPU287, FPU387, FXSR, MMX};
    let features = ins.cpuid_features();
    features.iter().any(|feature| matches!(feature, FPU | FPU287 | FPU387 | FXSR | MMX))
}
