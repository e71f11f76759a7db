//! The stream of one compilation unit in a PDB: functions, inlined calls, lines.
//!
//! Source: <https://llvm.org/docs/PDB/ModiStream.html>, CodeView symbols and line records
//! (`cvinfo.h` of <https://github.com/microsoft/microsoft-pdb>).

use std::collections::BTreeMap;

use super::{
    CallLines, DebugInfo, DebugInfoError, Function, INLINE_DEPTH_LIMIT, InlinedCall, Place, Row,
    TextId, Texts,
    pdb::{Module, Sections, path_at, symbol_records},
    type_names::FunctionNames,
};
use crate::bytes::{slice_at, text_at, u16_at, u32_at};

const S_END: u16 = 0x0006;
const S_THUNK32: u16 = 0x1102;
const S_BLOCK32: u16 = 0x1103;
const S_WITH32: u16 = 0x1104;
const S_LPROC32: u16 = 0x110F;
const S_GPROC32: u16 = 0x1110;
const S_SEPCODE: u16 = 0x1132;
const S_LPROC32_ID: u16 = 0x1146;
const S_GPROC32_ID: u16 = 0x1147;
const S_INLINESITE: u16 = 0x114D;
const S_INLINESITE_END: u16 = 0x114E;
const S_PROC_ID_END: u16 = 0x114F;
const S_LPROC32_DPC: u16 = 0x1155;
const S_LPROC32_DPC_ID: u16 = 0x1156;
const S_INLINESITE2: u16 = 0x115D;

const DEBUG_S_LINES: u32 = 0xF2;
const DEBUG_S_FILECHKSMS: u32 = 0xF4;
const DEBUG_S_INLINEELINES: u32 = 0xF6;

/// The signature of module streams since VC 7.
const CV_SIGNATURE_C13: u32 = 4;

pub(super) struct ModuleReader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) paths: &'a [u8],
    pub(super) sections: &'a Sections,
}

/// What the line part of a module says besides lines.
#[derive(Default)]
struct LineParts<'a> {
    /// Lists the files; elsewhere a file is an offset into this.
    checksums: &'a [u8],
    /// Where each inlined function begins: file, line.
    inlinees: BTreeMap<u32, (u32, u32)>,
    line_blocks: Vec<&'a [u8]>,
}

impl<'a> ModuleReader<'a> {
    /// Adds everything of this module; what came before damage stays.
    pub(super) fn read(
        &self,
        module: &Module,
        names: &mut FunctionNames,
        out: &mut DebugInfo,
    ) -> Result<(), DebugInfoError> {
        if module.symbol_bytes == 0 {
            return Ok(());
        }
        if u32_at(self.bytes, 0) != Some(CV_SIGNATURE_C13) {
            return Err(malformed("the signature of VC 7 symbols"));
        }
        let symbols = slice_at(self.bytes, 4, module.symbol_bytes.saturating_sub(4));
        let symbols = symbols.ok_or(malformed("symbols as long as announced"))?;
        let lines_at = module.symbol_bytes.saturating_add(module.old_line_bytes);
        let lines = slice_at(self.bytes, lines_at, module.line_bytes);
        let parts = lines.map(line_parts).unwrap_or_default();
        let mut files = BTreeMap::new();
        for block in &parts.line_blocks {
            self.read_lines(block, &parts, &mut files, out);
            out.check_limits()?;
        }
        self.read_symbols(symbols, &parts, &mut files, names, out)?;
        if lines.is_some() { Ok(()) } else { Err(malformed("lines as long as announced")) }
    }

    fn read_symbols(
        &self,
        symbols: &[u8],
        parts: &LineParts<'_>,
        files: &mut BTreeMap<u32, TextId>,
        names: &mut FunctionNames,
        out: &mut DebugInfo,
    ) -> Result<(), DebugInfoError> {
        // Every record that opens a scope, so that its end closes the right one.
        let mut open: Vec<u16> = Vec::new();
        let mut function: Option<Function> = None;
        for (_, kind, record) in symbol_records(symbols) {
            match kind {
                S_GPROC32 | S_LPROC32 | S_GPROC32_ID | S_LPROC32_ID | S_LPROC32_DPC
                | S_LPROC32_DPC_ID => {
                    out.functions.extend(function.take());
                    function = self.function(record, &mut out.texts);
                    open.clear();
                    open.push(kind);
                }
                S_INLINESITE | S_INLINESITE2 => {
                    let depth = open.iter().filter(|&&kind| is_inline_site(kind)).count();
                    let depth = u32::try_from(depth).unwrap_or(u32::MAX);
                    if let Some(function) = &mut function
                        && depth < INLINE_DEPTH_LIMIT
                    {
                        let annotations = if kind == S_INLINESITE { 12 } else { 16 };
                        let begin_rva = function.begin_rva;
                        let site = InlineSite { record, annotations, begin_rva, depth };
                        let call = self.inlined_call(&site, parts, files, names, &mut out.texts);
                        if let Some(call) = call {
                            out.count_call(&call)?;
                            function.calls.push(call);
                        }
                    }
                    open.push(kind);
                }
                S_BLOCK32 | S_THUNK32 | S_WITH32 | S_SEPCODE => open.push(kind),
                S_END | S_INLINESITE_END | S_PROC_ID_END => {
                    open.pop();
                    if open.is_empty() {
                        out.functions.extend(function.take());
                    }
                }
                _ => {}
            }
        }
        out.functions.extend(function);
        out.check_limits()
    }

