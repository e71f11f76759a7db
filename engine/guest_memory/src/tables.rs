//! Page tables: which frame a page means, with which permissions and bounds.

use crate::{GuestAddr, MapError, Mapping, Perms, radix::Radix};

/// First address of the kernel half that can be mapped.
pub const KERNEL_HALF_START: GuestAddr = GuestAddr(0xffff_f780_0000_0000);

const VIRTUAL_MASK: u64 = 0xffff_ffff_ffff;

/// One half of an address space.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageTable {
    pages: Radix<Mapping>,
    /// Stamp of the last change that an executable page took part in.
    pub(crate) exec_stamp: u64,
}

impl PageTable {
    #[inline]
    pub(crate) fn get(&self, at: u64) -> Option<&Mapping> {
        self.pages.get(page_key(at))
    }

    /// Returns the first mapped page at or above `at`, as far as `last`.
    pub(crate) fn next(&self, at: u64, last: u64) -> Option<(u64, Mapping)> {
        let (key, mapping) = self.pages.at_or_above(page_key(at))?;
        let found = page_address(key);
        (found <= last).then_some((found, *mapping))
    }

    pub(crate) fn set(&mut self, at: u64, mapping: Mapping, stamp: &mut u64) {
        let old = self.pages.insert(page_key(at), mapping);
        let was_code = old.is_some_and(|old| old.perms.contains(Perms::EXECUTE));
        if was_code || mapping.perms.contains(Perms::EXECUTE) {
            self.touch_code(stamp);
        }
    }

    pub(crate) fn remove(&mut self, at: u64, stamp: &mut u64) -> Option<Mapping> {
        let old = self.pages.remove(page_key(at))?;
        if old.perms.contains(Perms::EXECUTE) {
            self.touch_code(stamp);
        }
        Some(old)
    }

    /// Whether nothing was mapped, unmapped or protected in one of two copies.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.pages.is_same(&other.pages)
    }

    /// Pages that are not mapped in the same way in both.
    pub(crate) fn differing(&self, other: &Self) -> impl Iterator<Item = u64> + use<> {
        let mut keys = Vec::new();
        self.pages.differing(&other.pages, Mapping::eq, &mut keys);
        keys.into_iter().map(page_address)
    }

    pub(crate) fn len(&self) -> u64 {
        self.pages.len()
    }

    /// All pages, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Mapping)> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let (key, mapping) = self.pages.at_or_above(next?)?;
            next = key.checked_add(1);
            Some((page_address(key), *mapping))
        })
    }

    fn touch_code(&mut self, stamp: &mut u64) {
        *stamp += 1;
        self.exec_stamp = *stamp;
    }
}

/// Checks a page-aligned range and returns its last page address; `None` for an empty range.
pub(crate) fn page_range(at: GuestAddr, size_bytes: u64) -> Result<Option<u64>, MapError> {
    if at.page_offset() != 0 || !size_bytes.is_multiple_of(4096) {
        return Err(MapError::BadRange);
    }
    let Some(tail) = size_bytes.checked_sub(4096) else { return Ok(None) };
    let last = at.0.checked_add(tail).ok_or(MapError::BadRange)?;
    let is_user = at.is_canonical() && GuestAddr(last).is_canonical() && last >> 63 == 0;
    let is_kernel = at >= KERNEL_HALF_START;
    if is_user || is_kernel { Ok(Some(last)) } else { Err(MapError::BadRange) }
}

#[inline]
fn page_key(at: u64) -> u64 {
    (at & VIRTUAL_MASK) >> 12
}

/// The canonical address of a page.
fn page_address(key: u64) -> u64 {
    let at = key << 12;
    if at >> 47 == 1 { at | !VIRTUAL_MASK } else { at }
}
