//! What a label is.

use std::fmt::Debug;

use guest_memory::{Accessor, GuestAddr, GuestMemory};
use x86_ops::flags;

use crate::{Exit, Registers};

/// The status flags in the order in which labels are kept.
pub(crate) const FLAGS: [u64; 6] =
    [flags::CF, flags::PF, flags::AF, flags::ZF, flags::SF, flags::OF];
pub(crate) const CF: usize = 0;
pub(crate) const PF: usize = 1;
pub(crate) const AF: usize = 2;
pub(crate) const ZF: usize = 3;
pub(crate) const SF: usize = 4;
pub(crate) const OF: usize = 5;

/// A value with its label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labelled<L> {
    /// The concrete value.
    pub(crate) value: u128,
    /// What is known about it.
    pub(crate) label: L,
}

/// The operands of the subtraction that set the flags last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compare<L> {
    /// Minuend.
    pub(crate) a: Labelled<L>,
    /// Subtrahend.
    pub(crate) b: Labelled<L>,
    /// Width.
    pub(crate) bits: u32,
}

/// Something that travels with values beside them. The default methods treat a label as one fact
/// about a whole value; a label that knows single bits overrides them.
pub(crate) trait Label: Copy + PartialEq + Debug + 'static {
    /// Nothing to say.
    const CLEAR: Self;

    /// Both facts.
    fn join(self, other: Self) -> Self;

    /// Whether there is nothing to say.
    fn is_clear(self) -> bool {
        self == Self::CLEAR
    }
    /// A label of any bit becomes one of all `bits` bits.
    fn flood(self, bits: u32) -> Self {
        let _ = bits;
        self
    }
    /// A label of any bit becomes one of all bits above it too.
    fn smear_up(self, bits: u32) -> Self {
        let _ = bits;
        self
    }
    /// The label of `bits` bits from bit `low` on.
    fn part(self, low: u32, bits: u32) -> Self {
        let _ = (low, bits);
        self
    }
    /// The label with that of `bits` bits from bit `low` on replaced.
    fn with_part(self, low: u32, bits: u32, part: Self) -> Self {
        let _ = (low, bits);
        self.join(part)
    }
    /// The label of the value sign-extended from `bits`.
    fn sign_extended(self, bits: u32) -> Self {
        let _ = bits;
        self
    }
    /// The label moved up (negative: down) by a number of bits.
    fn moved(self, by: i32) -> Self {
        let _ = by;
        self
    }
    /// The label of `a & b`.
    fn and(a: Labelled<Self>, b: Labelled<Self>) -> Self {
        a.label.join(b.label)
    }
    /// The label of `a | b`.
    fn or(a: Labelled<Self>, b: Labelled<Self>) -> Self {
        a.label.join(b.label)
    }
    /// The labels of `a + b` and of its carry.
    fn add(a: Labelled<Self>, b: Labelled<Self>, bits: u32) -> (Self, Self) {
        let _ = bits;
        let both = a.label.join(b.label);
        (both, both)
    }
    /// The labels of `a - b` and of its borrow.
    fn sub(a: Labelled<Self>, b: Labelled<Self>, bits: u32) -> (Self, Self) {
        let _ = bits;
        let both = a.label.join(b.label);
        (both, both)
    }
    /// The label of "this is zero".
    fn zero(of: Labelled<Self>, bits: u32) -> Self {
        of.label.flood(bits).part(0, 1)
    }
    /// The label of condition `code` (the low four bits of a jcc opcode).
    fn condition(code: u8, flags: &[Self; 6], compare: Option<&Compare<Self>>) -> Self {
        let _ = compare;
        let read = flags::read_by(code);
        let one = |(flag, label): (&u64, &Self)| {
            if read & flag != 0 { *label } else { Self::CLEAR }
        };
        FLAGS.iter().zip(flags).map(one).fold(Self::CLEAR, Self::join)
    }

    /// The label as one bit for each bit of the value, if it is of that kind. Moves of bits then
    /// move labels by the very instruction that moves the values.
    fn as_bits(self) -> Option<u128> {
        None
    }
    /// The label with these bits.
    fn from_bits(bits: u128) -> Self {
        let _ = bits;
        Self::CLEAR
    }

    /// The label of bytes in memory; `None` if they may not be touched.
    fn load(m: &mut GuestMemory, who: Accessor, at: GuestAddr, size: usize) -> Option<Self>;
    /// Labels bytes in memory that were just stored.
    fn store(self, m: &mut GuestMemory, who: Accessor, at: GuestAddr, size: usize);
    /// Copies bytes with their labels; false if nothing was done.
    fn copy(m: &mut GuestMemory, who: Accessor, to: GuestAddr, from: GuestAddr, size: u64) -> bool;
    /// The exit when a label decides an address or a branch.
    fn decided(is_address: bool) -> Option<Exit>;
    /// The labels that the owner keeps in the registers.
    fn read(r: &Registers) -> Labels<Self>;
    /// Gives the labels back to the registers.
    fn write(labels: &Labels<Self>, r: &mut Registers);
}

/// The labels of all registers.
#[derive(Clone, Debug)]
pub(crate) struct Labels<L> {
    /// General registers.
    pub(crate) gpr: [L; 16],
    /// Vector registers.
    pub(crate) xmm: [L; 16],
    /// x87 registers, by physical number.
    pub(crate) x87: [L; 8],
    /// The x87 status word.
    pub(crate) x87_status: L,
    /// Status flags, in the order of [`FLAGS`].
    pub(crate) flags: [L; 6],
    /// Operands of the last comparison, while the flags are still its.
    pub(crate) compare: Option<Compare<L>>,
}

impl<L: Label> Labels<L> {
    /// Nothing is labelled.
    pub(crate) fn clear() -> Self {
        let none = L::CLEAR;
        Self {
            gpr: [none; 16],
            xmm: [none; 16],
            x87: [none; 8],
            x87_status: none,
            flags: [none; 6],
            compare: None,
        }
    }

    /// Whether nothing is labelled.
    pub(crate) fn is_clear(&self) -> bool {
        let all = self.gpr.iter().chain(&self.xmm).chain(&self.flags).chain(&self.x87);
        let all = all.chain([&self.x87_status]);
        all.fold(true, |clear, label| clear & label.is_clear())
    }
}
