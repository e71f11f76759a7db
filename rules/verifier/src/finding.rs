//! A finding with its places: what a report shows.

use nt_abi::Irql;

use crate::{Rule, Severity};

/// A place in the driver, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// File name of the image.
    pub image: String,
    /// Offset in the image; `None` if no driver code was running.
    pub rva: Option<u32>,
    /// The function, and the offset in it.
    pub function: Option<(String, u32)>,
    /// Source file as the compiler wrote it down.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The kernel routine that was called there, as its author writes it.
    pub export: Option<String>,
    /// Callers of an inlined function, innermost first; then the callers on the stack.
    pub stack: Vec<Frame>,
}

/// One caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function, or the kernel routine.
    pub function: String,
    /// Source file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// True if it was inlined into the next one.
    pub is_inlined: bool,
}

/// Something earlier that led here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub message: String,
    /// Where; `None` for a fact without a place.
    pub site: Option<Site>,
}

/// Who was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The guest thread, from 1.
    pub thread: u32,
    /// Its IRQL.
    pub irql: Irql,
    /// The event clock.
    pub clock_events: u64,
    /// What the outside world was doing: `write of 8 bytes to \??\Zero`.
    pub request: Option<String>,
}

/// One broken promise, with everything needed to show and to replay it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is: as bad as the rule says, or only a hazard where it took a neighbour that is
    /// not there today.
    pub severity: Severity,
    /// The particular case.
    pub message: String,
    /// Where.
    pub site: Site,
    /// Who was running.
    pub context: Context,
    /// How it came about, oldest first.
    pub history: Vec<Step>,
    /// What the run needs to get there: answers of the kernel, and requests where there are many.
    pub needs: Vec<String>,
    /// In how many of all runs it was seen.
    pub seen: (u32, u32),
    /// The token that replays it.
    pub replay: String,
    /// The run it was found in, from 1, and how many there were to be.
    pub run: (u32, u32),
}
