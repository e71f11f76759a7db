//! The plain path: loads and stores at which nothing can object.

use crate::{
    AccessKind, Accessor, GuestAddr, GuestMemory, Mapping, Perms, Slow,
    frames::{PAGE, lines},
    tlb::PLANE_USER,
    vet::{Piece, first_untouchable, offset_of},
};

/// An unsigned integer that the plain path loads and stores.
pub trait Scalar: Copy + Eq {
    /// Length in bytes.
    const BYTES: usize;
    /// All bits clear.
    const ZERO: Self;
    /// All bits set.
    const ONES: Self;
    /// Reads at an offset; `None` past the end.
    fn get(bytes: &[u8], offset: usize) -> Option<Self>;
    /// Writes at an offset; nothing happens past the end.
    fn put(self, bytes: &mut [u8], offset: usize);
}

macro_rules! scalar {
    ($($int:ty)*) => {$(
        impl Scalar for $int {
            const BYTES: usize = size_of::<$int>();
            const ZERO: Self = 0;
            const ONES: Self = Self::MAX;
            #[inline(always)]
            fn get(bytes: &[u8], offset: usize) -> Option<Self> {
                let bytes = bytes.get(offset..offset + Self::BYTES)?;
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
            #[inline(always)]
            fn put(self, bytes: &mut [u8], offset: usize) {
                let bytes = bytes.get_mut(offset..offset + Self::BYTES);
                if let Some(bytes) = bytes.and_then(|bytes| bytes.first_chunk_mut()) {
                    *bytes = self.to_le_bytes();
                }
            }
        }
    )*};
}

scalar!(u8 u16 u32 u64 u128);

/// The engine's plain path.
impl GuestMemory {
    /// Loads through the TLB when nothing can object and all bytes are defined. `T` is u8, u16,
    /// u32, u64 or u128.
    #[inline(always)]
    pub fn load<T: Scalar>(&mut self, who_user: bool, at: u64) -> Result<T, Slow> {
        let entry = self.tlb.entry(self.plane | usize::from(who_user), at);
        let offset = at.wrapping_sub(entry.read);
        // One comparison for "this page" and "not across its end".
        if offset <= (PAGE - T::BYTES) as u64
            && let offset = offset_of(offset)
            && let Some(frame) = self.frames.bytes.get(entry.read_frame as usize)
            && T::get(&frame.state, offset) == Some(T::ZERO)
            && let Some(value) = T::get(&frame.data, offset)
        {
            return Ok(value);
        }
        self.load_miss(who_user, at)
    }

    /// Stores through the TLB when nothing can object; the bytes become defined.
    #[inline(always)]
    pub fn store<T: Scalar>(&mut self, who_user: bool, at: u64, value: T) -> Result<(), Slow> {
        let entry = self.tlb.entry(self.plane | usize::from(who_user), at);
        let (offset, frame) = (at.wrapping_sub(entry.write), entry.write_frame);
        if offset <= (PAGE - T::BYTES) as u64
            && let offset = offset_of(offset)
            && let Some(page) = self.frames.bytes.get_mut(frame as usize)
            && T::get(&page.state, offset) == Some(T::ZERO)
        {
            value.put(&mut page.data, offset);
            self.frames.note_bytes(frame, lines(offset, T::BYTES));
            return Ok(());
        }
        self.store_miss(who_user, at, value)
    }

    #[cold]
    #[inline(never)]
    fn load_miss<T: Scalar>(&mut self, who_user: bool, at: u64) -> Result<T, Slow> {
        let offset = offset_of(at);
        let who = accessor(who_user);
        let is_in_page = offset + T::BYTES <= PAGE;
        self.note_load(at, T::BYTES as u64);
        let frame = is_in_page.then(|| self.plain_frame(who, AccessKind::Read, at)).flatten();
        let Some(frame) = frame else {
            return self.load_across(who_user, at);
        };
        let frame = self.frames.bytes(frame);
        if T::get(&frame.state, offset) != Some(T::ZERO) {
            return Err(Slow);
        }
        T::get(&frame.data, offset).ok_or(Slow)
    }

    /// Loads what the TLB never serves: across pages, or from pages with bounds.
    fn load_across<T: Scalar>(&mut self, who_user: bool, at: u64) -> Result<T, Slow> {
        let mut value = [0; 16];
        let mut undefined = [0; 16];
        let (Some(into), Some(masks)) = (value.get_mut(..T::BYTES), undefined.get_mut(..T::BYTES))
        else {
            return Err(Slow);
        };
        let loaded = self.load_slow(accessor(who_user), GuestAddr(at), into, masks, false);
        if loaded.is_err() || undefined != [0; 16] {
            return Err(Slow);
        }
        T::get(&value, 0).ok_or(Slow)
    }

    /// Stores into bytes that are not all defined, which a stack sees at every turn, or where the
    /// TLB misses.
    #[inline(never)]
    fn store_miss<T: Scalar>(&mut self, who_user: bool, at: u64, value: T) -> Result<(), Slow> {
        let entry = self.tlb.entry(self.plane | usize::from(who_user), at);
        let offset = at.wrapping_sub(entry.write);
        let frame = entry.write_frame;
        if offset <= (PAGE - T::BYTES) as u64
            && let offset = offset_of(offset)
            && let Some(page) = self.frames.bytes.get_mut(frame as usize)
            && let Some(states) = page.state.get_mut(offset..offset + T::BYTES)
        {
            if T::get(states, 0) != Some(T::ONES) && first_untouchable(states).is_some() {
                return Err(Slow);
            }
            T::ZERO.put(states, 0);
            value.put(&mut page.data, offset);
            self.frames.note_bytes(frame, lines(offset, T::BYTES));
            self.frames.note_states(Piece { frame, offset, len: T::BYTES });
            return Ok(());
        }
        self.store_walk(who_user, at, value)
    }

    #[cold]
    fn store_walk<T: Scalar>(&mut self, who_user: bool, at: u64, value: T) -> Result<(), Slow> {
        if self.note_store(at, T::BYTES as u64) {
            return self.store_tracked(who_user, at, value);
        }
        if offset_of(at) + T::BYTES <= PAGE && self.enter_store(who_user, at).is_some() {
            return self.store_miss(who_user, at, value);
        }
        self.store_across(who_user, at, value)
    }

    /// Stores what the TLB never serves: across pages, or into pages with bounds.
    fn store_across<T: Scalar>(&mut self, who_user: bool, at: u64, value: T) -> Result<(), Slow> {
        // The engine must know that it changes code before it does.
        if self.holds_code(GuestAddr(at), T::BYTES as u64) {
            return Err(Slow);
        }
        let mut bytes = [0; 16];
        value.put(&mut bytes, 0);
        let bytes = bytes.get(..T::BYTES).ok_or(Slow)?;
        let stored = self.store_slow(accessor(who_user), GuestAddr(at), bytes, &[], false);
        stored.map_err(|_| Slow)
    }

    /// Stores into a page whose every access is noted, and which the TLB never holds.
    fn store_tracked<T: Scalar>(&mut self, who: bool, at: u64, value: T) -> Result<(), Slow> {
        let offset = offset_of(at);
        if offset + T::BYTES <= PAGE
            && let Some(frame) = self.enter_store(who, at)
            && let Some(page) = self.frames.bytes.get_mut(frame as usize)
            && let Some(states) = page.state.get_mut(offset..offset + T::BYTES)
        {
            if first_untouchable(states).is_some() {
                return Err(Slow);
            }
            T::ZERO.put(states, 0);
            value.put(&mut page.data, offset);
            self.frames.note_bytes(frame, lines(offset, T::BYTES));
            self.frames.note_states(Piece { frame, offset, len: T::BYTES });
            return Ok(());
        }
        self.store_across(who, at, value)
    }

    /// Enters a page into the TLB for loads, if it may be read plainly, and returns its frame.
    fn enter_load(&mut self, who_user: bool, at: u64) -> Option<u32> {
        let frame = self.plain_mapping(who_user, at, AccessKind::Read)?.frame.0;
        if !self.is_tracked(at) {
            self.tlb.fill_read(self.plane | usize::from(who_user), at, frame);
        }
        Some(frame)
    }

    /// Enters a page into the TLB for stores, if it may be written plainly, and returns its frame.
    fn enter_store(&mut self, who_user: bool, at: u64) -> Option<u32> {
        let frame = self.plain_mapping(who_user, at, AccessKind::Write)?.frame.0;
        // Stores into code must be seen, so they never become plain.
        if self.frames.has_code(frame) {
            return None;
        }
        self.frames.mark_dirty(frame);
        if !self.is_tracked(at) {
            self.tlb.fill_write(self.plane | usize::from(who_user), at, frame);
        }
        Some(frame)
    }

    /// Loads 1, 2, 4 or 8 bytes for a service of the kernel, where nothing can object and all are
    /// defined. It is no access of the code that runs. `None` says nothing.
    #[inline]
    pub fn load_for_service(&mut self, at: GuestAddr, size_bytes: usize) -> Option<u64> {
        match size_bytes {
            1 => self.service_load::<u8>(at).map(u64::from),
            2 => self.service_load::<u16>(at).map(u64::from),
            4 => self.service_load::<u32>(at).map(u64::from),
            8 => self.service_load::<u64>(at),
            _ => None,
        }
    }

    /// Stores the low 1, 2, 4 or 8 bytes for a service of the kernel, where nothing can object and
    /// all are defined. `None`: nothing was stored, and nothing is said.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bytes are meant")]
    pub fn store_for_service(
        &mut self,
        at: GuestAddr,
        size_bytes: usize,
        value: u64,
    ) -> Option<()> {
        match size_bytes {
            1 => self.service_store(at, value as u8),
            2 => self.service_store(at, value as u16),
            4 => self.service_store(at, value as u32),
            8 => self.service_store(at, value),
            _ => None,
        }
    }

    #[inline]
    fn service_load<T: Scalar>(&mut self, at: GuestAddr) -> Option<T> {
        let frame = self.service_frame(AccessKind::Read, at)?;
        let page = self.frames.bytes.get(frame as usize)?;
        let is_defined = T::get(&page.state, offset_of(at.0))? == T::ZERO;
        is_defined.then(|| T::get(&page.data, offset_of(at.0))).flatten()
    }

    #[inline]
    fn service_store<T: Scalar>(&mut self, at: GuestAddr, value: T) -> Option<()> {
        let frame = self.service_frame(AccessKind::Write, at)?;
        let page = self.frames.bytes.get_mut(frame as usize)?;
        let offset = offset_of(at.0);
        if T::get(&page.state, offset)? != T::ZERO {
            return None;
        }
        value.put(&mut page.data, offset);
        self.frames.note_bytes(frame, lines(offset, T::BYTES));
        Some(())
    }

    /// The frame of a page that a service may touch plainly. While accesses are tracked, the TLB
    /// holds only what the code that runs has touched, so that its first touch is noticed.
    #[inline]
    fn service_frame(&mut self, kind: AccessKind, at: GuestAddr) -> Option<u32> {
        if self.is_tracking() { None } else { self.plain_frame(Accessor::Supervisor, kind, at.0) }
    }

    /// The frame of a page at which nothing can object on the level of pages, by way of the TLB;
    /// `None` says nothing.
    #[inline]
    pub(crate) fn plain_frame(&mut self, who: Accessor, kind: AccessKind, at: u64) -> Option<u32> {
        let is_user = who == Accessor::User;
        let page = GuestAddr(at).page().0;
        let entry = self.tlb.entry(self.plane | usize::from(is_user), at);
        let (cached, frame) = match (who, kind) {
            (Accessor::Machine, _) | (_, AccessKind::Execute) => return None,
            (_, AccessKind::Read) => (entry.read, entry.read_frame),
            (_, AccessKind::Write) => (entry.write, entry.write_frame),
        };
        if cached == page && self.frames.bytes.get(frame as usize).is_some() {
            return Some(frame);
        }
        if kind == AccessKind::Read {
            self.enter_load(is_user, at)
        } else {
            self.enter_store(is_user, at)
        }
    }

    /// The mapping if nothing on the level of pages can object.
    pub(crate) fn plain_mapping(
        &self,
        who_user: bool,
        at: u64,
        kind: AccessKind,
    ) -> Option<Mapping> {
        let mapping = self.resolve(GuestAddr(at)).ok()?;
        let is_plain = mapping.low == 0
            && mapping.high == 4096
            && !mapping.perms.contains(Perms::WATCHED)
            && self.page_objection(mapping, accessor(who_user), kind).is_none();
        is_plain.then_some(mapping)
    }
}

fn accessor(is_user: bool) -> Accessor {
    if is_user { Accessor::User } else { Accessor::Supervisor }
}

const _: () = assert!(PLANE_USER == 1, "`who_user` is a plane bit");

#[cfg(test)]
mod tests {
    use crate::{ByteState, GuestAddr, GuestMemory, Limits, Perms};

    const AT: GuestAddr = GuestAddr(0xffff_fa00_0000_0000);

    fn memory(perms: Perms, state: ByteState) -> GuestMemory {
        let mut memory = GuestMemory::new(Limits { frames: 4, blocks: 1, spaces: 1 });
        memory.map(AT, 0x2000, perms, state, 7).unwrap();
        memory
    }

    #[test]
    fn services_store_and_load_what_nothing_objects_to() {
        let mut memory = memory(Perms::READ | Perms::WRITE, ByteState::DEFINED);
        for size_bytes in [1, 2, 4, 8] {
            let (at, mask) = (AT.add(100), u64::MAX >> (64 - 8 * size_bytes));
            let value = 0x8877_6655_4433_2211;
            assert_eq!(memory.store_for_service(at, size_bytes, value), Some(()));
            assert_eq!(memory.load_for_service(at, size_bytes), Some(value & mask));
        }
        // Of no such size, or across pages.
        assert_eq!(memory.load_for_service(AT, 3), None);
        assert_eq!(memory.store_for_service(AT, 16, 1), None);
        assert_eq!(memory.load_for_service(AT.add(0xffd), 4), None);
        assert_eq!(memory.store_for_service(AT.add(0xffd), 4, 1), None);
        assert_eq!(memory.load_for_service(AT.add(0xff8), 8), Some(0x0707_0707_0707_0707));
    }

    #[test]
    fn what_a_service_stored_comes_back() {
        let mut memory = memory(Perms::READ | Perms::WRITE, ByteState::DEFINED);
        let snapshot = memory.capture();
        for _ in 0..2 {
            assert_eq!(memory.store_for_service(AT, 4, 1), Some(()));
            memory.restore(&snapshot);
            assert_eq!(memory.load_for_service(AT, 4), Some(0x0707_0707));
        }
    }

    #[test]
    fn nothing_is_stored_where_somebody_may_object() {
        let read_only = memory(Perms::READ, ByteState::DEFINED);
        let watched = memory(Perms::READ | Perms::WRITE | Perms::WATCHED, ByteState::DEFINED);
        let undefined = memory(Perms::READ | Perms::WRITE, ByteState::UNDEFINED);
        let freed = memory(Perms::READ | Perms::WRITE, ByteState::FREED);
        for mut memory in [read_only, watched, undefined, freed] {
            assert_eq!(memory.store_for_service(AT, 8, 1), None);
            let mut bytes = [0; 8];
            memory.peek(AT, &mut bytes);
            assert_eq!(bytes, [7; 8]);
        }
    }
}
