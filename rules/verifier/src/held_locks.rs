//! Which locks are held by whom, and in which order locks were taken while others were held.

use events::{
    EntryPoint, Event, Lock, LockAcquire, LockLife, LockMode, LockRelease, LockRequest, LockStage,
    Origin, PoolFreeOutcome, Seq, ThreadId,
};
use guest_memory::GuestAddr;
use nt_abi::Irql;
use saved::{Saved, SavedMap, kept};

use crate::lock_order::{Edge, LockOrder, Taken};

/// Who holds a lock. A DPC runs on a thread that has nothing to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A thread.
    Thread(ThreadId),
    /// The DPC that runs on this processor.
    Dpc(u8),
}

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldLock {
    /// Which.
    pub lock: Lock,
    /// How.
    pub mode: LockMode,
    /// By whom.
    pub holder: Holder,
    /// How often it was acquired.
    pub depth: u32,
    /// When, where and by which routine it was acquired first.
    pub acquired: Origin,
    /// The driver's routine that acquired it, and when that was called.
    pub entry: Option<(EntryPoint, Seq)>,
}

kept! {
    /// Locks held, in order of acquisition, and the order in which they were taken.
    #[derive(Clone, Debug, Default)]
    pub struct HeldLocks as HeldLocksCopy {
        held: Saved<Vec<HeldLock>>,
        /// The level before the first of the spin locks that a holder has.
        bases: SavedMap<Holder, Irql>,
        /// For each processor the threads that its DPCs run on.
        dpcs: SavedMap<u8, Vec<ThreadId>>,
        order: Saved<LockOrder>,
        /// Locks that threads asked for and did not get yet.
        wanted: SavedMap<ThreadId, (LockRequest, Origin)>,
    }
}

impl HeldLocks {
    /// Returns who acquires and releases at this moment.
    pub fn holder(&self, origin: &Origin) -> Holder {
        let is_dpc = self.dpcs.get(&origin.processor).is_some_and(|t| t.contains(&origin.thread));
        if is_dpc { Holder::Dpc(origin.processor) } else { Holder::Thread(origin.thread) }
    }

    /// Lists what somebody holds, in order of acquisition.
    pub fn of(&self, holder: Holder) -> impl Iterator<Item = &HeldLock> {
        self.held.iter().filter(move |held| held.holder == holder)
    }

    /// Returns who holds the lock at an address, the first one if there are several.
    pub fn at(&self, at: GuestAddr) -> Option<&HeldLock> {
        self.held.iter().find(|held| held.lock.at == at)
    }

    /// Returns the lock at an address as this holder has it.
    pub fn by(&self, holder: Holder, at: GuestAddr) -> Option<&HeldLock> {
        self.held.iter().find(|held| held.lock.at == at && held.holder == holder)
    }

    /// Returns the first held lock in a range of memory.
    pub fn inside(&self, base: GuestAddr, size_bytes: u64) -> Option<&HeldLock> {
        let is_inside = |at: GuestAddr| at.0.wrapping_sub(base.0) < size_bytes;
        self.held.iter().find(|held| is_inside(held.lock.at))
    }

    /// Returns the level before the first of the spin locks that somebody holds.
    pub fn base_irql(&self, holder: Holder) -> Option<Irql> {
        self.bases.get(&holder).copied()
    }

    /// Returns the orders in which locks were taken that, with this request, form a cycle that
    /// several holders can block each other in. The first one is the order of the request.
    pub fn cycle(
        &self,
        request: &LockRequest,
        origin: &Origin,
        entry: Option<(EntryPoint, Seq)>,
    ) -> Option<Vec<Edge>> {
        let edges = self.edges(request, origin, entry);
        edges.iter().find_map(|edge| self.order.cycle(edge))
    }

    /// Returns what a thread asked for last and did not get, and when it asked.
    pub fn wanted(&self, thread: ThreadId) -> Option<&(LockRequest, Origin)> {
        self.wanted.get(&thread)
    }

    /// Lists everything that is held.
    pub fn all(&self) -> &[HeldLock] {
        &self.held
    }

    fn want(&mut self, origin: &Origin, request: &LockRequest) {
        if request.is_try || self.holder(origin) != Holder::Thread(origin.thread) {
            return;
        }
        self.wanted.insert(origin.thread, (*request, *origin));
    }

