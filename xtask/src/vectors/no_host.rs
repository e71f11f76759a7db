//! No host CPU to compare with: this is not x86-64 Linux.

use anyhow::bail;

use super::case::{Case, Outcome};

/// Stands for the host CPU where there is none; it cannot be made.
#[derive(Debug)]
pub(crate) enum Host {}

impl Host {
    /// Whether this host can run cases.
    pub(crate) const IS_PRESENT: bool = false;

    /// Always fails.
    pub(crate) fn new() -> anyhow::Result<Self> {
        bail!("the host is not x86-64 Linux")
    }

    /// Cannot be called.
    pub(crate) fn run(&mut self, _case: &Case) -> Outcome {
        match *self {}
    }
}
