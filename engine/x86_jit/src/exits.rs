//! Where generated code leaves, by number.

/// Why code left, and what Rust does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The interpreter runs the instruction at this address.
    Step { rip: u64 },
    /// A branch or the end of a block leads to code that is not linked yet. `site` is the host
    /// address of the jump to patch.
    Link { target: u64, site: u64 },
    /// A branch used up the clock.
    Limit { target: u64 },
    /// An indirect branch at `rip` found no code. `raised` was added to rsp already.
    Indirect { rip: u64, raised: i64 },
}
