//! RFLAGS: bits, conditions, and flags kept as the operation that set them.

#![expect(clippy::cast_possible_truncation, reason = "shift counts are small")]

use crate::{Width, alu, shift};

/// Carry.
pub const CF: u64 = 1 << 0;
/// Parity of the low result byte.
pub const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Single step.
pub const TF: u64 = 1 << 8;
/// Interrupts enabled.
pub const IF: u64 = 1 << 9;
/// Direction of string instructions.
pub const DF: u64 = 1 << 10;
/// Signed overflow.
pub const OF: u64 = 1 << 11;
/// I/O privilege level.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume.
pub const RF: u64 = 1 << 16;
/// Virtual 8086.
pub const VM: u64 = 1 << 17;
/// Alignment check.
pub const AC: u64 = 1 << 18;
/// cpuid exists.
pub const ID: u64 = 1 << 21;
/// The six flags that arithmetic sets.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// The operation that set the status flags last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LazyKind {
    /// The flags are in RFLAGS.
    Settled,
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a` is the result of a logical operation.
    Logic,
    /// `a` is the result of an increment, `b` the carry kept.
    Inc,
    /// `a` is the result of a decrement, `b` the carry kept.
    Dec,
    /// `a << b`, `b` not 0.
    Shl,
    /// `a >> b`, `b` not 0.
    Shr,
    /// `a >> b` with sign, `b` not 0.
    Sar,
    /// Signed `a * b`.
    Imul,
}

/// Status flags not computed yet.
#[derive(Clone, Copy, Debug)]
pub struct Lazy {
    /// First operand or result.
    pub a: u64,
    /// Second operand.
    pub b: u64,
    /// Operation.
    pub kind: LazyKind,
    /// Operand width as a shift that raises its sign bit to bit 63.
    pub raise: u8,
}

impl Lazy {
    /// The flags are in RFLAGS.
    pub const SETTLED: Self = Self { a: 0, b: 0, kind: LazyKind::Settled, raise: 0 };

    /// Remembers an operation of width `W`.
    #[inline(always)]
    pub fn of<W: Width>(kind: LazyKind, a: u64, b: u64) -> Self {
        Self { a, b, kind, raise: W::RAISE }
    }

    /// Computes the status flags; `settled` are those in RFLAGS.
    pub fn status(&self, settled: u64) -> u64 {
        match self.raise {
            56 => self.status_of::<u8>(settled),
            48 => self.status_of::<u16>(settled),
            32 => self.status_of::<u32>(settled),
            _ => self.status_of::<u64>(settled),
        }
    }

    fn status_of<W: Width>(&self, settled: u64) -> u64 {
        match self.kind {
            LazyKind::Settled => settled & STATUS,
            LazyKind::Add => of_add::<W>(self.a, self.b, W::cut(self.a.wrapping_add(self.b))),
            LazyKind::Sub => of_sub::<W>(self.a, self.b, W::cut(self.a.wrapping_sub(self.b))),
            LazyKind::Logic => of_result::<W>(self.a),
            LazyKind::Inc => {
                let overflow = if self.a == W::SIGN { OF } else { 0 };
                let half = if self.a & 15 == 0 { AF } else { 0 };
                of_result::<W>(self.a) | self.b | overflow | half
            }
            LazyKind::Dec => {
                let overflow = if self.a == W::SIGN - 1 { OF } else { 0 };
                let half = if self.a & 15 == 15 { AF } else { 0 };
                of_result::<W>(self.a) | self.b | overflow | half
            }
            LazyKind::Shl => shift::shl::<W>(self.a, self.b as u32).1,
            LazyKind::Shr => shift::shr::<W>(self.a, self.b as u32).1,
            LazyKind::Sar => shift::sar::<W>(self.a, self.b as u32).1,
            LazyKind::Imul => alu::imul::<W>(self.a, self.b).2,
        }
    }

    /// Evaluates condition `code` (the low four bits of a jcc opcode).
    #[inline(always)]
    pub fn holds<const CODE: u8>(&self, settled: u64) -> bool {
        let negate = CODE & 1 == 1;
        let (x, y) = (self.a << (self.raise & 63), self.b << (self.raise & 63));
        let plain = match (self.kind, CODE >> 1) {
            (LazyKind::Sub, 1) => x < y,
            (LazyKind::Sub, 2) => x == y,
            (LazyKind::Sub, 3) => x <= y,
            (LazyKind::Sub, 4) => x.wrapping_sub(y) >> 63 == 1,
            (LazyKind::Sub, 6) => x.cast_signed() < y.cast_signed(),
            (LazyKind::Sub, 7) => x.cast_signed() <= y.cast_signed(),
            (LazyKind::Logic, 1) => false,
            (LazyKind::Logic, 2 | 3) => x == 0,
            (LazyKind::Logic, 4 | 6) => x.cast_signed() < 0,
            (LazyKind::Logic, 7) => x.cast_signed() <= 0,
            (LazyKind::Add, 2) => x.wrapping_add(y) == 0,
            (LazyKind::Inc | LazyKind::Dec, 2) => x == 0,
            _ => return holds(CODE, self.status(settled)),
        };
        plain != negate
    }
}

/// Evaluates condition `code` (the low four bits of a jcc opcode) on flag bits.
pub fn holds(code: u8, flags: u64) -> bool {
    let set = |bits: u64| flags & bits != 0;
    let less = set(SF) != set(OF);
    let plain = match code >> 1 & 7 {
        0 => set(OF),
        1 => set(CF),
        2 => set(ZF),
        3 => set(CF | ZF),
        4 => set(SF),
        5 => set(PF),
        6 => less,
        _ => less || set(ZF),
    };
    plain != (code & 1 == 1)
}

/// The status flags that condition `code` reads.
pub fn read_by(code: u8) -> u64 {
    match code >> 1 & 7 {
        0 => OF,
        1 => CF,
        2 => ZF,
        3 => CF | ZF,
        4 => SF,
        5 => PF,
        6 => SF | OF,
        _ => SF | OF | ZF,
    }
}

/// ZF, SF and PF of a result.
#[inline]
pub fn of_result<W: Width>(result: u64) -> u64 {
    let zero = if W::cut(result) == 0 { ZF } else { 0 };
    let sign = if result & W::SIGN != 0 { SF } else { 0 };
    let parity = if (result & 0xff).count_ones().is_multiple_of(2) { PF } else { 0 };
    zero | sign | parity
}

/// Flags of `a + b (+ carry) = result`.
#[inline]
pub fn of_add<W: Width>(a: u64, b: u64, result: u64) -> u64 {
    let carries = (a & b) | ((a | b) & !result);
    of_carries::<W>(carries) | of_result::<W>(result)
}

/// Flags of `a - b (- borrow) = result`.
#[inline]
pub fn of_sub<W: Width>(a: u64, b: u64, result: u64) -> u64 {
    let borrows = (!a & b) | ((!a | b) & result);
    of_carries::<W>(borrows) | of_result::<W>(result)
}

#[inline]
fn of_carries<W: Width>(carries: u64) -> u64 {
    let carry = carries >> (W::BITS - 1) & 1;
    let before = carries >> (W::BITS - 2) & 1;
    let half = carries >> 3 & 1;
    carry | (carry ^ before) << 11 | half << 4
}
