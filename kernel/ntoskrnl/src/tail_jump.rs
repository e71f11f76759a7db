//! Calls into the kernel that a compiler made jumps of.
//!
//! A routine whose last act is a call of a kernel routine may end in a jump to it: the return
//! address on the stack is that of its own caller then, and the routine is in no frame. What it
//! jumped from is kept by the stack pointer, as a frame would be.

use guest_memory::{Accessor, GuestAddr};

use crate::{Kernel, registers::RSP};

/// `call rel32`, and its length.
const CALL_NEAR: u8 = 0xe8;
const CALL_NEAR_BYTES: usize = 5;
/// `jmp rel8` and `jmp rel32`.
const JUMP_SHORT: u8 = 0xeb;
const JUMP_NEAR: u8 = 0xe9;
/// `jmp` through memory or a register is this with 4 in the middle of the byte that follows.
const GROUP_5: u8 = 0xff;
/// What may stand before it: REX, and what control flow enforcement adds.
const PREFIXES: [std::ops::RangeInclusive<u8>; 3] = [0x40..=0x4f, 0xf2..=0xf2, 0x3e..=0x3e];
/// Prefixes, the opcode and the byte behind it.
const OPCODE_BYTES: usize = 4;

impl Kernel {
    /// Takes note of how the current thread came to a kernel routine that returns to `from`.
    pub(crate) fn note_jump(&mut self, from: GuestAddr) {
        // Nobody has run since it was noted: the thread was switched away from at this call.
        let Some(at) = self.core().cpu.trapped_from() else { return };
        self.forget_jumps();
        if self.image_at(at).is_some() && self.is_jump(at) && !self.is_thunk(at, from) {
            let rsp = self.gpr(RSP);
            self.current_thread().tail_jumps.push((rsp, at));
        }
    }

    /// Forgets the jumps of routines that are on the stack no more.
    pub(crate) fn forget_jumps(&mut self) {
        let rsp = self.gpr(RSP);
        self.current_thread().tail_jumps.retain(|(frame, _)| *frame > rsp);
    }

    /// The jump that led to a kernel routine, by the stack pointer with which that began; `None` if
    /// a call did.
    pub(crate) fn tail_jump(&self, rsp: u64) -> Option<GuestAddr> {
        let jumps = &self.ke.threads.get(&self.core().thread?)?.tail_jumps;
        jumps.iter().find(|(frame, _)| *frame == rsp).map(|(_, at)| *at)
    }

    /// Whether the instruction at an address is a jump, and no call.
    fn is_jump(&self, at: GuestAddr) -> bool {
        let mut bytes = [0; OPCODE_BYTES];
        if self.memory.read(Accessor::Machine, at, &mut bytes).is_err() {
            return false;
        }
        let is_prefix = |byte: &u8| PREFIXES.iter().any(|prefixes| prefixes.contains(byte));
        let mut opcode = bytes.into_iter().skip_while(is_prefix);
        match (opcode.next(), opcode.next()) {
            (Some(JUMP_SHORT | JUMP_NEAR), _) => true,
            (Some(GROUP_5), Some(operand)) => operand >> 3 & 7 == 4,
            _ => false,
        }
    }

    /// Whether a jump is all there is of the routine that was called: a linker makes one for an
    /// import, and the call of it stands in the source.
    fn is_thunk(&self, jump: GuestAddr, from: GuestAddr) -> bool {
        let mut call = [0; CALL_NEAR_BYTES];
        let at = GuestAddr(from.0.wrapping_sub(CALL_NEAR_BYTES as u64));
        if self.memory.read(Accessor::Machine, at, &mut call).is_err() {
            return false;
        }
        let [CALL_NEAR, offset @ ..] = call else { return false };
        let offset = i64::from(i32::from_le_bytes(offset));
        from.0.wrapping_add_signed(offset) == jump.0
    }
}
