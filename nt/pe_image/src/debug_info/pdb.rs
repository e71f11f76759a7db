//! A PDB: identity, sections, modules, public symbols.
//!
//! Source: <https://llvm.org/docs/PDB/index.html>.

use std::collections::BTreeSet;

use super::{
    DebugInfo, DebugInfoError, Symbol,
    codeview::ModuleReader,
    msf::Streams,
    type_names::{FunctionNames, Records},
};
use crate::{
    PdbIdentity,
    bytes::{slice_at, text_at, u16_at, u32_at},
};

const STREAM_INFO: u32 = 1;
const STREAM_TYPES: u32 = 2;
const STREAM_DEBUG: u32 = 3;
const STREAM_IDS: u32 = 4;
const NO_STREAM: u16 = 0xFFFF;

const S_PUB32: u16 = 0x110E;
const PATH_LIMIT_BYTES: usize = 4096;

pub(super) fn read(file: &[u8]) -> Result<DebugInfo, DebugInfoError> {
    let streams = Streams::open(file)?;
    let need = |number, expected| {
        let missing = DebugInfoError::Malformed { part: "a PDB", expected };
        streams.read(number)?.ok_or(missing)
    };
    let info = need(STREAM_INFO, "an information stream")?;
    let debug = DebugStream::parse(need(STREAM_DEBUG, "a debug stream")?)?;
    let guid = slice_at(&info, 12, 16).and_then(|guid| guid.try_into().ok());
    let guid = guid.ok_or(malformed("a GUID"))?;
    let mut out = DebugInfo {
        pdb_identity: Some(PdbIdentity { guid, age: debug.age }),
        ..DebugInfo::default()
    };
    let headers = need(u32::from(debug.section_stream()?), "section headers")?;
    let sections = Sections::parse(&headers);
    let paths = match named_stream(&info, "/names") {
        Some(number) => path_table(streams.read(number)?.unwrap_or_default()),
        None => Vec::new(),
    };
    let records = |number| match streams.read(number) {
        Ok(Some(bytes)) => Records::parse(bytes),
        _ => Ok(Records::default()),
    };
    let ids = records(STREAM_IDS).unwrap_or_default();
    let types = records(STREAM_TYPES).unwrap_or_default();
    let mut names = FunctionNames::new(ids, types);
    let mut seen = BTreeSet::new();
    for module in debug.modules() {
        // No two modules share a stream: reading one twice would multiply its content.
        if module.stream == NO_STREAM || !seen.insert(module.stream) {
            continue;
        }
        let bytes = match streams.read(u32::from(module.stream)) {
            Ok(Some(bytes)) => bytes,
            _ => Vec::new(),
        };
        let reader = ModuleReader { bytes: &bytes, paths: &paths, sections: &sections };
        if reader.read(&module, &mut names, &mut out).is_err() {
            out.damaged_part_count = out.damaged_part_count.saturating_add(1);
        }
        out.check_limits()?;
    }
    if debug.symbol_stream != NO_STREAM
        && let Some(records) = streams.read(u32::from(debug.symbol_stream))?
    {
        read_public_symbols(&records, &sections, &mut out);
    }
    out.finish()?;
    Ok(out)
}

/// The parts of the debug stream (DBI) that are used.
struct DebugStream {
    bytes: Vec<u8>,
    age: u32,
    symbol_stream: u16,
    modules_end: u32,
    optional_at: u32,
    optional_bytes: u32,
}

/// One compilation unit of the debug stream.
pub(super) struct Module {
    stream: u16,
    pub(super) symbol_bytes: u32,
    pub(super) old_line_bytes: u32,
    pub(super) line_bytes: u32,
}

impl DebugStream {
    fn parse(bytes: Vec<u8>) -> Result<Self, DebugInfoError> {
        let field = |offset| u32_at(&bytes, offset).ok_or(malformed("a complete debug stream"));
        if field(0)? != u32::MAX {
            return Err(DebugInfoError::Unsupported { feature: "a debug stream before VC 5.0" });
        }
        // Module list, section contributions, section map, files, type servers, edit and continue,
        // then the optional header; each size is signed, and a negative one is beyond the stream.
        let mut at = 64_u32;
        for size_field in [24, 28, 32, 36, 40, 52] {
            at = at.saturating_add(field(size_field)?);
        }
        let modules_end = 64_u32.saturating_add(field(24)?);
        let symbol_stream = u16_at(&bytes, 20).ok_or(malformed("a complete debug stream"))?;
        let (age, optional_bytes) = (field(8)?, field(48)?);
        Ok(Self { age, symbol_stream, modules_end, optional_at: at, optional_bytes, bytes })
    }

    /// The optional header lists further streams; 5 is the section table of the image, 3 and 4
    /// are maps of images that were rearranged after linking.
    fn section_stream(&self) -> Result<u16, DebugInfoError> {
        let optional = slice_at(&self.bytes, self.optional_at, self.optional_bytes);
        let optional = optional.ok_or(malformed("an optional header"))?;
        let stream = |index: u32| u16_at(optional, index * 2).filter(|&number| number != NO_STREAM);
        if stream(3).or(stream(4)).is_some_and(|number| number != 0) {
            return Err(DebugInfoError::Unsupported { feature: "address maps (OMAP)" });
        }
        stream(5).ok_or(malformed("a section header stream"))
    }

