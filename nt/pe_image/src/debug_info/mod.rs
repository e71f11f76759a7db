//! Debug information: from an RVA to functions and lines, and back.
//!
//! Everything is read once, from a PDB ([`DebugInfo::from_pdb`]) or from DWARF inside an image
//! ([`DebugInfo::from_dwarf`]), into tables that look the same afterwards.
//!
//! A companion is as hostile as an image, and it need not even belong to it: see
//! [`DebugInfo::pdb_identity`]. The formats are decoded here because the readers at hand slice by
//! unchecked lengths and reserve memory by announced counts, which cannot be contained from
//! outside. Every table has a limit, every read is checked, and the work is linear in the input or
//! counted.

mod codeview;
mod dwarf;
mod msf;
mod pdb;
mod type_names;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::PdbIdentity;

/// Rows of all line tables together; the largest drivers have some 100,000.
const ROW_LIMIT: usize = 4 << 20;
/// Functions, and symbols.
const FUNCTION_LIMIT: usize = 1 << 20;
/// Inlined calls and their rows and ranges together.
const INLINED_PART_LIMIT: usize = 4 << 20;
/// Bytes of all names and file names together.
const TEXT_LIMIT_BYTES: usize = 64 << 20;
/// Longest name that is kept whole.
const NAME_LIMIT_BYTES: usize = 4096;
/// Inlined calls inside each other; deeper ones are left out.
const INLINE_DEPTH_LIMIT: u32 = 256;

/// Why debug information cannot be used. None of this is a fault of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DebugInfoError {
    /// The file is no PDB of the format that linkers have written since 1999.
    #[error("not a PDB file: expected the signature `Microsoft C/C++ MSF 7.00`")]
    NotPdb,
    /// The image has no DWARF.
    #[error("no DWARF: expected a section `.debug_info` in the image")]
    NoDwarf,
    /// The structure contradicts itself.
    #[error("malformed debug information: expected {expected} in {part}")]
    Malformed {
        /// Where.
        part: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// More than is accepted.
    #[error("too much debug information: expected at most {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// A form of the format that is not read.
    #[error("unsupported debug information: {feature}")]
    Unsupported {
        /// Which.
        feature: &'static str,
    },
}

/// A place in source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// Path of the file, as the compiler wrote it. A name, never a file to open unasked.
    pub file: &'a str,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted from 1; absent where the compiler left it out.
    pub column: Option<u32>,
}

/// One function that an RVA belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Name, with its scope where the debug information has it.
    pub function: &'a str,
    /// Distance from the start of the function whose code it is, not of the inlined part.
    pub offset_bytes: u32,
    /// The line; in a frame that something was inlined into, the line of that call.
    pub location: Option<Location<'a>>,
    /// Whether this function was inlined into the next frame.
    pub inlined: bool,
}

/// Functions, lines and symbols of one image.
#[derive(Clone, Debug, Default)]
pub struct DebugInfo {
    pdb_identity: Option<PdbIdentity>,
    texts: Texts,
    functions: Vec<Function>,
    rows: Vec<Row>,
    symbols: Vec<Symbol>,
    inlined_part_count: usize,
    damaged_part_count: u32,
}

impl DebugInfo {
    /// Reads a PDB.
    ///
    /// Parts that are damaged are left out and counted; an error means that nothing can be told.
    pub fn from_pdb(file: &[u8]) -> Result<Self, DebugInfoError> {
        pdb::read(file)
    }

    /// Reads the DWARF sections of an image, as mingw leaves them.
    pub fn from_dwarf(image: &crate::Image) -> Result<Self, DebugInfoError> {
        dwarf::read(image)
    }

    /// Returns the identity of the PDB; none for DWARF, which is part of the image.
    ///
    /// A PDB belongs to an image if this equals the identity in its
    /// [`CodeView`](crate::CodeView) record. With another PDB all answers are wrong.
    pub fn pdb_identity(&self) -> Option<PdbIdentity> {
        self.pdb_identity
    }

    /// Says whether this belongs to the image: DWARF always does, a PDB if the identities agree.
    pub fn belongs_to(&self, image: &crate::Image) -> bool {
        let stated = image.code_view().map(|code_view| code_view.identity);
        self.pdb_identity.is_none_or(|identity| stated == Some(identity))
    }

    /// Returns how many parts (compilation units) were damaged and left out.
    pub fn damaged_part_count(&self) -> u32 {
        self.damaged_part_count
    }

