//! Rules about data of device controls, reads and writes.

mod information_exceeds_output;
mod input_length_unchecked;
mod uninitialized_output;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] = &[
    Entry::monitored(&information_exceeds_output::INFORMATION_EXCEEDS_OUTPUT, || {
        Box::new(information_exceeds_output::InformationExceedsOutput)
    }),
    Entry::monitored(&uninitialized_output::UNINITIALIZED_OUTPUT, || {
        Box::new(uninitialized_output::UninitializedOutput)
    }),
    Entry::monitored(&input_length_unchecked::INPUT_LENGTH_UNCHECKED, || {
        Box::new(input_length_unchecked::InputLengthUnchecked::default())
    }),
];
