//! The cache of decoded code: blocks by address, and single instructions.

use guest_memory::{GuestAddr, GuestMemory};

use super::{Engine, Entry, not_modelled};
use crate::{
    Env, Exit,
    block::{Block, LONGEST_BYTES, NO_BLOCK, Pages, Single},
};

/// Entries of the direct-mapped table from address to block.
pub(super) const NEAR_ENTRIES: usize = 1 << 12;
/// Entries of the direct-mapped table of single instructions.
pub(super) const SINGLE_ENTRIES: usize = 1 << 10;
/// Blocks kept; beyond that the cache starts anew.
const MAX_BLOCKS: usize = 1 << 17;

impl Engine {
    /// Starts the cache anew.
    pub(super) fn forget_code(&mut self) {
        self.caches += 1;
        self.blocks.clear();
        self.index.clear();
        self.near.fill((0, NO_BLOCK));
    }

    /// A breakpoint comes to this address or goes from it: blocks that begin there, go past it or
    /// were cut before it are decoded anew.
    pub(super) fn cut(&mut self, at: u64) {
        let first = (at.saturating_sub(LONGEST_BYTES), false);
        for number in self.index.range(first..=(at, true)).map(|(_, number)| *number) {
            if let Some(block) = self.blocks.get_mut(number as usize)
                && (at < block.end || (at == block.end && !block.ends_in_branch))
            {
                block.expire();
            }
        }
    }

    /// Finds or decodes the block at `rip`.
    #[inline]
    pub(super) fn resolve(&mut self, e: &mut Env<'_>) -> Result<u32, Box<Exit>> {
        let rip = e.r.rip;
        let slot = near_slot(rip);
        if let Some(&(at, block)) = self.near.get(slot)
            && at == rip
            && let Some(found) = self.blocks.get(block as usize)
            && found.is_user == e.r.is_user
        {
            // What is near was arrived at before.
            self.entry = Entry::Within;
            return Ok(block);
        }
        self.resolve_slow(e, slot)
    }

    #[cold]
    #[inline(never)]
    fn resolve_slow(&mut self, e: &mut Env<'_>, slot: usize) -> Result<u32, Box<Exit>> {
        let rip = e.r.rip;
        if self.trap.contains(&rip) {
            return Err(Box::new(Exit::Trap(GuestAddr(rip))));
        }
        if self.breakpoints.contains(&rip) {
            return Err(Box::new(Exit::Breakpoint));
        }
        let key = (rip, e.r.is_user);
        let found = match self.index.get(&key) {
            Some(&block) => block,
            None => self.add(e, key)?,
        };
        // A block that begins in the middle of another is no block of its own until a branch leads
        // to it.
        if self.entry.take_arrival() {
            self.reached.insert(rip);
            if let Some(near) = self.near.get_mut(slot) {
                *near = (rip, found);
            }
        }
        Ok(found)
    }

    fn add(&mut self, e: &mut Env<'_>, key: (u64, bool)) -> Result<u32, Box<Exit>> {
        let block = self.decode(e.m, key.0, key.1)?;
        if self.blocks.len() >= MAX_BLOCKS {
            self.forget_code();
        }
        let number = u32::try_from(self.blocks.len()).unwrap_or(NO_BLOCK);
        self.blocks.push(block);
        self.index.insert(key, number);
        Ok(number)
    }

    fn decode(&self, m: &mut GuestMemory, rip: u64, is_user: bool) -> Result<Block, Box<Exit>> {
        Block::decode(m, rip, is_user, |at| {
            self.trap.contains(&at) || self.breakpoints.contains(&at)
        })
    }

    /// Makes a block current: its code is the same as before, or it is decoded again in place.
    #[cold]
    #[inline(never)]
    pub(super) fn refresh(&mut self, number: u32, e: &mut Env<'_>) -> Result<(), Box<Exit>> {
        let Some(block) = self.blocks.get_mut(number as usize) else { return Ok(()) };
        if self.breakpoints.contains(&block.start) {
            // A link led here, so that it was arrived at before.
            self.entry = Entry::Within;
            e.r.rip = block.start;
            return Err(Box::new(Exit::Breakpoint));
        }
        if block.pages == Pages::of(e.m, block.start, block.end) {
            block.epoch = e.m.code_epoch();
            return Ok(());
        }
        let (start, is_user) = (block.start, block.is_user);
        e.r.rip = start;
        let fresh = self.decode(e.m, start, is_user)?;
        if let Some(block) = self.blocks.get_mut(number as usize) {
            *block = fresh;
        }
        Ok(())
    }

    /// Finds or decodes the single instruction at `rip`.
    pub(crate) fn single(&mut self, e: &mut Env<'_>) -> Result<&Single, Exit> {
        let rip = e.r.rip;
        if self.trap.contains(&rip) {
            return Err(Exit::Trap(GuestAddr(rip)));
        }
        let slot = usize::try_from(rip).unwrap_or(0) % SINGLE_ENTRIES;
        let is_current = self.singles.get(slot).and_then(Option::as_deref).is_some_and(|single| {
            single.op.rip == rip
                && single.is_user == e.r.is_user
                && single.pages == Pages::of(e.m, rip, single.op.next())
        });
        if !is_current {
            let fresh = Single::decode(e.m, rip, e.r.is_user).map_err(|exit| *exit)?;
            if let Some(single) = self.singles.get_mut(slot) {
                *single = Some(Box::new(fresh));
            }
        }
        match self.singles.get(slot).and_then(Option::as_deref) {
            Some(single) => Ok(single),
            None => Err(not_modelled(e)),
        }
    }
}

fn near_slot(rip: u64) -> usize {
    usize::try_from(rip ^ rip >> 12).unwrap_or(0) % NEAR_ENTRIES
}
