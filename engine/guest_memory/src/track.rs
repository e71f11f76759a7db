//! Which memory several lanes share, and what they do there.
//!
//! While tracking is on, the first touch of a page by each lane is noticed: the TLB forgets
//! everything when the lane changes. A page that a second lane touches is *shared*. From then on
//! every access to it misses the TLB and is judged in place; pages known to be shared from an
//! earlier run are judged from the start. Code that shares nothing runs as fast as before.

use std::{collections::BTreeSet, ops::Range};

use happens_before::{Access, Lane, Order, Race, Races, Touch};
use saved::{Saved, SavedMap, kept};

use crate::{GuestAddr, GuestMemory, KERNEL_HALF_START, PAGE_BYTES, Perms};

/// What a run is to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Pages known to be shared.
    pub pages: Vec<GuestAddr>,
    /// Ranges that are nobody's shared data: stacks.
    pub private: Vec<Range<u64>>,
    /// Bytes whose every access is logged; then no races are looked for.
    pub logged: Option<(GuestAddr, u32)>,
}

/// An access to the logged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The access.
    pub access: Access,
    /// What the logged bytes, at most 8, held just before it.
    pub before: u64,
}

/// Accesses logged per run.
const MOST_LOGGED: usize = 4096;
/// Bytes of a repeated string instruction that are looked at.
const LONGEST_RUN_BYTES: u64 = 4 * PAGE_BYTES;

kept! {
    /// The state of tracking.
    #[derive(Debug, Default)]
    pub(crate) struct Tracker as TrackerCopy {
        order: Order,
        lane: Lane,
        /// The instruction that runs, and whether it is interlocked.
        ip: u64,
        is_interlocked: bool,
        is_on: bool,
        private: Saved<Vec<Range<u64>>>,
        logged: Option<(GuestAddr, u32)>,
        log: Saved<Vec<Logged>>,
        /// Who touched a page: one lane, or several (`None`).
        pages: SavedMap<u64, Option<Lane>>,
        /// Who touched which eight bytes of a shared page, and with which instructions.
        touched: SavedMap<u64, Touched>,
        races: Saved<Races>,
    }
}

impl TrackerCopy {
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }
}

/// Eight bytes of a shared page.
#[derive(Clone, Debug)]
struct Touched {
    first: Lane,
    has_several: bool,
    is_written: bool,
    ips: BTreeSet<u64>,
}

/// Places whose instructions are kept.
const MOST_TOUCHED: usize = 4096;

impl Tracker {
    /// Whether accesses are tracked.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The memory holds something new.
    pub(crate) fn forget(&mut self, at: u64, size_bytes: u64) {
        if self.is_on {
            let end = at.saturating_add(size_bytes);
            self.order.forget(at, end);
            self.races.forget(at, end);
        }
    }

    fn is_private(&self, at: u64) -> bool {
        at < KERNEL_HALF_START.0 || self.private.iter().any(|range| range.contains(&at))
    }
}

/// Lanes and what they share.
impl GuestMemory {
    /// What is known to come before what, while accesses are tracked: what came before the first
    /// of them orders no two of them.
    #[inline]
    pub fn order(&mut self) -> Option<&mut Order> {
        self.tracker.is_on.then_some(&mut self.tracker.order)
    }

    /// Says who runs from now on.
    #[inline]
    pub fn set_lane(&mut self, lane: Lane) {
        if self.tracker.lane != lane {
            self.tracker.lane = lane;
            if self.tracker.is_on {
                self.tlb.flush();
            }
        }
    }

    /// Begins to track.
    pub fn track(&mut self, tracking: Tracking) {
        self.tlb.flush();
        let tracker = &mut self.tracker;
        tracker.is_on = true;
        tracker.pages.extend(tracking.pages.iter().map(|at| (at.page().0, None)));
        *tracker.private = tracking.private;
        tracker.logged = tracking.logged;
    }

    /// Whether accesses are tracked.
    #[inline(always)]
    pub fn is_tracking(&self) -> bool {
        self.tracker.is_on
    }

    /// Says which instruction runs: for what is noted about its accesses.
    #[inline(always)]
    pub fn set_instruction(&mut self, ip: u64, is_interlocked: bool) {
        self.tracker.ip = ip;
        self.tracker.is_interlocked = is_interlocked;
    }

    /// Notes an access that a service makes for the code at `ip`.
    pub fn note_service(&mut self, ip: u64, at: GuestAddr, size_bytes: u64, is_store: bool) {
        if self.tracker.is_on {
            self.set_instruction(ip, false);
            self.note_run(at, size_bytes, is_store);
        }
    }

