//! A stable hash of file contents: names cached images, and tells whether samples are up to date.
//!
//! 128-bit FNV-1a. It guards against forgetting, not against an attacker.

use std::fmt;

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Collects parts; their borders count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentHash(u128);

impl ContentHash {
    pub(crate) fn new() -> Self {
        Self(OFFSET_BASIS)
    }

    /// Adds one part.
    pub(crate) fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let len = (bytes.len() as u64).to_le_bytes();
        for byte in bytes.iter().chain(&len) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
        self
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ContentHash;

    #[test]
    fn borders_count() {
        let one = ContentHash::new().part("ab").part("c").to_string();
        let other = ContentHash::new().part("a").part("bc").to_string();
        assert_ne!(one, other);
    }
}
