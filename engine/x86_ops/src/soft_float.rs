//! IEEE 754 arithmetic in integers, as the SSE and x87 units do it.
//!
//! Every number is unpacked to a sign, an unbounded exponent and a 64-bit significand whose top bit
//! is the integer bit, which is the x87 register format without its exponent limits. An operation
//! is computed exactly (or with a sticky bit) in 128 bits and rounded once to the format asked for.
//! Host floating point is never used: it could not report the status flags, and its NaN payloads
//! differ between hosts.
//! Source: Intel SDM volume 1, chapters 4.8 and 4.9 (formats, NaN rules, exceptions), 11.5 (SSE
//! exceptions).

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "arithmetic on bit patterns"
)]

/// Exception flags, at their place in MXCSR and in the x87 status word.
pub mod flag {
    /// Invalid operation.
    pub const INVALID: u8 = 1;
    /// An operand is denormal.
    pub const DENORMAL: u8 = 2;
    /// Division of a finite number by zero.
    pub const ZERO_DIVIDE: u8 = 4;
    /// The rounded result is too large.
    pub const OVERFLOW: u8 = 8;
    /// The result is tiny.
    pub const UNDERFLOW: u8 = 16;
    /// The result was rounded.
    pub const INEXACT: u8 = 32;
    /// The flags that are raised before a result is computed.
    pub const BEFORE: u8 = INVALID | DENORMAL | ZERO_DIVIDE;
}

/// Rounding mode, in the encoding of MXCSR.RC and of the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// Towards zero.
    Zero,
}

impl Rounding {
    /// Decodes the two-bit field.
    #[must_use]
    pub fn from_field(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// How results are rounded, and the flags raised so far.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Rounding mode.
    pub rounding: Rounding,
    /// Denormal operands count as zero (MXCSR.DAZ).
    pub denormals_are_zero: bool,
    /// Tiny results become zero while underflow is masked (MXCSR.FTZ).
    pub flush_to_zero: bool,
    /// Masked exceptions, as [`flag`] bits.
    pub masked: u8,
    /// x87 NaN rules (larger significand wins) instead of SSE's (first operand wins).
    pub x87_nans: bool,
    /// Flags raised, as [`flag`] bits.
    pub raised: u8,
    /// The last rounding increased the magnitude (x87 C1).
    pub rounded_up: bool,
}

impl Env {
    /// Decodes MXCSR. No flag is raised yet.
    #[must_use]
    pub fn from_mxcsr(mxcsr: u32) -> Self {
        Self {
            rounding: Rounding::from_field(mxcsr >> 13),
            denormals_are_zero: mxcsr & 0x40 != 0,
            flush_to_zero: mxcsr & 0x8000 != 0,
            masked: (mxcsr >> 7) as u8 & 0x3f,
            x87_nans: false,
            raised: 0,
            rounded_up: false,
        }
    }

    /// Decodes the x87 control word. No flag is raised yet.
    #[must_use]
    pub fn from_x87_control(control: u16) -> Self {
        Self {
            rounding: Rounding::from_field(u32::from(control) >> 10),
            denormals_are_zero: false,
            flush_to_zero: false,
            masked: control as u8 & 0x3f,
            x87_nans: true,
            raised: 0,
            rounded_up: false,
        }
    }

    fn raise(&mut self, flags: u8) {
        self.raised |= flags;
    }
}

/// A binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the significand with the integer bit.
    pub precision: u32,
    /// Exponent of the smallest normal number.
    pub exp_min: i32,
    /// Exponent of the largest number.
    pub exp_max: i32,
}

/// `f32`.
pub const SINGLE: Format = Format { precision: 24, exp_min: -126, exp_max: 127 };
/// `f64`.
pub const DOUBLE: Format = Format { precision: 53, exp_min: -1022, exp_max: 1023 };
/// The x87 register format.
pub const EXTENDED: Format = Format { precision: 64, exp_min: -16382, exp_max: 16383 };

