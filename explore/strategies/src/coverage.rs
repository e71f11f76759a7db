//! What the runs of a campaign reached.

use std::collections::BTreeSet;

use verifier::Ledgers;

use crate::Target;

/// What was reached in all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoverageReport {
    /// Functions of the image with an instruction that ran.
    pub functions_reached: u32,
    /// Functions of the image.
    pub functions: u32,
    /// Functions with no such instruction, by name, or by offset where none is known: the first
    /// ones.
    pub functions_missed: Vec<String>,
    /// Control codes of the image that a dispatch routine received.
    pub codes_reached: Vec<u32>,
    /// Control codes of the image that none received.
    pub codes_missed: Vec<u32>,
    /// Entry points that the driver registered.
    pub entry_points: Vec<EntryPoint>,
}

/// A routine that the driver registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// What for.
    pub name: String,
    /// Its offset in the image.
    pub rva: u32,
    /// True if it was called.
    pub is_reached: bool,
}

/// Functions that no run reached and that are named.
const MOST_MISSED: usize = 256;

/// What a function is called, or where it is.
fn name_of(target: &Target, begin_rva: u32) -> String {
    let functions = target.debug_info.as_ref().map(|info| info.lookup(begin_rva));
    // Those that were inlined there come first.
    let name = functions.and_then(|functions| Some(functions.last()?.function.to_string()));
    name.unwrap_or_else(|| format!("{begin_rva:#x}"))
}

/// Adds up the coverage of runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    blocks: BTreeSet<u32>,
    entries: BTreeSet<(u32, String)>,
    codes: BTreeSet<u32>,
}

impl Tally {
    /// Adds the requests of a run.
    pub(crate) fn add_requests(&mut self, ledgers: &Ledgers) {
        let dispatched = ledgers.irps().filter(|irp| irp.dispatched.is_some());
        self.codes.extend(dispatched.map(|irp| irp.control_code));
    }

    /// Adds blocks that ran.
    pub(crate) fn add_blocks(&mut self, blocks: &[u32]) {
        self.blocks.extend(blocks);
    }

    /// Adds entry points that were registered.
    pub(crate) fn add_entries(&mut self, entries: impl IntoIterator<Item = (String, u32)>) {
        self.entries.extend(entries.into_iter().map(|(name, rva)| (rva, name)));
    }

    /// How many control codes of the image were received, and how many there are.
    pub(crate) fn codes(&self, target: &Target) -> (usize, usize) {
        let codes = target.facts.codes.iter().take(target.facts.sure_codes);
        (codes.clone().filter(|code| self.codes.contains(code)).count(), codes.count())
    }

    pub(crate) fn report(&self, target: &Target) -> CoverageReport {
        let functions = target.image.functions().entries();
        let is_reached =
            |begin: u32, end: u32| begin < end && self.blocks.range(begin..end).next().is_some();
        let reached = functions.iter().filter(|f| is_reached(f.begin_rva, f.end_rva)).count();
        let missed = functions.iter().filter(|f| !is_reached(f.begin_rva, f.end_rva));
        let missed = missed.take(MOST_MISSED).map(|f| name_of(target, f.begin_rva));
        let codes = target.facts.codes.iter().take(target.facts.sure_codes).copied();
        let (codes_reached, codes_missed) = codes.partition(|code| self.codes.contains(code));
        CoverageReport {
            functions_reached: u32::try_from(reached).unwrap_or(u32::MAX),
            functions: u32::try_from(functions.len()).unwrap_or(u32::MAX),
            functions_missed: missed.collect(),
            codes_reached,
            codes_missed,
            entry_points: self
                .entries
                .iter()
                .map(|(rva, name)| EntryPoint {
                    name: name.clone(),
                    rva: *rva,
                    is_reached: self.blocks.contains(rva),
                })
                .collect(),
        }
    }
}
