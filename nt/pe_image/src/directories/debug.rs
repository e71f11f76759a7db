//! The debug directory: which PDB belongs to the image, and whether the build is reproducible.

use std::fmt;

use object::{
    LittleEndian as LE,
    pe::{self, ImageDebugDirectory},
};

use crate::{
    bytes::{pod_at, slice_at, text_at, u32_at},
    headers::Headers,
};

/// More than any linker writes.
const ENTRY_LIMIT: u32 = 64;
const NAME_LIMIT_BYTES: usize = 1024;

/// The identity of a PDB, which the image repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdbIdentity {
    /// The GUID in the byte order of the file.
    pub guid: [u8; 16],
    /// Counts how often the PDB was rewritten.
    pub age: u32,
}

impl fmt::Display for PdbIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.guid;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let b = u16::from_le_bytes([b0, b1]);
        let c = u16::from_le_bytes([c0, c1]);
        let [d0, d1, e @ ..] = rest;
        write!(f, "{a:08X}-{b:04X}-{c:04X}-{d0:02X}{d1:02X}-")?;
        e.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
        write!(f, " age {}", self.age)
    }
}

/// The CodeView record (`RSDS`) of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// Which PDB belongs to the image.
    pub identity: PdbIdentity,
    /// Where the linker wrote it, or what it was told to say. A name, never a file to open.
    pub pdb_path: String,
}

/// What the debug directory states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DebugDirectory {
    /// The first CodeView record.
    pub code_view: Option<CodeView>,
    /// Whether there is an entry of type 16: the time stamps are hashes of the content.
    pub is_reproducible: bool,
}

pub(crate) fn parse(file: &[u8], image: &[u8], headers: &Headers) -> DebugDirectory {
    let mut found = DebugDirectory::default();
    let Some((rva, size_bytes)) = headers.directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) else {
        return found;
    };
    for index in 0..(size_bytes / 28).min(ENTRY_LIMIT) {
        let at = rva.saturating_add(index * 28);
        let Some(entry) = pod_at::<ImageDebugDirectory>(image, at) else { break };
        match entry.typ.get(LE) {
            pe::IMAGE_DEBUG_TYPE_REPRO => found.is_reproducible = true,
            pe::IMAGE_DEBUG_TYPE_CODEVIEW if found.code_view.is_none() => {
                // The record need not be mapped: then only its place in the file is given.
                let size_bytes = entry.size_of_data.get(LE);
                let data = match entry.address_of_raw_data.get(LE) {
                    0 => slice_at(file, entry.pointer_to_raw_data.get(LE), size_bytes),
                    rva => slice_at(image, rva, size_bytes),
                };
                found.code_view = data.and_then(parse_code_view);
            }
            _ => {}
        }
    }
    found
}

fn parse_code_view(data: &[u8]) -> Option<CodeView> {
    if data.get(..4)? != b"RSDS" {
        return None;
    }
    let guid = data.get(4..20)?.try_into().ok()?;
    let identity = PdbIdentity { guid, age: u32_at(data, 20)? };
    Some(CodeView { identity, pdb_path: text_at(data, 24, NAME_LIMIT_BYTES)? })
}