/// What kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Plus or minus zero.
    Zero,
    /// A finite number other than zero.
    Finite,
    /// An infinity.
    Infinity,
    /// A quiet NaN.
    QuietNan,
    /// A signalling NaN.
    SignallingNan,
    /// An x87 encoding that modern processors refuse.
    Unsupported,
}

/// An unpacked number: for a finite one, `sig * 2^(exp - 63)` with bit 63 of `sig` set. A NaN keeps
/// its payload left-aligned in `sig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float {
    /// The kind of number.
    pub class: Class,
    /// True for minus.
    pub sign: bool,
    /// Unbiased exponent.
    pub exp: i32,
    /// Significand with its integer bit at bit 63.
    pub sig: u64,
    /// The encoding was denormal.
    pub is_denormal: bool,
}

const QUIET_BIT: u64 = 1 << 62;

impl Float {
    /// The NaN that masked invalid operations give ("real indefinite").
    pub const INDEFINITE: Self = Self {
        class: Class::QuietNan,
        sign: true,
        exp: 0,
        sig: 0xc000_0000_0000_0000,
        is_denormal: false,
    };

    /// A zero.
    #[must_use]
    pub fn zero(sign: bool) -> Self {
        Self { class: Class::Zero, sign, exp: 0, sig: 0, is_denormal: false }
    }

    /// An infinity.
    #[must_use]
    pub fn infinity(sign: bool) -> Self {
        Self { class: Class::Infinity, sign, exp: 0, sig: 1 << 63, is_denormal: false }
    }

    fn finite(sign: bool, exp: i32, sig: u64) -> Self {
        Self { class: Class::Finite, sign, exp, sig, is_denormal: false }
    }

    /// Returns whether this is a NaN of either kind.
    #[must_use]
    pub fn is_nan(self) -> bool {
        matches!(self.class, Class::QuietNan | Class::SignallingNan)
    }

    fn quieted(self) -> Self {
        if self.is_nan() {
            Self { class: Class::QuietNan, sig: self.sig | QUIET_BIT, ..self }
        } else {
            self
        }
    }

    /// Unpacks a `f32` or `f64` pattern in the low bits of `bits`.
    #[must_use]
    pub fn unpack(bits: u64, format: Format, env: &Env) -> Self {
        let fraction_bits = format.precision - 1;
        let exp_field_max = 2 * format.exp_max + 1;
        let exp_bits = 32 - (exp_field_max as u32).leading_zeros();
        let sign = bits >> (fraction_bits + exp_bits) & 1 != 0;
        let field = (bits >> fraction_bits) as i32 & exp_field_max;
        let fraction = bits & ((1 << fraction_bits) - 1);
        let aligned = fraction << (63 - fraction_bits);
        if field == exp_field_max {
            if fraction == 0 {
                return Self::infinity(sign);
            }
            let class =
                if aligned & QUIET_BIT != 0 { Class::QuietNan } else { Class::SignallingNan };
            return Self { class, sign, exp: 0, sig: aligned | 1 << 63, is_denormal: false };
        }
        if field != 0 {
            return Self::finite(sign, field - format.exp_max, aligned | 1 << 63);
        }
        if fraction == 0 || env.denormals_are_zero {
            return Self::zero(sign);
        }
        let shift = aligned.leading_zeros();
        Self {
            is_denormal: true,
            ..Self::finite(sign, format.exp_min - shift as i32, aligned << shift)
        }
    }

    /// Packs a number that fits the format exactly (a result of `round_to`, a NaN, a zero, an
    /// infinity).
    #[must_use]
    pub fn pack(self, format: Format) -> u64 {
        let fraction_bits = format.precision - 1;
        let exp_field_max = (2 * format.exp_max + 1) as u64;
        let exp_bits = 64 - exp_field_max.leading_zeros();
        let sign = u64::from(self.sign) << (fraction_bits + exp_bits);
        let fraction = (self.sig & !(1 << 63)) >> (63 - fraction_bits);
        match self.class {
            Class::Zero => sign,
            Class::Infinity => sign | exp_field_max << fraction_bits,
            Class::QuietNan | Class::SignallingNan | Class::Unsupported => {
                sign | exp_field_max << fraction_bits | fraction
            }
            Class::Finite if self.exp < format.exp_min => {
                let shift = (format.exp_min - self.exp) as u32;
                sign | self.sig >> (63 - fraction_bits) >> shift.min(63)
            }
            Class::Finite => {
                sign | ((self.exp + format.exp_max) as u64) << fraction_bits | fraction
            }
        }
    }

