//! The two windows: guest pages at a constant distance from their guest addresses, and their
//! states at another.
//!
//! Data lies at `data_base + address`, states at `state_base + address`, where `state_base` is the
//! thread pointer rounded down to a page. A page is entered when code faults on it and nothing on
//! the level of pages can object. It stays over captures and restores, which use the frames that
//! the windows show, until memory takes it back. Of a page at which something may object, the
//! windows show states that no byte has and no data, so that every check of code leaves.

use std::{collections::BTreeMap, ops::Range, os::fd::AsRawFd};

use guest_memory::{
    FrameId, GuestAddr, GuestMemory, KERNEL_HALF_START, PAGE_BYTES, Revoked, Showing,
};

use crate::host::{GuardStates, Reserve, Unavailable, file_number};

/// Where the data window of the kernel half begins. Below it, and from its end to where programs,
/// libraries and stacks lie, Linux maps nothing by itself.
const DATA_START: u64 = 0x1000_0000_0000;
/// Guest addresses from here on never enter: their states would lie beside the thread's own data.
pub(crate) const LAST_ENTERED: u64 = 0xffff_ff00_0000_0000;
/// End of the canonical lower half.
const HOST_END: u64 = 1 << 47;
/// The kernel's page of old system calls lies so far below the end of the address space.
const OLD_CALLS: u64 = 0x100_0000;
/// Pages in the windows at most: Linux bounds the mappings of a process to 65,530.
const MOST_PAGES: usize = 24_000;

/// What a fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// The data of a guest address.
    Data(u64),
    /// The states of a guest address.
    States(u64),
    /// Neither.
    Nothing,
}

/// How a page is in the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// This frame, for loads.
    Loads(FrameId),
    /// This frame, for stores.
    Stores {
        frame: FrameId,
        /// Whether code may change the states, as a store into undefined bytes does.
        has_states: bool,
        /// Whether it may do so without looking, as a new stack frame does.
        is_blind: bool,
    },
    /// Without data, and with states at which every check leaves.
    Guarded,
}

/// The windows of one translator.
#[derive(Debug)]
pub(crate) struct Windows {
    data: Reserve,
    states: Reserve,
    data_base: u64,
    state_base: u64,
    guard: GuardStates,
    pages: BTreeMap<u64, Page>,
    stack: Range<u64>,
    /// Whether its pages are still to be looked at.
    is_new_stack: bool,
    /// The file of the memory that the pages belong to, by descriptor and by number.
    file: (i32, u64),
}

impl Windows {
    /// Reserves the addresses, for a thread with this thread pointer.
    ///
    /// The containment argument (`docs/engine.md`) is that a host address outside the windows has
    /// no readable states: whatever is added to a guest address to reach it in the data window
    /// reaches, in the state window, a reserved or a non-canonical address.
    pub(crate) fn new(thread_pointer: u64) -> Result<Self, Unavailable> {
        let kernel = KERNEL_HALF_START.0;
        let kernel_bytes = kernel.wrapping_neg();
        let state_base = thread_pointer & !(PAGE_BYTES - 1);
        let data_base = DATA_START.wrapping_sub(kernel);
        // Guest addresses from 0 on whose states would lie above the thread pointer.
        let above = HOST_END.checked_sub(state_base).ok_or(Unavailable::Addresses)?;
        let data_end = DATA_START + kernel_bytes + above;
        // Everything above the windows must have non-canonical states.
        let distance = state_base.wrapping_sub(data_base);
        if data_end.checked_add(distance).is_none_or(|states| states < HOST_END) {
            return Err(Unavailable::Addresses);
        }
        let data = Reserve::new(DATA_START, data_end)?;
        let states_start = distance.wrapping_sub(OLD_CALLS);
        let states = Reserve::new(states_start, state_base.wrapping_add(LAST_ENTERED))?;
        Ok(Self {
            data,
            states,
            data_base,
            state_base,
            guard: GuardStates::new()?,
            pages: BTreeMap::new(),
            stack: 0..0,
            is_new_stack: false,
            file: (-1, 0),
        })
    }

    /// The base of gs while code runs.
    pub(crate) fn data_base(&self) -> u64 {
        self.data_base
    }

