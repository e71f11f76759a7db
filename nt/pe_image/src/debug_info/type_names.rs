//! Names of inlined functions: records of the id stream, and of the types they are members of.
//!
//! Source: <https://llvm.org/docs/PDB/TpiStream.html> and CodeView type records.

use std::collections::BTreeMap;

use super::{DebugInfoError, TextId, Texts};
use crate::bytes::{slice_at, text_at, u16_at, u32_at};

const LF_CLASS: u16 = 0x1504;
const LF_STRUCTURE: u16 = 0x1505;
const LF_UNION: u16 = 0x1506;
const LF_ENUM: u16 = 0x1507;
const LF_INTERFACE: u16 = 0x1519;
const LF_FUNC_ID: u16 = 0x1601;
const LF_MFUNC_ID: u16 = 0x1602;
const LF_STRING_ID: u16 = 0x1605;

/// A record is 64 KiB at most, so is a name.
const NAME_LIMIT_BYTES: usize = 0x1_0000;

/// A stream of numbered records.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    first_index: u32,
    /// Where each record's kind stands.
    offsets: Vec<u32>,
}

impl Records {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, DebugInfoError> {
        let malformed =
            DebugInfoError::Malformed { part: "a type stream", expected: "a complete header" };
        let header = u32_at(&bytes, 4).zip(u32_at(&bytes, 8)).zip(u32_at(&bytes, 16));
        let ((header_bytes, first_index), record_bytes) = header.ok_or(malformed)?;
        let end = header_bytes.saturating_add(record_bytes);
        let mut offsets = Vec::new();
        let mut at = header_bytes;
        while at < end {
            let Some(len_bytes) = u16_at(&bytes, at).filter(|&len| len >= 2) else { break };
            offsets.push(at.saturating_add(2));
            at = at.saturating_add(2 + u32::from(len_bytes));
        }
        Ok(Self { bytes, first_index, offsets })
    }

    /// Returns kind and content of a record.
    fn get(&self, index: u32) -> Option<(u16, &[u8])> {
        let slot = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        let at = *self.offsets.get(slot)?;
        let len_bytes = u16_at(&self.bytes, at.checked_sub(2)?)?;
        let record = slice_at(&self.bytes, at, u32::from(len_bytes))?;
        Some((u16_at(record, 0)?, record.get(2..)?))
    }
}

/// Finds the names of inlined functions.
#[derive(Default)]
pub(super) struct FunctionNames {
    pub(super) ids: Records,
    pub(super) types: Records,
    known: BTreeMap<u32, TextId>,
}

impl FunctionNames {
    pub(super) fn new(ids: Records, types: Records) -> Self {
        Self { ids, types, known: BTreeMap::new() }
    }

    /// Returns the name of an id, with its scope.
    pub(super) fn name(&mut self, id: u32, texts: &mut Texts) -> TextId {
        if let Some(&name) = self.known.get(&id) {
            return name;
        }
        let name = self.spell(id).unwrap_or_else(|| "<unnamed inlined function>".to_owned());
        let name = texts.intern(&name);
        self.known.insert(id, name);
        name
    }

    fn spell(&self, id: u32) -> Option<String> {
        let (kind, record) = self.ids.get(id)?;
        let name = text_at(record, 8, NAME_LIMIT_BYTES)?;
        let scope = match (kind, u32_at(record, 0)?) {
            (LF_FUNC_ID, 0) => None,
            (LF_FUNC_ID, scope) => {
                let (kind, record) = self.ids.get(scope)?;
                (kind == LF_STRING_ID).then(|| text_at(record, 4, NAME_LIMIT_BYTES)).flatten()
            }
            (LF_MFUNC_ID, class) => self.types.get(class).and_then(type_name),
            _ => return None,
        };
        Some(match scope {
            Some(scope) => format!("{scope}::{name}"),
            None => name,
        })
    }
}

fn type_name((kind, record): (u16, &[u8])) -> Option<String> {
    let size_at = match kind {
        LF_CLASS | LF_STRUCTURE | LF_INTERFACE => 16,
        LF_UNION => 8,
        LF_ENUM => return text_at(record, 12, NAME_LIMIT_BYTES),
        _ => return None,
    };
    // The size is a number below 0x8000, or says how many bytes the number after it has.
    let size_bytes = match u16_at(record, size_at)? {
        ..0x8000 => 0,
        0x8000 => 1,
        0x8001 | 0x8002 => 2,
        0x8003 | 0x8004 => 4,
        0x8009 | 0x800A => 8,
        _ => return None,
    };
    text_at(record, size_at + 2 + size_bytes, NAME_LIMIT_BYTES)
}