    /// Returns the functions that an RVA belongs to, innermost first; none where nothing is known.
    ///
    /// The RVA is that of the instruction asked about. For a return address pass the RVA minus 1:
    /// the address itself may already belong to the next line, scope or function.
    ///
    /// Where no function is known, the public symbol before the RVA is the answer, without a line.
    pub fn lookup(&self, rva: u32) -> Vec<Frame<'_>> {
        let Some(function) = self.function_at(rva) else {
            return self.symbol_frame(rva).into_iter().collect();
        };
        let offset_bytes = rva.wrapping_sub(function.begin_rva);
        let mut location = self.row_at(rva).and_then(|row| self.location(&row.place));
        let mut frames = Vec::new();
        let mut outer = Frame {
            function: self.texts.get(function.name),
            offset_bytes,
            location: None,
            inlined: false,
        };
        for call in function.calls_at(rva) {
            // A PDB has a table of lines per inlined call; DWARF has one table for the innermost
            // lines, and the line of each call.
            match &call.lines {
                CallLines::Own(rows) => {
                    outer.location = location;
                    let row = rows.iter().find(|row| row.contains(rva));
                    location = row.and_then(|row| self.location(&row.place));
                }
                CallLines::At(place) => outer.location = self.location(place),
            }
            frames.push(outer);
            let function = self.texts.get(call.name);
            outer = Frame { function, offset_bytes, location: None, inlined: true };
        }
        outer.location = location;
        frames.push(outer);
        frames.reverse();
        frames
    }

    /// Returns where code of a line begins, ascending; empty if the line has none.
    ///
    /// The file is named by its last components (`driver.c`, `src/driver.c`), compared without
    /// regard to case and kind of slash.
    pub fn rvas_of_line(&self, file: &str, line: u32) -> Vec<u32> {
        let wanted = normalized(file);
        let is_match = |text: TextId| {
            let path = normalized(self.texts.get(text));
            path.strip_suffix(&wanted).is_some_and(|head| head.is_empty() || head.ends_with('/'))
        };
        let mut matches = BTreeMap::new();
        let mut is_wanted = |place: &Place| {
            place.line == line && *matches.entry(place.file).or_insert_with(|| is_match(place.file))
        };
        let rows = self.rows.iter().chain(self.functions.iter().flat_map(Function::inlined_rows));
        let found = rows.filter(|row| is_wanted(&row.place)).map(|row| row.begin_rva);
        let mut found: Vec<u32> = found.collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the source files in the order of first mention.
    pub fn files(&self) -> Vec<&str> {
        let mut seen = std::collections::BTreeSet::new();
        let rows = self.rows.iter().chain(self.functions.iter().flat_map(Function::inlined_rows));
        let files = rows.filter(|row| seen.insert(row.place.file)).map(|row| row.place.file);
        files.map(|file| self.texts.get(file)).collect()
    }

    /// Returns name, first RVA and one past the last RVA of each function, ascending.
    pub fn functions(&self) -> impl Iterator<Item = (&str, u32, u32)> {
        let name = |function: &Function| self.texts.get(function.name);
        self.functions.iter().map(move |f| (name(f), f.begin_rva, f.end_rva))
    }

    fn function_at(&self, rva: u32) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.begin_rva <= rva);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (rva < function.end_rva).then_some(function)
    }

    fn row_at(&self, rva: u32) -> Option<&Row> {
        let after = self.rows.partition_point(|row| row.begin_rva <= rva);
        self.rows.get(after.checked_sub(1)?).filter(|row| row.contains(rva))
    }

    fn symbol_frame(&self, rva: u32) -> Option<Frame<'_>> {
        let after = self.symbols.partition_point(|symbol| symbol.rva <= rva);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        (rva < symbol.section_end_rva).then(|| Frame {
            function: self.texts.get(symbol.name),
            offset_bytes: rva.wrapping_sub(symbol.rva),
            location: self.row_at(rva).and_then(|row| self.location(&row.place)),
            inlined: false,
        })
    }

    fn location(&self, place: &Place) -> Option<Location<'_>> {
        // 0 is DWARF's "no line"; the other two are what MSVC gives to code that has none.
        if matches!(place.line, 0 | 0xFE_EFEE | 0xF0_0F00) {
            return None;
        }
        let file = self.texts.get(place.file);
        let column = Some(place.column).filter(|&column| column != 0);
        Some(Location { file, line: place.line, column })
    }

    /// Brings the tables into the order that look-ups want.
    fn finish(&mut self) -> Result<(), DebugInfoError> {
        self.functions.sort_by_key(|function| function.begin_rva);
        // Folded functions share their code; the first one stands for all.
        self.functions.dedup_by_key(|function| function.begin_rva);
        self.rows.retain(|row| row.begin_rva < row.end_rva);
        self.rows.sort_by_key(|row| row.begin_rva);
        self.symbols.sort_by_key(|symbol| symbol.rva);
        self.symbols.dedup_by_key(|symbol| symbol.rva);
        self.check_limits()
    }

    /// Counts an inlined call that is kept.
    fn count_call(&mut self, call: &InlinedCall) -> Result<(), DebugInfoError> {
        let parts = match &call.lines {
            CallLines::Own(rows) => 1 + rows.len(),
            CallLines::At(_) => 1 + call.ranges.len(),
        };
        self.inlined_part_count = self.inlined_part_count.saturating_add(parts);
        self.check_limits()
    }

    /// Costs little, so that it can be asked after every addition.
    fn check_limits(&self) -> Result<(), DebugInfoError> {
        let limit = |what, count: usize, limit: usize| {
            let too_large = Err(DebugInfoError::TooLarge { what, limit: limit as u64 });
            if count > limit { too_large } else { Ok(()) }
        };
        limit("line rows", self.rows.len(), ROW_LIMIT)?;
        limit("functions", self.functions.len(), FUNCTION_LIMIT)?;
        limit("symbols", self.symbols.len(), FUNCTION_LIMIT)?;
        limit("parts of inlined calls", self.inlined_part_count, INLINED_PART_LIMIT)?;
        limit("bytes of names", self.texts.len_bytes, TEXT_LIMIT_BYTES)
    }
}

