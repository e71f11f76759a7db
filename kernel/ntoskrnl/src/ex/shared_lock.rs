//! Locks that a thread sleeps for, shared or exclusive: who owns them and who waits.
//!
//! Executive resources and push locks differ in what an owner may ask for again, and in who is
//! served first.

use std::collections::VecDeque;

use events::{Lock, LockMode, Seq};
use guest_memory::GuestAddr;

use super::gate::Gate;
use crate::{CallResult, Flow, Kernel, frame, ke::Wish};

/// One owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The `ETHREAD` body, or an owner pointer.
    pub(super) id: u64,
    /// How often.
    pub(super) count: u32,
    /// Since when; 0 until its thread goes on.
    pub(super) acquired: Seq,
}

/// A thread that waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    id: u64,
    mode: LockMode,
    gate: Gate,
}

/// Whether shared access is granted while somebody waits for exclusive access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fairness {
    /// Waits behind exclusive waiters, except for recursion.
    Waits,
    /// Goes before them.
    Starves,
    /// Waits behind them, even for recursion.
    WaitsAlways,
}

/// Owners and waiters of one lock.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedLock {
    owners: Vec<Owner>,
    is_exclusive: bool,
    waiters: VecDeque<Waiter>,
}

impl SharedLock {
    /// How it is owned.
    pub(super) fn mode(&self) -> LockMode {
        if self.is_exclusive { LockMode::Exclusive } else { LockMode::Shared }
    }

    /// Whether anybody owns it.
    pub(super) fn is_owned(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Whether anybody owns it exclusively.
    pub(super) fn is_exclusive(&self) -> bool {
        self.is_exclusive && self.is_owned()
    }

    /// The ownership of a thread or an owner pointer.
    pub(super) fn owner(&self, id: u64) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.id == id)
    }

    fn owner_mut(&mut self, id: u64) -> Option<&mut Owner> {
        self.owners.iter_mut().find(|owner| owner.id == id)
    }

    /// The first owner.
    pub(super) fn first_owner(&self) -> Option<&Owner> {
        self.owners.first()
    }

    /// How many owners there are.
    pub(super) fn owner_count(&self) -> usize {
        self.owners.len()
    }

    /// How many wait.
    pub(super) fn waiters(&self, mode: LockMode) -> u32 {
        let count = self.waiters.iter().filter(|waiter| waiter.mode == mode).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether the access can be granted now.
    pub(super) fn may_grant(&self, id: u64, mode: LockMode, fairness: Fairness) -> bool {
        let is_owner = self.owner(id).is_some();
        match mode {
            LockMode::Exclusive => !self.is_owned() || (self.is_exclusive && is_owner),
            LockMode::Shared if self.is_exclusive() => is_owner,
            LockMode::Shared => match fairness {
                Fairness::Starves => true,
                Fairness::Waits => is_owner || self.waiters(LockMode::Exclusive) == 0,
                Fairness::WaitsAlways => self.waiters(LockMode::Exclusive) == 0,
            },
        }
    }

    /// Grants it once more.
    pub(super) fn grant(&mut self, id: u64, mode: LockMode) {
        match self.owner_mut(id) {
            Some(owner) => owner.count += 1,
            None => {
                self.is_exclusive = mode == LockMode::Exclusive;
                self.owners.push(Owner { id, count: 1, acquired: Seq(0) });
            }
        }
    }

    /// Takes it back once; says whether this owner owns it no more.
    pub(super) fn release(&mut self, id: u64) -> bool {
        let Some(owner) = self.owner_mut(id) else { return false };
        owner.count -= 1;
        let is_gone = owner.count == 0;
        if is_gone {
            self.owners.retain(|owner| owner.id != id);
        }
        is_gone
    }

    /// Passes an ownership to another owner.
    pub(super) fn hand_over(&mut self, from: u64, to: u64) {
        let Some(count) = self.owner(from).map(|owner| owner.count) else { return };
        self.owners.retain(|owner| owner.id != from);
        match self.owner_mut(to) {
            Some(owner) => owner.count += count,
            None => self.owners.push(Owner { id: to, count, acquired: Seq(0) }),
        }
    }

    /// Exclusive ownership becomes shared, or the other way round.
    pub(super) fn convert(&mut self, to: LockMode) {
        self.is_exclusive = to == LockMode::Exclusive;
    }

    /// Notes when an owner got it.
    pub(super) fn note_acquired(&mut self, id: u64, acquired: Seq) {
        if let Some(owner) = self.owner_mut(id).filter(|owner| owner.acquired == Seq(0)) {
            owner.acquired = acquired;
        }
    }

    /// Grants it to those who wait and can have it now; their gates.
    fn serve(&mut self, after: LockMode) -> Vec<Gate> {
        let mut served = Vec::new();
        // After exclusive access those who want shared access come first, all of them; after shared
        // access the first who wants exclusive access.
        let wants_shared = |waiter: &Waiter| waiter.mode == LockMode::Shared;
        let has_shared = self.waiters.iter().any(wants_shared);
        let is_turn_of_shared =
            has_shared && (after == LockMode::Exclusive || self.waiters(LockMode::Exclusive) == 0);
        if is_turn_of_shared && !self.is_exclusive() {
            let waiters = std::mem::take(&mut self.waiters).into_iter();
            let (shared, others): (Vec<Waiter>, VecDeque<Waiter>) = (
                waiters.clone().filter(wants_shared).collect(),
                waiters.filter(|w| !wants_shared(w)).collect(),
            );
            self.waiters = others;
            for waiter in shared {
                self.grant(waiter.id, LockMode::Shared);
                served.push(waiter.gate);
            }
        } else if !self.is_owned()
            && let Some(first) =
                self.waiters.iter().position(|waiter| waiter.mode == LockMode::Exclusive)
            && let Some(waiter) = self.waiters.remove(first)
        {
            self.grant(waiter.id, LockMode::Exclusive);
            served.push(waiter.gate);
        }
        served
    }
}

