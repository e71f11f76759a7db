//! What a handler works on: registers, memory, flags, and the way out.

#![expect(
    clippy::indexing_slicing,
    reason = "register numbers are masked, operand numbers are literals"
)]

use std::ops::Range;

use guest_memory::{AccessKind, Accessor, GuestAddr, GuestMemory, Objection, Reason, Scalar};
use x86_ops::{Lazy, LazyKind, Width, flags};

use crate::{Done, Exit, Fault, Go, Grant, Kind, Op, PrivilegedOp, Registers, Stop, Vector};

/// A width that memory serves in one access.
pub trait Word: Width + Scalar {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// Everything that a handler may touch.
#[derive(Debug)]
pub struct Env<'a> {
    /// Registers. The status flags in `rflags` count only while `lazy` is settled.
    pub r: &'a mut Registers,
    /// Memory.
    pub m: &'a mut GuestMemory,
    /// Status flags.
    pub lazy: Lazy,
    /// Events until the clock limit; 0 = reached.
    pub left: u64,
    /// True while one instruction runs alone: undefined bytes may be loaded and code may be stored
    /// to.
    pub alone: bool,
    /// What the owner granted for this one instruction.
    pub grant: Grant,
    /// Labels were shown to the owner for this one instruction.
    pub may_decide: bool,
    /// Why execution stopped.
    pub exit: Option<Exit>,
    /// Where lowering rsp makes bytes undefined.
    pub stack: Range<u64>,
    /// Where labelled bytes were loaded from last.
    pub labelled_load: Option<u64>,
}

/// Leaving.
impl Env<'_> {
    /// Leaves with `exit`; the instruction did not complete.
    #[cold]
    #[inline(never)]
    pub fn leave(&mut self, exit: Exit) -> Stop {
        self.exit = Some(exit);
        Stop::Exit
    }

    /// Leaves with a fault without memory operand.
    #[cold]
    pub fn fault(&mut self, vector: Vector) -> Stop {
        self.leave(Exit::Fault(Fault::Vector(vector)))
    }

    /// Leaves with an instruction for the owner.
    #[cold]
    pub fn privileged(&mut self, op: &Op, what: PrivilegedOp) -> Stop {
        let next = GuestAddr(op.next());
        self.leave(Exit::Privileged { op: what, next })
    }

    #[cold]
    fn object(&mut self, objection: Objection) -> Stop {
        if objection.reason == Reason::Watched {
            self.leave(Exit::Watched(objection))
        } else {
            self.leave(Exit::Fault(Fault::Memory(objection)))
        }
    }

    /// Who accesses memory.
    pub fn who(&self) -> Accessor {
        if self.r.is_user { Accessor::User } else { Accessor::Supervisor }
    }
}

/// Flags.
impl Env<'_> {
    /// The six status flags.
    #[inline]
    pub fn status(&self) -> u64 {
        self.lazy.status(self.r.rflags)
    }

    /// Moves the status flags into `rflags`.
    #[inline]
    pub fn settle(&mut self) {
        if self.lazy.kind != LazyKind::Settled {
            let status = self.status();
            self.set_status(status);
        }
    }

    /// Sets all six status flags.
    #[inline(always)]
    pub fn set_status(&mut self, status: u64) {
        self.r.rflags = self.r.rflags & !flags::STATUS | status;
        self.lazy.kind = LazyKind::Settled;
    }

    /// Sets the status flags in `mask`, keeping the others.
    #[inline]
    pub fn set_some(&mut self, mask: u64, status: u64) {
        let old = self.status();
        self.set_status(old & !mask | status & mask);
    }

    /// The carry flag.
    #[inline]
    pub fn carry(&self) -> bool {
        self.lazy.holds::<2>(self.r.rflags)
    }

    /// Remembers an operation whose flags may be asked for later.
    #[inline(always)]
    pub fn set_lazy<W: Width>(&mut self, kind: LazyKind, a: u64, b: u64) {
        self.lazy = Lazy::of::<W>(kind, a, b);
    }
}