    /// Unpacks an 80-bit register or `m80` pattern.
    #[must_use]
    pub fn unpack_extended(bits: u128) -> Self {
        let sig = bits as u64;
        let field = (bits >> 64) as i32 & 0x7fff;
        let sign = bits >> 79 & 1 != 0;
        let integer_bit = sig >> 63 != 0;
        if field != 0 && !integer_bit {
            let class = Class::Unsupported;
            return Self { class, sign, exp: 0, sig, is_denormal: false };
        }
        if field == 0x7fff {
            if sig << 1 == 0 {
                return Self::infinity(sign);
            }
            let class = if sig & QUIET_BIT != 0 { Class::QuietNan } else { Class::SignallingNan };
            return Self { class, sign, exp: 0, sig, is_denormal: false };
        }
        if sig == 0 {
            return Self::zero(sign);
        }
        if field == 0 {
            // A set integer bit makes it a pseudo-denormal: same exponent, still a denormal
            // operand.
            let shift = sig.leading_zeros();
            return Self {
                is_denormal: true,
                ..Self::finite(sign, EXTENDED.exp_min - shift as i32, sig << shift)
            };
        }
        Self::finite(sign, field - 16383, sig)
    }

    /// Packs to 80 bits.
    #[must_use]
    pub fn pack_extended(self) -> u128 {
        let sign = u128::from(self.sign) << 79;
        let special = 0x7fff_u128 << 64;
        match self.class {
            Class::Zero => sign,
            Class::Infinity => sign | special | 1 << 63,
            Class::QuietNan | Class::SignallingNan | Class::Unsupported => {
                sign | special | u128::from(self.sig)
            }
            Class::Finite if self.exp < EXTENDED.exp_min => {
                sign | u128::from(self.sig >> ((EXTENDED.exp_min - self.exp) as u32).min(63))
            }
            Class::Finite => sign | ((self.exp + 16383) as u128) << 64 | u128::from(self.sig),
        }
    }

    /// Converts an integer exactly to an unpacked number.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        if value == 0 {
            return Self::zero(false);
        }
        let magnitude = value.unsigned_abs();
        let shift = magnitude.leading_zeros();
        Self::finite(value < 0, 63 - shift as i32, magnitude << shift)
    }
}

/// Shifts right and keeps a trace of lost ones in bit 0.
fn shift_right_sticky(value: u128, count: u32) -> u128 {
    match count {
        0 => value,
        1..=127 => value >> count | u128::from(value << (128 - count) != 0),
        _ => u128::from(value != 0),
    }
}

/// Drops the bits below `drop` (at most 127, at least 1) by the rounding mode. Returns the kept
/// part and whether it was rounded at all and away from zero.
fn round_bits(sig: u128, drop: u32, sign: bool, rounding: Rounding) -> (u128, bool, bool) {
    let kept = sig >> drop;
    let rest = sig & ((1 << drop) - 1);
    let half = 1_u128 << (drop - 1);
    let up = match rounding {
        Rounding::Nearest => rest > half || rest == half && kept & 1 != 0,
        Rounding::Down => sign && rest != 0,
        Rounding::Up => !sign && rest != 0,
        Rounding::Zero => false,
    };
    (kept + u128::from(up), rest != 0, up)
}

