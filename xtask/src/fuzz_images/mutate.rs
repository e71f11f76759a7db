//! Damage: what happens to a file on a bad disk, and what somebody would write on purpose.

/// Numbers that readers trip over.
const TELLING: [u32; 14] = [
    0,
    1,
    2,
    7,
    0x40,
    0xFFF,
    0x1000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFF0,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
];

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64, number: u64, salt: u64) -> Self {
        let mut random = Self { state: seed ^ number.rotate_left(20) ^ salt.rotate_left(60) };
        // Neighbouring cases must not begin alike.
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = (end as u64).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let at = self.below(items.len());
        items.get(at)
    }
}

/// Pieces of text that readers of numbers, JSON and scripts trip over.
const TELLING_TEXTS: [&str; 24] = [
    "",
    ".",
    "-",
    "_",
    "0",
    "zzzzzz",
    "4294967295",
    "18446744073709551616",
    "-1",
    "1e999",
    "null",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{",
    "\"",
    "\\",
    "\u{0}",
    "\u{202e}",
    "\n",
    "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    "loop { }",
    "blob(65536, 0)",
    "let s = \"x\"; loop { s += s; }",
    "while true { read(file, zeros(16777216)); }",
    "fn g(n) { g(n + 1) + g(n) } g(0);",
];

/// Changes a text in one to six places, or puts pieces of another one into it.
pub(crate) fn damage_text(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(24)).min(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                let copies = 1 + random.below(400);
                bytes.splice(at..at, piece.repeat(copies));
            }
            3 => {
                let start = random.below(other.len() + 1);
                let stop = (start + random.below(200)).min(other.len());
                bytes.splice(at..end, other.get(start..stop).unwrap_or_default().to_vec());
            }
            4 | 5 => {
                let text = random.pick(&TELLING_TEXTS).copied().unwrap_or_default();
                bytes.splice(at..end, text.bytes());
            }
            _ => {
                let [value, ..] = random.next().to_le_bytes();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if value & 1 == 0 { value } else { b'0' + value % 10 };
                }
            }
        }
    }
}

/// Changes a file in one to twelve places.
pub(super) fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(12) {
        let at = place(bytes, random);
        match random.below(16) {
            0..4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            4..7 => {
                let [value, ..] = random.next().to_le_bytes();
                overwrite(bytes, at, &[value]);
            }
            7..12 => {
                let value = random.pick(&TELLING).copied().unwrap_or(0);
                overwrite(bytes, at & !3, &value.to_le_bytes());
            }
            12 => {
                // A number that is slightly wrong.
                let at = at & !3;
                let old = bytes.get(at..at + 4).and_then(|old| old.try_into().ok());
                let old = old.map_or(0, u32::from_le_bytes);
                let change = u32::try_from(random.below(64)).unwrap_or(0);
                let value = old.wrapping_add(change).wrapping_sub(32);
                overwrite(bytes, at, &value.to_le_bytes());
            }
            13 => {
                // One part of the file in place of another.
                let from = random.below(bytes.len());
                let len = 1 << random.below(10);
                let part = bytes.get(from..).unwrap_or_default();
                let part = part.get(..len.min(part.len())).unwrap_or_default().to_vec();
                overwrite(bytes, at, &part);
            }
            14 => {
                let len = random.below(256);
                let end = bytes.len().min(at + len);
                bytes.drain(at.min(end)..end);
            }
            // Rare: most parts of a file are gone then, and with them what could go wrong.
            _ if random.below(4) == 0 => bytes.truncate(at),
            _ => {
                let fill = if random.below(2) == 0 { 0 } else { 0xFF };
                overwrite(bytes, at, &vec![fill; random.below(64)]);
            }
        }
    }
}

/// Headers and tables are small, so half of the damage goes to the first and last parts.
fn place(bytes: &[u8], random: &mut Random) -> usize {
    match random.below(4) {
        0 => random.below(bytes.len().min(0x400)),
        1 => bytes.len().saturating_sub(1 + random.below(bytes.len().min(0x800))),
        _ => random.below(bytes.len()),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let room = bytes.get_mut(at..).unwrap_or_default();
    for (to, from) in room.iter_mut().zip(with) {
        *to = *from;
    }
}
