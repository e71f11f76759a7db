//! Which lengths are worth trying.

use crate::Facts;

/// A page, the border at which an access beyond a buffer shows itself.
pub(crate) const PAGE: u32 = 4096;

/// A length in words.
pub(crate) fn in_words(length_bytes: u32) -> String {
    if length_bytes == 1 { "1 byte".to_owned() } else { format!("{length_bytes} bytes") }
}

/// Lengths of inputs and outputs that a control code may expect, the likeliest first.
pub(crate) fn of_code(facts: &Facts, code: u32) -> Vec<u32> {
    let of_code = facts.lengths_of_code.get(&code).into_iter().flatten().copied();
    let anywhere = facts.lengths.iter().copied();
    let mut list = Vec::new();
    push_new(&mut list, of_code.filter(|length| *length > 1));
    push_new(&mut list, [64, 4, 8, 16]);
    push_new(&mut list, anywhere.filter(|length| *length > 1));
    list.truncate(12);
    list
}

/// A few lengths that are likely accepted: those the code is known to expect, and a roomy one.
pub(crate) fn typical(facts: &Facts, code: u32) -> Vec<u32> {
    let of_code = facts.lengths_of_code.get(&code).into_iter().flatten().copied();
    let mut list: Vec<u32> = of_code.filter(|length| *length > 1).collect();
    // A length and its neighbour come from one comparison; the longer one satisfies it.
    list.dedup_by(|later, earlier| {
        let is_pair = *later == *earlier + 1;
        if is_pair {
            *earlier = *later;
        }
        is_pair
    });
    list.truncate(3);
    push_new(&mut list, [64]);
    list
}

/// Lengths at which a check is usually wrong by one, around those expected.
pub(crate) fn around(expected: &[u32]) -> Vec<u32> {
    let mut list = vec![0, 1];
    for length in expected.iter().take(4) {
        push_new(&mut list, [length.saturating_sub(1), *length, length + 1]);
    }
    push_new(&mut list, [PAGE, PAGE + 1]);
    list
}

/// Lengths that satisfy most checks, the likeliest first: those expected, and a roomy one.
pub(crate) fn enough(expected: &[u32]) -> Vec<u32> {
    let mut list = Vec::new();
    push_new(&mut list, expected.iter().copied().take(3));
    push_new(&mut list, [64]);
    list
}

/// Lengths below what is expected.
pub(crate) fn short(expected: &[u32]) -> Vec<u32> {
    let mut list = vec![0, 1];
    let half = expected.first().map(|length| length / 2);
    push_new(&mut list, half.filter(|length| *length > 1));
    list
}

/// Usual sizes of structures and buffers, for what no comparison in the image tells.
pub(crate) const USUAL: [u32; 18] =
    [2, 12, 20, 24, 32, 33, 40, 48, 65, 96, 100, 128, 255, 256, 257, 260, 512, 1024];

/// Lengths of reads and writes.
pub(crate) fn of_transfers(facts: &Facts) -> Vec<u32> {
    let mut list = vec![8, 0, 1, PAGE, PAGE + 1];
    push_new(&mut list, facts.lengths.iter().copied().take(8));
    push_new(&mut list, [4, 16, 64]);
    push_new(&mut list, USUAL);
    list
}

fn push_new(list: &mut Vec<u32>, lengths: impl IntoIterator<Item = u32>) {
    for length in lengths {
        if !list.contains(&length) {
            list.push(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{around, enough, of_code, short};
    use crate::Facts;

    #[test]
    fn compared_lengths_come_first() {
        let mut facts = Facts::default();
        facts.lengths_of_code.insert(0x22_2003, [23, 24].into());
        assert_eq!(of_code(&facts, 0x22_2003), [23, 24, 64, 4, 8, 16]);
        assert_eq!(of_code(&facts, 0x22_2007), [64, 4, 8, 16]);
        assert_eq!(around(&[24]), [0, 1, 23, 24, 25, 4096, 4097]);
        assert_eq!((enough(&[24]), short(&[24])), (vec![24, 64], vec![0, 1, 12]));
        assert_eq!((enough(&[]), short(&[])), (vec![64], vec![0, 1]));
    }
}