    /// Pages that several lanes touched.
    pub fn shared_pages(&self) -> Vec<GuestAddr> {
        let shared = self.tracker.pages.iter().filter(|(_, lane)| lane.is_none());
        shared.map(|(page, _)| GuestAddr(*page)).collect()
    }

    /// Instructions that touch what several lanes touch and one of them writes.
    pub fn sharing_instructions(&self) -> Vec<GuestAddr> {
        let shared = self.tracker.touched.values().filter(|t| t.has_several && t.is_written);
        let ips: BTreeSet<u64> = shared.flat_map(|touched| touched.ips.iter().copied()).collect();
        ips.into_iter().map(GuestAddr).collect()
    }

    /// Whether races were found that nobody took.
    #[inline]
    pub fn has_races(&self) -> bool {
        self.tracker.races.is_any()
    }

    /// Takes the races found since the last time.
    pub fn take_races(&mut self) -> Vec<Race> {
        self.tracker.races.take()
    }

    /// Accesses to the logged bytes, in order.
    pub fn access_log(&self) -> &[Logged] {
        &self.tracker.log
    }

    /// Whether every access to this page is noted.
    #[inline]
    pub(crate) fn is_tracked(&self, at: u64) -> bool {
        self.tracker.is_on && self.tracker.pages.get(&(at & !0xfff)) == Some(&None)
    }

    /// Notes a load that missed the TLB.
    #[inline]
    pub(crate) fn note_load(&mut self, at: u64, size_bytes: u64) {
        if self.tracker.is_on && self.is_shared_now(at) {
            self.note(at, size_bytes, Touch::Load);
        }
    }

    /// Notes a store that missed the TLB; says whether its page is tracked.
    #[inline]
    pub(crate) fn note_store(&mut self, at: u64, size_bytes: u64) -> bool {
        let is_shared = self.tracker.is_on && self.is_shared_now(at);
        if is_shared {
            self.note(at, size_bytes, Touch::Store);
        }
        is_shared
    }

    /// Notes what a long copy or fill touches.
    pub(crate) fn note_run(&mut self, at: GuestAddr, size_bytes: u64, is_store: bool) {
        if !self.tracker.is_on {
            return;
        }
        let touch = if is_store { Touch::Store } else { Touch::Load };
        let mut from = at.0;
        let end = from.saturating_add(size_bytes.min(LONGEST_RUN_BYTES));
        while from < end {
            let to = end.min((from | 0xfff).saturating_add(1));
            if self.is_shared_now(from) {
                self.note(from, to - from, touch);
            }
            from = to;
        }
    }

    /// Takes note of a touch of a page by the current lane; says whether the page is shared.
    fn is_shared_now(&mut self, at: u64) -> bool {
        let page = at & !0xfff;
        let (lane, is_private) = (self.tracker.lane, self.tracker.is_private(at));
        if is_private {
            return false;
        }
        match self.tracker.pages.get(&page) {
            Some(None) => return true,
            Some(Some(first)) if *first == lane => return false,
            Some(Some(_)) => {}
            None => {
                self.tracker.pages.insert(page, Some(lane));
                return false;
            }
        }
        // What nobody can write is shared by all, and no race.
        let mapping = self.resolve(GuestAddr(page));
        let is_shared = mapping.is_ok_and(|mapping| mapping.perms.contains(Perms::WRITE));
        if is_shared {
            self.tracker.pages.insert(page, None);
            self.tlb.flush_page(page);
        }
        is_shared
    }

