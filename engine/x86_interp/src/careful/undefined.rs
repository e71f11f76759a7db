//! Undefined bits: the label that knows single bits.
//!
//! A bit is undefined if no store ever gave it a value that follows from defined ones. The rules
//! are exact for copies, masks and single additions, and err to "undefined" elsewhere.

use guest_memory::{Accessor, GuestAddr, GuestMemory};

use super::label::{Compare, FLAGS, Label, Labelled, Labels};
use crate::{Compared, Exit, Registers, Undefined, split};

/// One bit for each undefined bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits(pub(crate) u128);

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shr(128u32.saturating_sub(bits)).unwrap_or(0)
}

/// The smallest and the largest unsigned value that the undefined bits allow.
fn range(of: Labelled<Bits>) -> (u128, u128) {
    (of.value & !of.label.0, of.value | of.label.0)
}

/// The same for signed values of a width, moved so that unsigned comparison orders them.
fn signed_range(of: Labelled<Bits>, bits: u32) -> (u128, u128) {
    let flipped = Labelled { value: of.value ^ 1 << (bits - 1), label: of.label };
    range(flipped)
}

/// Whether `a < b` holds for some allowed values and fails for others.
fn is_open((a_low, a_high): (u128, u128), (b_low, b_high): (u128, u128)) -> bool {
    a_low < b_high && a_high >= b_low
}

fn labelled((value, undefined): (u64, u64)) -> Labelled<Bits> {
    Labelled { value: value.into(), label: Bits(undefined.into()) }
}

fn unlabelled(of: Labelled<Bits>) -> (u64, u64) {
    (split(of.value)[0], split(of.label.0)[0])
}

impl Bits {
    fn when(is_undefined: bool) -> Self {
        Self(u128::from(is_undefined))
    }
}

impl Label for Bits {
    const CLEAR: Self = Self(0);

