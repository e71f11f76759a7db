//! Where a fault of a block belongs: the guest instruction, and where that begins again.

use crate::emit::Owner;

/// What the host instructions of a block belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Guest address and host offset of each guest instruction.
    starts: Vec<(u64, u32)>,
    /// What the host instruction at each offset belongs to.
    owners: Vec<(u32, Owner)>,
}

/// How a fault is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// Whose registers are given back.
    pub(crate) owner: Owner,
    /// The guest instruction.
    pub(crate) rip: u64,
    /// Host offset of the instruction at which the block goes on, if it does.
    pub(crate) offset: u32,
}

impl Faults {
    pub(crate) fn new(starts: Vec<(u64, u32)>, owners: Vec<(u32, Owner)>) -> Self {
        Self { starts, owners }
    }

    /// Of the host instruction around this offset.
    pub(crate) fn at(&self, offset: u32) -> Option<Again> {
        let number = self.owners.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (_, owner) = *self.owners.get(number)?;
        let (rip, offset) = *self.starts.get(usize::from(owner.guest))?;
        Some(Again { owner, rip, offset })
    }
}
