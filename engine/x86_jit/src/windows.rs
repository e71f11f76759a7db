//! The two windows: guest pages at a constant distance from their guest addresses, and their
//! states at another.
//!
//! Data lies at `data_base + address`, states at `state_base + address`, where `state_base` is the
//! thread pointer rounded down to a page. A page is entered when code faults on it and nothing on
//! the level of pages can object; the windows are a cache like the TLB and forget what it forgets.

use std::{collections::BTreeMap, ops::Range, os::fd::AsRawFd};

use guest_memory::{GuestAddr, GuestMemory, KERNEL_HALF_START, PAGE_BYTES};

use crate::host::{Reserve, Unavailable, file_number};

/// Where the data window of the kernel half begins. Below it, and from its end to where programs,
/// libraries and stacks lie, Linux maps nothing by itself.
const DATA_START: u64 = 0x1000_0000_0000;
/// Guest addresses from here on never enter: their states would lie beside the thread's own data.
const LAST_ENTERED: u64 = 0xffff_ff00_0000_0000;
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

#[derive(Clone, Copy, Debug)]
struct Page {
    is_writable: bool,
    /// Whether code may change the states.
    has_states: bool,
}

/// The windows of one translator.
#[derive(Debug)]
pub(crate) struct Windows {
    data: Reserve,
    states: Reserve,
    data_base: u64,
    state_base: u64,
    pages: BTreeMap<u64, Page>,
    stack: Range<u64>,
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
            pages: BTreeMap::new(),
            stack: 0..0,
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
        let old = self.pages.get(&page).copied();
        if !(KERNEL_HALF_START.0..LAST_ENTERED).contains(&page)
            || old.is_some_and(|old| old.is_writable || !is_store)
        {
            return false;
        }
        if self.pages.len() >= MOST_PAGES {
            self.clear();
        }
        let Some(frame) = m.enter_window(GuestAddr(page), is_store) else { return false };
        // Code makes a new stack frame undefined without looking at the states before.
        let has_states = is_store && (!self.stack.contains(&page) || m.is_touchable(frame));
        let Some(file) = m.frames_file() else { return false };
        let offset = GuestMemory::frame_offset(frame);
        let (data, states) = (self.data_of(page), self.states_of(page));
        let is_mapped = self.data.map(data, file, offset, is_store)
            && self.states.map(states, file, offset + PAGE_BYTES, has_states);
        if !is_mapped {
            self.leave(page);
            return false;
        }
        self.pages.insert(page, Page { is_writable: is_store, has_states });
        true
    }

    /// Gets to know the memory that is going to be used; true if it is another one than before, of
    /// which nothing is in the windows any more.
    pub(crate) fn meet(&mut self, m: &GuestMemory) -> bool {
        let Some(file) = m.frames_file() else { return false };
        // Memories that live at the same time have different descriptors, and a new one has
        // everything revoked at first.
        let is_same = self.file.0 == file.as_raw_fd();
        if is_same && !m.has_revoked() {
            return false;
        }
        let known = std::mem::replace(&mut self.file, (file.as_raw_fd(), file_number(file)));
        let is_new = known.1 != self.file.1;
        if is_new {
            self.clear();
        }
        is_new
    }

    /// Gives up what the memory took back.
    pub(crate) fn sync(&mut self, m: &mut GuestMemory) {
        if !m.has_revoked() {
            return;
        }
        let revoked = m.take_revoked();
        if revoked.all {
            self.clear();
            return;
        }
        if revoked.writes {
            let writable = self.pages.iter().filter(|(_, page)| page.is_writable);
            for page in writable.map(|(at, _)| *at).collect::<Vec<_>>() {
                self.leave(page);
            }
        }
        for at in revoked.pages {
            self.leave(at.0);
        }
        for at in revoked.states {
            if self.stack.contains(&at.0) {
                self.leave(at.0);
            }
        }
    }

    /// Declares the stack. Pages of it whose states code must not change blindly leave.
    pub(crate) fn set_stack(&mut self, stack: &Range<u64>) {
        self.stack = stack.start & !(PAGE_BYTES - 1)..stack.end;
        let inside = self.pages.range(self.stack.clone()).filter(|(_, page)| page.has_states);
        for page in inside.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.leave(page);
        }
    }

    /// Empties the windows.
    pub(crate) fn clear(&mut self) {
        for page in std::mem::take(&mut self.pages).into_keys() {
            self.unmap(page);
        }
    }

    fn leave(&mut self, page: u64) {
        self.pages.remove(&page);
        if (KERNEL_HALF_START.0..LAST_ENTERED).contains(&page) {
            self.unmap(page);
        }
    }

    fn unmap(&self, page: u64) {
        let is_out = self.data.unmap(self.data_of(page)) && self.states.unmap(self.states_of(page));
        assert!(is_out, "a page that may not be used must not stay in the windows");
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
    use guest_memory::{ByteState, GuestAddr, GuestMemory, Limits, Perms};

    use super::{Touched, Windows};
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
        assert!(windows.pages.is_empty());
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
