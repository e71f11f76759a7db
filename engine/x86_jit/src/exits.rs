//! Where generated code leaves, by number.

/// Why code left, and what Rust does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The interpreter runs the instruction at this address.
    Step { rip: u64 },
    /// A branch or the end of a block leads to code that is not linked yet. `site` is where
    /// the distance of the jump to patch is. A block that was cut ends without a branch.
    Link { target: u64, site: u64, is_branch: bool },
    /// A branch used up the clock.
    Limit { target: u64 },
    /// An indirect branch at `rip` found no code.
    Indirect { rip: u64, done: Done, guess: Guess },
}

/// What an indirect branch has done before it leads somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing.
    Jump,
    /// The return address is pushed, over bytes that were all undefined or all defined.
    Call { over_undefined: bool },
    /// So much was added to rsp.
    Return(i64),
}

/// Host addresses of what is changed where an indirect branch guesses its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The negated guest address, in 8 bytes; 0 if nothing is guessed.
    pub(crate) constant: u64,
    /// The distance of the jump that is taken if it is right. A call has none: what is guessed
    /// there are calls that are served in place.
    pub(crate) jump: Option<u64>,
}