/// Rounds `sig * 2^(exp - 127)` (bit 127 of `sig` set, bit 0 sticky) to the format, raising flags.
fn round_to(sign: bool, exp: i32, sig: u128, format: Format, env: &mut Env) -> Float {
    let drop = 128 - format.precision;
    let (kept, inexact, up) = round_bits(sig, drop, sign, env.rounding);
    let carried = kept >> format.precision != 0;
    let rounded_exp = exp + i32::from(carried);
    if rounded_exp < format.exp_min {
        return round_tiny(sign, exp, sig, format, env);
    }
    if rounded_exp > format.exp_max {
        env.raise(flag::OVERFLOW);
        // With the exception unmasked there is no result to be inexact about, unless rounding lost
        // bits.
        if env.masked & flag::OVERFLOW != 0 || inexact {
            env.raise(flag::INEXACT);
        }
        let to_infinity = match env.rounding {
            Rounding::Nearest => true,
            Rounding::Down => sign,
            Rounding::Up => !sign,
            Rounding::Zero => false,
        };
        env.rounded_up = to_infinity;
        return if to_infinity {
            Float::infinity(sign)
        } else {
            Float::finite(sign, format.exp_max, u64::MAX << (64 - format.precision))
        };
    }
    if inexact {
        env.raise(flag::INEXACT);
    }
    env.rounded_up = up;
    let kept = if carried { kept >> 1 } else { kept };
    Float::finite(sign, rounded_exp, (kept << (64 - format.precision)) as u64)
}

/// Rounds a result below the normal range.
fn round_tiny(sign: bool, exp: i32, sig: u128, format: Format, env: &mut Env) -> Float {
    let underflow_masked = env.masked & flag::UNDERFLOW != 0;
    if underflow_masked && env.flush_to_zero {
        env.raise(flag::UNDERFLOW | flag::INEXACT);
        env.rounded_up = false;
        return Float::zero(sign);
    }
    let shifted = shift_right_sticky(sig, (format.exp_min - exp) as u32);
    let drop = 128 - format.precision;
    let (kept, inexact, up) = round_bits(shifted, drop, sign, env.rounding);
    if underflow_masked {
        if inexact {
            env.raise(flag::UNDERFLOW | flag::INEXACT);
        }
    } else {
        env.raise(flag::UNDERFLOW);
        if round_bits(sig, drop, sign, env.rounding).1 {
            env.raise(flag::INEXACT);
        }
    }
    env.rounded_up = up;
    if kept == 0 {
        return Float::zero(sign);
    }
    let aligned = (kept << (64 - format.precision)) as u64;
    let shift = aligned.leading_zeros();
    Float::finite(sign, format.exp_min - shift as i32, aligned << shift)
}

/// Applies the NaN rules when an operand is a NaN or unsupported.
fn propagate_nan(a: Float, b: Float, env: &mut Env) -> Option<Float> {
    if a.class == Class::Unsupported || b.class == Class::Unsupported {
        env.raise(flag::INVALID);
        return Some(Float::INDEFINITE);
    }
    if !a.is_nan() && !b.is_nan() {
        return None;
    }
    if a.class == Class::SignallingNan || b.class == Class::SignallingNan {
        env.raise(flag::INVALID);
    }
    if !(a.is_nan() && b.is_nan() && env.x87_nans) {
        return Some(if a.is_nan() { a.quieted() } else { b.quieted() });
    }
    // x87 with two NaNs: the quiet one beats a signalling one, then the larger significand, then
    // the positive.
    let a_quiet = a.class == Class::QuietNan;
    let b_quiet = b.class == Class::QuietNan;
    let chosen = if a_quiet != b_quiet {
        if a_quiet { a } else { b }
    } else if a.sig != b.sig {
        if a.sig > b.sig { a } else { b }
    } else if a.sign {
        b
    } else {
        a
    };
    Some(chosen.quieted())
}

fn invalid(env: &mut Env) -> Float {
    env.raise(flag::INVALID);
    Float::INDEFINITE
}

fn note_denormals(a: Float, b: Float, env: &mut Env) {
    if a.is_denormal || b.is_denormal {
        env.raise(flag::DENORMAL);
    }
}