    /// What a request adds to the order of locks: it waits while others are held.
    fn edges(
        &self,
        request: &LockRequest,
        origin: &Origin,
        entry: Option<(EntryPoint, Seq)>,
    ) -> Vec<Edge> {
        let holder = self.holder(origin);
        // What one holds already one never waits for.
        if request.is_try || self.by(holder, request.lock.at).is_some() {
            return Vec::new();
        }
        let Some(entry) = entry else { return Vec::new() };
        let held: Vec<Taken> = self.of(holder).map(Taken::from).collect();
        let (when, ip) = (origin.seq, origin.ip);
        let wanted = Taken { lock: request.lock, mode: request.mode, when, ip };
        held.iter()
            .map(|first| Edge {
                first: *first,
                wanted,
                entry,
                guards: held.iter().filter(|other| other.lock != first.lock).copied().collect(),
            })
            .collect()
    }

    /// Takes note of an event, after the monitors heard it. `entry` is the driver's routine that
    /// runs.
    pub(crate) fn note(
        &mut self,
        origin: &Origin,
        event: &Event,
        entry: Option<(EntryPoint, Seq)>,
    ) {
        match event {
            Event::EntryCall(EntryPoint::Dpc) => {
                self.dpcs.entry(origin.processor).or_default().push(origin.thread);
            }
            Event::EntryReturn(returned) if returned.entry == EntryPoint::Dpc => {
                if let Some(threads) = self.dpcs.get_mut(&origin.processor) {
                    threads.pop();
                }
            }
            Event::LockRequest(request) => {
                self.want(origin, request);
                for edge in self.edges(request, origin, entry) {
                    self.order.add(edge);
                }
            }
            Event::LockAcquire(acquire) => self.acquire(origin, acquire, entry),
            Event::LockRelease(release) => self.release(origin, release),
            Event::LockLife(life) => self.live(origin, life),
            Event::PoolFree(free) => {
                if let PoolFreeOutcome::Freed(block) = free.outcome {
                    let is_inside =
                        |at: GuestAddr| at.0.wrapping_sub(block.base.0) < block.size_bytes;
                    self.order.forget(is_inside);
                    self.held.retain(|held| !is_inside(held.lock.at));
                    self.forget_bases();
                }
            }
            _ => {}
        }
    }

    fn acquire(
        &mut self,
        origin: &Origin,
        acquire: &LockAcquire,
        entry: Option<(EntryPoint, Seq)>,
    ) {
        let (lock, holder) = (acquire.lock, self.holder(origin));
        if self.wanted.get(&origin.thread).is_some_and(|(wanted, _)| wanted.lock == lock) {
            self.wanted.remove(&origin.thread);
        }
        let known = self.held.iter_mut().find(|held| held.lock == lock && held.holder == holder);
        if let Some(known) = known {
            known.depth += 1;
            return;
        }
        if lock.kind.is_spin_lock() {
            self.bases.entry(holder).or_insert(acquire.irql_before);
        }
        let mode = acquire.mode;
        self.held.push(HeldLock { lock, mode, holder, depth: 1, acquired: *origin, entry });
    }

    fn release(&mut self, origin: &Origin, release: &LockRelease) {
        let holder = release.owner.map_or_else(|| self.holder(origin), Holder::Thread);
        let of_holder = |held: &HeldLock| held.lock == release.lock && held.holder == holder;
        let any = |held: &HeldLock| held.lock == release.lock;
        let found = self.held.iter().position(of_holder);
        let Some(index) = found.or_else(|| self.held.iter().position(any)) else { return };
        let Some(held) = self.held.get_mut(index) else { return };
        held.depth -= 1;
        if held.depth == 0 {
            self.held.remove(index);
            self.forget_bases();
        }
    }

    /// Forgets the levels of those who hold no spin lock any more.
    fn forget_bases(&mut self) {
        let held = &self.held;
        let has_spin_lock = |holder: &Holder| {
            held.iter().any(|held| held.holder == *holder && held.lock.kind.is_spin_lock())
        };
        self.bases.retain(|holder, _| has_spin_lock(holder));
    }

    fn live(&mut self, origin: &Origin, life: &LockLife) {
        let holder = self.holder(origin);
        let of_lock = |held: &HeldLock| held.lock.at == life.lock.at;
        match life.stage {
            LockStage::Initialized | LockStage::Deleted => {
                self.order.forget(|at| at == life.lock.at);
                self.held.retain(|held| !of_lock(held));
                self.forget_bases();
            }
            LockStage::Disowned => {
                self.held.retain(|held| !(of_lock(held) && held.holder == holder));
            }
            LockStage::Shared | LockStage::Exclusive => {
                let mode = match life.stage {
                    LockStage::Shared => LockMode::Shared,
                    _ => LockMode::Exclusive,
                };
                let own = |held: &&mut HeldLock| of_lock(held) && held.holder == holder;
                for held in self.held.iter_mut().filter(own) {
                    held.mode = mode;
                }
            }
        }
    }
}