/// Index of a text in [`Texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct TextId(u32);

/// Names and paths, each kept once.
#[derive(Clone, Debug, Default)]
struct Texts {
    texts: Vec<String>,
    ids: BTreeMap<String, TextId>,
    len_bytes: usize,
}

impl Texts {
    fn intern(&mut self, text: &str) -> TextId {
        let end =
            (0..=NAME_LIMIT_BYTES.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        let text = end.and_then(|end| text.get(..end)).unwrap_or_default();
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = TextId(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.len_bytes = self.len_bytes.saturating_add(text.len());
        self.texts.push(text.to_owned());
        self.ids.insert(text.to_owned(), id);
        id
    }

    fn get(&self, id: TextId) -> &str {
        usize::try_from(id.0).ok().and_then(|at| self.texts.get(at)).map_or("", String::as_str)
    }
}

/// A line and column in a file; line 0 is none, column 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    file: TextId,
    line: u32,
    column: u32,
}

/// A stretch of code that comes from one place.
#[derive(Clone, Copy, Debug)]
struct Row {
    begin_rva: u32,
    end_rva: u32,
    place: Place,
}

impl Row {
    fn contains(&self, rva: u32) -> bool {
        (self.begin_rva..self.end_rva).contains(&rva)
    }
}

/// A function with code of its own.
#[derive(Clone, Debug)]
struct Function {
    begin_rva: u32,
    end_rva: u32,
    name: TextId,
    calls: Vec<InlinedCall>,
}

impl Function {
    /// The inlined calls that the RVA lies in, outermost first.
    fn calls_at(&self, rva: u32) -> Vec<&InlinedCall> {
        let mut calls: Vec<_> = self.calls.iter().filter(|call| call.contains(rva)).collect();
        calls.sort_by_key(|call| call.depth);
        // Siblings cannot hold one RVA; where damage says so, the first one counts.
        calls.dedup_by_key(|call| call.depth);
        calls
    }

    fn inlined_rows(&self) -> impl Iterator<Item = &Row> {
        self.calls.iter().flat_map(|call| match &call.lines {
            CallLines::Own(rows) => rows.as_slice(),
            CallLines::At(_) => &[],
        })
    }
}

/// A call that was inlined.
#[derive(Clone, Debug)]
struct InlinedCall {
    /// 0 for a call in the function itself, 1 for one inside that, and so on.
    depth: u32,
    name: TextId,
    /// The code, where `lines` does not say it.
    ranges: Vec<(u32, u32)>,
    lines: CallLines,
}

impl InlinedCall {
    fn contains(&self, rva: u32) -> bool {
        match &self.lines {
            CallLines::Own(rows) => rows.iter().any(|row| row.contains(rva)),
            CallLines::At(_) => self.ranges.iter().any(|&(begin, end)| begin <= rva && rva < end),
        }
    }
}

/// How the lines of an inlined call are known.
#[derive(Clone, Debug)]
enum CallLines {
    /// PDB: a line table of the inlined function, for its code only.
    Own(Vec<Row>),
    /// DWARF: the place of the call.
    At(Place),
}

/// A name without a size.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    rva: u32,
    section_end_rva: u32,
    name: TextId,
}

fn normalized(path: &str) -> String {
    path.replace('\\', "/").to_ascii_lowercase()
}