/// `a + b`.
pub fn add(a: Float, b: Float, format: Format, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, b, env) {
        return nan;
    }
    if a.class == Class::Infinity && b.class == Class::Infinity && a.sign != b.sign {
        return invalid(env);
    }
    note_denormals(a, b, env);
    match (a.class, b.class) {
        (Class::Infinity, _) => a,
        (_, Class::Infinity) => b,
        (Class::Zero, Class::Zero) => {
            let sign = if a.sign == b.sign { a.sign } else { env.rounding == Rounding::Down };
            Float::zero(sign)
        }
        (Class::Zero, _) => round_to(b.sign, b.exp, u128::from(b.sig) << 64, format, env),
        (_, Class::Zero) => round_to(a.sign, a.exp, u128::from(a.sig) << 64, format, env),
        _ => add_finite(a, b, format, env),
    }
}

fn add_finite(a: Float, b: Float, format: Format, env: &mut Env) -> Float {
    let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    // One bit above for the carry, 63 below for what the alignment shifts out.
    let big_sig = u128::from(big.sig) << 63;
    let small_sig = shift_right_sticky(u128::from(small.sig) << 63, (big.exp - small.exp) as u32);
    let sum = if big.sign == small.sign { big_sig + small_sig } else { big_sig - small_sig };
    if sum == 0 {
        return Float::zero(env.rounding == Rounding::Down);
    }
    let shift = sum.leading_zeros();
    round_to(big.sign, big.exp + 1 - shift as i32, sum << shift, format, env)
}

/// `a - b`. A NaN operand keeps its sign.
pub fn sub(a: Float, b: Float, format: Format, env: &mut Env) -> Float {
    let negated = if b.is_nan() { b } else { Float { sign: !b.sign, ..b } };
    add(a, negated, format, env)
}

/// `a * b`.
pub fn mul(a: Float, b: Float, format: Format, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, b, env) {
        return nan;
    }
    let sign = a.sign != b.sign;
    let has_zero = a.class == Class::Zero || b.class == Class::Zero;
    let has_infinity = a.class == Class::Infinity || b.class == Class::Infinity;
    if has_zero && has_infinity {
        return invalid(env);
    }
    note_denormals(a, b, env);
    if has_infinity {
        return Float::infinity(sign);
    }
    if has_zero {
        return Float::zero(sign);
    }
    let product = u128::from(a.sig) * u128::from(b.sig);
    let shift = product.leading_zeros();
    round_to(sign, a.exp + b.exp + 1 - shift as i32, product << shift, format, env)
}

/// `a / b`.
pub fn div(a: Float, b: Float, format: Format, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, b, env) {
        return nan;
    }
    let sign = a.sign != b.sign;
    match (a.class, b.class) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return invalid(env),
        (Class::Infinity, _) => {
            note_denormals(a, b, env);
            return Float::infinity(sign);
        }
        (_, Class::Zero) => {
            env.raise(flag::ZERO_DIVIDE);
            return Float::infinity(sign);
        }
        (Class::Zero, _) | (_, Class::Infinity) => {
            note_denormals(a, b, env);
            return Float::zero(sign);
        }
        _ => note_denormals(a, b, env),
    }
    let divisor = u128::from(b.sig);
    let high = (u128::from(a.sig) << 64) / divisor;
    let rest = (u128::from(a.sig) << 64) % divisor;
    let low = (rest << 63) / divisor;
    let sticky = u128::from((rest << 63) % divisor != 0);
    let quotient = high << 63 | low;
    let shift = quotient.leading_zeros();
    let exp = a.exp - b.exp - shift as i32;
    // Bit 0 may be part of the quotient; or-ing the trace into it is harmless at 127 significant
    // bits.
    round_to(sign, exp, quotient << shift | sticky, format, env)
}