    fn function(&self, record: &[u8], texts: &mut Texts) -> Option<Function> {
        let (len_bytes, offset, section) =
            (u32_at(record, 12)?, u32_at(record, 28)?, u16_at(record, 32)?);
        let (begin_rva, section_end_rva) = self.sections.rva(section, offset)?;
        let end_rva = begin_rva.checked_add(len_bytes)?.min(section_end_rva);
        let name = texts.intern(&text_at(record, 35, 0x1_0000)?);
        Some(Function { begin_rva, end_rva, name, calls: Vec::new() })
    }

    fn inlined_call(
        &self,
        site: &InlineSite<'_>,
        parts: &LineParts<'_>,
        files: &mut BTreeMap<u32, TextId>,
        names: &mut FunctionNames,
        texts: &mut Texts,
    ) -> Option<InlinedCall> {
        let id = u32_at(site.record, 8)?;
        let name = names.name(id, texts);
        let &(file, line) = parts.inlinees.get(&id)?;
        let annotations = site.record.get(site.annotations..)?;
        let mut rows = Vec::new();
        for row in annotation_rows(annotations, site.begin_rva, file, line) {
            let file = self.file(row.file, parts, files, texts);
            let place = Place { file, line: row.line, column: row.column };
            rows.push(Row { begin_rva: row.begin_rva, end_rva: row.end_rva, place });
        }
        let lines = CallLines::Own(rows);
        Some(InlinedCall { depth: site.depth, name, ranges: Vec::new(), lines })
    }

    /// Reads one block of lines: a stretch of code, and for each file the lines in it.
    fn read_lines(
        &self,
        block: &[u8],
        parts: &LineParts<'_>,
        files: &mut BTreeMap<u32, TextId>,
        out: &mut DebugInfo,
    ) {
        let header = u32_at(block, 0).zip(u16_at(block, 4)).zip(u16_at(block, 6));
        let Some((((offset, section), flags), code_bytes)) = header.zip(u32_at(block, 8)) else {
            return;
        };
        let Some((begin_rva, section_end_rva)) = self.sections.rva(section, offset) else { return };
        let end_rva = begin_rva.saturating_add(code_bytes).min(section_end_rva);
        let has_columns = flags & 1 != 0;
        let mut rows = Vec::new();
        let mut at = 12_u32;
        while let (Some(file), Some(count)) = (u32_at(block, at), u32_at(block, at + 4)) {
            let Some(file_bytes) = u32_at(block, at + 8).filter(|&bytes| bytes >= 12) else {
                break;
            };
            let Some(lines) = slice_at(block, at, file_bytes) else { break };
            let file = self.file(file, parts, files, &mut out.texts);
            let columns_at = 12_u32.saturating_add(count.saturating_mul(8));
            for index in 0..count {
                let line_at = 12_u32.saturating_add(index.saturating_mul(8));
                let entry = u32_at(lines, line_at).zip(u32_at(lines, line_at.saturating_add(4)));
                let Some((offset, bits)) = entry else { break };
                let column_at = columns_at.saturating_add(index.saturating_mul(4));
                let column = u16_at(lines, column_at).filter(|_| has_columns).unwrap_or(0);
                let place = Place { file, line: bits & 0xFF_FFFF, column: u32::from(column) };
                let begin_rva = begin_rva.saturating_add(offset);
                rows.push(Row { begin_rva, end_rva: 0, place });
            }
            at = at.saturating_add(file_bytes);
        }
        rows.sort_by_key(|row| row.begin_rva);
        // A row ends where the next one begins, whatever file that is in.
        let ends = rows.iter().skip(1).map(|row| row.begin_rva).chain([end_rva]);
        let ends: Vec<u32> = ends.collect();
        for (row, row_end) in rows.iter_mut().zip(ends) {
            row.end_rva = row_end.min(end_rva);
        }
        out.rows.extend(rows);
    }

    /// Turns an offset into the list of files into a path.
    fn file(
        &self,
        offset: u32,
        parts: &LineParts<'_>,
        files: &mut BTreeMap<u32, TextId>,
        texts: &mut Texts,
    ) -> TextId {
        *files.entry(offset).or_insert_with(|| {
            let path = u32_at(parts.checksums, offset).and_then(|name| path_at(self.paths, name));
            texts.intern(path.as_deref().unwrap_or("<unknown file>"))
        })
    }
}

/// The record of an inlined call and where it stands.
struct InlineSite<'a> {
    record: &'a [u8],
    annotations: usize,
    begin_rva: u32,
    depth: u32,
}

