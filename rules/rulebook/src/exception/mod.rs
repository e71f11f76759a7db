//! Rules about exceptions.

mod unhandled;

use crate::Entry;

/// The rules of this area.
pub(crate) const ENTRIES: &[Entry] =
    &[Entry::monitored(&unhandled::UNHANDLED, || Box::new(unhandled::Unhandled))];