    fn join(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    fn flood(self, bits: u32) -> Self {
        if self.0 == 0 { self } else { Self(mask(bits)) }
    }
    fn smear_up(self, bits: u32) -> Self {
        Self((self.0 | self.0.wrapping_neg()) & mask(bits))
    }
    fn part(self, low: u32, bits: u32) -> Self {
        Self(self.0 >> low & mask(bits))
    }
    fn with_part(self, low: u32, bits: u32, part: Self) -> Self {
        Self(self.0 & !(mask(bits) << low) | (part.0 & mask(bits)) << low)
    }
    fn sign_extended(self, bits: u32) -> Self {
        let is_sign = self.0 >> (bits - 1) & 1 == 1;
        Self(self.0 & mask(bits) | if is_sign { !mask(bits) } else { 0 })
    }
    fn moved(self, by: i32) -> Self {
        let moved = if by >= 0 {
            self.0.checked_shl(by.unsigned_abs())
        } else {
            self.0.checked_shr(by.unsigned_abs())
        };
        Self(moved.unwrap_or(0))
    }
    fn and(a: Labelled<Self>, b: Labelled<Self>) -> Self {
        let known_zero = !a.value & !a.label.0 | !b.value & !b.label.0;
        Self((a.label.0 | b.label.0) & !known_zero)
    }
    fn or(a: Labelled<Self>, b: Labelled<Self>) -> Self {
        let known_one = a.value & !a.label.0 | b.value & !b.label.0;
        Self((a.label.0 | b.label.0) & !known_one)
    }
    fn add(a: Labelled<Self>, b: Labelled<Self>, bits: u32) -> (Self, Self) {
        let ((a_low, a_high), (b_low, b_high)) = (range(a), range(b));
        let (low, high) = (a_low + b_low, a_high + b_high);
        let open = a.label.0 | b.label.0 | low ^ high;
        (Self(open & mask(bits)), Self::when(low >> bits != high >> bits))
    }
    fn sub(a: Labelled<Self>, b: Labelled<Self>, bits: u32) -> (Self, Self) {
        let (a_range, b_range) = (range(a), range(b));
        let low = a_range.0.wrapping_sub(b_range.1);
        let high = a_range.1.wrapping_sub(b_range.0);
        let open = a.label.0 | b.label.0 | low ^ high;
        (Self(open & mask(bits)), Self::when(is_open(a_range, b_range)))
    }
    fn zero(of: Labelled<Self>, bits: u32) -> Self {
        let is_open = of.label.0 & mask(bits) != 0;
        let has_known_one = of.value & !of.label.0 & mask(bits) != 0;
        Self::when(is_open && !has_known_one)
    }
    fn condition(code: u8, flags: &[Self; 6], compare: Option<&Compare<Self>>) -> Self {
        let read = x86_ops::flags::read_by(code);
        let is_open_flag = FLAGS.iter().zip(flags).any(|(flag, l)| read & flag != 0 && l.0 != 0);
        let (Some(Compare { a, b, bits }), true) = (compare, is_open_flag) else {
            return Self::when(is_open_flag);
        };
        let unsigned = || (range(*a), range(*b));
        let signed = || (signed_range(*a, *bits), signed_range(*b, *bits));
        Self::when(match code >> 1 & 7 {
            1 => is_open(unsigned().0, unsigned().1),
            // a <= b is not (b < a).
            3 => is_open(unsigned().1, unsigned().0),
            6 => is_open(signed().0, signed().1),
            7 => is_open(signed().1, signed().0),
            _ => true,
        })
    }

    fn as_bits(self) -> Option<u128> {
        Some(self.0)
    }
    fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    fn load(m: &mut GuestMemory, who: Accessor, at: GuestAddr, size: usize) -> Option<Self> {
        let (mut value, mut undefined) = ([0; 16], [0; 16]);
        let (value, open) = (value.get_mut(..size)?, undefined.get_mut(..size)?);
        m.load_slow(who, at, value, open, true).ok()?;
        Some(Self(u128::from_le_bytes(undefined)))
    }

    fn store(self, m: &mut GuestMemory, who: Accessor, at: GuestAddr, size: usize) {
        if self.0 == 0 {
            return; // The store itself made the bytes defined.
        }
        let (mut value, mut before) = ([0; 16], [0; 16]);
        let undefined = self.0.to_le_bytes();
        if let (Some(value), Some(before), Some(undefined)) =
            (value.get_mut(..size), before.get_mut(..size), undefined.get(..size))
            && m.load_slow(who, at, value, before, true).is_ok()
        {
            // Bytes that were stored a moment ago do not object; bytes that a mask or an x87
            // exception kept from being stored may, and keep their labels.
            let _ = m.store_slow(who, at, value, undefined, true);
        }
    }

    fn copy(m: &mut GuestMemory, who: Accessor, to: GuestAddr, from: GuestAddr, size: u64) -> bool {
        m.copy((who, to), (who, from), size).is_ok()
    }

    fn decided(is_address: bool) -> Option<Exit> {
        Some(Exit::UndefinedDecides { is_address })
    }

    fn read(r: &Registers) -> Labels<Self> {
        let mut labels = Labels::clear();
        if let Some(undefined) = &r.undefined {
            labels.gpr = undefined.gpr.map(|bits| Self(u128::from(bits)));
            labels.xmm = undefined.xmm.map(Self);
            labels.x87 = undefined.x87.map(Self);
            labels.x87_status = Self(u128::from(undefined.x87_status));
            labels.flags = FLAGS.map(|flag| Self::when(undefined.rflags & flag != 0));
            labels.compare = undefined.compared.map(|Compared { a, b, bits }| Compare {
                a: labelled(a),
                b: labelled(b),
                bits,
            });
        }
        labels
    }

    fn write(labels: &Labels<Self>, r: &mut Registers) {
        if labels.is_clear() {
            r.undefined = None;
            return;
        }
        let flags = FLAGS.iter().zip(&labels.flags);
        let rflags = flags.fold(0, |all, (flag, label)| all | if label.0 == 0 { 0 } else { *flag });
        // While all flags are defined, nobody asks what was compared.
        let compare = labels.compare.filter(|_| rflags != 0);
        r.undefined = Some(Box::new(Undefined {
            gpr: labels.gpr.map(|label| split(label.0)[0]),
            xmm: labels.xmm.map(|label| label.0),
            x87: labels.x87.map(|label| label.0),
            x87_status: u16::try_from(labels.x87_status.0 & 0xffff).unwrap_or(0),
            rflags,
            compared: compare.map(|Compare { a, b, bits }| Compared {
                a: unlabelled(a),
                b: unlabelled(b),
                bits,
            }),
        }));
    }
}
