//! Threads that sleep and wait for each other in a circle.

use std::collections::BTreeSet;

use events::{LockKind, LockMode, LockRequest, Origin, SleepingThread, Standstill, ThreadId};

use crate::{HeldLock, HeldLocks, Holder};

/// A thread that waits for another one.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// Who waits.
    pub thread: ThreadId,
    /// For whom.
    pub on: ThreadId,
    /// What it asked for, and when; `None` if it waits for the end of the other thread.
    pub wanted: Option<(LockRequest, Origin)>,
    /// What the other one holds; `None` if it only comes before this one.
    pub held: Option<HeldLock>,
}

/// Finds threads that wait for each other in a circle, each for the next one.
///
/// Each of these waits ends only by what the next thread does, so that none of them ends.
pub fn circle(locks: &HeldLocks, standstill: &Standstill) -> Option<Vec<Blocked>> {
    let all = &standstill.sleeping;
    all.iter().find_map(|start| {
        let mut search = Search { locks, all, seen: BTreeSet::new(), path: Vec::new() };
        search.reaches(start, start.thread).then_some(search.path)
    })
}

struct Search<'a> {
    locks: &'a HeldLocks,
    all: &'a [SleepingThread],
    seen: BTreeSet<ThreadId>,
    path: Vec<Blocked>,
}

