//! Rules about what drivers pass to kernel routines.

mod out_of_range;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] =
    &[Entry::monitored(&out_of_range::OUT_OF_RANGE, || Box::new(out_of_range::OutOfRange))];