/// The square root of `a`.
pub fn sqrt(a: Float, format: Format, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, a, env) {
        return nan;
    }
    if a.class == Class::Zero {
        return a;
    }
    if a.sign {
        return invalid(env);
    }
    note_denormals(a, a, env);
    if a.class == Class::Infinity {
        return a;
    }
    // An even exponent is needed: take one bit more of the significand for odd ones.
    let odd = a.exp & 1 != 0;
    let radicand = if odd { u128::from(a.sig) << 64 } else { u128::from(a.sig) << 63 };
    let mut rest = 0_u128;
    let mut root = 0_u128;
    for step in 0..68_u32 {
        let pair = if step < 64 { radicand >> (126 - 2 * step) & 3 } else { 0 };
        rest = rest << 2 | pair;
        let trial = root << 2 | 1;
        root <<= 1;
        if rest >= trial {
            rest -= trial;
            root |= 1;
        }
    }
    let shift = root.leading_zeros();
    let sig = root << shift | u128::from(rest != 0);
    round_to(false, (a.exp - i32::from(odd)) / 2, sig, format, env)
}

/// Converts to another format; a signalling NaN becomes quiet and is invalid.
pub fn convert(a: Float, format: Format, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, a, env) {
        return nan;
    }
    note_denormals(a, a, env);
    round_only(a, format, env)
}

/// As [`convert`], but a denormal operand is not noted (x87 stores).
pub fn narrow(a: Float, format: Format, env: &mut Env) -> Float {
    match propagate_nan(a, a, env) {
        Some(nan) => nan,
        None => round_only(a, format, env),
    }
}

/// Rounds a finite number to a format without looking at its operand class (no denormal flag).
pub fn round_only(a: Float, format: Format, env: &mut Env) -> Float {
    match a.class {
        Class::Finite => round_to(a.sign, a.exp, u128::from(a.sig) << 64, format, env),
        _ => a,
    }
}

/// Rounds to an integer of `bits` bits (at most 64), or `None` with *invalid* if it does not fit.
pub fn to_int(a: Float, bits: u32, rounding: Rounding, env: &mut Env) -> Option<i64> {
    match a.class {
        Class::Zero => return Some(0),
        Class::Finite if a.exp < 64 => {}
        _ => {
            env.raise(flag::INVALID);
            return None;
        }
    }
    let wide = u128::from(a.sig) << 63;
    let shifted = shift_right_sticky(wide, (63 - a.exp) as u32);
    let (magnitude, inexact, up) = round_bits(shifted, 63, a.sign, rounding);
    let limit = 1_u128 << (bits - 1);
    if magnitude > limit || magnitude == limit && !a.sign {
        env.raise(flag::INVALID);
        return None;
    }
    if inexact {
        env.raise(flag::INEXACT);
    }
    env.rounded_up = up;
    let value = magnitude as i128;
    Some(if a.sign { -value as i64 } else { value as i64 })
}

/// Rounds to an integral number in the same format (x87 `frndint`).
pub fn round_to_integral(a: Float, env: &mut Env) -> Float {
    if let Some(nan) = propagate_nan(a, a, env) {
        return nan;
    }
    note_denormals(a, a, env);
    if a.class != Class::Finite || a.exp >= 63 {
        return a;
    }
    let shifted = shift_right_sticky(u128::from(a.sig) << 63, (63 - a.exp) as u32);
    let (magnitude, inexact, up) = round_bits(shifted, 63, a.sign, env.rounding);
    if inexact {
        env.raise(flag::INEXACT);
    }
    env.rounded_up = up;
    if magnitude == 0 {
        return Float::zero(a.sign);
    }
    let shift = (magnitude as u64).leading_zeros();
    Float::finite(a.sign, 63 - shift as i32, (magnitude as u64) << shift)
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first is smaller.
    Less,
    /// Equal.
    Equal,
    /// The first is larger.
    Greater,
    /// One is a NaN.
    Unordered,
}

/// Which NaNs make a comparison invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanCompare {
    /// Only signalling ones (`ucomis`, `cmpeq`).
    Quiet,
    /// All (`comis`, `cmplt`).
    Signalling,
}

