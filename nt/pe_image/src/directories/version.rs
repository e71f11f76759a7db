//! The version resource: what the file says about itself.
//!
//! Source: <https://learn.microsoft.com/windows/win32/menurc/vs-versioninfo>.

use object::pe;

use crate::{
    bytes::{slice_at, u16_at, u32_at},
    headers::Headers,
};

/// `RT_VERSION`.
const RESOURCE_TYPE_VERSION: u32 = 16;
/// `VS_FIXEDFILEINFO.dwSignature`.
const FIXED_SIGNATURE: u32 = 0xFEEF_04BD;
/// More strings than any file has.
const STRING_LIMIT: usize = 256;

/// What the version resource states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionInfo {
    /// Version of the file, most significant part first.
    pub file_version: [u16; 4],
    /// Version of the product, most significant part first.
    pub product_version: [u16; 4],
    /// Names and values such as `CompanyName`, in the order of the file.
    pub strings: Vec<(String, String)>,
}

impl VersionInfo {
    /// Returns the value of a name such as `FileDescription`.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.strings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn parse(image: &[u8], headers: &Headers) -> Option<VersionInfo> {
    let (rva, size_bytes) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_RESOURCE)?;
    let root = slice_at(image, rva, size_bytes)?;
    let by_name = child(root, 0, Some(RESOURCE_TYPE_VERSION))?;
    let by_language = child(root, by_name, None)?;
    let data_entry = child(root, by_language, None)?;
    let data = slice_at(image, u32_at(root, data_entry)?, u32_at(root, data_entry + 4)?)?;
    parse_version(data)
}

/// Returns the offset of the first entry of a resource directory, or of the one with this id.
fn child(root: &[u8], directory: u32, id: Option<u32>) -> Option<u32> {
    let named = u32::from(u16_at(root, directory.checked_add(12)?)?);
    let numbered = u32::from(u16_at(root, directory.checked_add(14)?)?);
    (0..named + numbered).find_map(|index| {
        let at = directory.checked_add(16 + index * 8)?;
        let is_wanted = id.is_none_or(|id| u32_at(root, at) == Some(id));
        let target = u32_at(root, at.checked_add(4)?)?;
        is_wanted.then_some(target & 0x7FFF_FFFF)
    })
}

fn parse_version(data: &[u8]) -> Option<VersionInfo> {
    let root = Block::parse(data)?;
    if root.key != "VS_VERSION_INFO" {
        return None;
    }
    let mut info = VersionInfo::default();
    if u32_at(root.value, 0) == Some(FIXED_SIGNATURE) {
        let part = |offset| u16_at(root.value, offset).unwrap_or(0);
        info.file_version = [part(10), part(8), part(14), part(12)];
        info.product_version = [part(18), part(16), part(22), part(20)];
    }
    for file_info in root.children().filter(|block| block.key == "StringFileInfo") {
        for string in file_info.children().flat_map(|table| table.children()) {
            if info.strings.len() < STRING_LIMIT {
                info.strings.push((string.key.clone(), utf16_text(string.value)));
            }
        }
    }
    Some(info)
}

/// A length, a key, a value and children: what version resources are made of.
struct Block<'a> {
    key: String,
    value: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Block<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let len_bytes = usize::from(u16_at(data, 0)?);
        let data = data.get(..len_bytes)?;
        let value_len = usize::from(u16_at(data, 2)?);
        let is_text = u16_at(data, 4)? == 1;
        let key = data.get(6..)?;
        let key_bytes = key.chunks_exact(2).position(|unit| unit == [0, 0])? * 2;
        let value_start = (6 + key_bytes + 2).next_multiple_of(4);
        // Texts are measured in characters, by some tools in bytes: they may end early.
        let value_bytes = if is_text { value_len * 2 } else { value_len };
        let value_end = (value_start + value_bytes).min(data.len());
        let rest_start = value_end.next_multiple_of(4);
        Some(Self {
            key: utf16_text(key),
            value: data.get(value_start..value_end).unwrap_or_default(),
            rest: data.get(rest_start..).unwrap_or_default(),
        })
    }

    fn children(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let block = Block::parse(rest)?;
            let len_bytes = usize::from(u16_at(rest, 0)?).next_multiple_of(4);
            rest = rest.get(len_bytes..).unwrap_or_default();
            Some(block)
        })
    }
}

/// Decodes up to the first zero.
fn utf16_text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| unit.try_into().map_or(0, u16::from_le_bytes));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&units)
}
