//! DWARF inside an image, as mingw's gcc leaves it.
//!
//! gimli decodes single entries; what is walked, how often and how far is decided here, because in
//! DWARF anything may refer to anything: a megabyte can describe years of work. A counter of steps
//! ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gimli::{
    Abbreviations, AttributeValue, ColumnType, DebugAbbrev, DebugAbbrevOffset,
    DebuggingInformationEntry, Dwarf, EndianSlice, LittleEndian, Section as _, Unit, UnitHeader,
    UnitOffset,
};

use super::{
    CallLines, DebugInfo, DebugInfoError, Function, INLINE_DEPTH_LIMIT, InlinedCall, Place, Row,
    TextId,
};
use crate::{Image, bytes::slice_at};

/// Entries, attributes, line rows and ranges looked at; a driver of a megabyte takes 500,000.
const STEP_LIMIT: u64 = 100_000_000;
/// Entries that a name may be reached through: declaration, abstract origin.
const NAME_HOP_LIMIT: u32 = 8;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Why the rest of a unit is left out.
enum Abort {
    /// The unit is damaged; the next one may not be.
    Damaged,
    /// No more work is done for this image.
    TooMuch(DebugInfoError),
}

impl From<gimli::Error> for Abort {
    fn from(_: gimli::Error) -> Self {
        Self::Damaged
    }
}

pub(super) fn read(image: &Image) -> Result<DebugInfo, DebugInfoError> {
    let section = |id: gimli::SectionId| {
        let sections = image.sections();
        let found = sections.iter().find(|section| section.name == id.name());
        let bytes = found
            .and_then(|section| slice_at(&image.mapped().bytes, section.rva, section.size_bytes));
        EndianSlice::new(bytes.unwrap_or_default(), LittleEndian)
    };
    let dwarf = Dwarf::load(|id| Ok::<_, DebugInfoError>(section(id)))?;
    let abbreviations = section(gimli::SectionId::DebugAbbrev);
    if section(gimli::SectionId::DebugInfo).is_empty() || abbreviations.is_empty() {
        return Err(DebugInfoError::NoDwarf);
    }
    let mut walk = Walk {
        image,
        dwarf: &dwarf,
        out: DebugInfo::default(),
        steps: 0,
        seen_programs: BTreeSet::new(),
    };
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    loop {
        match units.next() {
            Ok(Some(header)) => headers.push(header),
            Ok(None) => break,
            // The length of a damaged header is unknown, so nothing after it can be found.
            Err(_) => {
                walk.out.damaged_part_count += 1;
                break;
            }
        }
    }
    walk.read_units(headers, abbreviations.slice())?;
    walk.out.finish()?;
    Ok(walk.out)
}

struct Walk<'w, 'a> {
    image: &'w Image,
    dwarf: &'w Dwarf<Reader<'a>>,
    out: DebugInfo,
    steps: u64,
    /// Line programs that were run; units may share one.
    seen_programs: BTreeSet<usize>,
}

/// A function whose entries are being read.
struct OpenFunction {
    /// Depth of its entry; deeper ones are inside.
    depth: isize,
    ranges: Vec<(u32, u32)>,
    name: TextId,
    calls: Vec<InlinedCall>,
}

/// What is remembered while one unit is read.
struct UnitNames<'u, 'a> {
    unit: &'u Unit<Reader<'a>>,
    files: BTreeMap<u64, TextId>,
    functions: BTreeMap<UnitOffset, TextId>,
}