    /// What is added to a guest address to reach its state.
    pub(crate) fn state_base(&self) -> u64 {
        self.state_base
    }

    /// Whether a guest address may ever be in the windows.
    pub(crate) fn can_enter(&self, at: u64) -> bool {
        (KERNEL_HALF_START.0..LAST_ENTERED).contains(&at)
    }

    /// What a host address is.
    pub(crate) fn touched(&self, host: u64) -> Touched {
        let can_enter = |at: &u64| (KERNEL_HALF_START.0..LAST_ENTERED).contains(at);
        let data = Some(host.wrapping_sub(self.data_base)).filter(can_enter);
        let states = Some(host.wrapping_sub(self.state_base)).filter(can_enter);
        match (data, states) {
            (Some(at), _) => Touched::Data(at),
            (None, Some(at)) => Touched::States(at),
            (None, None) => Touched::Nothing,
        }
    }

    /// Enters the page around `at`, or widens what may be done with it; false if that is not
    /// allowed or would change nothing.
    pub(crate) fn enter(&mut self, m: &mut GuestMemory, at: u64, is_store: bool) -> bool {
        let page = at & !(PAGE_BYTES - 1);
        let is_more = match self.pages.get(&page) {
            None => true,
            Some(Page::Loads(_)) => is_store,
            Some(Page::Stores { .. } | Page::Guarded) => false,
        };
        if !is_more || !(KERNEL_HALF_START.0..LAST_ENTERED).contains(&page) {
            return false;
        }
        if self.pages.len() >= MOST_PAGES {
            self.clear();
        }
        let entered = self.allowed(m, page, is_store);
        entered.is_some_and(|entered| self.show(m, page, entered))
    }

    /// How the page around `at` may be shown.
    fn allowed(&self, m: &mut GuestMemory, at: u64, is_store: bool) -> Option<Page> {
        match m.enter_window(GuestAddr(at), is_store) {
            Showing::Nothing => None,
            Showing::Guarded => Some(Page::Guarded),
            Showing::Frame(frame) if !is_store => Some(Page::Loads(frame)),
            Showing::Frame(frame) => {
                let is_blind = m.show_blindly(frame);
                // Code makes a new stack frame undefined without looking at the states before.
                let has_states = is_blind || !self.stack.contains(&at);
                Some(Page::Stores { frame, has_states, is_blind })
            }
        }
    }

    /// Shows a page in this way; false, and it is not shown at all, if that is not possible.
    fn show(&mut self, m: &GuestMemory, at: u64, page: Page) -> bool {
        let (data, states) = (self.data_of(at), self.states_of(at));
        let show = |frame: FrameId, is_stored, has_states| {
            let Some(file) = m.frames_file() else { return false };
            let offset = GuestMemory::frame_offset(frame);
            self.data.map(data, file, offset, is_stored)
                && self.states.map(states, file, offset + PAGE_BYTES, has_states)
        };
        let is_shown = match page {
            Page::Loads(frame) => show(frame, false, false),
            Page::Stores { frame, has_states, .. } => show(frame, true, has_states),
            Page::Guarded => {
                self.data.unmap(data) && self.states.map(states, self.guard.file(), 0, false)
            }
        };
        if is_shown {
            self.pages.insert(at, page);
        } else {
            self.leave(at);
        }
        is_shown
    }

    /// Gets to know the memory that is going to be used; true if it is another one than before, of
    /// which nothing is in the windows any more.
    pub(crate) fn meet(&mut self, m: &GuestMemory) -> bool {
        let Some(file) = m.frames_file() else { return false };
        // Memories that live at the same time have different descriptors, and a new one has
        // everything revoked at first.
        let is_same = self.file.0 == file.as_raw_fd();
        if is_same && !m.has_revoked_all() {
            return false;
        }
        let known = std::mem::replace(&mut self.file, (file.as_raw_fd(), file_number(file)));
        let is_new = known.1 != self.file.1;
        if is_new {
            self.clear();
        }
        is_new
    }

