//! The load configuration: security cookie and control flow guard.
//!
//! Source: the chapter "The Load Configuration Structure" of
//! <https://learn.microsoft.com/windows/win32/debug/pe-format>.

use object::pe;

use crate::{
    bytes::{u32_at, u64_at},
    headers::Headers,
};

/// What the load configuration states, with addresses turned into RVAs.
///
/// A field is absent where the structure is too short for it (it grew with every version of
/// Windows), where it is null, or where it points outside the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadConfig {
    /// The eight bytes of `__security_cookie`.
    pub security_cookie_rva: Option<u32>,
    /// The pointer through which guarded calls check their target.
    pub guard_check_slot_rva: Option<u32>,
    /// The pointer through which guarded calls are dispatched; the target is in `rax`.
    pub guard_dispatch_slot_rva: Option<u32>,
    /// The table of valid call targets.
    pub guard_function_table_rva: Option<u32>,
    /// How many entries it has.
    pub guard_function_count: u64,
    /// `IMAGE_GUARD_*`; the top four bits are the extra bytes of a table entry.
    pub guard_flags: u32,
}

// Offsets in `IMAGE_LOAD_CONFIG_DIRECTORY64`, and the widths of what is read there.
const SECURITY_COOKIE: u32 = 0x58;
const GUARD_CF_CHECK_FUNCTION_POINTER: u32 = 0x70;
const GUARD_CF_DISPATCH_FUNCTION_POINTER: u32 = 0x78;
const GUARD_CF_FUNCTION_TABLE: u32 = 0x80;
const GUARD_CF_FUNCTION_COUNT: u32 = 0x88;
const GUARD_FLAGS: u32 = 0x90;

pub(crate) fn parse(image: &[u8], headers: &Headers) -> Option<LoadConfig> {
    let (rva, _) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG)?;
    let size_bytes = u32_at(image, rva)?;
    let value = |offset: u32| {
        let is_there = offset + 8 <= size_bytes;
        is_there.then(|| u64_at(image, rva.saturating_add(offset))).flatten()
    };
    let slot = |offset: u32| {
        let address = value(offset)?;
        let slot = u32::try_from(address.checked_sub(headers.preferred_base)?).ok()?;
        u64_at(image, slot).map(|_| slot)
    };
    let has_flags = GUARD_FLAGS + 4 <= size_bytes;
    let guard_flags = u32_at(image, rva.saturating_add(GUARD_FLAGS)).filter(|_| has_flags);
    Some(LoadConfig {
        security_cookie_rva: slot(SECURITY_COOKIE),
        guard_check_slot_rva: slot(GUARD_CF_CHECK_FUNCTION_POINTER),
        guard_dispatch_slot_rva: slot(GUARD_CF_DISPATCH_FUNCTION_POINTER),
        guard_function_table_rva: slot(GUARD_CF_FUNCTION_TABLE),
        guard_function_count: value(GUARD_CF_FUNCTION_COUNT).unwrap_or(0),
        guard_flags: guard_flags.unwrap_or(0),
    })
}