impl Search<'_> {
    fn reaches(&mut self, from: &SleepingThread, goal: ThreadId) -> bool {
        if !self.seen.insert(from.thread) {
            return false;
        }
        for blocked in self.blocked(from) {
            let next = self.all.iter().find(|other| other.thread == blocked.on);
            let Some(next) = next else { continue };
            self.path.push(blocked);
            if next.thread == goal || self.reaches(next, goal) {
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// For whom a thread waits.
    fn blocked(&self, sleeping: &SleepingThread) -> Vec<Blocked> {
        let thread = sleeping.thread;
        let ends = sleeping.joins.iter();
        let ends = ends.map(|&on| Blocked { thread, on, wanted: None, held: None });
        let Some(wanted) = self.wanted(sleeping) else { return ends.collect() };
        let excludes = |mode| mode == LockMode::Exclusive || wanted.0.mode == LockMode::Exclusive;
        let holders = self.locks.all().iter().filter_map(|held| match held.holder {
            Holder::Thread(on) if on != thread && held.lock == wanted.0.lock => {
                let held = Some(*held).filter(|held| excludes(held.mode))?;
                Some(Blocked { thread, on, wanted: Some(wanted), held: Some(held) })
            }
            _ => None,
        });
        let mut list: Vec<Blocked> = ends.chain(holders).collect();
        // Shared access is not granted while somebody else waits for exclusive access.
        if list.is_empty() && wanted.0.mode == LockMode::Shared {
            let others = self.all.iter().filter(|other| other.thread != thread);
            list.extend(others.filter_map(|other| {
                let (theirs, _) = self.wanted(other)?;
                let is_ahead = theirs.lock == wanted.0.lock && theirs.mode == LockMode::Exclusive;
                let on = other.thread;
                is_ahead.then_some(Blocked { thread, on, wanted: Some(wanted), held: None })
            }));
        }
        list
    }

    /// The lock that a thread sleeps for.
    fn wanted(&self, sleeping: &SleepingThread) -> Option<(LockRequest, Origin)> {
        let (request, origin) = *self.locks.wanted(sleeping.thread)?;
        let is_it = match request.lock.kind {
            // A wait for a mutex may have ended without it; then something else is waited for.
            LockKind::Mutex => sleeping.objects.contains(&request.lock.at),
            LockKind::RundownProtection => false,
            kind => !kind.is_spin_lock() && sleeping.joins.is_empty(),
        };
        is_it.then_some((request, origin))
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Event, Lock, LockAcquire, LockKind, LockMode, LockRelease, LockRequest, Origin, Seq,
        SleepingThread, Standstill, ThreadId,
    };
    use guest_memory::GuestAddr;
    use nt_abi::Irql;

    use super::circle;
    use crate::HeldLocks;

    fn lock(at: u64) -> Lock {
        Lock { kind: LockKind::Resource, at: GuestAddr(at) }
    }

    /// What a thread does with a lock.
    enum Act {
        Wants(u32, u64, LockMode),
        Tries(u32, u64),
        Gets(u32, u64, LockMode),
        Releases(u32, u64),
    }

    fn history(acts: &[Act]) -> HeldLocks {
        let mut locks = HeldLocks::default();
        for (seq, act) in (1..).zip(acts) {
            let irql = Irql::PASSIVE_LEVEL;
            let request = |at, mode, is_try| LockRequest {
                lock: lock(at),
                mode,
                is_try,
                are_apcs_disabled: true,
                is_user_thread: false,
                is_pageable: false,
            };
            let (thread, event) = match *act {
                Act::Wants(thread, at, mode) => {
                    (thread, Event::LockRequest(request(at, mode, false)))
                }
                Act::Tries(thread, at) => {
                    (thread, Event::LockRequest(request(at, LockMode::Exclusive, true)))
                }
                Act::Gets(thread, at, mode) => {
                    let lock = lock(at);
                    let acquire = LockAcquire { lock, mode, is_try: false, irql_before: irql };
                    (thread, Event::LockAcquire(acquire))
                }
                Act::Releases(thread, at) => {
                    let (lock, mode) = (lock(at), LockMode::Exclusive);
                    let release = LockRelease { lock, mode, irql_after: irql, owner: None };
                    (thread, Event::LockRelease(release))
                }
            };
            let origin = Origin { seq: Seq(seq), thread: ThreadId(thread), ..Origin::default() };
            locks.note(&origin, &event, None);
        }
        locks
    }

    fn threads(sleeping: &[(u32, &[u32])]) -> Standstill {
        let one = |(thread, joins): &(u32, &[u32])| SleepingThread {
            thread: ThreadId(*thread),
            objects: Vec::new(),
            joins: joins.iter().map(|&id| ThreadId(id)).collect(),
        };
        Standstill { sleeping: sleeping.iter().map(one).collect() }
    }

    fn in_circle(acts: &[Act], sleeping: &[(u32, &[u32])]) -> Vec<u32> {
        let found = circle(&history(acts), &threads(sleeping)).unwrap_or_default();
        found.iter().map(|blocked| blocked.thread.0).collect()
    }

    #[test]
    fn each_has_what_the_next_one_wants() {
        use Act::{Gets, Releases, Tries, Wants};
        use LockMode::{Exclusive, Shared};
        let held = || vec![Gets(1, 8, Exclusive), Gets(2, 16, Exclusive)];
        let both: &[(u32, &[u32])] = &[(1, &[]), (2, &[])];
        let with = |more: Vec<Act>| held().into_iter().chain(more).collect::<Vec<Act>>();
        let crossed = || with(vec![Wants(1, 16, Exclusive), Wants(2, 8, Exclusive)]);
        assert_eq!(in_circle(&crossed(), both), [1, 2]);
        // One of them can still be woken.
        assert_eq!(in_circle(&crossed(), &[(2, &[])]), []);
        assert_eq!(in_circle(&with(vec![Wants(1, 16, Exclusive), Tries(2, 8)]), both), []);
        let freed = vec![Wants(1, 16, Exclusive), Releases(1, 8), Wants(2, 8, Exclusive)];
        assert_eq!(in_circle(&with(freed), both), []);
        let readers =
            [Gets(1, 8, Shared), Gets(2, 16, Shared), Wants(1, 16, Shared), Wants(2, 8, Shared)];
        assert_eq!(in_circle(&readers, both), []);
    }

    #[test]
    fn a_writer_that_waits_stands_between_readers() {
        use Act::{Gets, Wants};
        use LockMode::{Exclusive, Shared};
        let acts = [
            Gets(1, 8, Shared),
            Gets(2, 16, Exclusive),
            Wants(3, 8, Exclusive),
            Wants(2, 8, Shared),
            Wants(1, 16, Exclusive),
        ];
        assert_eq!(in_circle(&acts, &[(1, &[]), (2, &[]), (3, &[])]), [1, 2, 3]);
        assert_eq!(in_circle(&acts, &[(1, &[]), (2, &[])]), []);
    }

    #[test]
    fn the_end_of_a_thread_is_waited_for() {
        use Act::{Gets, Wants};
        use LockMode::Exclusive;
        let acts = [Gets(1, 8, Exclusive), Wants(2, 8, Exclusive)];
        assert_eq!(in_circle(&acts, &[(1, &[2]), (2, &[])]), [1, 2]);
        assert_eq!(in_circle(&acts, &[(1, &[3]), (2, &[])]), []);
    }
}