impl<'a> Walk<'_, 'a> {
    fn read_units(
        &mut self,
        headers: Vec<UnitHeader<Reader<'a>>>,
        abbreviations: &'a [u8],
    ) -> Result<(), DebugInfoError> {
        // Tables do not overlap, so each ends where the next one in use begins. That keeps a
        // thousand units from decoding a thousand tails of one section.
        let offsets: BTreeSet<usize> =
            headers.iter().map(|header| header.debug_abbrev_offset().0).collect();
        let mut tables: BTreeMap<usize, Arc<Abbreviations>> = BTreeMap::new();
        let mut ends = offsets.iter().skip(1).copied().chain([abbreviations.len()]);
        for &begin in &offsets {
            let end = ends.next().unwrap_or(abbreviations.len());
            let table = abbreviations.get(begin..end.max(begin)).unwrap_or_default();
            let table = DebugAbbrev::new(table, LittleEndian).abbreviations(DebugAbbrevOffset(0));
            if let Ok(table) = table {
                tables.insert(begin, Arc::new(table));
            }
        }
        for header in headers {
            let table = tables.get(&header.debug_abbrev_offset().0).map(Arc::clone);
            match table.ok_or(Abort::Damaged).and_then(|table| self.read_unit(header, table)) {
                Ok(()) => {}
                Err(Abort::Damaged) => self.out.damaged_part_count += 1,
                Err(Abort::TooMuch(error)) => return Err(error),
            }
            self.out.check_limits()?;
        }
        Ok(())
    }

    fn read_unit(
        &mut self,
        header: UnitHeader<Reader<'a>>,
        table: Arc<Abbreviations>,
    ) -> Result<(), Abort> {
        let unit = match Unit::new_with_abbreviations(self.dwarf, header, table) {
            Ok(unit) => unit,
            Err(_) => {
                // How far it got is unknown: at most through these sections.
                let abbreviations = self.dwarf.debug_abbrev.reader().len();
                let lines = self.dwarf.debug_line.reader().len();
                self.charge((abbreviations + lines) as u64 / 16)?;
                return Err(Abort::Damaged);
            }
        };
        let mut names =
            UnitNames { unit: &unit, files: BTreeMap::new(), functions: BTreeMap::new() };
        self.read_lines(&mut names)?;
        self.read_functions(&mut names)
    }

    fn read_lines(&mut self, names: &mut UnitNames<'_, 'a>) -> Result<(), Abort> {
        let Some(program) = names.unit.line_program.clone() else { return Ok(()) };
        let header = program.header();
        let files = header.file_names().len() + header.include_directories().len();
        self.charge((files + header.raw_program_buf().len() / 4) as u64)?;
        if !self.seen_programs.insert(header.offset().0) {
            return Ok(());
        }
        let mut rows = program.rows();
        // The row that the next one ends.
        let mut open: Option<(u64, Place)> = None;
        loop {
            self.charge(1)?;
            let Some((_, row)) = rows.next_row()? else { return Ok(()) };
            let next = row.address();
            let place = (!row.end_sequence()).then(|| (row.line(), row.column(), row.file_index()));
            if let Some((begin, place)) = open.take() {
                self.push_row(begin, next, place)?;
            }
            if let Some((line, column, file)) = place {
                let line = line.map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
                let column = match column {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
                };
                let file = self.file(names, file);
                open = Some((next, Place { file, line, column }));
            }
        }
    }

    fn push_row(&mut self, begin: u64, end: u64, place: Place) -> Result<(), Abort> {
        // Code that the linker dropped keeps its lines, at address 0.
        if begin < end
            && let Some((begin_rva, end_rva)) = self.rva_range(begin, end)
        {
            self.out.rows.push(Row { begin_rva, end_rva, place });
            self.out.check_limits().map_err(Abort::TooMuch)?;
        }
        Ok(())
    }

    fn read_functions(&mut self, names: &mut UnitNames<'_, 'a>) -> Result<(), Abort> {
        let mut entries = names.unit.entries();
        // Depths of the function and of the inlined calls that enclose the current entry.
        let mut function: Option<OpenFunction> = None;
        let mut calls: Vec<isize> = Vec::new();
        while let Some(entry) = entries.next_dfs()? {
            self.charge(1 + entry.attrs().len() as u64)?;
            let depth = entry.depth();
            if function.as_ref().is_some_and(|open| depth <= open.depth) {
                self.push_function(function.take())?;
            }
            while calls.last().is_some_and(|&call| depth <= call) {
                calls.pop();
            }
            match entry.tag() {
                gimli::DW_TAG_subprogram => {
                    self.push_function(function.take())?;
                    calls.clear();
                    let ranges = self.ranges(names.unit, entry)?;
                    if !ranges.is_empty() {
                        let name = self.function_name(names, entry)?;
                        function = Some(OpenFunction { depth, ranges, name, calls: Vec::new() });
                    }
                }
                gimli::DW_TAG_inlined_subroutine => {
                    let level = u32::try_from(calls.len()).unwrap_or(u32::MAX);
                    calls.push(depth);
                    if let Some(function) = &mut function
                        && level < INLINE_DEPTH_LIMIT
                    {
                        let call = self.inlined_call(names, entry, level)?;
                        self.out.count_call(&call).map_err(Abort::TooMuch)?;
                        function.calls.push(call);
                    }
                }
                _ => {}
            }
        }
        self.push_function(function)
    }

    /// A function split into hot and cold parts becomes one per part, with the calls inside it.
    fn push_function(&mut self, function: Option<OpenFunction>) -> Result<(), Abort> {
        let Some(whole) = function else { return Ok(()) };
        for &(begin_rva, end_rva) in &whole.ranges {
            self.charge(whole.calls.len() as u64)?;
            let is_inside = |call: &&InlinedCall| {
                call.ranges.iter().any(|&(begin, end)| begin < end_rva && begin_rva < end)
            };
            let calls: Vec<_> = whole.calls.iter().filter(is_inside).cloned().collect();
            for call in &calls {
                self.out.count_call(call).map_err(Abort::TooMuch)?;
            }
            self.out.functions.push(Function { begin_rva, end_rva, name: whole.name, calls });
        }
        Ok(())
    }

    fn inlined_call(
        &mut self,
        names: &mut UnitNames<'_, 'a>,
        entry: &DebuggingInformationEntry<Reader<'a>>,
        depth: u32,
    ) -> Result<InlinedCall, Abort> {
        let ranges = self.ranges(names.unit, entry)?;
        let name = self.function_name(names, entry)?;
        let number = |attribute| {
            let value = entry.attr_value(attribute).and_then(|value| value.udata_value());
            value.unwrap_or(0)
        };
        let file = entry.attr_value(gimli::DW_AT_call_file).and_then(|value| match value {
            AttributeValue::FileIndex(index) => Some(index),
            other => other.udata_value(),
        });
        let place = Place {
            file: self.file(names, file.unwrap_or(0)),
            line: u32::try_from(number(gimli::DW_AT_call_line)).unwrap_or(0),
            column: u32::try_from(number(gimli::DW_AT_call_column)).unwrap_or(0),
        };
        Ok(InlinedCall { depth, name, ranges, lines: CallLines::At(place) })
    }

    fn ranges(
        &mut self,
        unit: &Unit<Reader<'a>>,
        entry: &DebuggingInformationEntry<Reader<'a>>,
    ) -> Result<Vec<(u32, u32)>, Abort> {
        let mut found = Vec::new();
        let mut ranges = self.dwarf.die_ranges(unit, entry)?;
        while let Some(range) = ranges.next()? {
            self.charge(1)?;
            found.extend(self.rva_range(range.begin, range.end));
        }
        Ok(found)
    }

    fn rva_range(&self, begin: u64, end: u64) -> Option<(u32, u32)> {
        let base = self.image.preferred_base();
        let begin = u32::try_from(begin.checked_sub(base)?).ok()?;
        let end = u32::try_from(end.checked_sub(base)?).ok()?;
        (begin < end && end <= self.image.image_bytes()).then_some((begin, end))
    }

    /// The name may be that of a declaration or of the function that was inlined.
    fn function_name(
        &mut self,
        names: &mut UnitNames<'_, 'a>,
        entry: &DebuggingInformationEntry<Reader<'a>>,
    ) -> Result<TextId, Abort> {
        let start = entry.offset();
        let mut next = match self.own_name(names.unit, entry) {
            Ok(name) => return Ok(name),
            Err(next) => next,
        };
        let origin = next;
        let known = origin.and_then(|origin| names.functions.get(&origin).copied());
        let mut name = known;
        for _ in 0..NAME_HOP_LIMIT {
            let Some(at) = next.filter(|_| name.is_none()) else { break };
            let entry = names.unit.entry(at)?;
            self.charge(1 + entry.attrs().len() as u64)?;
            match self.own_name(names.unit, &entry) {
                Ok(found) => name = Some(found),
                Err(further) => next = further,
            }
        }
        let name = name.unwrap_or_else(|| self.out.texts.intern("<unnamed function>"));
        names.functions.insert(origin.unwrap_or(start), name);
        Ok(name)
    }

    /// Returns the name of an entry, or the entry to ask instead.
    fn own_name(
        &mut self,
        unit: &Unit<Reader<'a>>,
        entry: &DebuggingInformationEntry<Reader<'a>>,
    ) -> Result<TextId, Option<UnitOffset>> {
        if let Some(value) = entry.attr_value(gimli::DW_AT_name)
            && let Ok(name) = self.dwarf.attr_string(unit, value)
        {
            self.steps = self.steps.saturating_add(name.len() as u64 / 16);
            return Ok(self.text(name));
        }
        let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
        Err(match origin.or_else(|| entry.attr_value(gimli::DW_AT_specification)) {
            Some(AttributeValue::UnitRef(offset)) => Some(offset),
            Some(AttributeValue::DebugInfoRef(offset)) => offset.to_unit_offset(&unit.header),
            _ => None,
        })
    }

    fn file(&mut self, names: &mut UnitNames<'_, 'a>, index: u64) -> TextId {
        if let Some(&file) = names.files.get(&index) {
            return file;
        }
        let path = self.path(names.unit, index).unwrap_or_else(|| "<unknown file>".to_owned());
        let file = self.out.texts.intern(&path);
        names.files.insert(index, file);
        file
    }

    /// Joins compilation folder, folder and file name, as far as they are relative.
    fn path(&self, unit: &Unit<Reader<'a>>, index: u64) -> Option<String> {
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(index)?;
        let text = |value| {
            let bytes = self.dwarf.attr_string(unit, value).ok()?;
            let bytes = bytes.slice();
            let bytes = bytes.get(..super::NAME_LIMIT_BYTES.min(bytes.len()))?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let mut path = text(file.path_name())?;
        let folder = file.directory(header).and_then(text);
        let unit_folder = unit.comp_dir.and_then(|bytes| text(AttributeValue::String(bytes)));
        for folder in [folder, unit_folder].into_iter().flatten() {
            if is_absolute(&path) {
                break;
            }
            if !folder.is_empty() {
                path = format!("{folder}/{path}");
            }
        }
        Some(path)
    }

    fn text(&mut self, bytes: Reader<'a>) -> TextId {
        let bytes = bytes.slice();
        let bytes = bytes.get(..super::NAME_LIMIT_BYTES.min(bytes.len())).unwrap_or_default();
        self.out.texts.intern(&String::from_utf8_lossy(bytes))
    }

    fn charge(&mut self, steps: u64) -> Result<(), Abort> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps <= STEP_LIMIT {
            return Ok(());
        }
        let what = "steps through DWARF";
        Err(Abort::TooMuch(DebugInfoError::TooLarge { what, limit: STEP_LIMIT }))
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':')
}
