//! The end of a system.

/// The system stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BugCheckRaised {
    /// The code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
}