fn is_inline_site(kind: u16) -> bool {
    matches!(kind, S_INLINESITE | S_INLINESITE2)
}

/// Splits the line part into its subsections.
fn line_parts(lines: &[u8]) -> LineParts<'_> {
    let mut parts = LineParts::default();
    let mut at = 0_u32;
    while let (Some(kind), Some(len_bytes)) = (u32_at(lines, at), u32_at(lines, at + 4)) {
        let Some(content) = slice_at(lines, at.saturating_add(8), len_bytes) else { break };
        match kind {
            DEBUG_S_LINES => parts.line_blocks.push(content),
            DEBUG_S_FILECHKSMS => parts.checksums = content,
            DEBUG_S_INLINEELINES => read_inlinees(content, &mut parts.inlinees),
            _ => {}
        }
        let Some(next) = at.checked_add(8).and_then(|at| at.checked_add(len_bytes)) else { break };
        at = next.saturating_add(3) & !3;
    }
    parts
}

fn read_inlinees(content: &[u8], inlinees: &mut BTreeMap<u32, (u32, u32)>) {
    let has_extra_files = u32_at(content, 0) == Some(1);
    let mut at = 4_u32;
    while let (Some(id), Some(file), Some(line)) = (
        u32_at(content, at),
        u32_at(content, at.saturating_add(4)),
        u32_at(content, at.saturating_add(8)),
    ) {
        inlinees.entry(id).or_insert((file, line));
        at += 12;
        if has_extra_files {
            let Some(count) = u32_at(content, at) else { break };
            at = at.saturating_add(4).saturating_add(count.saturating_mul(4));
        }
    }
}

/// A line of an inlined function.
struct SiteRow {
    begin_rva: u32,
    end_rva: u32,
    file: u32,
    line: u32,
    column: u32,
}

/// Runs the program of an inlined call, whose operations move code offset, file and line.
fn annotation_rows(annotations: &[u8], begin_rva: u32, file: u32, line: u32) -> Vec<SiteRow> {
    let mut input = annotations;
    let mut rows: Vec<SiteRow> = Vec::new();
    let (mut offset, mut base, mut file, mut line, mut column) = (begin_rva, 0_u32, file, line, 0);
    // Set while the last row has no end yet; the next row gives it one.
    let mut is_open = false;
    while let Some(operation) = compressed(&mut input).filter(|&operation| operation != 0) {
        let Some(operand) = compressed(&mut input) else { break };
        let mut length = None;
        let emits = match operation {
            1 => {
                offset = begin_rva.wrapping_add(operand);
                false
            }
            2 => {
                base = operand;
                false
            }
            3 => {
                offset = offset.wrapping_add(operand);
                true
            }
            4 => {
                offset = offset.wrapping_add(operand);
                if let Some(last) = rows.last_mut().filter(|_| is_open) {
                    last.end_rva = last.begin_rva.saturating_add(operand);
                }
                is_open = false;
                false
            }
            5 => {
                file = operand;
                false
            }
            6 => {
                line = line.wrapping_add_signed(signed(operand));
                false
            }
            9 => {
                column = operand;
                false
            }
            11 => {
                line = line.wrapping_add_signed(signed(operand >> 4));
                offset = offset.wrapping_add(operand & 15);
                true
            }
            12 => {
                let Some(delta) = compressed(&mut input) else { break };
                offset = offset.wrapping_add(delta);
                length = Some(operand);
                true
            }
            // Ends of lines and columns, and the kind of range: not needed here.
            7 | 8 | 10 | 13 => false,
            _ => break,
        };
        if emits {
            let here = offset.wrapping_add(base);
            if let Some(last) = rows.last_mut().filter(|_| is_open) {
                last.end_rva = here;
            }
            is_open = length.is_none();
            let end_rva = here.saturating_add(length.unwrap_or(0));
            rows.push(SiteRow { begin_rva: here, end_rva, file, line, column });
        }
    }
    rows.retain(|row| row.begin_rva < row.end_rva);
    rows
}

/// Reads a number of one, two or four bytes; its top bits tell which.
fn compressed(input: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = input.split_first()?;
    let (value, rest) = match first {
        0..0x80 => (u32::from(first), rest),
        0x80..0xC0 => {
            let (&second, rest) = rest.split_first()?;
            (u32::from_be_bytes([0, 0, first & 0x3F, second]), rest)
        }
        0xC0..0xE0 => {
            let (&[second, third, fourth], rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes([first & 0x1F, second, third, fourth]), rest)
        }
        _ => return None,
    };
    *input = rest;
    Some(value)
}

/// The sign is the lowest bit.
fn signed(value: u32) -> i32 {
    let magnitude = i32::try_from(value >> 1).unwrap_or(i32::MAX);
    if value & 1 != 0 { -magnitude } else { magnitude }
}

fn malformed(expected: &'static str) -> DebugInfoError {
    DebugInfoError::Malformed { part: "a module of a PDB", expected }
}
