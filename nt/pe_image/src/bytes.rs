//! Reads at an offset of a byte slice that end at its end instead of panicking.

use object::pod::{self, Pod};

/// Reads a structure; `None` if any byte of it lies outside.
pub(crate) fn pod_at<T: Pod>(bytes: &[u8], offset: u32) -> Option<&T> {
    let tail = bytes.get(usize::try_from(offset).ok()?..)?;
    pod::from_bytes(tail).ok().map(|(value, _)| value)
}

/// Returns `len_bytes` bytes; `None` if any of them lies outside.
pub(crate) fn slice_at(bytes: &[u8], offset: u32, len_bytes: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len_bytes).ok()?)?;
    bytes.get(start..end)
}

/// Reads a `WORD`.
pub(crate) fn u16_at(bytes: &[u8], offset: u32) -> Option<u16> {
    Some(u16::from_le_bytes(array_at(bytes, offset)?))
}

/// Reads a `DWORD`.
pub(crate) fn u32_at(bytes: &[u8], offset: u32) -> Option<u32> {
    Some(u32::from_le_bytes(array_at(bytes, offset)?))
}

/// Reads a `ULONGLONG`.
pub(crate) fn u64_at(bytes: &[u8], offset: u32) -> Option<u64> {
    Some(u64::from_le_bytes(array_at(bytes, offset)?))
}

/// Reads a text that ends with a zero byte within `limit_bytes`, as UTF-8 with replacements.
pub(crate) fn text_at(bytes: &[u8], offset: u32, limit_bytes: usize) -> Option<String> {
    let tail = bytes.get(usize::try_from(offset).ok()?..)?;
    let head = tail.get(..limit_bytes.min(tail.len()))?;
    let end = head.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(head.get(..end)?).into_owned())
}

/// Rounds up to a multiple of `alignment`, a power of two.
pub(crate) fn align_up(value: u64, alignment: u64) -> u64 {
    value.saturating_add(alignment - 1) & !(alignment - 1)
}

fn array_at<const N: usize>(bytes: &[u8], offset: u32) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(N)?)?.try_into().ok()
}
