//! Registers of the guest: their numbers, as instructions encode them, and the arguments in them.

use guest_memory::GuestAddr;

use crate::{CallResult, Kernel};

pub(crate) const RAX: usize = 0;
pub(crate) const RCX: usize = 1;
pub(crate) const RDX: usize = 2;
pub(crate) const RBX: usize = 3;
pub(crate) const RSP: usize = 4;
const R8: usize = 8;
const R9: usize = 9;

/// The first arguments of a call. Source: "x64 calling convention".
pub(crate) const ARGUMENTS: [usize; 4] = [RCX, RDX, R8, R9];

/// RFLAGS.IF.
pub(crate) const INTERRUPT_FLAG: u64 = 1 << 9;
/// RFLAGS.DF.
pub(crate) const DIRECTION_FLAG: u64 = 1 << 10;

impl Kernel {
    /// A general purpose register of the current processor, by encoding number.
    pub fn gpr(&self, number: usize) -> u64 {
        self.core().regs.gpr.get(number).copied().expect("register numbers are below 16")
    }

    /// Sets a general purpose register; its bits are defined.
    pub fn set_gpr(&mut self, number: usize, value: u64) {
        let regs = self.regs();
        *regs.gpr.get_mut(number).expect("register numbers are below 16") = value;
        if let Some(undefined) = &mut regs.undefined
            && let Some(bits) = undefined.gpr.get_mut(number)
        {
            *bits = 0;
        }
    }

    /// Argument `index` of the current call, from registers or stack.
    pub fn argument(&mut self, index: usize) -> CallResult<u64> {
        if let Some(&register) = ARGUMENTS.get(index) {
            return Ok(self.gpr(register));
        }
        // At the first instruction of a callee: return address, 32 bytes of home space, then
        // argument 4 and on.
        let at = GuestAddr(self.gpr(RSP)).add(8 + 8 * index as u64);
        self.read_scalar(at)
    }
}