    fn modules(&self) -> Vec<Module> {
        let mut modules = Vec::new();
        let mut at = 64_u32;
        while at < self.modules_end {
            let Some(module) = self.module(at) else { break };
            modules.push(module);
            // Two names follow, and the next entry is aligned to four bytes.
            let name_end = |from: u32| {
                let tail = self.bytes.get(usize::try_from(from).ok()?..)?;
                let len = u32::try_from(tail.iter().position(|&byte| byte == 0)?).ok()?;
                from.checked_add(len)?.checked_add(1)
            };
            let Some(end) = name_end(at.saturating_add(64)).and_then(name_end) else { break };
            at = end.saturating_add(3) & !3;
        }
        modules
    }

    fn module(&self, at: u32) -> Option<Module> {
        Some(Module {
            stream: u16_at(&self.bytes, at.checked_add(34)?)?,
            symbol_bytes: u32_at(&self.bytes, at.checked_add(36)?)?,
            old_line_bytes: u32_at(&self.bytes, at.checked_add(40)?)?,
            line_bytes: u32_at(&self.bytes, at.checked_add(44)?)?,
        })
    }
}

/// The sections of the image, as the PDB repeats them.
pub(super) struct Sections {
    sections: Vec<(u32, u32, u32)>,
}

impl Sections {
    fn parse(headers: &[u8]) -> Self {
        let field = |header: &[u8], offset| u32_at(header, offset).unwrap_or(0);
        let parse = |header: &[u8]| (field(header, 12), field(header, 8), field(header, 36));
        Self { sections: headers.chunks_exact(40).map(parse).collect() }
    }

    /// Turns section number (from 1) and offset into an RVA and the end of the section.
    pub(super) fn rva(&self, section: u16, offset: u32) -> Option<(u32, u32)> {
        let &(rva, size_bytes, _) = self.sections.get(usize::from(section).checked_sub(1)?)?;
        let is_inside = offset < size_bytes;
        let (at, end) = (rva.checked_add(offset)?, rva.checked_add(size_bytes)?);
        is_inside.then_some((at, end))
    }

    fn is_code(&self, section: u16) -> bool {
        let section = usize::from(section).checked_sub(1).and_then(|at| self.sections.get(at));
        section.is_some_and(|&(_, _, flags)| flags & 0x2000_0000 != 0)
    }
}

/// Splits CodeView symbol records into kind and content.
pub(super) fn symbol_records(bytes: &[u8]) -> impl Iterator<Item = (u32, u16, &[u8])> {
    let mut at = 0_u32;
    std::iter::from_fn(move || {
        let len_bytes = u16_at(bytes, at).filter(|&len| len >= 2)?;
        let record = slice_at(bytes, at.checked_add(2)?, u32::from(len_bytes))?;
        let start = at;
        at = at.checked_add(2 + u32::from(len_bytes))?;
        Some((start, u16_at(record, 0)?, record.get(2..)?))
    })
}

fn read_public_symbols(records: &[u8], sections: &Sections, out: &mut DebugInfo) {
    for (_, kind, record) in symbol_records(records) {
        if kind != S_PUB32 {
            continue;
        }
        let place = u32_at(record, 4).zip(u16_at(record, 8));
        let Some((offset, section)) = place.filter(|&(_, section)| sections.is_code(section))
        else {
            continue;
        };
        let Some((rva, section_end_rva)) = sections.rva(section, offset) else { continue };
        let Some(name) = text_at(record, 10, 0x1_0000) else { continue };
        out.symbols.push(Symbol { rva, section_end_rva, name: out.texts.intern(&name) });
    }
}

/// Finds a stream by name in the hash table of the information stream.
fn named_stream(info: &[u8], wanted: &str) -> Option<u32> {
    let text_bytes = u32_at(info, 28)?;
    let texts = slice_at(info, 32, text_bytes)?;
    let mut at = 32_u32.checked_add(text_bytes)?;
    let count = u32_at(info, at)?;
    at = at.checked_add(8)?;
    // Two bit sets, of used and of deleted slots, each with its number of words.
    for _ in 0..2 {
        at = u32_at(info, at)?.checked_mul(4)?.checked_add(4)?.checked_add(at)?;
    }
    for _ in 0..count {
        let (text, number) = (u32_at(info, at)?, u32_at(info, at.checked_add(4)?)?);
        if text_at(texts, text, wanted.len() + 1).is_some_and(|name| name == wanted) {
            return Some(number);
        }
        at = at.checked_add(8)?;
    }
    None
}

/// Returns the texts of `/names`, which is a header of 12 bytes and the texts.
fn path_table(names: Vec<u8>) -> Vec<u8> {
    let len_bytes = u32_at(&names, 8).unwrap_or(0);
    slice_at(&names, 12, len_bytes).map(<[u8]>::to_vec).unwrap_or_default()
}

/// Returns the path at an offset of `/names`.
pub(super) fn path_at(paths: &[u8], offset: u32) -> Option<String> {
    text_at(paths, offset, PATH_LIMIT_BYTES)
}

fn malformed(expected: &'static str) -> DebugInfoError {
    DebugInfoError::Malformed { part: "a PDB", expected }
}