    fn note(&mut self, at: u64, size_bytes: u64, touch: Touch) {
        let Tracker { lane, ip, is_interlocked, logged, .. } = self.tracker;
        let size_bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        let place = at & !7;
        // An interlocked operation loads, then stores: what was published is seen before, what it
        // publishes is seen after it.
        let touch_or = if is_interlocked { Touch::Interlocked } else { touch };
        let access = Access { lane, at, size_bytes, touch: touch_or, ip };
        if let Some((watched, length_bytes)) = logged
            && at < watched.0.saturating_add(u64::from(length_bytes))
            && watched.0 < at.saturating_add(u64::from(size_bytes))
            && self.tracker.log.len() < MOST_LOGGED
        {
            let mut bytes = [0; 8];
            let length = usize::try_from(length_bytes).unwrap_or(8).min(8);
            self.peek(watched, bytes.get_mut(..length).unwrap_or_default());
            self.tracker.log.push(Logged { access, before: u64::from_le_bytes(bytes) });
        }
        let tracker = &mut self.tracker;
        if tracker.touched.len() < MOST_TOUCHED || tracker.touched.contains_key(&place) {
            let touched = tracker.touched.entry(place).or_insert_with(|| Touched {
                first: lane,
                has_several: false,
                is_written: false,
                ips: BTreeSet::new(),
            });
            touched.has_several |= touched.first != lane;
            touched.is_written |= touch == Touch::Store;
            touched.ips.insert(ip);
        }
        if is_interlocked && touch == Touch::Load {
            tracker.order.acquire(lane, place);
        }
        // A run with a log is compared with the same run without: it shows nothing else.
        if logged.is_none() {
            tracker.races.touch(&mut tracker.order, access);
        }
        if is_interlocked && touch == Touch::Store {
            tracker.order.release(lane, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use happens_before::Lane;

    use super::Tracking;
    use crate::{ByteState, GuestAddr, GuestMemory, Limits, Perms};

    const PAGE: u64 = 0xffff_fa00_0000_0000;

    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::new(Limits { frames: 16, blocks: 1, spaces: 1 });
        let data = Perms::READ | Perms::WRITE;
        memory.map(GuestAddr(PAGE), 0x2000, data, ByteState::UNDEFINED, 0).unwrap();
        memory.track(Tracking::default());
        memory
    }

    fn store(memory: &mut GuestMemory, lane: u32, at: u64, is_interlocked: bool) {
        memory.set_lane(Lane(lane));
        memory.set_instruction(0x10 + u64::from(lane), is_interlocked);
        if is_interlocked {
            // Undefined bytes are for the slow path; the access is noted all the same.
            let _ = memory.load::<u32>(false, at);
        }
        memory.store(false, at, 7u32).unwrap();
    }

    #[test]
    fn a_page_of_one_lane_is_not_shared() {
        let mut memory = memory();
        for round in 0..3 {
            store(&mut memory, 0, PAGE + 4 * round, false);
            store(&mut memory, 1, PAGE + 0x1000 + 4 * round, false);
        }
        assert_eq!(memory.shared_pages(), []);
        assert!(!memory.has_races());
    }

    #[test]
    fn stores_of_two_lanes_race_once_the_page_is_known_to_be_shared() {
        let mut memory = memory();
        let snapshot = memory.capture();
        store(&mut memory, 0, PAGE, false);
        store(&mut memory, 1, PAGE, false);
        assert_eq!(memory.shared_pages(), [GuestAddr(PAGE)]);
        // The first touch came before anybody knew.
        assert!(!memory.has_races());
        memory.restore(&snapshot);
        let pages = vec![GuestAddr(PAGE)];
        memory.track(Tracking { pages, logged: Some((GuestAddr(PAGE), 4)), ..Tracking::default() });
        store(&mut memory, 0, PAGE, false);
        store(&mut memory, 1, PAGE, false);
        assert_eq!(memory.access_log().iter().map(|l| l.before).collect::<Vec<_>>(), [0, 7]);
        assert!(!memory.has_races());
        memory.restore(&snapshot);
        memory.track(Tracking { pages: vec![GuestAddr(PAGE)], ..Tracking::default() });
        store(&mut memory, 0, PAGE, false);
        store(&mut memory, 1, PAGE, false);
        let found = memory.take_races();
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|race| (race.earlier.ip, race.later.ip) == (0x10, 0x11)));
        memory.restore(&snapshot);
        assert_eq!(memory.shared_pages(), []);
    }

    #[test]
    fn interlocked_operations_order() {
        let mut memory = memory();
        memory.track(Tracking { pages: vec![GuestAddr(PAGE)], ..Tracking::default() });
        store(&mut memory, 0, PAGE, false);
        store(&mut memory, 0, PAGE + 64, true);
        store(&mut memory, 1, PAGE + 64, true);
        store(&mut memory, 1, PAGE, false);
        assert!(!memory.has_races());
        store(&mut memory, 0, PAGE, false);
        assert!(memory.has_races());
    }

    #[test]
    fn what_a_service_touches_hides_no_access() {
        let mut memory = memory();
        memory.set_lane(Lane(1));
        memory.store::<u64>(false, PAGE, 1).unwrap();
        memory.set_lane(Lane(2));
        assert_eq!(memory.load_for_service(GuestAddr(PAGE), 8), None);
        assert_eq!(memory.store_for_service(GuestAddr(PAGE), 8, 2), None);
        assert_eq!(memory.load::<u64>(false, PAGE), Ok(1));
        assert_eq!(memory.shared_pages(), [GuestAddr(PAGE)]);
    }
}