/// Compares.
pub fn compare(a: Float, b: Float, nans: NanCompare, env: &mut Env) -> Order {
    let refused = a.class == Class::Unsupported || b.class == Class::Unsupported;
    if refused || a.is_nan() || b.is_nan() {
        let signalling = a.class == Class::SignallingNan || b.class == Class::SignallingNan;
        if refused || signalling || nans == NanCompare::Signalling {
            env.raise(flag::INVALID);
        }
        return Order::Unordered;
    }
    note_denormals(a, b, env);
    let key = |x: Float| {
        let magnitude = match x.class {
            Class::Zero => (i32::MIN, 0),
            Class::Infinity => (i32::MAX, 0),
            _ => (x.exp, x.sig),
        };
        (x.sign && x.class != Class::Zero, magnitude)
    };
    let ((a_minus, a_size), (b_minus, b_size)) = (key(a), key(b));
    let order = match (a_minus, b_minus) {
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a_size.cmp(&b_size),
        (true, true) => b_size.cmp(&a_size),
    };
    match order {
        std::cmp::Ordering::Less => Order::Less,
        std::cmp::Ordering::Equal => Order::Equal,
        std::cmp::Ordering::Greater => Order::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::{DOUBLE, Env, Float, SINGLE, add, convert, div, flag, mul, sqrt, sub, to_int};

    fn env() -> Env {
        Env::from_mxcsr(0x1f80)
    }

    /// Rust's own arithmetic rounds to nearest even, so every result must agree with it.
    #[test]
    fn agrees_with_the_host_on_doubles() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Keep exponents near each other now and then, so that additions cancel.
            if state & 3 == 0 { state & !(0x7f8 << 52) | 0x3f0 << 52 } else { state }
        };
        for _ in 0..100_000 {
            let (x, y) = (next(), next());
            let (fx, fy) = (f64::from_bits(x), f64::from_bits(y));
            let mut e = env();
            let (a, b) = (Float::unpack(x, DOUBLE, &e), Float::unpack(y, DOUBLE, &e));
            let cases = [
                (add(a, b, DOUBLE, &mut e), fx + fy),
                (sub(a, b, DOUBLE, &mut e), fx - fy),
                (mul(a, b, DOUBLE, &mut e), fx * fy),
                (div(a, b, DOUBLE, &mut e), fx / fy),
                (sqrt(a, DOUBLE, &mut e), fx.sqrt()),
            ];
            for (ours, host) in cases {
                if host.is_nan() {
                    assert!(ours.is_nan());
                } else {
                    assert_eq!(ours.pack(DOUBLE), host.to_bits(), "{x:x} {y:x}");
                }
            }
            let mut e = env();
            let narrow = convert(a, SINGLE, &mut e);
            #[expect(clippy::cast_possible_truncation, reason = "the conversion under test")]
            let host = fx as f32;
            if !host.is_nan() {
                assert_eq!(narrow.pack(SINGLE), u64::from(host.to_bits()), "{x:x}");
            }
        }
    }

    #[test]
    fn flags_follow_the_manual() {
        let one = |bits: u64, e: &Env| Float::unpack(bits, DOUBLE, e);
        let mut e = env();
        let (a, zero) = (one(1.0_f64.to_bits(), &e), one(0, &e));
        div(a, zero, DOUBLE, &mut e);
        assert_eq!(e.raised, flag::ZERO_DIVIDE);
        let mut e = env();
        div(zero, zero, DOUBLE, &mut e);
        assert_eq!(e.raised, flag::INVALID);
        let mut e = env();
        let third = div(a, one(3.0_f64.to_bits(), &e), DOUBLE, &mut e);
        assert_eq!((third.pack(DOUBLE), e.raised), ((1.0_f64 / 3.0).to_bits(), flag::INEXACT));
        let mut e = env();
        assert_eq!(to_int(one(2.5_f64.to_bits(), &e), 32, e.rounding, &mut e), Some(2));
        assert_eq!(to_int(one(3e9_f64.to_bits(), &e), 32, e.rounding, &mut e), None);
        assert_eq!(e.raised, flag::INEXACT | flag::INVALID);
    }
}
