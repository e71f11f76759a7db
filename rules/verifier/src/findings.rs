//! What monitors say during a run: moments, not places.

use events::{Origin, Seq};
use guest_memory::GuestAddr;

use crate::{Rule, Severity};

/// What else has to happen before a finding may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing: the event is the proof, and the recorded run repeats it.
    Repeats,
    /// A run with other mark values must report the same rule at the same instruction with the same
    /// marks.
    FollowsOtherMarks,
    /// As before, and at the same event: single bytes are too common to be looked for everywhere.
    FollowsOtherMarkBytes,
    /// Runs that differ only in what the undefined tail of the system buffer holds must end
    /// differently. The ordinal of the request's question for that.
    DiffersByTail {
        /// The ordinal.
        ordinal: u32,
    },
    /// Runs that differ only in what undefined memory holds must end differently, and the decision
    /// at this instruction must be what makes the difference.
    DiffersByFill,
}

/// An earlier moment that led to a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawStep {
    /// The moment; `None` if it has no place.
    pub seq: Option<Seq>,
    /// What happened.
    pub message: String,
}

/// One broken promise, as a monitor saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawFinding {
    /// The rule.
    pub rule: &'static Rule,
    /// The particular case.
    pub message: String,
    /// When it was noticed, and by whom.
    pub origin: Origin,
    /// The moment whose place is shown; usually that of `origin`.
    pub site: Seq,
    /// The driver's instruction at `site`; null if unknown.
    pub site_ip: GuestAddr,
    /// Other instructions at which the same mistake would be noticed in another order.
    pub elsewhere: Vec<GuestAddr>,
    /// How it came about, oldest first.
    pub history: Vec<RawStep>,
    /// What must be shown first.
    pub confirm: Confirmation,
    /// Marks of the workload that arrived: operand and offset in the input.
    pub marks: Vec<(u8, u32)>,
    /// Show it once per function and request: its like is at every line there.
    pub is_once_per_function: bool,
    /// Show it only if no violation of its run is confirmed, and nothing at its own instruction.
    pub is_last_resort: bool,
    stops: bool,
}

impl RawFinding {
    /// Adds an earlier moment.
    pub fn note(&mut self, seq: Seq, message: impl Into<String>) -> &mut Self {
        // Ordinal 0 is no moment: the machine was not running yet.
        let seq = (seq.0 != 0).then_some(seq);
        self.history.push(RawStep { seq, message: message.into() });
        self
    }

    /// Adds an earlier moment, if it is known.
    pub fn note_if(&mut self, seq: Option<Seq>, message: impl Into<String>) -> &mut Self {
        if let Some(seq) = seq {
            self.note(seq, message);
        }
        self
    }

    /// Adds a fact without a place.
    pub fn fact(&mut self, message: impl Into<String>) -> &mut Self {
        self.history.push(RawStep { seq: None, message: message.into() });
        self
    }

    /// Shows the place of another moment instead of that of the event.
    pub fn at(&mut self, seq: Seq, ip: GuestAddr) -> &mut Self {
        self.site = seq;
        self.site_ip = ip;
        self
    }

    /// The same mistake is noticed at another instruction if things happen in another order.
    pub fn or_at(&mut self, ip: GuestAddr) -> &mut Self {
        self.elsewhere.push(ip);
        self
    }

    /// Demands a confirmation. The run goes on: nothing is proved yet.
    pub fn confirm(&mut self, confirm: Confirmation) -> &mut Self {
        self.confirm = confirm;
        self.stops = false;
        self
    }

    /// Keeps the marks that arrived, for comparison with the confirming run.
    pub fn marks(&mut self, marks: &[(u8, u32)]) -> &mut Self {
        self.marks = marks.to_vec();
        self
    }

    /// Shows it once per function and request.
    pub fn once_per_function(&mut self) -> &mut Self {
        self.is_once_per_function = true;
        self
    }

    /// Shows it only if no other finding of its run explains it.
    pub fn last_resort(&mut self) -> &mut Self {
        self.is_last_resort = true;
        self
    }

    /// Whether this tells how another one came about: a violation before it, or anything at the
    /// same instruction.
    pub fn explains(&self, other: &Self) -> bool {
        self.rule.severity == Severity::Violation || self.site_ip == other.site_ip
    }

    /// Ends the run here, whatever the severity: what follows is a consequence.
    pub fn stop(&mut self) -> &mut Self {
        self.stops = true;
        self
    }

    /// Returns whether two runs say the same: rule, moment, message and marks.
    pub fn repeats(&self, other: &Self) -> bool {
        self.rule == other.rule
            && self.origin.seq == other.origin.seq
            && self.site == other.site
            && self.message == other.message
            && self.marks == other.marks
    }
}

/// Collects what monitors say about one run.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    list: Vec<RawFinding>,
    origin: Origin,
}

impl Findings {
    /// Starts at this event.
    pub fn at(origin: Origin) -> Self {
        Self { list: Vec::new(), origin }
    }

    /// Adds a finding at the current event. Details follow by chained calls.
    pub fn report(&mut self, rule: &'static Rule, message: impl Into<String>) -> &mut RawFinding {
        self.list.push(RawFinding {
            rule,
            message: message.into(),
            origin: self.origin,
            site: self.origin.seq,
            site_ip: self.origin.ip,
            elsewhere: Vec::new(),
            history: Vec::new(),
            confirm: Confirmation::Repeats,
            marks: Vec::new(),
            is_once_per_function: false,
            is_last_resort: false,
            stops: rule.severity == Severity::Violation,
        });
        self.list.last_mut().expect("one was just pushed")
    }

    /// Lists them in order.
    pub fn as_slice(&self) -> &[RawFinding] {
        &self.list
    }

    pub(crate) fn begin(&mut self, origin: Origin) -> usize {
        self.origin = origin;
        self.list.len()
    }

    pub(crate) fn wants_stop_since(&self, mark: usize, without: &[&'static Rule]) -> bool {
        self.list.iter().skip(mark).any(|f| f.stops && !without.contains(&f.rule))
    }
}
