//! Random values with a taste for edge cases.

/// A small generator (splitmix64): equal seeds give equal values on every host.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Starts at a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self { state: seed };
        random.next();
        random
    }

    /// A uniform value.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A uniform value below `bound` (at least 1).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An element.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64) as usize;
        from.get(index).copied().expect("the slice is not empty")
    }

    /// An integer: small, near a power of two, a repeated byte, or uniform.
    pub(crate) fn integer(&mut self) -> u64 {
        match self.below(10) {
            0 => self.below(4),
            1 => 0_u64.wrapping_sub(self.below(4)),
            2 | 3 => {
                let power = 1_u64 << self.below(64);
                let value = power.wrapping_add(self.below(3)).wrapping_sub(1);
                if self.chance(30) { value.wrapping_neg() } else { value }
            }
            4 => (self.next() & 0xff) * 0x0101_0101_0101_0101,
            5 => self.next() >> self.below(64),
            6 => {
                // Edges of the narrower widths below random upper bits.
                let edge = self.pick(&[0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff]);
                let width = if edge > 0xffff {
                    32
                } else if edge > 0xff {
                    16
                } else {
                    8
                };
                self.next() << width | edge
            }
            _ => self.next(),
        }
    }

    /// A `f64` pattern.
    pub(crate) fn double(&mut self) -> u64 {
        let sign = self.next() & 1 << 63;
        let fraction = self.integer() & ((1 << 52) - 1);
        sign | match self.below(14) {
            0 => 0,
            1 => 0x7ff << 52,
            2 => 0x7ff << 52 | 1 << 51 | fraction,
            3 => 0x7ff << 52 | 1 | fraction & !(1 << 51),
            4 => fraction,
            5 => (1 + self.below(3)) << 52 | fraction,
            6 => (0x7fc + self.below(3)) << 52 | fraction,
            // Halves and limits of the integer conversions.
            7 => (self.below(9) as f64 / 2.0).to_bits(),
            8 => (0x3ff + 30 + self.below(3)) << 52 | self.pick(&[0, fraction, (1 << 52) - 1]),
            9 => (0x3ff + 62 + self.below(3)) << 52 | self.pick(&[0, fraction, (1 << 52) - 1]),
            // The range limits of f32.
            10 => (0x3ff - 150 + self.below(30)) << 52 | self.pick(&[0, fraction]),
            11 => (0x3ff + 126 + self.below(4)) << 52 | self.pick(&[0, fraction, (1 << 52) - 1]),
            12 => (0x3f0 + self.below(32)) << 52 | fraction,
            _ => self.next() & !(1 << 63),
        }
    }

    /// A `f32` pattern.
    pub(crate) fn single(&mut self) -> u32 {
        let sign = self.next() as u32 & 1 << 31;
        let fraction = self.integer() as u32 & 0x7f_ffff;
        sign | match self.below(11) {
            0 => 0,
            1 => 0xff << 23,
            2 => 0xff << 23 | 1 << 22 | fraction,
            3 => 0xff << 23 | 1 | fraction & !(1 << 22),
            4 => fraction,
            5 => (1 + self.below(2) as u32) << 23 | fraction,
            6 => (0xfd + self.below(2) as u32) << 23 | fraction,
            7 => (self.below(9) as f32 / 2.0).to_bits(),
            8 => (0x7f + 30 + self.below(3) as u32) << 23 | self.pick(&[0, fraction]),
            9 => (0x70 + self.below(32) as u32) << 23 | fraction,
            _ => self.next() as u32 & !(1 << 31),
        }
    }

    /// A 128-bit value: integers, doubles or singles.
    pub(crate) fn vector(&mut self) -> u128 {
        let (low, high) = match self.below(3) {
            0 => (self.integer(), self.integer()),
            1 => (self.double(), self.double()),
            _ => {
                let mut pair = || u64::from(self.single()) << 32 | u64::from(self.single());
                (pair(), pair())
            }
        };
        u128::from(high) << 64 | u128::from(low)
    }

    /// An 80-bit x87 pattern.
    pub(crate) fn extended(&mut self) -> u128 {
        let sign = u128::from(self.next() & 1) << 79;
        let field = |exp: u64| u128::from(exp) << 64;
        let sig = u128::from(self.integer() | 1 << 63);
        sign | match self.below(14) {
            0 => 0,
            1 => field(0x7fff) | 1 << 63,
            2 => field(0x7fff) | sig | 1 << 62,
            3 => field(0x7fff) | 1 | sig & !(1 << 62),
            4 => sig & !(1 << 63),
            5 => sig,
            6 => field(self.below(0x8000)) | sig & !(1 << 63),
            7 => field(self.below(0x8000)) | sig,
            8 => field(0x3fff + 30 + self.below(3)) | sig,
            9 => field(0x3fff + 62 + self.below(3)) | sig,
            10 => field(0x3fff + self.below(3)) | u128::from(8 + self.below(8)) << 60,
            _ => field(0x3ff0 + self.below(32)) | sig,
        }
    }
}