    /// Gives up what the memory took back, and what code must not do to a new stack.
    pub(crate) fn sync(&mut self, m: &mut GuestMemory) {
        if m.has_revoked() {
            let revoked = m.take_revoked();
            self.forget(m, &revoked);
        }
        if std::mem::take(&mut self.is_new_stack) {
            self.look_at_stack(m);
        }
    }

    fn forget(&mut self, m: &mut GuestMemory, revoked: &Revoked) {
        if revoked.all {
            self.clear();
            return;
        }
        for at in &revoked.pages {
            let Some(old) = self.pages.remove(&at.0) else { continue };
            // What is mapped there now will be used like what was.
            match self.allowed(m, at.0, matches!(old, Page::Stores { .. })) {
                Some(page) if page == old => _ = self.pages.insert(at.0, page),
                Some(page) => _ = self.show(m, at.0, page),
                None => self.leave(at.0),
            }
        }
        if revoked.stores.is_empty() && revoked.states.is_empty() {
            return;
        }
        for (at, page) in self.pages.clone() {
            let Page::Stores { frame, has_states, .. } = page else { continue };
            if revoked.stores.contains(&frame) {
                self.show(m, at, Page::Loads(frame));
            } else if revoked.states.contains(&frame) {
                self.pages.insert(at, Page::Stores { frame, has_states, is_blind: false });
                self.is_new_stack |= self.stack.contains(&at);
            }
        }
    }

    /// Declares the stack.
    pub(crate) fn set_stack(&mut self, stack: &Range<u64>) {
        self.stack = stack.start & !(PAGE_BYTES - 1)..stack.end;
        self.is_new_stack = true;
    }

    /// Pages of the stack whose states code must not change blindly leave.
    fn look_at_stack(&mut self, m: &mut GuestMemory) {
        let inside = self.pages.range(self.stack.clone());
        for (at, page) in inside.map(|(at, page)| (*at, *page)).collect::<Vec<_>>() {
            let Page::Stores { frame, has_states: true, is_blind: false } = page else { continue };
            if m.show_blindly(frame) {
                let page = Page::Stores { frame, has_states: true, is_blind: true };
                self.pages.insert(at, page);
            } else {
                self.leave(at);
            }
        }
    }

    /// Empties the windows.
    pub(crate) fn clear(&mut self) {
        if !std::mem::take(&mut self.pages).is_empty() {
            let is_out = self.data.empty() && self.states.empty();
            assert!(is_out, "pages that may not be used must not stay in the windows");
        }
    }

    fn leave(&mut self, at: u64) {
        self.pages.remove(&at);
        if (KERNEL_HALF_START.0..LAST_ENTERED).contains(&at) {
            let data = self.data.unmap(self.data_of(at));
            let is_out = data && self.states.unmap(self.states_of(at));
            assert!(is_out, "a page that may not be used must not stay in the windows");
        }
    }

    fn data_of(&self, at: u64) -> u64 {
        self.data_base.wrapping_add(at)
    }

