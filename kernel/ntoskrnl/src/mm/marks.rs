//! Marks: values of the caller's input that are looked for where a driver does something
//! privileged.
//!
//! A match is a suspicion. That the operand really comes from the input shows when the run is
//! repeated with other values in the same places.

use super::State;

/// A marked value of the caller's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    value: u64,
    size_bytes: u8,
    offset_bytes: u32,
}

/// Values shorter than this many bits are too common to be recognised.
const SHORTEST_BITS: u32 = 9;

impl State {
    /// Looks for a value from now on.
    pub fn add_mark(&mut self, value: u64, size_bytes: u8, offset_bytes: u32) {
        self.marks.push(Mark { value, size_bytes, offset_bytes });
    }

    /// Forgets the marks of earlier requests.
    pub fn clear_marks(&mut self) {
        self.marks.clear();
    }

    /// Offsets in the caller's input of the marks that an operand carries, whole or cut to 16 or 32
    /// bits.
    pub fn marks_in(&self, operand: u64) -> Vec<u32> {
        let carries = |mark: &&Mark| {
            let widths =
                [16, 32, 64].into_iter().filter(|&bits| bits <= 8 * u32::from(mark.size_bytes));
            widths
                .map(|bits| mark.value & (u64::MAX >> (64 - bits)))
                .any(|cut| cut == operand && u64::BITS - cut.leading_zeros() >= SHORTEST_BITS)
        };
        self.marks.iter().filter(carries).map(|mark| mark.offset_bytes).collect()
    }

    /// Offsets of single bytes of marks that an operand is. A byte is in many places by accident,
    /// so this is for operands that are privileged whatever their width, and only the second run
    /// tells.
    pub fn byte_marks_in(&self, operand: u64) -> Vec<u32> {
        if !(1..=0xff).contains(&operand) {
            return Vec::new();
        }
        let bytes_of = |mark: &Mark| {
            let offset_bytes = mark.offset_bytes;
            let bytes = mark.value.to_le_bytes().into_iter().zip(offset_bytes..);
            bytes.take(usize::from(mark.size_bytes))
        };
        let bytes = self.marks.iter().flat_map(bytes_of);
        bytes.filter(|(byte, _)| u64::from(*byte) == operand).map(|(_, offset)| offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn operands_carry_marks_whole_or_cut() {
        let mut state = State::default();
        state.add_mark(0x1122_3344_5566_7788, 8, 16);
        for (operand, expected) in [
            (0x1122_3344_5566_7788, vec![16]),
            (0x5566_7788, vec![16]),
            (0x7788, vec![16]),
            (0x88, vec![]),
        ] {
            assert_eq!(state.marks_in(operand), expected, "{operand:#x}");
        }
        for (operand, expected) in [
            (0x88, vec![16]),
            (0x55, vec![19]),
            (0x11, vec![23]),
            (0x99, vec![]),
            (0, vec![]),
            (0x7788, vec![]),
        ] {
            assert_eq!(state.byte_marks_in(operand), expected, "{operand:#x}");
        }
        // Zeros and bytes outside the field are nobody's.
        state.add_mark(0x33, 1, 40);
        assert_eq!(state.byte_marks_in(0x33), [21, 40]);
        state.clear_marks();
        assert_eq!(state.byte_marks_in(0x88), Vec::<u32>::new());
        assert_eq!(state.marks_in(0x7788), Vec::<u32>::new());
    }
}
