//! A digest of how a run ended, to compare runs by.

/// FNV-1a, 64 bits: fixed for all times and hosts, which a standard hasher is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn digest(&mut self, other: Self) {
        self.number(other.0);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn it_is_fnv_1a() {
        let mut digest = Digest::default();
        digest.bytes(b"foobar");
        assert_eq!(digest.0, 0x8594_4171_f739_67e8);
    }
}
