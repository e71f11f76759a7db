//! Which registers some code uses, and which are labelled: where the two do not meet, labels stay
//! as they are and the fast loop may run.

use std::ops::Range;

use guest_memory::GuestMemory;
use iced_x86::InstructionInfoFactory;

use crate::{Registers, decode};

/// A set of general and vector registers, and the status flags as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched(u64);

const XMM_SHIFT: usize = 16;
const FLAGS: u64 = 1 << 32;

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
            if ins.rflags_read() | ins.rflags_modified() != 0 {
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
        Self(all | if undefined.rflags == 0 { 0 } else { FLAGS })
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
