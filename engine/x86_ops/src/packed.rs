//! Packed-integer and shuffle operations of SSE and SSE2 as plain functions of 128-bit values.
//!
//! Lane 0 is the lowest. Source: Intel SDM volume 2, the page of each instruction.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "arithmetic on bit patterns"
)]

/// Declares functions of whole registers, named after their instructions.
macro_rules! instructions {
    ($($name:ident($($arg:ident: $type:ty),*) = $body:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`")]
        #[inline]
        #[must_use]
        pub fn $name($($arg: $type),*) -> u128 {
            $body
        }
    )*};
}

// `destination = f(destination, source)`.
instructions! {
    paddb(a: u128, b: u128) = bytes(a, b, u8::wrapping_add);
    paddw(a: u128, b: u128) = words(a, b, u16::wrapping_add);
    paddd(a: u128, b: u128) = doubles(a, b, u32::wrapping_add);
    paddq(a: u128, b: u128) = quads(a, b, u64::wrapping_add);
    psubb(a: u128, b: u128) = bytes(a, b, u8::wrapping_sub);
    psubw(a: u128, b: u128) = words(a, b, u16::wrapping_sub);
    psubd(a: u128, b: u128) = doubles(a, b, u32::wrapping_sub);
    psubq(a: u128, b: u128) = quads(a, b, u64::wrapping_sub);
    paddsb(a: u128, b: u128) = bytes(a, b, |x, y| (x as i8).saturating_add(y as i8) as u8);
    paddsw(a: u128, b: u128) = words(a, b, |x, y| (x as i16).saturating_add(y as i16) as u16);
    paddusb(a: u128, b: u128) = bytes(a, b, u8::saturating_add);
    paddusw(a: u128, b: u128) = words(a, b, u16::saturating_add);
    psubsb(a: u128, b: u128) = bytes(a, b, |x, y| (x as i8).saturating_sub(y as i8) as u8);
    psubsw(a: u128, b: u128) = words(a, b, |x, y| (x as i16).saturating_sub(y as i16) as u16);
    psubusb(a: u128, b: u128) = bytes(a, b, u8::saturating_sub);
    psubusw(a: u128, b: u128) = words(a, b, u16::saturating_sub);
    pmullw(a: u128, b: u128) = words(a, b, u16::wrapping_mul);
    pmulhw(a: u128, b: u128) = words(a, b, |x, y| ((signed(x) * signed(y)) >> 16) as u16);
    pmulhuw(a: u128, b: u128) = words(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    pmuludq(a: u128, b: u128) = quads(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32));
    pmaddwd(a: u128, b: u128) = doubles(a, b, multiply_add);
    psadbw(a: u128, b: u128) = quads(a, b, sum_of_differences);
    pavgb(a: u128, b: u128) = bytes(a, b, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8);
    pavgw(a: u128, b: u128) = words(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16);
    pminub(a: u128, b: u128) = bytes(a, b, Ord::min);
    pmaxub(a: u128, b: u128) = bytes(a, b, Ord::max);
    pminsw(a: u128, b: u128) = words(a, b, |x, y| (x as i16).min(y as i16) as u16);
    pmaxsw(a: u128, b: u128) = words(a, b, |x, y| (x as i16).max(y as i16) as u16);
    pcmpeqb(a: u128, b: u128) = bytes(a, b, |x, y| if x == y { u8::MAX } else { 0 });
    pcmpeqw(a: u128, b: u128) = words(a, b, |x, y| if x == y { u16::MAX } else { 0 });
    pcmpeqd(a: u128, b: u128) = doubles(a, b, |x, y| if x == y { u32::MAX } else { 0 });
    pcmpgtb(a: u128, b: u128) = bytes(a, b, |x, y| if x as i8 > y as i8 { u8::MAX } else { 0 });
    pcmpgtw(a: u128, b: u128) = words(a, b, |x, y| if x as i16 > y as i16 { u16::MAX } else { 0 });
    pcmpgtd(a: u128, b: u128) = {
        doubles(a, b, |x, y| if x as i32 > y as i32 { u32::MAX } else { 0 })
    };
    pand(a: u128, b: u128) = a & b;
    pandn(a: u128, b: u128) = !a & b;
    por(a: u128, b: u128) = a | b;
    pxor(a: u128, b: u128) = a ^ b;
    packsswb(a: u128, b: u128) = pack_words(a, b, |x| x.clamp(-0x80, 0x7f) as u8);
    packuswb(a: u128, b: u128) = pack_words(a, b, |x| x.clamp(0, 0xff) as u8);
    packssdw(a: u128, b: u128) = pack_doubles(a, b);
    punpcklbw(a: u128, b: u128) = interleave(a, b, 8, 0);
    punpcklwd(a: u128, b: u128) = interleave(a, b, 16, 0);
    punpckldq(a: u128, b: u128) = interleave(a, b, 32, 0);
    punpcklqdq(a: u128, b: u128) = interleave(a, b, 64, 0);
    punpckhbw(a: u128, b: u128) = interleave(a, b, 8, 64);
    punpckhwd(a: u128, b: u128) = interleave(a, b, 16, 64);
    punpckhdq(a: u128, b: u128) = interleave(a, b, 32, 64);
    punpckhqdq(a: u128, b: u128) = interleave(a, b, 64, 64);
}

// `destination = f(destination, source, immediate)`.
instructions! {
    pshufd(_a: u128, b: u128, imm: u8) = pick_doubles(b, b, imm);
    pshuflw(_a: u128, b: u128, imm: u8) = b >> 64 << 64 | u128::from(pick_words(b as u64, imm));
    pshufhw(_a: u128, b: u128, imm: u8) = {
        u128::from(pick_words((b >> 64) as u64, imm)) << 64 | u128::from(b as u64)
    };
    shufps(a: u128, b: u128, imm: u8) = pick_doubles(a, b, imm);
    shufpd(a: u128, b: u128, imm: u8) = {
        let low = (a >> (u32::from(imm & 1) * 64)) as u64;
        let high = (b >> (u32::from(imm >> 1 & 1) * 64)) as u64;
        u128::from(high) << 64 | u128::from(low)
    };
}

// `destination = f(destination, count)`: the low quadword of a register or memory, or the
// immediate.
instructions! {
    psllw(a: u128, n: u64) = words(a, 0, |x, _| if n < 16 { x << n } else { 0 });
    pslld(a: u128, n: u64) = doubles(a, 0, |x, _| if n < 32 { x << n } else { 0 });
    psllq(a: u128, n: u64) = quads(a, 0, |x, _| if n < 64 { x << n } else { 0 });
    psrlw(a: u128, n: u64) = words(a, 0, |x, _| if n < 16 { x >> n } else { 0 });
    psrld(a: u128, n: u64) = doubles(a, 0, |x, _| if n < 32 { x >> n } else { 0 });
    psrlq(a: u128, n: u64) = quads(a, 0, |x, _| if n < 64 { x >> n } else { 0 });
    psraw(a: u128, n: u64) = words(a, 0, |x, _| ((x as i16) >> n.min(15)) as u16);
    psrad(a: u128, n: u64) = doubles(a, 0, |x, _| ((x as i32) >> n.min(31)) as u32);
    pslldq(a: u128, n: u64) = if n < 16 { a << (8 * n) } else { 0 };
    psrldq(a: u128, n: u64) = if n < 16 { a >> (8 * n) } else { 0 };
}

/// Applies `f` to each pair of bytes.
pub fn bytes(a: u128, b: u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    lanes(8, |at| u128::from(f((a >> at) as u8, (b >> at) as u8)))
}

/// Applies `f` to each pair of words.
pub fn words(a: u128, b: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    lanes(16, |at| u128::from(f((a >> at) as u16, (b >> at) as u16)))
}

/// Applies `f` to each pair of doublewords.
pub fn doubles(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    lanes(32, |at| u128::from(f((a >> at) as u32, (b >> at) as u32)))
}

/// Applies `f` to each pair of quadwords.
pub fn quads(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    lanes(64, |at| u128::from(f((a >> at) as u64, (b >> at) as u64)))
}

/// Joins lanes of `bits` bits; `f` gets the bit position of each.
fn lanes(bits: usize, f: impl Fn(u32) -> u128) -> u128 {
    (0..128).step_by(bits).fold(0, |sum, at| sum | f(at) << at)
}

fn signed(word: u16) -> i32 {
    i32::from(word as i16)
}

fn multiply_add(x: u32, y: u32) -> u32 {
    let low = signed(x as u16) * signed(y as u16);
    let high = signed((x >> 16) as u16) * signed((y >> 16) as u16);
    low.wrapping_add(high) as u32
}

fn sum_of_differences(x: u64, y: u64) -> u64 {
    let pairs = x.to_le_bytes().into_iter().zip(y.to_le_bytes());
    pairs.map(|(p, q)| u64::from(p.abs_diff(q))).sum()
}

/// Packs the eight words of `a`, then those of `b`, to bytes.
fn pack_words(a: u128, b: u128, saturate: impl Fn(i16) -> u8) -> u128 {
    lanes(8, |at| {
        let from = if at < 64 { a } else { b };
        u128::from(saturate((from >> (at % 64 * 2)) as i16))
    })
}

fn pack_doubles(a: u128, b: u128) -> u128 {
    lanes(16, |at| {
        let from = if at < 64 { a } else { b };
        let value = (from >> (at % 64 * 2)) as i32;
        u128::from(value.clamp(-0x8000, 0x7fff) as u16)
    })
}

/// Interleaves lanes of `bits` bits of the half of `a` and `b` that starts at bit `start`.
fn interleave(a: u128, b: u128, bits: u32, start: u32) -> u128 {
    let mask = (1_u128 << bits) - 1;
    (0..64 / bits).fold(0, |sum, lane| {
        let at = start + lane * bits;
        let to = lane * 2 * bits;
        sum | (a >> at & mask) << to | (b >> at & mask) << (to + bits)
    })
}

/// `shufps`: two lanes of `a`, then two of `b`, chosen by the bit pairs of `imm`.
fn pick_doubles(a: u128, b: u128, imm: u8) -> u128 {
    lanes(32, |at| {
        let from = if at < 64 { a } else { b };
        let lane = u32::from(imm >> (at / 16) & 3);
        from >> (lane * 32) & 0xffff_ffff
    })
}

fn pick_words(half: u64, imm: u8) -> u64 {
    (0..4).fold(0, |sum, at| {
        let lane = u32::from(imm >> (at * 2) & 3);
        sum | (half >> (lane * 16) & 0xffff) << (at * 16)
    })
}

#[cfg(test)]
mod tests {
    use super::{psadbw, psrldq, punpckhqdq, punpcklbw, shufps};

    #[test]
    fn examples() {
        let a = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100_u128;
        let b = 0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110_u128;
        assert_eq!(punpcklbw(a, b), 0x1707_1606_1505_1404_1303_1202_1101_1000);
        assert_eq!(punpckhqdq(a, b), ((b >> 64) << 64) | a >> 64);
        assert_eq!(psadbw(a, b), 0x80 << 64 | 0x80);
        assert_eq!(shufps(a, b, 0b11_10_01_00), ((b >> 64) << 64) | (a & u128::from(u64::MAX)));
        assert_eq!((psrldq(a, 8), psrldq(a, 16)), (a >> 64, 0));
    }
}