/// Memory.
impl Env<'_> {
    /// Loads a zero-extended value.
    #[inline(always)]
    pub fn load<W: Word>(&mut self, at: u64) -> Result<u64, Stop> {
        match self.m.load::<W>(self.r.is_user, at) {
            Ok(value) => Ok(value.wide()),
            Err(_) => self.load_slow::<W>(at),
        }
    }

    /// Stores the low part of `value`.
    #[inline(always)]
    pub fn store<W: Word>(&mut self, at: u64, value: u64) -> Result<(), Stop> {
        match self.m.store::<W>(self.r.is_user, at, W::of(value)) {
            Ok(()) => Ok(()),
            Err(_) => self.store_slow(at, &value.to_le_bytes(), W::LEN),
        }
    }

    /// Loads a value that is about to be stored to: an objection is one to the store.
    #[inline(always)]
    pub fn load_to_modify<W: Word>(&mut self, at: u64) -> Result<u64, Stop> {
        match self.m.load::<W>(self.r.is_user, at) {
            Ok(value) => Ok(value.wide()),
            Err(_) => {
                self.check_write(at, W::LEN)?;
                self.load_slow::<W>(at)
            }
        }
    }

    /// Loads 16 bytes at any alignment.
    #[inline(always)]
    pub fn load128(&mut self, at: u64) -> Result<u128, Stop> {
        match self.m.load::<u128>(self.r.is_user, at) {
            Ok(value) => Ok(value),
            Err(_) => {
                let mut bytes = [0; 16];
                self.load_bytes(at, &mut bytes)?;
                Ok(u128::from_le_bytes(bytes))
            }
        }
    }

    /// Stores 16 bytes at any alignment.
    #[inline(always)]
    pub fn store128(&mut self, at: u64, value: u128) -> Result<(), Stop> {
        match self.m.store::<u128>(self.r.is_user, at, value) {
            Ok(()) => Ok(()),
            Err(_) => self.store_slow(at, &value.to_le_bytes(), 16),
        }
    }

    /// Faults unless the address of a 16-byte operand is aligned.
    #[inline(always)]
    pub fn check_aligned(&mut self, at: u64) -> Result<(), Stop> {
        if at & 15 == 0 { Ok(()) } else { Err(self.fault(Vector::GeneralProtection)) }
    }

    /// Objects now to what a store would object to, before anything changes.
    #[cold]
    pub fn check_write(&mut self, at: u64, size_bytes: u64) -> Result<(), Stop> {
        let checked = self.m.check(self.who(), AccessKind::Write, GuestAddr(at), size_bytes);
        match checked {
            Err(objection) if objection.reason == Reason::Watched && self.grant == Grant::Watch => {
                Ok(())
            }
            Err(objection) => Err(self.object(objection)),
            Ok(()) => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slow<W: Word>(&mut self, at: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        let len = usize::try_from(W::LEN).unwrap_or(8);
        self.load_bytes(at, bytes.get_mut(..len).unwrap_or_default())?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Loads up to 64 bytes through the exact path.
    #[cold]
    #[inline(never)]
    pub fn load_bytes(&mut self, at: u64, into: &mut [u8]) -> Result<(), Stop> {
        let mut undefined = [0; 64];
        let undefined = undefined.get_mut(..into.len()).unwrap_or_default();
        let granted = self.grant == Grant::Watch;
        match self.m.load_slow(self.who(), GuestAddr(at), into, undefined, granted) {
            Err(objection) => Err(self.object(objection)),
            Ok(()) if !self.alone && undefined.iter().any(|&bits| bits != 0) => Err(Stop::Careful),
            Ok(()) => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, at: u64, bytes: &[u8], size_bytes: u64) -> Result<(), Stop> {
        let len = usize::try_from(size_bytes).unwrap_or(16);
        self.store_bytes(at, bytes.get(..len).unwrap_or(bytes))
    }

    /// Stores up to 64 defined bytes through the exact path.
    #[cold]
    #[inline(never)]
    pub fn store_bytes(&mut self, at: u64, bytes: &[u8]) -> Result<(), Stop> {
        if !self.alone && self.m.holds_code(GuestAddr(at), bytes.len() as u64) {
            return Err(Stop::Careful);
        }
        let granted = self.grant == Grant::Watch;
        match self.m.store_slow(self.who(), GuestAddr(at), bytes, &[], granted) {
            Err(objection) => Err(self.object(objection)),
            Ok(()) => Ok(()),
        }
    }
}

/// Operands.
impl Env<'_> {
    /// The low part of a general register.
    #[inline(always)]
    pub fn reg<W: Width>(&self, register: u8) -> u64 {
        W::cut(self.r.gpr[usize::from(register & 15)])
    }

    /// Sets a general register as the architecture does: 32 bits clear the upper half, 8 and 16
    /// bits keep the rest.
    #[inline(always)]
    pub fn set_reg<W: Width>(&mut self, register: u8, value: u64) {
        let slot = &mut self.r.gpr[usize::from(register & 15)];
        *slot = if W::BITS < 32 { *slot & !W::MASK | value & W::MASK } else { W::cut(value) };
    }

    /// Reads operand `n`.
    #[inline]
    pub fn get<W: Word>(&mut self, op: &Op, n: usize) -> Result<u64, Stop> {
        match op.kind[n] {
            Kind::Gpr => Ok(self.reg::<W>(op.reg[n])),
            Kind::Imm => Ok(W::cut(op.imm)),
            Kind::High => Ok(self.r.gpr[usize::from(op.reg[n] & 3)] >> 8 & 0xff),
            _ => self.load::<W>(op.address(self.r)),
        }
    }

    /// Writes operand `n`.
    #[inline]
    pub fn put<W: Word>(&mut self, op: &Op, n: usize, value: u64) -> Result<(), Stop> {
        match op.kind[n] {
            Kind::Gpr => self.set_reg::<W>(op.reg[n], value),
            Kind::High => {
                let slot = &mut self.r.gpr[usize::from(op.reg[n] & 3)];
                *slot = *slot & !0xff00 | (value & 0xff) << 8;
            }
            _ => return self.store::<W>(op.address(self.r), value),
        }
        Ok(())
    }

    /// Reads operand `n`, which the instruction is going to write too.
    #[inline]
    pub fn get_to_modify<W: Word>(&mut self, op: &Op, n: usize) -> Result<u64, Stop> {
        if op.kind[n] == Kind::Mem {
            self.load_to_modify::<W>(op.address(self.r))
        } else {
            self.get::<W>(op, n)
        }
    }

    /// Pushes a value.
    #[inline(always)]
    pub fn push<W: Word>(&mut self, value: u64) -> Result<(), Stop> {
        let top = self.r.gpr[4].wrapping_sub(W::LEN);
        self.store::<W>(top, value)?;
        self.r.gpr[4] = top;
        Ok(())
    }

    /// Lowers rsp to `to`; the new frame reads as undefined if it lies in the stack.
    #[inline]
    pub fn lower_stack(&mut self, to: u64) {
        let from = self.r.gpr[4];
        self.r.gpr[4] = to;
        if to < from && self.stack.contains(&to) && from <= self.stack.end {
            self.m.forget(to, from - to);
        }
    }

    /// Reads 16 bytes: an xmm register, or memory that must be aligned.
    #[inline]
    pub fn xmm_or_aligned(&mut self, op: &Op, n: usize) -> Result<u128, Stop> {
        if op.kind[n] == Kind::Xmm {
            return Ok(self.r.xmm[usize::from(op.reg[n] & 15)]);
        }
        let at = op.address(self.r);
        self.check_aligned(at)?;
        self.load128(at)
    }

    /// Reads the low part of an xmm register, or that much memory at any alignment.
    #[inline]
    pub fn xmm_or_memory<W: Word>(&mut self, op: &Op, n: usize) -> Result<u64, Stop> {
        if op.kind[n] == Kind::Xmm {
            let [low, ..] = split(self.r.xmm[usize::from(op.reg[n] & 15)]);
            return Ok(W::cut(low));
        }
        self.load::<W>(op.address(self.r))
    }

    /// The xmm register of operand `n`.
    #[inline(always)]
    pub fn xmm(&mut self, op: &Op, n: usize) -> &mut u128 {
        &mut self.r.xmm[usize::from(op.reg[n] & 15)]
    }

    /// Faults unless `target` is canonical: a near branch that is not faults itself, before it is
    /// taken.
    #[inline(always)]
    pub fn check_target(&mut self, target: u64) -> Result<(), Stop> {
        if GuestAddr(target).is_canonical() { Ok(()) } else { Err(self.wild_target(target)) }
    }

    #[cold]
    fn wild_target(&mut self, target: u64) -> Stop {
        let at = GuestAddr(target);
        self.object(Objection {
            address: at,
            size_bytes: 1,
            kind: AccessKind::Execute,
            at,
            reason: Reason::NonCanonical,
        })
    }

    /// Jumps to `target` and counts the event if it does not lie above the instruction.
    #[inline(always)]
    pub fn jump(&mut self, op: &Op, target: u64) -> Done {
        self.check_target(target)?;
        self.r.rip = target;
        self.left -= u64::from(target <= op.rip);
        Ok(Go::Indirect)
    }
}

/// The low and the high half.
#[expect(clippy::cast_possible_truncation, reason = "halves of the value")]
#[inline(always)]
pub fn split(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// The value with these low and high halves.
#[inline(always)]
pub fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}