/// Where a lock of this kind stands in the state of the component.
fn lock_mut(k: &mut Kernel, at: GuestAddr) -> &mut SharedLock {
    k.ex.shared_locks.entry(at).or_default()
}

/// Takes a lock that can be granted now; the value is 1.
pub(super) fn own(k: &mut Kernel, wish: Wish, id: u64) -> CallResult<Flow> {
    let irql = k.irql();
    let acquired = k.lock_acquired(wish, irql)?;
    let lock = lock_mut(k, wish.lock.at);
    lock.grant(id, wish.mode);
    lock.note_acquired(id, acquired);
    Ok(Flow::Return(1))
}

/// Waits for a lock; the value is 1.
pub(super) fn wait(k: &mut Kernel, wish: Wish, id: u64) -> CallResult<Flow> {
    let gate = Gate::take(k)?;
    lock_mut(k, wish.lock.at).waiters.push_back(Waiter { id, mode: wish.mode, gate });
    Ok(Flow::wait(gate.wait(), Granted { wish, id, gate }))
}

/// A wait for a lock has ended: it was granted.
#[derive(Clone, Debug)]
struct Granted {
    wish: Wish,
    id: u64,
    gate: Gate,
}
frame!(Granted, |this, k, _| {
    this.gate.give_back(k);
    let irql = k.irql();
    let acquired = k.lock_acquired(this.wish, irql)?;
    lock_mut(k, this.wish.lock.at).note_acquired(this.id, acquired);
    Ok(Flow::Return(1))
});

/// Lets those go on who can have the lock now that it was given back after this access.
pub(super) fn serve(k: &mut Kernel, lock: Lock, after: LockMode) -> CallResult<()> {
    for gate in lock_mut(k, lock.at).serve(after) {
        gate.open(k)?;
    }
    Ok(())
}