    fn states_of(&self, at: u64) -> u64 {
        self.state_base.wrapping_add(at)
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::{Accessor, ByteState, GuestAddr, GuestMemory, Limits, Perms};

    use super::{Page, Touched, Windows};
    use crate::{engine::tests::alone, host::thread_pointer};

    const AT: u64 = 0xffff_fa00_0000_0000;

    #[test]
    fn windows_show_data_and_states_until_they_are_revoked() {
        let _alone = alone();
        let mut m = GuestMemory::new_shared(Limits { frames: 8, blocks: 1, spaces: 1 }).unwrap();
        let data = Perms::READ | Perms::WRITE;
        m.map(GuestAddr(AT), 0x2000, data, ByteState::UNDEFINED, 0x5a).unwrap();
        let mut windows = Windows::new(thread_pointer()).unwrap();
        windows.sync(&mut m);
        assert!(windows.enter(&mut m, AT + 5, false));
        assert!(!windows.enter(&mut m, AT + 6, false), "it is there already");
        assert!(windows.enter(&mut m, AT + 6, true), "now for stores");
        assert!(!windows.enter(&mut m, AT + 0x2000, false), "not mapped");
        assert_eq!(windows.data.peek(windows.data_of(AT + 9)), 0x5a);
        assert_eq!(windows.states.peek(windows.states_of(AT + 9)), 0xff);
        m.store(false, AT + 9, 7_u8).unwrap();
        assert_eq!(windows.data.peek(windows.data_of(AT + 9)), 7);
        assert_eq!(windows.states.peek(windows.states_of(AT + 9)), 0);
        assert_eq!(windows.touched(windows.data_of(AT + 9)), Touched::Data(AT + 9));
        assert_eq!(windows.touched(windows.states_of(AT + 9)), Touched::States(AT + 9));
        assert_eq!(windows.touched(0x1234), Touched::Nothing);
        m.unmap(GuestAddr(AT), 0x1000);
        windows.sync(&mut m);
        let state = windows.states.peek(windows.states_of(AT + 9));
        assert_eq!(state, ByteState::UNALLOCATED.0, "its frame is not in use");
        m.map(GuestAddr(AT + 0x8000), 0x1000, data, ByteState::UNDEFINED, 0).unwrap();
        windows.sync(&mut m);
        assert!(windows.pages.is_empty(), "it is in use elsewhere");
        assert_eq!(rights(windows.states_of(AT + 9)), "---p");
    }

    #[test]
    fn pages_stay_over_captures_and_restores() {
        let _alone = alone();
        let mut m = GuestMemory::new_shared(Limits { frames: 8, blocks: 1, spaces: 1 }).unwrap();
        let data = Perms::READ | Perms::WRITE;
        m.map(GuestAddr(AT), 0x2000, data, ByteState::DEFINED, 1).unwrap();
        let mut windows = Windows::new(thread_pointer()).unwrap();
        windows.sync(&mut m);
        assert!(windows.enter(&mut m, AT, true));
        let snapshot = m.capture();
        let host = windows.data_of(AT + 9);
        windows.data.poke(host, 7);
        let later = m.capture();
        for _ in 0..3 {
            m.restore(&snapshot);
            windows.sync(&mut m);
            assert_eq!(windows.data.peek(host), 1);
            windows.data.poke(host, 8);
            m.restore(&later);
            windows.sync(&mut m);
            assert_eq!(windows.data.peek(host), 7);
        }
        for _ in 0..40 {
            m.restore(&later);
        }
        windows.sync(&mut m);
        assert!(matches!(windows.pages.get(&AT), Some(Page::Loads(_))), "nobody stores");
        assert!(windows.enter(&mut m, AT, true));
        m.unmap(GuestAddr(AT), 0x1000);
        m.restore(&snapshot);
        windows.sync(&mut m);
        assert_eq!(windows.data.peek(host), 1);
        assert_eq!(windows.states.peek(windows.states_of(AT)), 0);
        // What is mapped otherwise is shown otherwise.
        let frame = m.mapping(GuestAddr(AT + 0x1000)).map(|mapping| mapping.frame);
        m.unmap(GuestAddr(AT), 0x1000);
        m.map_frames(GuestAddr(AT), &frame.map_or(vec![], |f| vec![f]), 0, 0x1000, data).unwrap();
        m.fill(Accessor::Supervisor, GuestAddr(AT), 3, 16).unwrap();
        windows.sync(&mut m);
        assert_eq!(windows.data.peek(host), 3);
        m.protect(GuestAddr(AT), 0x1000, Perms::READ);
        windows.sync(&mut m);
        assert_eq!(rights(host), "---p");
    }

    #[test]
    fn guarded_pages_have_states_at_which_every_check_leaves_and_no_data() {
        let _alone = alone();
        let mut m = GuestMemory::new_shared(Limits { frames: 8, blocks: 1, spaces: 1 }).unwrap();
        let data = Perms::READ | Perms::WRITE;
        for (page, perms) in [(0, Perms::USER), (1, Perms::PAGEABLE), (2, Perms::WATCHED)] {
            let at = GuestAddr(AT + 0x1000 * page);
            m.map(at, 0x1000, data | perms, ByteState::DEFINED, 0).unwrap();
        }
        let mut windows = Windows::new(thread_pointer()).unwrap();
        windows.sync(&mut m);
        for at in [AT + 5, AT + 0x1005, AT + 0x2005] {
            assert!(windows.enter(&mut m, at, true));
            assert!(!windows.enter(&mut m, at, true), "it is there already");
            let state = windows.states.peek(windows.states_of(at));
            assert!(![ByteState::DEFINED.0, ByteState::UNDEFINED.0].contains(&state));
            let states = rights(windows.states_of(at));
            assert_eq!((states.as_str(), rights(windows.data_of(at)).as_str()), ("r--s", "---p"));
        }
        m.protect(GuestAddr(AT + 0x2000), 0x1000, data);
        windows.sync(&mut m);
        assert!(windows.enter(&mut m, AT + 0x2005, true));
        assert_eq!(rights(windows.data_of(AT + 0x2005)), "rw-s", "nobody watches any more");
    }

    #[test]
    fn what_code_does_to_states_without_looking_ends_with_the_right_to_touch() {
        let _alone = alone();
        let mut m = GuestMemory::new_shared(Limits { frames: 8, blocks: 1, spaces: 1 }).unwrap();
        let data = Perms::READ | Perms::WRITE;
        m.map(GuestAddr(AT), 0x3000, data, ByteState::UNDEFINED, 0).unwrap();
        let (other, whole) = (AT + 0x1000, AT + 0x2000);
        m.set_state(GuestAddr(other), 8, ByteState::GUARD, None);
        let mut windows = Windows::new(thread_pointer()).unwrap();
        windows.sync(&mut m);
        windows.set_stack(&(AT..AT + 0x1000));
        for at in [AT, other, whole] {
            assert!(windows.enter(&mut m, at, true));
            assert_eq!(rights(windows.states_of(at)), "rw-s");
        }
        m.set_state(GuestAddr(whole), 8, ByteState::FREED, None);
        windows.sync(&mut m);
        assert_eq!(rights(windows.states_of(whole)), "rw-s", "stores there are looked at");
        // Another stack: only pages all of whose bytes may be touched stay, and the first one too.
        windows.set_stack(&(other..AT + 0x3000));
        windows.sync(&mut m);
        assert_eq!(rights(windows.states_of(AT)), "rw-s");
        assert_eq!(rights(windows.states_of(other)), "---p");
        assert_eq!(rights(windows.states_of(whole)), "---p");
        assert!(windows.enter(&mut m, other, true));
        assert_eq!(rights(windows.states_of(other)), "r--s");
        assert_eq!(rights(windows.data_of(other)), "rw-s");
        windows.set_stack(&(AT..AT + 0x1000));
        windows.sync(&mut m);
        assert_eq!(rights(windows.states_of(AT)), "rw-s");
        m.set_state(GuestAddr(AT), 8, ByteState::FREED, None);
        windows.sync(&mut m);
        assert_eq!(rights(windows.states_of(AT)), "---p");
    }

    /// How the host maps an address.
    #[expect(clippy::disallowed_methods, reason = "the list of mappings is a file")]
    fn rights(host: u64) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let parse = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let found = maps.lines().find_map(|line| {
            let (start, rest) = line.split_once('-')?;
            let (end, rest) = rest.split_once(' ')?;
            let (rights, _) = rest.split_once(' ')?;
            (parse(start)..parse(end)).contains(&host).then(|| rights.to_owned())
        });
        found.unwrap_or_default()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the list of mappings is a file")]
    fn a_host_address_outside_the_windows_has_no_states() {
        let _alone = alone();
        let windows = Windows::new(thread_pointer()).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for line in maps.lines() {
            let (start, rest) = line.split_once('-').unwrap();
            let end = rest.split_once(' ').unwrap().0;
            let parse = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (parse(start), parse(end));
            if rest.contains("---p") {
                continue;
            }
            for host in [start, end - 4096] {
                let guest = host.wrapping_sub(windows.data_base);
                let states = windows.state_base.wrapping_add(guest);
                let is_canonical = states < 1 << 47;
                let is_reserved = maps.lines().any(|line| {
                    let (low, rest) = line.split_once('-').unwrap();
                    let high = rest.split_once(' ').unwrap().0;
                    (parse(low)..parse(high)).contains(&states) && rest.contains("---p")
                });
                assert!(!is_canonical || is_reserved, "{line}: states at {states:x}");
            }
        }
    }
}
